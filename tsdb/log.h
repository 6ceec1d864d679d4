// The head's log: a directory of segments, 00000000, 00000001, ..., and at most one checkpoint, checkpoint.00000004,
// that replaces the segments up to its number. The format is described in tsdb/docs/log.md.
//
// Policy for damage: the valid prefix of the log is kept. What follows the first bad byte is cut off, counted and
// logged, so that the next start finds a clean log. An error of the disk is not damage: it fails the start and nothing
// is cut off. A damaged checkpoint keeps its valid prefix, and the segments are read all the same.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::tsdb {

inline constexpr size_t kLogHeaderBytes = 8;  // Of a segment and of a checkpoint.
inline constexpr size_t kLogFrameBytes = 8;   // Length and checksum in front of each record.
inline constexpr uint32_t kMaxLogRecord = 1 << 30;

struct LogReplay {
  uint64_t records = 0;
  uint64_t corruptions = 0;
  uint64_t checkpoint_bytes = 0;
  uint64_t segment_bytes = 0;
};

// Calls `apply` with each record of the log in order, `start` before the first of each file, and repairs the directory
// as the policy above says. `apply` returns kDataLoss for a record that it cannot decode, which ends the valid prefix
// there. Leftovers of an interrupted checkpoint are removed. The directory must exist.
base::Result<LogReplay> ReplayLog(const std::string& directory, const std::function<void()>& start,
                                  const std::function<base::Status(std::string_view record)>& apply);

// Where segments and checkpoints go that a newer checkpoint replaces, if this directory exists; otherwise they are
// removed. Whoever makes it (tsdb/log_tail.h) takes them away.
std::string RetiredLogDirectory(const std::string& log_directory);

// Reads one file of a log, a segment or a checkpoint, and changes nothing. kDataLoss names the first byte from which on
// it is damaged, be it that `apply` says so.
base::Status ReadLogFile(const std::string& path, bool checkpoint,
                         const std::function<base::Status(std::string_view record)>& apply);

// Appends to the log in a new segment. Not thread-safe.
class LogWriter {
 public:
  static base::Result<std::unique_ptr<LogWriter>> Open(const std::string& directory, uint64_t segment_bytes);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Makes sure that a segment is open with room for more; true when it is a new one, whose records must not refer to
  // those of segments before. Call before building a record.
  base::Result<bool> Prepare();
  // Hands `record` to the kernel as a whole or not at all: on failure the segment is cut back to where it was, and the
  // next Prepare() says true. kResourceExhausted when the disk or a quota is full, else kUnavailable. May be tried
  // again later.
  base::Status Append(std::string_view record);
  // Flushes to the disk.
  base::Status Sync();
  // Finishes the current segment; returns its number. What is appended next goes to a new one.
  base::Result<int> Cut();
  // Flushes, closes. Idempotent.
  base::Status Close();

  uint64_t bytes_written() const { return bytes_written_; }

 private:
  LogWriter(std::string directory, uint64_t segment_bytes, int next_segment)
      : directory_(std::move(directory)), segment_bytes_(segment_bytes), segment_(next_segment - 1) {}
  base::Status StartSegment();
  base::Status FinishSegment();
  base::Status Write(std::string_view bytes);

  const std::string directory_;
  const uint64_t segment_bytes_;
  int segment_;
  int fd_ = -1;
  uint64_t offset_ = 0;
  bool fresh_ = true;  // Nothing that counts was appended since the segment began, or since an append failed.
  bool torn_ = false;  // Bytes after offset_ must be cut off before anything is appended.
  uint64_t bytes_written_ = 0;
  std::string frame_;
};

// Writes a checkpoint that replaces the segments up to and including `last_segment`, then removes those and the
// checkpoint before. `write` hands the records, in order, to the function it is given. A crash at any moment leaves a
// complete log. Returns the checkpoint's size.
using RecordSink = std::function<base::Status(std::string_view record)>;
base::Result<uint64_t> WriteLogCheckpoint(const std::string& directory, int last_segment,
                                          const std::function<base::Status(const RecordSink&)>& write);

}  // namespace tidewright::tsdb
