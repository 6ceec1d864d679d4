#include "tsdb/label_index.h"

#include <algorithm>

namespace tidewright::tsdb {

namespace {

constexpr size_t kMinSlots = 16;

}  // namespace

void LabelIndex::Place(uint64_t entry) {
  size_t slot = Home(entry >> 40);
  while (slots_[slot] != 0) slot = Next(slot);
  slots_[slot] = entry;
}

void LabelIndex::Resize(size_t capacity) {
  std::vector<uint64_t> old(capacity);
  old.swap(slots_);
  for (uint64_t entry : old) {
    if (entry != 0) Place(entry);
  }
}

void LabelIndex::Insert(uint64_t hash, SeriesRef ref) {
  // By half each time: the table's slack is what a series costs most here.
  if ((size_ + 1) * 5 > slots_.size() * 4) Resize(std::max(kMinSlots, slots_.size() + slots_.size() / 2));
  Place((hash & ~kMaxRef) | ref);
  ++size_;
}

bool LabelIndex::Erase(uint64_t hash, SeriesRef ref) {
  if (slots_.empty()) return false;
  const uint64_t entry = (hash & ~kMaxRef) | ref;
  size_t hole = Home(entry >> 40);
  while (slots_[hole] != entry) {
    if (slots_[hole] == 0) return false;
    hole = Next(hole);
  }
  const size_t capacity = slots_.size();
  auto distance = [capacity](size_t from, size_t to) { return to >= from ? to - from : to + capacity - from; };
  for (size_t slot = Next(hole); slots_[slot] != 0; slot = Next(slot)) {
    if (distance(Home(slots_[slot] >> 40), slot) < distance(hole, slot)) continue;
    slots_[hole] = slots_[slot];
    hole = slot;
  }
  slots_[hole] = 0;
  --size_;
  if (size_ * 4 < slots_.size() && slots_.size() > 1024) Resize(std::max(kMinSlots, size_ * 3 / 2));
  return true;
}

}  // namespace tidewright::tsdb
