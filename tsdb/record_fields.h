// What several types of log records have in common. Private to tsdb.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tsdb/encoding.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {

base::Status MalformedRecord(std::string_view what);

// Deltas wrap around, as the sums of the reader do: every pair of values has one.
inline int64_t Delta(uint64_t value, uint64_t base) { return static_cast<int64_t>(value - base); }
inline int64_t Delta(int64_t value, int64_t base) {
  return Delta(static_cast<uint64_t>(value), static_cast<uint64_t>(base));
}
inline uint64_t Plus(uint64_t base, int64_t delta) { return base + static_cast<uint64_t>(delta); }
inline int64_t Plus(int64_t base, int64_t delta) {
  return static_cast<int64_t>(Plus(static_cast<uint64_t>(base), delta));
}

void PutLabels(const Labels& labels, std::string* out);
bool ReadLabels(ByteReader* in, Labels* labels);

// Series and time of the elements of a record of the first version: differences to those of the first, which are in
// front. Not thread-safe.
class FirstPosition {
 public:
  void Put(SeriesRef ref, int64_t t, std::string* out);
  void Read(ByteReader* in, SeriesRef* ref, int64_t* t);

 private:
  bool begun_ = false;
  SeriesRef ref_ = 0;
  int64_t t_ = 0;
};

// The same of the second versions, with a start timestamp: the series is a difference to the one before, the time to
// that of the first. Not thread-safe.
class RecordPosition {
 public:
  void Put(SeriesRef ref, int64_t t, int64_t start_time, std::string* out);
  bool Read(ByteReader* in, SeriesRef* ref, int64_t* t, int64_t* start_time);

 private:
  bool begun_ = false;
  SeriesRef previous_ref_ = 0;
  int64_t first_t_ = 0;
  int64_t first_start_ = 0;
  int64_t previous_start_ = 0;
};

}  // namespace tidewright::tsdb
