// Start timestamps inside a chunk (encodings 4, 5 and 6): when the counter of each sample began. Private to tsdb.
#pragma once

#include <cstdint>

#include "tsdb/bits.h"

namespace tidewright::tsdb {

// The header byte says whether the first sample has one (top bit), and from which sample on changes are stored: until
// there, all samples have that of the first. What is stored is, for the first sample, its distance from the
// sample's time; for others that from the time of the sample before, first as such, then how it changes. A start
// timestamp of 0 means unknown.
class StartTimesWriter {
 public:
  uint8_t header() const { return header_; }
  // To be called at the place of the start timestamp, which is last in its sample, for every sample.
  void Write(uint32_t sample, int64_t t, int64_t start, BitWriter* out);

 private:
  uint8_t header_ = 0;
  int64_t start_ = 0;
  uint64_t t_ = 0;
  uint64_t age_ = 0;
};

class StartTimesReader {
 public:
  StartTimesReader() = default;
  explicit StartTimesReader(uint8_t header) : header_(header) {}
  void Read(uint32_t sample, int64_t t, BitReader* in);
  int64_t start() const { return start_; }

 private:
  uint8_t header_ = 0;
  int64_t start_ = 0;
  uint64_t t_ = 0;
  uint64_t age_ = 0;
};

}  // namespace tidewright::tsdb
