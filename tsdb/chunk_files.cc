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

}  // namespace

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
    ByteReader in(file.bytes());
    const uint32_t magic = in.U32();
    const uint8_t version = in.U8();
    if (file.bytes().size() < kChunksHeaderBytes || magic != kChunksMagic) {
      return base::DataLossError("read " + path + ": not a chunk file");
    }
    if (version != kChunksVersion) {
      return base::UnimplementedError("read " + path + ": version " + std::to_string(version) + " is not known");
    }
    files->files_.push_back(std::move(file));
  }
}

base::Result<ChunkView> ChunkFiles::Read(uint64_t ref) const {
  const uint64_t number = ref >> 32;
  const uint64_t offset = ref & UINT32_MAX;
  const auto damaged = [&](const char* what) {
    return base::DataLossError("read chunk at " + std::to_string(offset) + " of " + directory_ + "/" +
                               SegmentName(number + 1) + ": " + what);
  };
  if (number >= files_.size()) return damaged("there is no such file");
  const std::string_view bytes = files_[number].bytes();
  if (offset < kChunksHeaderBytes || offset >= bytes.size()) return damaged("it begins beyond the end");
  ByteReader in(bytes.substr(offset));
  const uint64_t size = in.Uvarint();
  if (!in.ok() || in.remaining() < 1 + kChecksumBytes || size > in.remaining() - 1 - kChecksumBytes) {
    return damaged("it ends beyond the end");
  }
  const std::string_view checked = in.Bytes(1 + size);
  if (Crc32c(checked) != in.U32()) return damaged("wrong checksum");
  ChunkView chunk;
  chunk.encoding = static_cast<ChunkEncoding>(checked[0]);
  chunk.bytes = checked.substr(1);
  return chunk;
}

uint64_t ChunkFiles::size_bytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) total += file.bytes().size();
  return total;
}

}  // namespace tidewright::tsdb
