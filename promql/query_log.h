// The query log: one line of JSON per query, with the fields of the one that Prometheus' query_log_file names.
#pragma once

#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "promql/engine.h"

namespace tidewright::promql {

// Thread-safe. A line that cannot be written is lost and counted, never a reason to fail a query.
class QueryLog {
 public:
  // Borrows all; `metrics` may be null.
  QueryLog(const base::Clock& clock, base::MetricRegistry* metrics);
  ~QueryLog();
  QueryLog(const QueryLog&) = delete;
  QueryLog& operator=(const QueryLog&) = delete;

  // Appends to `path` from now on, opened anew each time so that a file that was moved away is let go; "" ends the log.
  // On an error it stays as it was.
  base::Status Open(const std::string& path);
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
  // `outcome` is the query's status.
  void Write(const QueryRequest& request, const base::Status& outcome, const QueryStatistics& statistics);

 private:
  const base::Clock& clock_;
  base::Gauge* enabled_metric_ = nullptr;
  base::Counter* failures_ = nullptr;
  std::atomic<bool> enabled_{false};
  base::Mutex mu_;
  int fd_ GUARDED_BY(mu_) = -1;
};

}  // namespace tidewright::promql
