#include "tsdb/ref_set.h"

#include <algorithm>

namespace tidewright::tsdb {

namespace {

using Position = std::vector<RefRange>::const_iterator;

// The first range from `at` on that ends after `ref`: a few steps, then a binary search, which is cheap for sets of
// like and of very different length.
Position SkipTo(Position at, Position end, SeriesRef ref) {
  for (int step = 0; step < 8; ++step, ++at) {
    if (at == end || at->end > ref) return at;
  }
  return std::partition_point(at, end, [ref](const RefRange& range) { return range.end <= ref; });
}

}  // namespace

uint64_t RefSet::size() const {
  uint64_t total = 0;
  for (const RefRange& range : ranges_) total += range.end - range.begin;
  return total;
}

bool RefSet::Contains(SeriesRef ref) const {
  auto at = std::partition_point(ranges_.begin(), ranges_.end(), [ref](const RefRange& r) { return r.end <= ref; });
  return at != ranges_.end() && at->begin <= ref;
}

RefSet RefSet::Union(std::vector<RefRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const RefRange& a, const RefRange& b) { return a.begin < b.begin; });
  RefSet result;
  for (const RefRange& range : ranges) {
    if (!result.ranges_.empty() && range.begin <= result.ranges_.back().end) {
      result.ranges_.back().end = std::max(result.ranges_.back().end, range.end);
    } else {
      result.ranges_.push_back(range);
    }
  }
  return result;
}

RefSet RefSet::Intersect(const RefSet& other) const {
  RefSet result;
  Position a = ranges_.begin(), b = other.ranges_.begin();
  while (true) {
    if (b == other.ranges_.end()) return result;
    a = SkipTo(a, ranges_.end(), b->begin);
    if (a == ranges_.end()) return result;
    b = SkipTo(b, other.ranges_.end(), a->begin);
    if (b == other.ranges_.end()) return result;
    SeriesRef begin = std::max(a->begin, b->begin), end = std::min(a->end, b->end);
    if (begin >= end) continue;
    result.Append(begin, end);
    (a->end <= b->end ? a : b) += 1;
    if (a == ranges_.end()) return result;
  }
}

RefSet RefSet::Subtract(const RefSet& other) const {
  RefSet result;
  Position b = other.ranges_.begin();
  for (RefRange range : ranges_) {
    b = SkipTo(b, other.ranges_.end(), range.begin);
    for (Position cut = b; cut != other.ranges_.end() && cut->begin < range.end && range.begin < range.end; ++cut) {
      if (range.begin < cut->begin) result.Append(range.begin, cut->begin);
      range.begin = cut->end;
    }
    if (range.begin < range.end) result.Append(range.begin, range.end);
  }
  return result;
}

}  // namespace tidewright::tsdb
