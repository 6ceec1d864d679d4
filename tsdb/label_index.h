// LabelIndex: from the hash of a label set to the series that has it, 8 bytes a slot.
//
// A slot holds 24 bits of the hash and 40 bits of the reference. The home of an entry follows from those 24 bits, so
// that the table grows and shrinks without looking at a single label set.
#pragma once

#include <cstdint>
#include <vector>

#include "tsdb/appender.h"

namespace tidewright::tsdb {

// Not thread-safe; concurrent const calls are fine.
class LabelIndex {
 public:
  static constexpr SeriesRef kMaxRef = (SeriesRef{1} << 40) - 1;

  // The series with this hash for which `same(ref)` holds, or 0.
  template <typename Same>
  SeriesRef Find(uint64_t hash, Same&& same) const {
    if (slots_.empty()) return 0;
    for (size_t slot = Home(hash >> 40);; slot = Next(slot)) {
      if (slots_[slot] == 0) return 0;
      if (slots_[slot] >> 40 == hash >> 40 && same(slots_[slot] & kMaxRef)) return slots_[slot] & kMaxRef;
    }
  }
  // Adds a series that is not there; `ref` is not 0 and at most kMaxRef.
  void Insert(uint64_t hash, SeriesRef ref);
  // Removes a series; false if it is not there.
  bool Erase(uint64_t hash, SeriesRef ref);

  size_t size() const { return size_; }
  size_t bytes() const { return slots_.capacity() * sizeof(uint64_t); }

 private:
  size_t Home(uint64_t top) const { return top * slots_.size() >> 24; }
  size_t Next(size_t slot) const { return slot + 1 == slots_.size() ? 0 : slot + 1; }
  void Place(uint64_t entry);
  void Resize(size_t capacity);

  std::vector<uint64_t> slots_;
  size_t size_ = 0;
};

}  // namespace tidewright::tsdb
