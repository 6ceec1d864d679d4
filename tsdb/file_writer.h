// FileWriter: writes a file from front to back, buffered, with the checksum that the formats of blocks want.
// Private to tsdb.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::tsdb {

// Not thread-safe. Errors are kResourceExhausted when space ran out, else kUnavailable, and name the file. Errors stay:
// after one, every further call returns it.
class FileWriter {
 public:
  // Creates the file, or empties it.
  static base::Result<std::unique_ptr<FileWriter>> Create(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  base::Status Append(std::string_view bytes);
  // Writes zeros up to the next multiple of `alignment`.
  base::Status Align(uint64_t alignment);
  // The checksum of what was appended since StartChecksum(), as four bytes, big-endian.
  void StartChecksum() { checksum_ = 0; }
  base::Status AppendChecksum();
  // Changes bytes that were appended earlier. Checksums do not notice.
  base::Status Overwrite(uint64_t offset, std::string_view bytes);

  uint64_t offset() const { return offset_; }
  const std::string& path() const { return path_; }
  // Hands everything to the kernel, so that others see it.
  base::Status Flush();
  // Flushes to the disk and closes.
  base::Status Close();

 private:
  FileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  base::Status WriteAt(uint64_t offset, std::string_view bytes);

  const std::string path_;
  int fd_;
  uint64_t offset_ = 0;   // Behind what was appended.
  uint64_t written_ = 0;  // Behind what the kernel has.
  uint32_t checksum_ = 0;
  std::string buffer_;
  base::Status error_;
};

}  // namespace tidewright::tsdb
