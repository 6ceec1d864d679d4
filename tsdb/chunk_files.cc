#include "tsdb/chunk_files.h"

#include <filesystem>

#include "tsdb/encoding.h"
#include "tsdb/index_format.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

std::string SegmentName(uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

// The file's header; the chunks follow.
base::Status CheckHeader(const std::string& path, std::string_view bytes) {
  ByteReader in(bytes);
  const uint32_t magic = in.U32();
  const uint8_t version = in.U8();
  if (bytes.size() < kChunksHeaderBytes || magic != kChunksMagic) {
    return base::DataLossError("read " + path + ": at byte 0: not a chunk file");
  }
  if (version == kChunksVersion) return base::Status::Ok();
  return base::UnimplementedError("read " + path + ": at byte 4: version " + std::to_string(version) + " is not known");
}

base::Status Damaged(const std::string& path, uint64_t offset, const char* what) {
  return base::DataLossError("read chunk at byte " + std::to_string(offset) + " of " + path + ": " + what);
}

// The chunk that `bytes` of a file begin with; `size` is what it takes there. Returns what is wrong, or nullptr.
const char* ReadChunk(std::string_view bytes, ChunkView* chunk, uint64_t* size) {
  ByteReader in(bytes);
  const uint64_t length = in.Uvarint();
  if (!in.ok() || in.remaining() < 1 + kChecksumBytes || length > in.remaining() - 1 - kChecksumBytes) {
    return "it ends beyond the end";
  }
  const std::string_view checked = in.Bytes(1 + length);
  const uint32_t checksum = in.U32();
  *size = bytes.size() - in.remaining();
  if (Crc32c(checked) != checksum) return "wrong checksum";
  chunk->encoding = static_cast<ChunkEncoding>(checked[0]);
  chunk->bytes = checked.substr(1);
  return nullptr;
}

}  // namespace

base::Status VerifyChunkFile(const std::string& path, const std::function<void(base::Status)>& fault) {
  TW_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  base::Status header = CheckHeader(path, file.bytes());
  if (!header.ok()) {
    fault(std::move(header));
    return base::Status::Ok();
  }
  if (file.bytes().substr(5, kChunksHeaderBytes - 5).find_first_not_of('\0') != std::string_view::npos) {
    fault(base::DataLossError("read " + path + ": at byte 5: the header's padding is not zero"));
  }
  uint64_t size = 0;
  for (uint64_t offset = kChunksHeaderBytes; offset < file.bytes().size(); offset += size) {
    ChunkView chunk;
    size = 0;
    const char* wrong = ReadChunk(file.bytes().substr(offset), &chunk, &size);
    if (wrong != nullptr) fault(Damaged(path, offset, wrong));
    if (size == 0) break;  // Nothing says where the next one begins.
  }
  return base::Status::Ok();
}

base::Status ChunkFilesWriter::StartSegment() {
  if (file_ != nullptr) TW_RETURN_IF_ERROR(file_->Close());
  TW_ASSIGN_OR_RETURN(file_, FileWriter::Create(directory_ + "/" + SegmentName(++segments_)));
  header_.clear();
  PutU32(&header_, kChunksMagic);
  PutU8(&header_, kChunksVersion);
  header_.append(kChunksHeaderBytes - header_.size(), '\0');
  return file_->Append(header_);
}

base::Result<uint64_t> ChunkFilesWriter::Append(ChunkEncoding encoding, std::string_view bytes) {
  const uint64_t most = kMaxChunkLengthBytes + 1 + bytes.size() + kChecksumBytes;
  const bool fits =
      file_ != nullptr && (file_->offset() == kChunksHeaderBytes || file_->offset() + most <= segment_bytes_);
  if (!fits) TW_RETURN_IF_ERROR(StartSegment());
  const uint64_t ref = (segments_ - 1) << 32 | file_->offset();
  header_.clear();
  PutUvarint(&header_, bytes.size());
  TW_RETURN_IF_ERROR(file_->Append(header_));
  file_->StartChecksum();
  header_.assign(1, static_cast<char>(encoding));
  TW_RETURN_IF_ERROR(file_->Append(header_));
  TW_RETURN_IF_ERROR(file_->Append(bytes));
  TW_RETURN_IF_ERROR(file_->AppendChecksum());
  return ref;
}

base::Status ChunkFilesWriter::Finish() {
  if (file_ == nullptr) TW_RETURN_IF_ERROR(StartSegment());
  return file_->Close();
}

base::Result<std::unique_ptr<ChunkFiles>> ChunkFiles::Open(const std::string& directory) {
  std::unique_ptr<ChunkFiles> files(new ChunkFiles(directory));
  for (uint64_t number = 1;; ++number) {
    const std::string path = directory + "/" + SegmentName(number);
    std::error_code error;
    if (number > 1 && !std::filesystem::exists(path, error)) return files;
    TW_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    TW_RETURN_IF_ERROR(CheckHeader(path, file.bytes()));
    files->files_.push_back(std::move(file));
  }
}

std::string ChunkFiles::PathOf(uint64_t ref) const { return directory_ + "/" + SegmentName((ref >> 32) + 1); }

base::Result<ChunkView> ChunkFiles::Read(uint64_t ref) const {
  const uint64_t number = ref >> 32;
  const uint64_t offset = ref & UINT32_MAX;
  if (number >= files_.size()) return Damaged(PathOf(ref), offset, "there is no such file");
  const std::string_view bytes = files_[number].bytes();
  if (offset < kChunksHeaderBytes || offset >= bytes.size()) {
    return Damaged(PathOf(ref), offset, "it begins beyond the end");
  }
  ChunkView chunk;
  uint64_t size = 0;
  const char* wrong = ReadChunk(bytes.substr(offset), &chunk, &size);
  if (wrong != nullptr) return Damaged(PathOf(ref), offset, wrong);
  return chunk;
}

void ChunkFiles::DropPages() const {
  for (const MappedFile& file : files_) file.DropPages(file.bytes().size());
}

uint64_t ChunkFiles::size_bytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) total += file.bytes().size();
  return total;
}

}  // namespace tidewright::tsdb
