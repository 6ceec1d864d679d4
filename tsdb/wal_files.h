// Names and housekeeping of the files of a log directory. Private to tsdb.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

struct WalListing {
  std::vector<int> segments;            // Ascending.
  std::vector<int> checkpoints;         // Ascending.
  std::vector<std::string> unfinished;  // Names of temporary entries.
};

base::Result<WalListing> ListWal(const std::string& directory);
std::string SegmentFile(const std::string& directory, int segment);
std::string CheckpointDirectory(const std::string& directory, int last_segment);

// "<what> <path>: <reason>" as kResourceExhausted when space ran out, else kUnavailable.
base::Status FileError(std::string_view what, const std::string& path, int error_number);
base::Status SyncDirectory(const std::string& directory);
// Removes a file or a directory tree; one that does not exist is fine.
base::Status RemoveTree(const std::string& path);
base::Status RenameDirectory(const std::string& from, const std::string& to);
base::Status TruncateFile(const std::string& path, uint64_t size);
// Bytes of the file, or of the files directly inside the directory.
uint64_t SizeOnDisk(const std::string& path);

}  // namespace tidewright::tsdb
