// What the decoders of the value codec's blocks share: the forms of blocks, how a block of integers begins, and how
// several blocks are decoded. The forms are described in tsdb/docs/head.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tidewright::tsdb {

inline constexpr double kIntegerLimit = 9007199254740992.0;  // 2^53: below it every integer is a double.
inline constexpr int kMaxScale = 9;
inline constexpr double kPowers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
inline constexpr uint32_t kMaxWidth = 56;  // Bits of a packed number: with 7 bits of shift it still fits a word.

// First bytes of blocks.
inline constexpr uint8_t kBlockSame = 0x00;
inline constexpr uint8_t kBlockCodes = 0x01;
inline constexpr uint8_t kBlockXor = 0x02;
inline constexpr uint8_t kBlockRaw = 0x03;
inline constexpr uint8_t kBlockScaled = 0x10;         // | scale; a second byte has the width and the two flags.
inline constexpr uint8_t kBlockDifferences = 0x40;    // | width
inline constexpr uint8_t kBlockFirstSeparate = 0x80;  // | width
inline constexpr uint8_t kSeparateFlag = 0x40;        // Of the second byte.
inline constexpr uint8_t kSecondOrderFlag = 0x80;

inline bool IsIntegerBlock(uint8_t first) {
  return (first >= kBlockDifferences && first < 0xc0) || (first & 0xf0) == kBlockScaled;
}

inline uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }
inline int64_t Unzigzag(uint64_t value) { return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1)); }

inline uint64_t GetBytes(const uint8_t* in, size_t count) {
  uint64_t value = 0;
  std::memcpy(&value, in, count);
  return value;
}

// Reads seven bits of each byte; returns the bytes used, 0 when there is no end.
inline size_t GetVarint(const uint8_t* in, size_t size, uint64_t* value) {
  if (size > 0 && in[0] < 0x80) {  // As mostly.
    *value = in[0];
    return 1;
  }
  *value = 0;
  for (size_t i = 0; i < size && i < 10; ++i) {
    *value |= uint64_t{in[i] & 0x7fu} << (7 * i);
    if (in[i] < 0x80) return i + 1;
  }
  return 0;
}

// The same for signed numbers; moves `*at` behind the number, false when there is none.
inline bool GetSigned(const uint8_t* in, size_t size, size_t* at, uint64_t* number) {
  const size_t used = GetVarint(in + *at, size - *at, number);
  *number = static_cast<uint64_t>(Unzigzag(*number));
  *at += used;
  return used > 0;
}

inline bool AsInteger(double value, int64_t* integer) {
  if (!(value > -kIntegerLimit && value < kIntegerLimit)) return false;
  *integer = static_cast<int64_t>(value);
  return Bits(static_cast<double>(*integer)) == Bits(value);  // Not for negative zero.
}

inline bool AsDecimal(double value, int scale, int64_t* integer) {
  double scaled = value * kPowers[scale];
  if (!(scaled > -kIntegerLimit && scaled < kIntegerLimit)) return false;
  *integer = static_cast<int64_t>(scaled + (scaled < 0 ? -0.5 : 0.5));
  return Bits(static_cast<double>(*integer) / kPowers[scale]) == Bits(value);
}

// Where the first difference counts from: the value before the block, if it is an integer at this scale, else 0.
inline bool Origin(double previous, int scale, int64_t* origin) {
  bool exact = scale == 0 ? AsInteger(previous, origin) : AsDecimal(previous, scale, origin);
  if (!exact) *origin = 0;
  return exact;
}

// How a block of integers begins.
struct IntegersHeader {
  uint32_t width = 0;
  int scale = 0;
  bool separate = false;
  bool second_order = false;
  uint64_t first = 0;  // Of the differences, where it is apart.
  uint64_t base = 0;
  size_t size = 0;  // Of the header.
};

// False when the bytes are no such block, or not all of one.
inline bool ReadHeader(const uint8_t* in, size_t size, IntegersHeader* header) {
  size_t at = 1;
  header->width = in[0] & 0x3f;
  header->separate = (in[0] & 0xc0) == kBlockFirstSeparate;
  if (in[0] < kBlockDifferences) {
    header->scale = in[0] & 15;
    if (size < 2 || header->scale > kMaxScale) return false;
    header->width = in[1] & 0x3f;
    header->separate = (in[1] & kSeparateFlag) != 0;
    header->second_order = (in[1] & kSecondOrderFlag) != 0;
    at = 2;
  }
  if (header->width > kMaxWidth) return false;
  if (header->separate && !GetSigned(in, size, &at, &header->first)) return false;
  if (!GetSigned(in, size, &at, &header->base)) return false;
  header->size = at;
  return size - at >= 2 * size_t{header->width};
}

// How far the blocks of a chunk are decoded.
struct DecodedBlocks {
  double previous = 0;  // The last value, or the one in front.
  size_t done = 0;      // Values.
};

// Decodes whole blocks until there are `count` values or no bytes are left; false when the bytes are corrupt.
using BlocksDecoder = bool (*)(const uint8_t* blocks, size_t size, size_t count, double* values,
                               DecodedBlocks* decoded);
// The same with AVX2, faster for integers. Null where the processor has none.
BlocksDecoder WideBlocksDecoder();

}  // namespace tidewright::tsdb
