// The write-ahead log: a directory of segment files, 00000000, 00000001, ..., and at most one checkpoint directory that
// replaces the segments up to its number. Framing and names are Prometheus'; the grammar is in tsdb/docs/wal.md.
//
// Policy for damage: the valid prefix of the log is kept. What follows the first bad byte is cut off, counted and
// logged, so that the next start finds a clean log. An error of the disk is not damage: it fails the start and nothing
// is cut off.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/frame.h"

namespace tidewright::tsdb {

struct WalOptions {
  uint64_t segment_bytes = 128 << 20;  // A segment that reaches this is finished.
  bool compress = true;                // Snappy, where it makes a record smaller.
};

struct ReplayStats {
  uint64_t records = 0;
  uint64_t corruptions = 0;
  uint64_t checkpoint_bytes = 0;
  uint64_t segment_bytes = 0;
};

// Calls `apply` with each record of the log in `directory` in order, and repairs the directory as the policy above
// says. `apply` returns kDataLoss for a record that it cannot decode, which ends the valid prefix there. Leftovers of
// an interrupted checkpoint are removed. The directory must exist.
base::Result<ReplayStats> ReplayWal(const std::string& directory,
                                    const std::function<base::Status(std::string_view record)>& apply);

// Appends to the log in a new segment. Not thread-safe.
class WalWriter {
 public:
  // Starts the segment after the last one of `directory`.
  static base::Result<std::unique_ptr<WalWriter>> Open(const std::string& directory, const WalOptions& options);
  ~WalWriter();
  WalWriter(const WalWriter&) = delete;
  WalWriter& operator=(const WalWriter&) = delete;

  // Hands all `records` to the kernel, or none: on failure the segment is cut back to where it was. kResourceExhausted
  // when the disk or a quota is full, else kUnavailable. May be tried again later.
  base::Status Append(const std::vector<std::string>& records);
  // Flushes to the disk.
  base::Status Sync();
  // Finishes the current segment and starts the next; returns the number of the finished one.
  base::Result<int> Cut();
  // Fills the last page with zeros, flushes, closes. Idempotent.
  base::Status Close();

  // Bytes appended by this writer.
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  WalWriter(std::string directory, const WalOptions& options, int next_segment)
      : directory_(std::move(directory)), options_(options), segment_(next_segment - 1) {}
  base::Status StartSegment();
  base::Status FinishSegment();
  base::Status WriteAll(std::string_view bytes);
  std::string SegmentPath() const;

  const std::string directory_;
  const WalOptions options_;
  int segment_;
  int fd_ = -1;
  uint64_t offset_ = 0;
  bool torn_ = false;  // Bytes after offset_ must be cut off before anything is appended.
  uint64_t bytes_written_ = 0;
  std::string buffer_;
};

// Writes a checkpoint that replaces the segments up to and including `last_segment`, then removes those and older
// checkpoints. `write` appends the records. A crash at any moment leaves a complete log. Returns the checkpoint's size.
base::Result<uint64_t> WriteCheckpoint(const std::string& directory, int last_segment, const WalOptions& options,
                                       const std::function<base::Status(WalWriter&)>& write);

}  // namespace tidewright::tsdb
