// Arrivals: who wants to know that samples of a metric were stored.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/shared_mutex.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

class SeriesIndex;

// Thread-safe. While nobody watches, a commit costs one look at a flag, and otherwise a bit per sample. Borrows the
// index.
class Arrivals {
 public:
  explicit Arrivals(const SeriesIndex& index) : index_(index) {}

  // Calls `tell` after each commit that brought a sample of one of these metrics, on the thread that committed: it must
  // be quick, and use neither this nor the store. Returns what Stop() takes.
  using Tell = std::function<void()>;
  uint64_t Watch(const std::vector<std::string>& metrics, Tell tell);
  // Waits for the calls under way.
  void Stop(uint64_t watch);

  // For appenders. Whether the rest is worth calling.
  bool watched() const { return watched_.load(std::memory_order_acquire); }
  // A sample was appended by its labels: its series may be new.
  void Meet(SeriesRef ref, const Labels& labels);
  // Adds to `metrics` those that are watched and that the series of these entries, each with a `ref`, belong to; each
  // once.
  template <typename Entries>
  void Find(const Entries& entries, std::vector<uint32_t>* metrics) const {
    base::ReaderLock lock(mu_);
    for (const auto& entry : entries) {
      const size_t word = entry.ref / 64;
      if (word < bits_.size() && (bits_[word] >> (entry.ref % 64) & 1) != 0) FindOne(entry.ref, metrics);
    }
  }
  // They are stored.
  void Told(const std::vector<uint32_t>& metrics) const;

 private:
  struct Metric {
    std::string name;               // "": free.
    std::map<uint64_t, Tell> told;  // By watch.
  };
  void FindOne(SeriesRef ref, std::vector<uint32_t>* metrics) const REQUIRES_SHARED_LOCK(mu_);
  uint32_t NumberOf(const std::string& name) REQUIRES_LOCK(mu_);
  void AddSeries(uint32_t metric) REQUIRES_LOCK(mu_);
  void Add(SeriesRef ref, uint32_t metric) REQUIRES_LOCK(mu_);
  void Forget(uint32_t metric) REQUIRES_LOCK(mu_);
  void ForgetGoneSeries() REQUIRES_LOCK(mu_);

  const SeriesIndex& index_;
  std::atomic<bool> watched_{false};
  mutable base::SharedMutex mu_;
  uint64_t next_watch_ GUARDED_BY(mu_) = 1;
  std::vector<Metric> metrics_ GUARDED_BY(mu_);
  std::unordered_map<std::string, uint32_t> numbers_ GUARDED_BY(mu_);  // Of metrics, by name.
  std::unordered_map<SeriesRef, uint32_t> series_ GUARDED_BY(mu_);     // To the metric; some are gone by now.
  std::vector<uint64_t> bits_ GUARDED_BY(mu_);                         // Set for each of these, and for some others.
  size_t tidy_at_ GUARDED_BY(mu_) = 1024;                              // How many series make it look for those.
};

}  // namespace tidewright::tsdb
