// Bit streams, most significant bit first, and the fields that chunk encodings share: varbit integers and the bits in
// which two doubles differ. Private to tsdb.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tidewright::tsdb {

// Appends bits to a string, which is padded with zero bits to a whole byte at any time. Not thread-safe.
class BitWriter {
 public:
  // Goes on after the last `free_bits` of `out` were left unused. Borrows `out`.
  explicit BitWriter(std::string* out) : out_(out) {}

  // The low `bits` (0 to 64) bits of `value`.
  void Write(uint64_t value, int bits) {
    if (bits == 0) return;
    if (bits < 64) value &= (uint64_t{1} << bits) - 1;
    if (free_bits_ > 0) {
      char& last = out_->back();
      if (bits <= free_bits_) {
        free_bits_ -= bits;
        last = static_cast<char>(static_cast<unsigned char>(last) | (value << free_bits_));
        return;
      }
      bits -= free_bits_;
      last = static_cast<char>(static_cast<unsigned char>(last) | (value >> bits));
    }
    int bytes = (bits + 7) / 8;
    uint64_t aligned = value << (64 - bits);
    for (int i = 0; i < bytes; ++i, aligned <<= 8) out_->push_back(static_cast<char>(aligned >> 56));
    free_bits_ = bytes * 8 - bits;
  }

  // LEB128, not aligned to bytes; `Varint` zigzag first.
  void Uvarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) Write(value | 0x80, 8);
    Write(value, 8);
  }
  void Varint(int64_t value) { Uvarint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63)); }

  // Prometheus' "varbit" integers: a prefix of ones tells the width.
  void VarbitInt(int64_t value);
  void VarbitUint(uint64_t value);

 private:
  std::string* out_;
  int free_bits_ = 0;  // Unused low bits of the last byte.
};

// Reads bits. Beyond the end there are zeros, and ok() is false. Borrows the bytes. Not thread-safe.
class BitReader {
 public:
  explicit BitReader(std::string_view bytes, size_t first_bit = 0) : bytes_(bytes), bit_(first_bit) {}

  // The next bits from the top down; at least 57 of them are meant.
  uint64_t Peek() const {
    size_t byte = bit_ >> 3;
    uint64_t word = 0;
    if (byte + 8 <= bytes_.size()) [[likely]] {
      std::memcpy(&word, bytes_.data() + byte, 8);
    } else if (byte < bytes_.size()) {
      std::memcpy(&word, bytes_.data() + byte, bytes_.size() - byte);
    }
    if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
    return word << (bit_ & 7);
  }
  void Skip(int bits) { bit_ += bits; }

  // 0 to 64 bits.
  uint64_t Read(int bits) {
    if (bits > 56) {
      uint64_t high = Read(bits - 32);
      return (high << 32) | Read(32);
    }
    uint64_t word = Peek();
    bit_ += bits;
    return bits == 0 ? 0 : word >> (64 - bits);
  }
  uint64_t Uvarint();  // A varint of more than 64 bits fails.
  int64_t Varint() {
    uint64_t value = Uvarint();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }
  int64_t VarbitInt();
  uint64_t VarbitUint();

  // Marks the stream as corrupt.
  void Fail() { bit_ = SIZE_MAX / 2; }
  bool ok() const { return bit_ <= bytes_.size() * 8; }
  size_t remaining() const { return ok() ? bytes_.size() * 8 - bit_ : 0; }

 private:
  int VarbitWidth();

  std::string_view bytes_;
  size_t bit_;
};

// A sequence of doubles, each as the bits that differ from the one before: 0 none, 10 those inside the last window, 11
// a new window: 5 bits of leading zeros (31 at most), 6 bits for the number of bits (64 as 0).
class XorValue {
 public:
  XorValue() = default;
  explicit XorValue(double value) : bits_(std::bit_cast<uint64_t>(value)) {}

  void Write(double value, BitWriter* out);
  // `out` is told to fail when the bits refer to a window that was never given, or are wider than a value.
  double Read(BitReader* in);
  double value() const { return std::bit_cast<double>(bits_); }

  // The parts behind the first bits, for encodings that prefix them in another way. `changed` is not 0.
  bool FitsWindow(uint64_t changed) const {
    return leading_ >= 0 && std::countl_zero(changed) >= leading_ && std::countr_zero(changed) >= trailing_;
  }
  void WriteInWindow(uint64_t changed, BitWriter* out) const {
    out->Write(changed >> trailing_, 64 - leading_ - trailing_);
  }
  void WriteNewWindow(uint64_t changed, BitWriter* out);
  void ReadInWindow(BitReader* in);
  void ReadNewWindow(BitReader* in);
  uint64_t bits() const { return bits_; }
  void set_bits(uint64_t bits) { bits_ = bits; }

 private:
  uint64_t bits_ = 0;
  int leading_ = -1;  // Zero bits around the last window; -1: there is none.
  int trailing_ = 0;
};

}  // namespace tidewright::tsdb
