#include "tsdb/start_times.h"

namespace tidewright::tsdb {

namespace {
constexpr uint8_t kFirstKnown = 0x80;
constexpr uint8_t kMaxFirstChange = 0x7f;  // The header has seven bits: from this sample on they are always stored.
}  // namespace

void StartTimesWriter::Write(uint32_t sample, int64_t t, int64_t start, BitWriter* out) {
  const uint64_t previous_t = t_;
  t_ = static_cast<uint64_t>(t);
  if (sample == 0) {
    start_ = start;
    if (start == 0) return;
    header_ = kFirstKnown;
    return out->Varint(static_cast<int64_t>(t_ - static_cast<uint64_t>(start)));
  }
  const bool first_change = (header_ & kMaxFirstChange) == 0;
  if (first_change) {
    if (start == start_ && sample != kMaxFirstChange) return;
    header_ |= static_cast<uint8_t>(sample);
  }
  const uint64_t age = previous_t - static_cast<uint64_t>(start);
  out->VarbitInt(static_cast<int64_t>(first_change ? age : age - age_));
  age_ = age;
  start_ = start;
}

void StartTimesReader::Read(uint32_t sample, int64_t t, BitReader* in) {
  const uint64_t previous_t = t_;
  t_ = static_cast<uint64_t>(t);
  const uint32_t first_change = header_ & kMaxFirstChange;
  if (sample == 0) {
    if ((header_ & kFirstKnown) != 0) start_ = static_cast<int64_t>(t_ - static_cast<uint64_t>(in->Varint()));
  } else if (first_change != 0 && sample >= first_change) {
    auto read = static_cast<uint64_t>(in->VarbitInt());
    age_ = sample == first_change ? read : age_ + read;
    start_ = static_cast<int64_t>(previous_t - age_);
  }
}

}  // namespace tidewright::tsdb
