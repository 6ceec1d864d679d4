// Db: the embedded time series database, a directory that is opened once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/querier.h"

namespace tidewright::tsdb {

struct DbOptions {
  int64_t retention_ms = 24LL * 3600 * 1000;  // Samples older than this are dropped by Maintain().
  int64_t fsync_interval_ms = 5'000;  // The log is flushed to the kernel at each Commit, to the disk this often.
  size_t max_series = 0;              // 0: no limit.
  // Files of the log are finished at this size; two of them make a checkpoint worth while.
  uint64_t wal_segment_bytes = 128 << 20;
};

struct DbStats {
  uint64_t series = 0;
  uint64_t samples_appended = 0;
  uint64_t wal_corruptions = 0;
  int64_t min_time = 0;  // Of the head; 0 when empty.
  int64_t max_time = 0;
};

// Thread-safe. Owns its directory through a lock file.
class Db : public Appendable, public Queryable {
 public:
  // Opens or creates `directory` ("" keeps everything in memory) and replays the log: its valid prefix is kept, what
  // follows the first corrupt record is cut off, counted and logged. Borrows `clock` and `metrics` (may be null).
  static base::Result<std::unique_ptr<Db>> Open(const std::string& directory, const DbOptions& options,
                                                base::Clock& clock, base::MetricRegistry* metrics);
  ~Db() override = default;  // Close().

  // Drops samples before the retention and series without samples, and log segments that hold nothing else. Called by
  // the owner about once a minute.
  virtual base::Status Maintain() = 0;
  virtual DbStats Stats() const = 0;
  // Flushes and closes the log. Idempotent.
  virtual base::Status Close() = 0;
};

}  // namespace tidewright::tsdb
