#include "tsdb/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "tsdb/encoding.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {
constexpr size_t kBufferBytes = 256 << 10;
}  // namespace

base::Result<std::unique_ptr<FileWriter>> FileWriter::Create(const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FileError("create", path, errno);
  return std::unique_ptr<FileWriter>(new FileWriter(path, fd));
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close(fd_);
}

base::Status FileWriter::WriteAt(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return error_ = FileError("write", path_, written < 0 ? errno : ENOSPC);
    offset += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return base::Status::Ok();
}

base::Status FileWriter::Append(std::string_view bytes) {
  if (!error_.ok()) return error_;
  checksum_ = Crc32c(bytes, checksum_);
  offset_ += bytes.size();
  buffer_.append(bytes);
  return buffer_.size() < kBufferBytes ? base::Status::Ok() : Flush();
}

base::Status FileWriter::Align(uint64_t alignment) {
  uint64_t beyond = offset_ % alignment;
  return beyond == 0 ? error_ : Append(std::string(alignment - beyond, '\0'));
}

base::Status FileWriter::AppendChecksum() {
  std::string bytes;
  PutU32(&bytes, checksum_);
  return Append(bytes);
}

base::Status FileWriter::Overwrite(uint64_t offset, std::string_view bytes) {
  TW_RETURN_IF_ERROR(Flush());
  return WriteAt(offset, bytes);
}

base::Status FileWriter::Flush() {
  if (!error_.ok()) return error_;
  TW_RETURN_IF_ERROR(WriteAt(written_, buffer_));
  written_ = offset_;
  buffer_.clear();
  return base::Status::Ok();
}

base::Status FileWriter::Close() {
  TW_RETURN_IF_ERROR(Flush());
  if (fd_ < 0) return base::Status::Ok();
  int failed = fsync(fd_) != 0 ? errno : 0;
  if (close(fd_) != 0 && failed == 0) failed = errno;
  fd_ = -1;
  if (failed != 0) error_ = FileError("flush", path_, failed);
  return error_;
}

}  // namespace tidewright::tsdb
