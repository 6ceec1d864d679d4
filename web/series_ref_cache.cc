#include "web/series_ref_cache.h"

#include <utility>

namespace tidewright::web {

// Where the hash is, or would go.
SeriesRefCache::Slot& SeriesRefCache::SlotOf(uint64_t hash) {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].ref != 0 && slots_[at].hash != hash) at = (at + 1) & mask;
  return slots_[at];
}

tsdb::SeriesRef SeriesRefCache::Find(uint64_t hash) {
  if (slots_.empty()) return 0;
  Slot& slot = SlotOf(hash);
  if (slot.ref != 0) slot.epoch = epoch_;
  return slot.ref;
}

void SeriesRefCache::Put(uint64_t hash, tsdb::SeriesRef ref) {
  if ((size_ + 1) * 4 > slots_.size() * 3 || size_ >= max_entries_) Remake();
  Slot& slot = SlotOf(hash);
  if (slot.ref == 0) ++size_;
  slot = {hash, ref, epoch_};
}

// Keeps what was used lately, in a table that this fills by half at most; nothing when that is too much.
void SeriesRefCache::Remake() {
  size_t kept = 0;
  for (const Slot& slot : slots_) kept += IsRecent(slot) ? 1 : 0;
  if (kept >= max_entries_) kept = 0;
  size_t slots = kMinSlots;
  while (slots < (kept + 1) * 2) slots *= 2;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  size_ = kept;
  if (kept == 0) return;
  for (const Slot& slot : old) {
    if (IsRecent(slot)) SlotOf(slot.hash) = slot;
  }
}

}  // namespace tidewright::web
