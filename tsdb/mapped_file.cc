#include "tsdb/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace tidewright::tsdb {

base::Result<MappedFile> MappedFile::Open(const std::string& path) {
  const auto error = [&path](const char* what) {
    const int number = errno;
    std::string message = std::string(what) + " " + path + ": " + std::generic_category().message(number);
    return number == ENOENT ? base::NotFoundError(message) : base::UnavailableError(message);
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error("open");
  struct stat info = {};
  MappedFile file;
  void* data = nullptr;
  bool ok = fstat(fd, &info) == 0;
  if (ok && info.st_size > 0) {
    data = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
    ok = data != MAP_FAILED;
  }
  base::Status failure = ok ? base::Status::Ok() : error("map");
  close(fd);  // The mapping keeps the file.
  if (!ok) return failure;
  file.data_ = static_cast<const char*>(data);
  file.size_ = static_cast<size_t>(info.st_size);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::DropPages(size_t size) const {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (const size_t whole = std::min(size, size_) / page * page; whole > 0) {
    madvise(const_cast<char*>(data_), whole, MADV_DONTNEED);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace tidewright::tsdb
