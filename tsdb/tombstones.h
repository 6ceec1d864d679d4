// Tombstones: which times of which series of a block are deleted. The format is described in tsdb/docs/tombstones.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

// Both ends inclusive, ms.
struct TimeInterval {
  int64_t mint = 0;
  int64_t maxt = 0;
  friend bool operator==(const TimeInterval&, const TimeInterval&) = default;
};

// Ascending, apart from each other by at least 1 ms.
using TimeIntervals = std::vector<TimeInterval>;

// Adds one, joining those that overlap or touch.
void AddInterval(TimeIntervals* intervals, TimeInterval added);
bool Covers(const TimeIntervals& intervals, int64_t t);
bool CoversRange(const TimeIntervals& intervals, int64_t mint, int64_t maxt);

// By series, named by its id in the index of the block. Thread-compatible.
class Tombstones {
 public:
  void Add(uint64_t series, TimeInterval interval);
  // nullptr when nothing of the series is deleted.
  const TimeIntervals* Of(uint64_t series) const;
  bool empty() const { return by_series_.empty(); }
  // The number of intervals.
  uint64_t size() const;
  auto begin() const { return by_series_.begin(); }
  auto end() const { return by_series_.end(); }

 private:
  std::map<uint64_t, TimeIntervals> by_series_;
};

// The bytes of the file. Parsing fails with kDataLoss on anything that encoding would not have written.
std::string EncodeTombstones(const Tombstones& tombstones);
base::Result<Tombstones> ParseTombstones(std::string_view bytes);
// A block without the file has no tombstones.
base::Result<Tombstones> ReadTombstones(const std::string& block_directory);
base::Status WriteTombstones(const std::string& block_directory, const Tombstones& tombstones);

}  // namespace tidewright::tsdb
