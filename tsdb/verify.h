// Looks for damage in a data directory, without opening the store and without changing anything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

struct VerifyReport {
  uint64_t files = 0;  // That were read from their first byte to their last.
  uint64_t bytes = 0;
  // What is wrong: each names the file, and the byte where the format has places. Of one file at most kMaxFaults.
  std::vector<std::string> faults;
  std::vector<std::string> notes;  // What is no damage, yet worth knowing: leftovers, files that are not looked at.

  static constexpr size_t kMaxFaults = 50;
};

// Checks blocks (meta.json, tombstones, every chunk, postings and series of the index, and that they fit together), the
// head's log and chunk files, and what a Prometheus left: its logs, checkpoints and head chunks. Memory is bounded by
// the largest index. An error says that the directory cannot be read at all. Of a store that is in use, what is written
// in the meantime may look torn.
base::Result<VerifyReport> VerifyDirectory(const std::string& directory);

}  // namespace tidewright::tsdb
