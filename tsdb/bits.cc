#include "tsdb/bits.h"

#include <algorithm>

namespace tidewright::tsdb {

namespace {

// Width of a varbit integer by the number of ones in its prefix. All but the last prefix end with a zero.
constexpr int kVarbitWidths[] = {0, 3, 6, 9, 12, 18, 25, 56, 64};
constexpr int kVarbitClasses = 9;
constexpr int kMaxLeading = 31;  // Five bits.

// What fits n bits is asymmetric, since Prometheus writes it so: one less below zero than two's complement has.
bool FitsSigned(int64_t value, int bits) {
  return value >= -((int64_t{1} << (bits - 1)) - 1) && value <= int64_t{1} << (bits - 1);
}

void WriteVarbit(uint64_t value, int ones, BitWriter* out) {
  if (ones == kVarbitClasses - 1) {
    out->Write(0xff, 8);
  } else {
    out->Write((uint64_t{2} << ones) - 2, ones + 1);
  }
  out->Write(value, kVarbitWidths[ones]);
}

}  // namespace

void BitWriter::VarbitInt(int64_t value) {
  int ones = value == 0 ? 0 : 1;
  while (ones > 0 && ones < kVarbitClasses - 1 && !FitsSigned(value, kVarbitWidths[ones])) ++ones;
  WriteVarbit(static_cast<uint64_t>(value), ones, this);
}

void BitWriter::VarbitUint(uint64_t value) {
  int ones = 0;
  while (ones < kVarbitClasses - 1 && value >> kVarbitWidths[ones] != 0) ++ones;
  WriteVarbit(value, ones, this);
}

uint64_t BitReader::Uvarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    uint64_t byte = Read(8);
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  Fail();
  return 0;
}

int BitReader::VarbitWidth() {
  int ones = std::min(std::countl_one(Peek()), kVarbitClasses - 1);
  Skip(std::min(ones + 1, 8));
  return kVarbitWidths[ones];
}

int64_t BitReader::VarbitInt() {
  int width = VarbitWidth();
  uint64_t value = Read(width);
  if (width == 0 || width == 64) return static_cast<int64_t>(value);
  bool negative = value > uint64_t{1} << (width - 1);
  return static_cast<int64_t>(negative ? value - (uint64_t{1} << width) : value);
}

uint64_t BitReader::VarbitUint() { return Read(VarbitWidth()); }

void XorValue::WriteNewWindow(uint64_t changed, BitWriter* out) {
  leading_ = std::min(std::countl_zero(changed), kMaxLeading);
  trailing_ = std::countr_zero(changed);
  int significant = 64 - leading_ - trailing_;
  out->Write(leading_, 5);
  out->Write(significant & 63, 6);
  out->Write(changed >> trailing_, significant);
}

void XorValue::Write(double value, BitWriter* out) {
  uint64_t bits = std::bit_cast<uint64_t>(value);
  uint64_t changed = bits ^ bits_;
  bits_ = bits;
  if (changed == 0) return out->Write(0, 1);
  if (FitsWindow(changed)) {
    out->Write(0b10, 2);
    return WriteInWindow(changed, out);
  }
  out->Write(0b11, 2);
  WriteNewWindow(changed, out);
}

void XorValue::ReadInWindow(BitReader* in) {
  if (leading_ < 0) return in->Fail();
  bits_ ^= in->Read(64 - leading_ - trailing_) << trailing_;
}

void XorValue::ReadNewWindow(BitReader* in) {
  auto leading = static_cast<int>(in->Read(5));
  auto significant = static_cast<int>(in->Read(6));
  if (significant == 0) significant = 64;
  if (leading + significant > 64) return in->Fail();
  leading_ = leading;
  trailing_ = 64 - leading - significant;
  ReadInWindow(in);
}

double XorValue::Read(BitReader* in) {
  if (in->Read(1) != 0) {
    if (in->Read(1) != 0) {
      ReadNewWindow(in);
    } else {
      ReadInWindow(in);
    }
  }
  return value();
}

}  // namespace tidewright::tsdb
