// RefSet: a set of series as ascending ranges of references. The series of a target are created together and get
// neighbouring references, so that most sets are a few ranges long, and set operations work on ranges.
#pragma once

#include <cstdint>
#include <vector>

#include "tsdb/appender.h"

namespace tidewright::tsdb {

// The references begin .. end - 1.
struct RefRange {
  SeriesRef begin = 0;
  SeriesRef end = 0;
  friend bool operator==(const RefRange&, const RefRange&) = default;
};

// Ascending, not empty, neither overlapping nor touching. Value type.
class RefSet {
 public:
  RefSet() = default;

  // Adds a range that begins at or after the end of the last one.
  void Append(SeriesRef begin, SeriesRef end) {
    if (!ranges_.empty() && ranges_.back().end == begin) {
      ranges_.back().end = end;
    } else {
      ranges_.push_back({begin, end});
    }
  }
  void Append(SeriesRef ref) { Append(ref, ref + 1); }

  const std::vector<RefRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  uint64_t size() const;
  bool Contains(SeriesRef ref) const;
  void clear() { ranges_.clear(); }

  // Any ranges in any order, such as the lists of several label values.
  static RefSet Union(std::vector<RefRange> ranges);
  RefSet Intersect(const RefSet& other) const;
  RefSet Subtract(const RefSet& other) const;

  friend bool operator==(const RefSet&, const RefSet&) = default;

 private:
  std::vector<RefRange> ranges_;
};

}  // namespace tidewright::tsdb
