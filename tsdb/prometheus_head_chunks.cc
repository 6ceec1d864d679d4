#include "tsdb/prometheus_head_chunks.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMagic = 0x0130bc91;
constexpr uint8_t kVersion = 1;
constexpr size_t kHeaderBytes = 8;
constexpr uint8_t kOutOfOrder = 0x80;  // In the encoding byte.

bool AllDigits(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

base::Status Damaged(size_t offset, const char* what) {
  return base::DataLossError("chunk at byte " + std::to_string(offset) + ": " + what);
}

// One entry. `bytes` begin with it.
base::Status ParseEntry(std::string_view bytes, size_t offset, HeadChunk* entry, size_t* size) {
  ByteReader in(bytes);
  entry->series = in.U64();
  entry->chunk.mint = static_cast<int64_t>(in.U64());
  entry->chunk.maxt = static_cast<int64_t>(in.U64());
  const uint8_t encoding = in.U8();
  entry->out_of_order = (encoding & kOutOfOrder) != 0;
  entry->chunk.encoding = static_cast<ChunkEncoding>(encoding & ~kOutOfOrder);
  entry->chunk.bytes = in.String();
  const size_t checked = bytes.size() - in.remaining();
  const uint32_t checksum = in.U32();
  if (!in.ok()) return Damaged(offset, "ends beyond the end of the file");
  if (Crc32c(bytes.substr(0, checked)) != checksum) return Damaged(offset, "wrong checksum");
  *size = bytes.size() - in.remaining();
  return base::Status::Ok();
}

}  // namespace

std::string HeadChunksHeader() {
  std::string header;
  PutU32(&header, kMagic);
  PutU8(&header, kVersion);
  header.append(kHeaderBytes - header.size(), '\0');
  return header;
}

std::string EncodeHeadChunk(const HeadChunk& chunk) {
  std::string bytes;
  PutU64(&bytes, chunk.series);
  PutU64(&bytes, static_cast<uint64_t>(chunk.chunk.mint));
  PutU64(&bytes, static_cast<uint64_t>(chunk.chunk.maxt));
  PutU8(&bytes, static_cast<uint8_t>(chunk.chunk.encoding) | (chunk.out_of_order ? kOutOfOrder : 0));
  PutString(&bytes, chunk.chunk.bytes);
  PutU32(&bytes, Crc32c(bytes));
  return bytes;
}

base::Status ParseHeadChunks(std::string_view bytes, std::vector<HeadChunk>* chunks) {
  if (bytes.empty()) return base::Status::Ok();  // Created, but nothing was written.
  ByteReader header(bytes);
  if (header.U32() != kMagic || bytes.size() < kHeaderBytes) return base::DataLossError("not a file of head chunks");
  const uint8_t version = header.U8();
  if (version != kVersion) return base::DataLossError("version " + std::to_string(version) + " is not known");
  for (size_t offset = kHeaderBytes; offset < bytes.size();) {
    const std::string_view rest = bytes.substr(offset);
    HeadChunk entry;
    size_t size = 0;
    base::Status status = ParseEntry(rest, offset, &entry, &size);
    // Files are made longer than their content, and the rest is zero.
    if ((!status.ok() || entry.series == 0) && rest.find_first_not_of('\0') == std::string_view::npos) break;
    TW_RETURN_IF_ERROR(status);
    chunks->push_back(entry);
    offset += size;
  }
  return base::Status::Ok();
}

base::Result<HeadChunks> HeadChunks::Open(const std::string& directory) {
  HeadChunks all;
  std::error_code error;
  if (!fs::exists(directory, error)) return all;
  std::vector<std::string> names;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (AllDigits(name)) names.push_back(std::move(name));
  }
  if (error) return FileError("list", directory, error.value());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    TW_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    base::Status status = ParseHeadChunks(file.bytes(), &all.chunks_);
    if (!status.ok()) {
      ++all.corruptions_;
      base::LogWarn("tsdb", "head chunk file is damaged; chunks before that are used, the log has the others' samples",
                    {{"file", path}, {"reason", status.message()}});
    }
    all.files_.push_back(std::move(file));
  }
  std::stable_sort(all.chunks_.begin(), all.chunks_.end(), [](const HeadChunk& a, const HeadChunk& b) {
    return std::tie(a.series, a.chunk.mint) < std::tie(b.series, b.chunk.mint);
  });
  return all;
}

}  // namespace tidewright::tsdb
