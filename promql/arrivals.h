// SampleArrivals: tells when samples have been stored that an expression may look at.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {
class Arrivals;
}  // namespace tidewright::tsdb

namespace tidewright::promql {

// The names of the metrics that the selectors of an expression name, each once, sorted. kInvalidArgument when it cannot
// be parsed, when it selects nothing, and when a selector does not name its metric, as in {job="a"}.
base::Result<std::vector<std::string>> MetricsOf(const std::string& expr);

// Thread-safe. Borrows what the store tells, which must outlive it and its watches.
class SampleArrivals {
 public:
  explicit SampleArrivals(tsdb::Arrivals& arrivals) : arrivals_(arrivals) {}

  // Until the result is destroyed, calls `tell` when samples of a metric of the expression were stored, once for all
  // that were stored together, from any thread. `tell` must be quick, and neither store nor destroy the watch. Errors:
  // those of MetricsOf().
  base::Result<std::shared_ptr<void>> Watch(const std::string& expr, std::function<void()> tell);

 private:
  tsdb::Arrivals& arrivals_;
};

}  // namespace tidewright::promql
