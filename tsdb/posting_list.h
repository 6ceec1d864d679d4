// PostingList: the series that carry one label pair, as runs of neighbouring references.
//
// A run is the varint 2 * gap + more, gap being the distance from the end of the run before, followed by the varint
// length - 2 when `more` is set (the run is longer than 1). The last run is kept in the object, because it may still
// grow: a pair whose series were created together has no bytes in the slab at all.
#pragma once

#include <cstdint>

#include "tsdb/ref_set.h"
#include "tsdb/slab.h"

namespace tidewright::tsdb {

// Owns bytes of a slab that the caller passes to each call; Free() before it goes. Not thread-safe.
class PostingList {
 public:
  // Adds a reference that is not there: at once when it is larger than all before, as nearly always. False when memory
  // is exhausted.
  bool Add(Slab& slab, SeriesRef ref);
  // Removes what is in `gone`.
  void Subtract(Slab& slab, const RefSet& gone);
  void Free(Slab& slab);

  // Appends the ranges, ascending, to `out`.
  void Decode(const Slab& slab, std::vector<RefRange>* out) const;
  RefSet Decode(const Slab& slab) const;
  uint32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  SeriesRef back() const { return end_ - 1; }

 private:
  bool Append(Slab& slab, SeriesRef ref);
  bool Assign(Slab& slab, const RefSet& set);
  bool CloseRun(Slab& slab);

  uint64_t end_ = 0;  // One past the last reference.
  uint64_t gap_ = 0;  // Of the last run.
  uint32_t run_ = 0;  // Its length.
  uint32_t count_ = 0;
  Slab::Handle bytes_ = 0;
  uint32_t used_ = 0;
};

}  // namespace tidewright::tsdb
