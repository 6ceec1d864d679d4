// LastValues: what metrics were when they were last known.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "apiservice/provider.h"
#include "base/metrics.h"
#include "base/mutex.h"

namespace tidewright::adapter {

// Keeps answers for `keep_ms` (0: none at all) and at most `most` of them; those stored longest ago go first.
// Thread-safe. Borrows metrics.
//
// A kept value stands in for one that is missing. That never makes an autoscaler forget that something is wrong: the
// value carries its own time and a warning, tidewright_adapter_last_values_used_total counts it, and after `keep_ms`
// the error is back.
template <typename Value>
class LastKnown {
 public:
  LastKnown(int64_t keep_ms, size_t most, base::Counter& used) : keep_ms_(keep_ms), most_(most), used_(used) {}

  bool enabled() const { return keep_ms_ > 0; }

  void Store(const std::string& key, const Value& value, int64_t now_ms) {
    if (!enabled()) return;
    base::MutexLock lock(mu_);
    auto [it, fresh] = by_key_.try_emplace(key, entries_.end());
    if (!fresh) entries_.erase(it->second);
    entries_.push_back({key, now_ms, value});
    it->second = std::prev(entries_.end());
    if (by_key_.size() <= most_) return;
    by_key_.erase(entries_.front().key);
    entries_.pop_front();
  }

  // With the time at which it was stored; nullopt when there is none, or it is too old.
  std::optional<std::pair<Value, int64_t>> Find(const std::string& key, int64_t now_ms) {
    if (!enabled()) return std::nullopt;
    base::MutexLock lock(mu_);
    auto it = by_key_.find(key);
    if (it == by_key_.end() || now_ms - it->second->at_ms > keep_ms_) return std::nullopt;
    used_.Add();
    return std::pair(it->second->value, it->second->at_ms);
  }

 private:
  struct Entry {
    std::string key;
    int64_t at_ms = 0;
    Value value;
  };
  const int64_t keep_ms_;
  const size_t most_;
  base::Counter& used_;
  base::Mutex mu_;
  std::list<Entry> entries_ GUARDED_BY(mu_);  // In the order in which they were stored.
  std::unordered_map<std::string, typename std::list<Entry>::iterator> by_key_ GUARDED_BY(mu_);
};

using LastValues = LastKnown<apiservice::CustomMetricValue>;
using LastExternalValues = LastKnown<std::vector<apiservice::ExternalMetricValue>>;

}  // namespace tidewright::adapter
