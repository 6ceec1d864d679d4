#include <algorithm>
#include <bit>

#include "tsdb/xor_chunk.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kHeaderBytes = 3;  // The number of samples, and the header of the start timestamps.

// What a later sample begins with, by the number of ones in its prefix (the last has no zero behind it):
// 0: time and value as before. 1: the time as before. 2 to 4: the distance in time changed, by a number of so many
// bits. 5: the time as before, and a staleness marker.
constexpr int kChangedValue = 1;
constexpr int kStale = 5;
constexpr int kDodBits[] = {0, 0, 13, 20, 64, 0};

bool Fits(int64_t dod, int bits) { return dod >= -(int64_t{1} << (bits - 1)) && dod < int64_t{1} << (bits - 1); }

int64_t Extend(uint64_t value, int bits) {
  return bits == 64 ? static_cast<int64_t>(value) : static_cast<int64_t>(value << (64 - bits)) >> (64 - bits);
}

// The state that values differ from passes over staleness markers.
XorValue FirstState(double value) { return IsStaleNan(value) ? XorValue() : XorValue(value); }

}  // namespace

// 0 as before, 10 in the last window, 110 a new window, 111 a staleness marker.
void Xor2ChunkWriter::WriteValue(uint64_t changed, bool stale) {
  if (stale) return out_.Write(0b111, 3);
  if (changed == 0) return out_.Write(0, 1);
  if (value_.FitsWindow(changed)) {
    out_.Write(0b10, 2);
    return value_.WriteInWindow(changed, &out_);
  }
  out_.Write(0b110, 3);
  value_.WriteNewWindow(changed, &out_);
}

void Xor2ChunkWriter::WriteLater(uint64_t dod, double value) {
  const bool stale = IsStaleNan(value);
  const uint64_t changed = std::bit_cast<uint64_t>(value) ^ value_.bits();
  if (dod != 0) {
    int ones = 2;
    while (kDodBits[ones] < 64 && !Fits(static_cast<int64_t>(dod), kDodBits[ones])) ++ones;
    out_.Write((uint64_t{2} << ones) - 2, ones + 1);
    out_.Write(dod, kDodBits[ones]);
    return WriteValue(changed, stale);
  }
  if (stale) return out_.Write(0b11111, kStale);
  if (changed == 0) return out_.Write(0, 1);
  out_.Write(0b10, 2);
  const bool fits = value_.FitsWindow(changed);
  out_.Write(fits ? 0 : 1, 1);
  if (fits) {
    value_.WriteInWindow(changed, &out_);
  } else {
    value_.WriteNewWindow(changed, &out_);
  }
}

void Xor2ChunkWriter::Append(int64_t t, double value, int64_t start_time) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  uint64_t delta = static_cast<uint64_t>(t) - static_cast<uint64_t>(t_);
  if (count_ == 0) {
    out_.Varint(t);
    out_.Write(bits, 64);
    value_ = FirstState(value);
    delta = 0;
  } else if (count_ == 1) {
    out_.Uvarint(delta);
    WriteValue(bits ^ value_.bits(), IsStaleNan(value));
  } else {
    WriteLater(delta - delta_, value);
  }
  if (!IsStaleNan(value)) value_.set_bits(bits);
  start_times_.Write(count_, t, start_time, &out_);
  t_ = t;
  delta_ = delta;
  ++count_;
  bytes_[0] = static_cast<char>(count_ >> 8);
  bytes_[1] = static_cast<char>(count_);
  bytes_[2] = static_cast<char>(start_times_.header());
}

Xor2ChunkReader::Xor2ChunkReader(std::string_view bytes) : in_(bytes, kHeaderBytes * 8) {
  corrupt_ = bytes.size() < kHeaderBytes;
  if (corrupt_) return;
  count_ = (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]);
  start_times_ = StartTimesReader(static_cast<uint8_t>(bytes[2]));
}

void Xor2ChunkReader::ReadValue() {
  const int ones = std::min(std::countl_one(in_.Peek()), 3);
  in_.Skip(std::min(ones + 1, 3));
  stale_ = ones == 3;
  if (ones == 1) value_.ReadInWindow(&in_);
  if (ones == 2) value_.ReadNewWindow(&in_);
}

void Xor2ChunkReader::ReadLater() {
  const int ones = std::min(std::countl_one(in_.Peek()), kStale);
  in_.Skip(std::min(ones + 1, kStale));
  stale_ = ones == kStale;
  if (kDodBits[ones] != 0) {
    delta_ += static_cast<uint64_t>(Extend(in_.Read(kDodBits[ones]), kDodBits[ones]));
    return ReadValue();
  }
  if (ones != kChangedValue) return;
  if (in_.Read(1) == 0) {
    value_.ReadInWindow(&in_);
  } else {
    value_.ReadNewWindow(&in_);
  }
}

bool Xor2ChunkReader::Next() {
  if (corrupt_ || read_ >= count_) return false;
  if (read_ == 0) {
    t_ = in_.Varint();
    const double first = std::bit_cast<double>(in_.Read(64));
    value_ = FirstState(first);
    stale_ = IsStaleNan(first);
  } else if (read_ == 1) {
    delta_ = in_.Uvarint();
    ReadValue();
  } else {
    ReadLater();
  }
  if (read_ > 0) t_ = static_cast<int64_t>(static_cast<uint64_t>(t_) + delta_);
  start_times_.Read(static_cast<uint32_t>(read_), t_, &in_);
  corrupt_ = !in_.ok();
  if (corrupt_) return false;
  ++read_;
  return true;
}

}  // namespace tidewright::tsdb
