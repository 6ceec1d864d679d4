#include "tsdb/wal_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace tidewright::tsdb {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kCheckpointPrefix = "checkpoint.";
constexpr std::string_view kTemporarySuffix = ".tmp";

// Eight digits or more; -1 for anything else.
int ParseNumber(std::string_view text) {
  if (text.size() < 8 || text.size() > 9) return -1;
  int number = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::string Numbered(int number) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%08d", number);
  return digits;
}

}  // namespace

base::Status FileError(std::string_view what, const std::string& path, int error_number) {
  std::string message = std::string(what) + " " + path + ": " + std::generic_category().message(error_number);
  bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  if (full) return base::ResourceExhaustedError(message + "; free space on the volume or lower the retention");
  return base::UnavailableError(message);
}

base::Result<WalListing> ListWal(const std::string& directory) {
  WalListing listing;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    std::string_view view = name;
    if (view.size() > kTemporarySuffix.size() && view.substr(view.size() - 4) == kTemporarySuffix) {
      listing.unfinished.push_back(name);
    } else if (view.substr(0, kCheckpointPrefix.size()) == kCheckpointPrefix) {
      int number = ParseNumber(view.substr(kCheckpointPrefix.size()));
      if (number >= 0) listing.checkpoints.push_back(number);
    } else if (int number = ParseNumber(view); number >= 0) {
      listing.segments.push_back(number);
    }
  }
  if (error) return FileError("list log directory", directory, error.value());
  std::sort(listing.segments.begin(), listing.segments.end());
  std::sort(listing.checkpoints.begin(), listing.checkpoints.end());
  return listing;
}

std::string SegmentFile(const std::string& directory, int segment) { return directory + "/" + Numbered(segment); }

std::string CheckpointDirectory(const std::string& directory, int last_segment) {
  return directory + "/" + std::string(kCheckpointPrefix) + Numbered(last_segment);
}

base::Status SyncDirectory(const std::string& directory) {
  int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("open directory", directory, errno);
  int failed = fsync(fd) != 0 ? errno : 0;
  close(fd);
  return failed != 0 ? FileError("flush directory", directory, failed) : base::Status::Ok();
}

base::Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? FileError("remove", path, error.value()) : base::Status::Ok();
}

base::Status RenameDirectory(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return error ? FileError("rename " + from + " to", to, error.value()) : base::Status::Ok();
}

base::Status TruncateFile(const std::string& path, uint64_t size) {
  if (truncate(path.c_str(), static_cast<off_t>(size)) != 0) return FileError("cut off the end of", path, errno);
  return base::Status::Ok();
}

uint64_t SizeOnDisk(const std::string& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    uint64_t size = fs::file_size(path, error);
    return error ? 0 : size;
  }
  uint64_t total = 0;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    uint64_t size = fs::file_size(it->path(), ignored);
    if (!ignored) total += size;
  }
  return total;
}

}  // namespace tidewright::tsdb
