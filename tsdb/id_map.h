// IdMap: from small numbers to small numbers, 8 bytes a slot.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace tidewright::tsdb {

// Open addressing. Keys are not 0. Not thread-safe; concurrent const calls are fine.
class IdMap {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // The value of `key`, or kNone.
  uint32_t Find(uint32_t key) const {
    if (slots_.empty()) return kNone;
    const Slot& slot = slots_[SlotOf(key)];
    return slot.key == key ? slot.value : kNone;
  }
  // Adds a key that is not there.
  void Insert(uint32_t key, uint32_t value) {
    if ((size_ + 1) * 4 > slots_.size() * 3) Grow();
    slots_[SlotOf(key)] = {key, value};
    ++size_;
  }
  // Removes a key that is there.
  void Erase(uint32_t key) {
    const size_t mask = slots_.size() - 1;
    size_t hole = SlotOf(key);
    for (size_t slot = (hole + 1) & mask; slots_[slot].key != 0; slot = (slot + 1) & mask) {
      size_t home = Home(slots_[slot].key);
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots_[hole] = slots_[slot];
      hole = slot;
    }
    slots_[hole] = {};
    --size_;
  }
  size_t size() const { return size_; }
  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t key = 0;
    uint32_t value = 0;
  };

  size_t Home(uint32_t key) const { return (key * 0x9e3779b1u >> 7 ^ key) & (slots_.size() - 1); }
  size_t SlotOf(uint32_t key) const {
    size_t slot = Home(key);
    while (slots_[slot].key != 0 && slots_[slot].key != key) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  void Grow() {
    std::vector<Slot> old(slots_.empty() ? 4 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != 0) slots_[SlotOf(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace tidewright::tsdb
