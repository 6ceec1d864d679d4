// Value codec: how the values of a series are held in the head, in its log and in its chunk files.
//
// Values come in blocks of 16, each in the form that is smallest for it, and up to 15 single values after the last
// block. Every bit of every double survives: NaNs with their payload, staleness markers, negative zero. The forms are
// described in tsdb/docs/head.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tidewright::tsdb {

inline constexpr size_t kBlockValues = 16;
inline constexpr size_t kMaxCodeBytes = 10;               // Of a single value.
inline constexpr size_t kMaxBlockBytes = 1 + 16 * 8 + 8;  // Of a block.

// Writes one value, which follows `previous`, to `out` (room for kMaxCodeBytes); returns the bytes used. A repeated
// value takes one byte, as does an integer within 63 of the one before.
size_t EncodeValue(double previous, double value, uint8_t* out);
// Reads one value; returns the bytes used, 0 when they are no code.
size_t DecodeValue(const uint8_t* in, size_t size, double previous, double* value);

// Reads single values one after the other: the same as DecodeValue(), faster where integers follow integers.
class ValueCursor {
 public:
  explicit ValueCursor(double previous);
  // Moves `*at` behind the next value; false when there is none.
  bool Next(const uint8_t** at, const uint8_t* end) {
    constexpr int64_t kLimit = int64_t{1} << 53;
    if (!is_integer_ || end - *at < 4 || **at >= 0xf0) return NextOfAnyKind(at, end);
    const uint8_t first = **at;
    const auto more = static_cast<uint32_t>(std::countl_one(first));  // At most 3 bytes that follow.
    uint32_t word;
    std::memcpy(&word, *at, sizeof word);
    const uint64_t low = (uint64_t{word} >> 8) & ((uint64_t{1} << (8 * more)) - 1);
    const uint64_t zigzag = uint64_t{first & (0xffu >> (more + 1))} << (8 * more) | low;
    integer_ += static_cast<int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
    value_ = static_cast<double>(integer_);
    is_integer_ = integer_ > -kLimit && integer_ < kLimit;
    *at += 1 + more;
    return true;
  }
  double value() const { return value_; }

 private:
  bool NextOfAnyKind(const uint8_t** at, const uint8_t* end);

  double value_;
  int64_t integer_ = 0;  // The same, if it is one that a double holds exactly.
  bool is_integer_;
};

// Writes 16 values, which follow `previous`, to `out` (room for kMaxBlockBytes); returns the bytes used. `codes` are
// the same values as EncodeValue wrote them, which is one of the forms a block may take.
size_t EncodeBlock(const double* values, double previous, const uint8_t* codes, size_t codes_size, uint8_t* out);
// The same bytes for who has no codes.
size_t EncodeBlock(const double* values, double previous, uint8_t* out);
// Reads 16 values; returns the bytes used, 0 when they are no block.
size_t DecodeBlock(const uint8_t* in, size_t size, double previous, double* values);

// Whole blocks, then single values, which follow `previous` (0.0 at the beginning of a chunk). Writes the first `count`
// values to `values` (room for `count` rounded up to a multiple of 16); false when the bytes are corrupt.
bool DecodeValues(const uint8_t* blocks, size_t blocks_size, const uint8_t* codes, size_t codes_size, double previous,
                  size_t count, double* values);

}  // namespace tidewright::tsdb
