// LateSamples: samples that came out of order, within the window that the store's owner allows. They are few, so that
// they are kept beside the series, by reference, until they go to blocks of their own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "tsdb/series_chunks.h"
#include "tsdb/timeline.h"

namespace tidewright::tsdb {

// Thread-safe. The lock is taken last.
template <typename Value>
class LateSamples {
 public:
  struct Entry {
    int64_t t = 0;
    CommitSequence commit = 0;
    Value value{};
  };

  // False when there is one of the same time already, which stays.
  bool Insert(SeriesRef ref, CommitSequence commit, int64_t t, Value value) {
    base::MutexLock lock(mu_);
    std::vector<Entry>& entries = series_[ref];
    auto place = std::lower_bound(entries.begin(), entries.end(), t, Before);
    if (place != entries.end() && place->t == t) return false;
    entries.insert(place, Entry{t, commit, std::move(value)});
    ++size_;
    return true;
  }

  // Those between mint and maxt (inclusive) that the reader sees, in time order.
  std::vector<Entry> Read(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader) const {
    std::vector<Entry> found;
    base::MutexLock lock(mu_);
    ForEach(ref, mint, maxt, reader, [&](const Entry& entry) {
      found.push_back(entry);
      return true;
    });
    return found;
  }
  bool MayHave(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader) const {
    bool any = false;
    base::MutexLock lock(mu_);
    ForEach(ref, mint, maxt, reader, [&](const Entry&) {
      any = true;
      return false;
    });
    return any;
  }
  bool Empty(SeriesRef ref) const {
    base::MutexLock lock(mu_);
    return series_.find(ref) == series_.end();
  }
  size_t size() const {
    base::MutexLock lock(mu_);
    return size_;
  }

  // Adds the beginnings of the two-hour windows that have samples.
  void AddWindows(std::set<int64_t>* windows) const {
    base::MutexLock lock(mu_);
    for (const auto& [ref, entries] : series_) {
      for (const Entry& entry : entries) windows->insert(ChunkWindow(entry.t) * kChunkWindowMs);
    }
  }
  // Drops those in [mint, maxt) of commits up to `seen`.
  void Drop(int64_t mint, int64_t maxt, CommitSequence seen) {
    auto gone = [&](const Entry& entry) { return entry.t >= mint && entry.t < maxt && entry.commit <= seen; };
    base::MutexLock lock(mu_);
    for (auto it = series_.begin(); it != series_.end();) {
      size_ -= std::erase_if(it->second, gone);
      it = it->second.empty() ? series_.erase(it) : std::next(it);
    }
  }
  void Forget(SeriesRef ref) {
    base::MutexLock lock(mu_);
    auto it = series_.find(ref);
    if (it == series_.end()) return;
    size_ -= it->second.size();
    series_.erase(it);
  }

 private:
  static bool Before(const Entry& entry, int64_t t) { return entry.t < t; }

  // Until `use` says false.
  template <typename Use>
  void ForEach(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, Use&& use) const REQUIRES_LOCK(mu_) {
    auto it = series_.find(ref);
    if (it == series_.end()) return;
    auto entry = std::lower_bound(it->second.begin(), it->second.end(), mint, Before);
    for (; entry != it->second.end() && entry->t <= maxt; ++entry) {
      if (entry->commit <= reader && !use(*entry)) return;
    }
  }

  mutable base::Mutex mu_;
  std::unordered_map<SeriesRef, std::vector<Entry>> series_ GUARDED_BY(mu_);
  size_t size_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::tsdb
