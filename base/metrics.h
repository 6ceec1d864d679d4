// The program's own metrics, rendered in the Prometheus text format on /metrics.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace tidewright::base {

// Label names and values of one metric, in the order to be printed.
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// A number that only grows. Thread-safe.
class Counter {
 public:
  void Add(double delta = 1);
  double Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// A number that is set. Thread-safe.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  double Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// A classic histogram with fixed upper bounds (ascending, without +Inf). Thread-safe.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);

 private:
  friend class MetricRegistry;
  const std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;  // One per bound, then +Inf; not cumulative.
  std::atomic<double> sum_{0};
};

// Owns metrics by (name, labels). Thread-safe. Returned references live as long as the registry, except after Remove().
class MetricRegistry {
 public:
  Counter& GetCounter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Gauge& GetGauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Histogram& GetHistogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                          const MetricLabels& labels = {});

  // Forgets every metric of family `name` whose labels include all of `labels`: for objects that were deleted. The
  // caller guarantees that no reference to a removed metric is used afterwards.
  void Remove(const std::string& name, const MetricLabels& labels);

  // Adds a function called before each rendering, to set gauges that are expensive to keep current.
  void OnCollect(std::function<void()> collect);

  // Text format 0.0.4: families and series sorted by name and labels.
  std::string Render() const;

 private:
  enum class Type { kCounter, kGauge, kHistogram };
  struct Family {
    Type type;
    std::string help;
    std::map<std::string, std::unique_ptr<Counter>> counters;  // Keyed by rendered labels.
    std::map<std::string, std::unique_ptr<Gauge>> gauges;
    std::map<std::string, std::unique_ptr<Histogram>> histograms;
  };
  Family& FamilyOf(const std::string& name, const std::string& help, Type type) REQUIRES_LOCK(mu_);

  mutable Mutex mu_;
  std::map<std::string, Family> families_ GUARDED_BY(mu_);
  std::vector<std::function<void()>> collectors_ GUARDED_BY(mu_);
};

// The shortest decimal text that reads back as the same double, spelled as Prometheus does: "1.5", "+Inf", "NaN",
// "1e+21".
std::string FormatDouble(double value);

}  // namespace tidewright::base
