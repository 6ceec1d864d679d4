// SeriesRefCache: which series of the store a sender's spelling of labels means, so that a series that is written again
// costs a hash instead of labels.
#pragma once

#include <cstdint>
#include <vector>

#include "tsdb/appender.h"

namespace tidewright::web {

// Keyed by base::SecretHash() of the spelling, which is all that is kept of it: 16 bytes an entry. What was not used
// for some minutes makes way when the table would have to grow. Not thread-safe.
class SeriesRefCache {
 public:
  // Holds at most `max_entries`, and takes memory for as many as it has.
  explicit SeriesRefCache(size_t max_entries = kDefaultMaxEntries) : max_entries_(max_entries) {}

  // What is used from now on is used at that time.
  void SetTime(int64_t now_ms) { epoch_ = static_cast<uint64_t>(now_ms / kEpochMs) & kEpochMask; }
  tsdb::SeriesRef Find(uint64_t hash);  // 0: not known.
  void Put(uint64_t hash, tsdb::SeriesRef ref);
  size_t size() const { return size_; }

 private:
  static constexpr size_t kDefaultMaxEntries = 4 << 20;
  static constexpr size_t kMinSlots = 1024;
  static constexpr int64_t kEpochMs = 5 * 60'000;
  static constexpr uint64_t kEpochMask = 0xffff;
  struct Slot {
    uint64_t hash = 0;
    uint64_t ref : 48 = 0;    // 0: free.
    uint64_t epoch : 16 = 0;  // When it was used.
  };

  Slot& SlotOf(uint64_t hash);
  bool IsRecent(const Slot& slot) const { return slot.ref != 0 && ((epoch_ - slot.epoch) & kEpochMask) <= 1; }
  void Remake();

  const size_t max_entries_;
  std::vector<Slot> slots_;  // Open addressing; a power of two, or empty. At most three quarters are taken.
  size_t size_ = 0;
  uint64_t epoch_ = 0;
};

}  // namespace tidewright::web
