// MappedFile: a file as read-only memory.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::tsdb {

// Move-only; thread-safe once opened. The file must not become shorter while it is mapped (removing it is fine).
class MappedFile {
 public:
  // kNotFound when there is no such file, kUnavailable with the reason for other failures. An empty file is fine.
  static base::Result<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::string_view bytes() const { return {data_, size_}; }
  // Lets the kernel take the memory of the first `size` bytes back; what is read there again is loaded again.
  void DropPages(size_t size) const;

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tidewright::tsdb
