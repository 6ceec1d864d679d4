// PackedCache: series of blocks that are read again and again, in memory, packed as the head packs them.
//
// A dashboard and a rule ask for the same hours every minute. Decoding the chunks of a block takes twice to three times
// as long as decoding the value codec, and finding them takes reading the index: here a series is one piece of memory
// of about a byte a sample, and its times are shared with those that were scraped together.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"

namespace tidewright::tsdb {

// The times of samples, and a number that names them: within a process no two are called the same.
struct NamedTimes {
  uint64_t name = 0;
  std::vector<int64_t> t;
};
uint64_t NewTimesName();

// The float samples of one series of one block. Immutable, thread-safe.
class PackedSeries {
 public:
  // `own_times`: no other series had them before, so that they count as its memory.
  PackedSeries(std::shared_ptr<const NamedTimes> times, bool own_times, std::span<const double> values);

  const NamedTimes& times() const { return *times_; }
  // Decodes the values [from, to) into `v`, which grows as needed; they begin at the index that is returned.
  size_t Decode(size_t from, size_t to, std::vector<double>* v) const;
  size_t bytes() const;
  // Has the processor load the values, for a reader that comes to the series soon.
  void Prefetch() const;

 private:
  // Decoding may begin at every 256th value.
  struct Restart {
    double previous;
    uint32_t offset;
  };
  static constexpr size_t kRestartValues = 256;

  const std::shared_ptr<const NamedTimes> times_;
  const bool own_times_;
  std::string packed_;  // Blocks, then single values, then the restarts.
  uint32_t tail_ = 0;   // Where the single values begin,
  uint32_t end_ = 0;    // and where they end.
};

// Thread-safe. A series is taken in when it is asked for a second time. When there is no room, a new one is taken in
// only for one that was not asked for in the last two minutes, so that a scan through more than fits does not turn
// everything over for nothing. Times are ms of any clock that does not go back.
class PackedCache {
 public:
  explicit PackedCache(size_t max_bytes) : max_bytes_(max_bytes) {}
  PackedCache(const PackedCache&) = delete;
  PackedCache& operator=(const PackedCache&) = delete;

  // A number for a block: the upper half of the keys of its series.
  uint32_t NewBlock();

  struct Found {
    std::shared_ptr<const PackedSeries> series;  // Null: it is not here.
    bool wanted = false;                         // Whether Add() would take it in then.
  };
  static constexpr size_t kMostAtOnce = 16;
  // Looks for at most kMostAtOnce series. Each lies somewhere else, so that several take little longer than one.
  void Find(std::span<const uint64_t> keys, int64_t now_ms, std::span<Found> found);
  // All samples of the series, ascending in time.
  void Add(uint64_t key, int64_t now_ms, std::span<const int64_t> t, std::span<const double> v);

  size_t bytes() const;

 private:
  struct Entry {
    std::shared_ptr<const PackedSeries> series;
    uint64_t key = 0;
    int64_t used_ms = 0;
    Entry* newer = nullptr;
    Entry* older = nullptr;
  };

  std::shared_ptr<const NamedTimes> Share(std::span<const int64_t> t, bool* made) REQUIRES_LOCK(mu_);
  void Touch(Entry* entry, int64_t now_ms) REQUIRES_LOCK(mu_);
  bool AskedBefore(uint64_t key) REQUIRES_LOCK(mu_);
  bool HasRoom(size_t bytes, int64_t now_ms) REQUIRES_LOCK(mu_);
  void Unlink(Entry* entry) REQUIRES_LOCK(mu_);
  void Link(Entry* entry) REQUIRES_LOCK(mu_);

  const size_t max_bytes_;
  mutable base::Mutex mu_;
  uint32_t blocks_ GUARDED_BY(mu_) = 0;
  std::vector<uint32_t> asked_ GUARDED_BY(mu_);  // What was asked for, by hash: some is forgotten.
  size_t bytes_ GUARDED_BY(mu_) = 0;
  std::unordered_map<uint64_t, Entry> entries_ GUARDED_BY(mu_);
  Entry* newest_ GUARDED_BY(mu_) = nullptr;
  Entry* oldest_ GUARDED_BY(mu_) = nullptr;
  std::unordered_map<uint64_t, std::weak_ptr<const NamedTimes>> times_ GUARDED_BY(mu_);  // By a hash of them.
};

}  // namespace tidewright::tsdb
