// SelfMetrics: puts what this program says of itself into its own store, whatever is scraped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "tsdb/appender.h"

namespace tidewright::cmd {

// Every 15 seconds the metrics about scaling are stored as if they had been scraped, with the labels
// job="tidewright-self" and `instance`. A job that scrapes the web port may store the same with other labels: whoever
// asks aggregates. Start() and Stop() are called by one thread at a time.
class SelfMetrics {
 public:
  // `refresh` is called before each time, to set gauges. Borrows the rest.
  SelfMetrics(base::MetricRegistry& metrics, tsdb::Appendable& store, base::Clock& clock, base::Scheduler& scheduler,
              std::string instance, std::function<void()> refresh);
  ~SelfMetrics();  // Stop().

  base::Status Start();
  // Idempotent. The series end. The scheduler must still be running.
  void Stop();

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace tidewright::cmd
