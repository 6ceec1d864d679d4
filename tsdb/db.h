// Db: the embedded time series database, a directory that is opened once.
//
// The newest samples are in the head: in memory, and in a log of our own under log/ and head_chunks/. What is older is
// in blocks of two hours and more, in Prometheus' format, which Prometheus and its tools read. A clean stop writes the
// head to blocks, too. A directory that Prometheus left behind is taken over when it is opened.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/arrivals.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"

namespace tidewright::tsdb {

struct DbOptions {
  int64_t retention_ms = 24LL * 3600 * 1000;  // Samples older than this are dropped by Maintain().
  uint64_t retention_bytes = 0;               // The oldest blocks go when all are larger than this; 0: no limit.
  // The log is handed to the kernel at each Commit, and flushed to the disk this often; 0: at each Commit.
  int64_t fsync_interval_ms = 5'000;
  size_t max_series = 0;  // 0: no limit.
  // Files of the log are finished at this size; two of them make a checkpoint worth while.
  uint64_t wal_segment_bytes = 32 << 20;
  // The longest block that compaction makes; 0: a tenth of the retention.
  int64_t max_block_ms = 0;
  // How many exemplars of all series together are kept, the newest ones; 0: none.
  size_t max_exemplars = 0;
  // Samples older than the newest of their series are taken if they are at most this much older than the newest of all;
  // 0: none are.
  int64_t out_of_order_window_ms = 0;
};

struct DbStats {
  uint64_t series = 0;  // Of the head.
  uint64_t samples_appended = 0;
  uint64_t wal_corruptions = 0;
  uint64_t blocks = 0;
  uint64_t block_bytes = 0;
  int64_t min_time = 0;  // Of the whole store; 0 when empty.
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

  // Writes what is old enough to blocks, merges blocks, drops samples before the retention and series without samples,
  // and log segments that hold nothing else. Called by the owner about once a minute.
  virtual base::Status Maintain() = 0;
  virtual DbStats Stats() const = 0;
  // To be told of samples that Appenders have stored. Lives as long as the store.
  virtual Arrivals& arrivals() = 0;
  // Changes DbOptions::max_exemplars (the newest are kept) and DbOptions::out_of_order_window_ms.
  virtual void SetMaxExemplars(size_t count) = 0;
  virtual void SetOutOfOrderWindow(int64_t ms) = 0;

  // Deletes the samples of the matching series between mint and maxt (inclusive, ms); returns the number of series
  // concerned, counted per block. Writes the head to blocks first. kUnavailable when queries hold on to the head for
  // too long.
  virtual base::Result<uint64_t> Delete(int64_t mint, int64_t maxt, const Matchers& matchers) = 0;
  // Frees the space of deleted samples.
  virtual base::Status CleanTombstones() = 0;
  // Writes all that is stored, as blocks, to `directory`, which is made; what Prometheus and its tools open. With
  // `without_head` only what is in blocks already.
  virtual base::Status Snapshot(const std::string& directory, bool without_head) = 0;

  // Writes the head to blocks, flushes and closes the log. Idempotent. What is stored may still be read.
  virtual base::Status Close() = 0;
};

}  // namespace tidewright::tsdb
