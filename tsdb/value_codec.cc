#include "tsdb/value_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tsdb/integer_block.h"

namespace tidewright::tsdb {

namespace {

static_assert(std::endian::native == std::endian::little, "the codec reads and writes words as they are in memory");

// First bytes of single values that are no plain integer difference.
constexpr uint8_t kLongDifference = 0xf0;  // | number of bytes, 4 to 7.
constexpr uint8_t kDecimal = 0xf8;
constexpr uint8_t kXor = 0xf9;

uint64_t Zigzag(int64_t value) { return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63); }
size_t BytesOf(uint64_t value) { return (static_cast<size_t>(std::bit_width(value)) + 7) / 8; }

size_t PutBytes(uint64_t value, size_t count, uint8_t* out) {
  std::memcpy(out, &value, count);
  return count;
}

// The same for who has room for 8 bytes: what is behind the `count` is arbitrary.
size_t PutWord(uint64_t value, size_t count, uint8_t* out) {
  std::memcpy(out, &value, sizeof value);
  return count;
}

size_t EncodeDifference(uint64_t zigzag, uint8_t* out) {
  if (zigzag < 0x80) {
    out[0] = static_cast<uint8_t>(zigzag);
    return 1;
  }
  size_t more = zigzag < 0x4000 ? 1 : zigzag < 0x200000 ? 2 : zigzag < 0x10000000 ? 3 : 0;
  if (more > 0) {  // As many leading ones as bytes follow.
    out[0] = static_cast<uint8_t>((0xff00 >> more) & 0xff) | static_cast<uint8_t>(zigzag >> (8 * more));
    return 1 + PutWord(zigzag, more, out + 1);
  }
  more = BytesOf(zigzag);
  out[0] = static_cast<uint8_t>(kLongDifference | more);
  return 1 + PutWord(zigzag, more, out + 1);
}

// What EncodeDifference() takes.
size_t DifferenceBytes(uint64_t zigzag) {
  return zigzag < 0x80         ? 1
         : zigzag < 0x4000     ? 2
         : zigzag < 0x200000   ? 3
         : zigzag < 0x10000000 ? 4
                               : 1 + BytesOf(zigzag);
}

size_t EncodeXor(uint64_t difference, uint8_t* out) {
  size_t skipped = static_cast<size_t>(std::countr_zero(difference)) / 8;
  size_t count = BytesOf(difference >> (skipped * 8));
  out[0] = kXor;
  out[1] = static_cast<uint8_t>(skipped << 4 | count);
  return 2 + PutWord(difference >> (skipped * 8), count, out + 2);
}

// Returns 0 when `limit` bytes do not suffice.
size_t EncodeDecimal(double previous, double value, size_t limit, uint8_t* out) {
  for (int scale = 3; scale <= kMaxScale; scale += 3) {
    int64_t from = 0, to = 0;
    if (!AsDecimal(value, scale, &to) || !AsDecimal(previous, scale, &from)) continue;
    uint64_t zigzag = Zigzag(to - from);
    size_t count = BytesOf(zigzag);
    if (2 + count > limit) return 0;
    out[0] = kDecimal;
    out[1] = static_cast<uint8_t>(static_cast<size_t>(scale) << 4 | count);
    return 2 + PutWord(zigzag, count, out + 2);
  }
  return 0;
}

}  // namespace

size_t EncodeValue(double previous, double value, uint8_t* out) {
  const uint64_t difference = Bits(previous) ^ Bits(value);
  if (difference == 0) {
    out[0] = 0;
    return 1;
  }
  int64_t from = 0, to = 0;
  if (AsInteger(value, &to) && AsInteger(previous, &from)) return EncodeDifference(Zigzag(to - from), out);
  size_t size = EncodeXor(difference, out);
  uint8_t decimal[kMaxCodeBytes];
  size_t shorter = size > 3 ? EncodeDecimal(previous, value, size - 1, decimal) : 0;
  if (shorter == 0) return size;
  std::memcpy(out, decimal, shorter);
  return shorter;
}

size_t DecodeValue(const uint8_t* in, size_t size, double previous, double* value) {
  if (size == 0) return 0;
  const uint8_t first = in[0];
  if (first == 0) {
    *value = previous;
    return 1;
  }
  if (first == kDecimal || first == kXor) {
    if (size < 2) return 0;
    size_t high = in[1] >> 4, count = in[1] & 15;
    if (count > 8 || size < 2 + count) return 0;
    uint64_t bits = GetBytes(in + 2, count);
    if (first == kXor) {
      if (high + count > 8) return 0;
      *value = std::bit_cast<double>(Bits(previous) ^ (count == 0 ? 0 : bits << (high * 8)));
      return 2 + count;
    }
    int64_t from = 0;
    if (high > kMaxScale || !AsDecimal(previous, static_cast<int>(high), &from)) return 0;
    auto to = static_cast<int64_t>(static_cast<uint64_t>(from) + static_cast<uint64_t>(Unzigzag(bits)));
    *value = static_cast<double>(to) / kPowers[high];
    return 2 + count;
  }
  size_t more = static_cast<size_t>(std::countl_one(first));
  uint64_t zigzag = first & (0xff >> (more + 1));
  if (more >= 4) {
    more = first & 15;
    zigzag = 0;
    if (first < (kLongDifference | 4) || more > 7) return 0;
  }
  if (size < 1 + more) return 0;
  zigzag = zigzag << (8 * more) | GetBytes(in + 1, more);
  int64_t from = 0;
  if (!AsInteger(previous, &from)) return 0;
  *value =
      static_cast<double>(static_cast<int64_t>(static_cast<uint64_t>(from) + static_cast<uint64_t>(Unzigzag(zigzag))));
  return 1 + more;
}

namespace {

size_t PutVarint(uint64_t value, uint8_t* out) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = static_cast<uint8_t>(value | 0x80);
  out[size++] = static_cast<uint8_t>(value);
  return size;
}

size_t VarintBytes(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7; }

using Slots = std::array<uint64_t, kBlockValues>;

// 16 numbers of `width` bits take exactly 2 * width bytes.
void PackBits(const Slots& slots, uint32_t width, uint8_t* out) {
  uint64_t word = 0;
  uint32_t filled = 0;
  for (uint64_t slot : slots) {
    word |= slot << filled;
    filled += width;
    if (filled < 64) continue;
    out += PutBytes(word, 8, out);
    filled -= 64;
    word = filled == 0 ? 0 : slot >> (width - filled);
  }
  if (filled > 0) PutBytes(word, filled / 8, out);
}

// Calls use(i, number) for the numbers from `first` on, in order.
template <typename Use>
inline void ForEachPacked(const uint8_t* in, size_t size, uint32_t width, uint32_t first, Use use) {
  uint8_t padded[2 * kMaxWidth + 8];
  if (size < 2 * width + 8) {  // Words may reach past the numbers, but not past the memory.
    std::memcpy(padded, in, 2 * width);
    std::memset(padded + 2 * width, 0, 8);
    in = padded;
  }
  const uint64_t mask = (uint64_t{1} << width) - 1;
  for (uint32_t i = first, bit = first * width; i < kBlockValues; ++i, bit += width) {
    use(i, GetBytes(in + bit / 8, 8) >> (bit % 8) & mask);
  }
}

// Integers as differences to a common base, packed.
struct Packing {
  bool separate = false;      // The first difference stands by itself.
  bool second_order = false;  // The numbers are differences of differences.
  int64_t first = 0;
  int64_t base = 0;
  uint32_t width = 0;
  Slots slots{};

  size_t Bytes(int scale) const {
    return (scale > 0 || second_order ? 2 : 1) + (separate ? VarintBytes(Zigzag(first)) : 0) +
           VarintBytes(Zigzag(base)) + 2 * size_t{width};
  }
};

// The range of some numbers, which says how many bits each takes.
struct Range {
  int64_t low = INT64_MAX;
  int64_t high = INT64_MIN;

  void Add(int64_t number) {
    low = std::min(low, number);
    high = std::max(high, number);
  }
  uint32_t Width() const { return static_cast<uint32_t>(std::bit_width(static_cast<uint64_t>(high - low))); }
};

using Differences = std::array<int64_t, kBlockValues>;

// The smallest packing, without its slots.
Packing ChoosePacking(const Differences& differences, int scale) {
  Range behind_first, second_order;
  for (size_t i = 1; i < kBlockValues; ++i) {
    behind_first.Add(differences[i]);
    second_order.Add(differences[i] - differences[i - 1]);
  }
  Range all = behind_first;
  all.Add(differences[0]);
  Packing best{.base = all.low, .width = all.Width()};
  const Packing others[] = {
      {.separate = true, .first = differences[0], .base = behind_first.low, .width = behind_first.Width()},
      {.separate = true,
       .second_order = true,
       .first = differences[0],
       .base = second_order.low,
       .width = second_order.Width()}};
  for (const Packing& other : others) {
    if (other.Bytes(scale) < best.Bytes(scale)) best = other;
  }
  return best;
}

void FillSlots(const Differences& differences, Packing* packing) {
  for (size_t i = packing->separate ? 1 : 0; i < kBlockValues; ++i) {
    const int64_t number = packing->second_order ? differences[i] - differences[i - 1] : differences[i];
    packing->slots[i] = static_cast<uint64_t>(number - packing->base);
  }
}

size_t Write(const Packing& packing, int scale, uint8_t* out) {
  size_t size = 0;
  if (scale > 0 || packing.second_order) {
    out[size++] = static_cast<uint8_t>(kBlockScaled | scale);
    out[size++] = static_cast<uint8_t>(packing.width | (packing.separate ? kSeparateFlag : 0) |
                                       (packing.second_order ? kSecondOrderFlag : 0));
  } else {
    out[size++] = static_cast<uint8_t>(packing.width | (packing.separate ? kBlockFirstSeparate : kBlockDifferences));
  }
  if (packing.separate) size += PutVarint(Zigzag(packing.first), out + size);
  size += PutVarint(Zigzag(packing.base), out + size);
  PackBits(packing.slots, packing.width, out + size);
  return size + 2 * packing.width;
}

// The smallest scale at which all values are integers, or -1.
int CommonScale(const double* values, std::array<int64_t, kBlockValues>* integers) {
  for (int scale = 0; scale <= kMaxScale; ++scale) {
    size_t i = 0;
    for (; i < kBlockValues; ++i) {
      if (scale == 0 ? !AsInteger(values[i], &(*integers)[i]) : !AsDecimal(values[i], scale, &(*integers)[i])) break;
    }
    if (i == kBlockValues) return scale;
  }
  return -1;
}

// Returns 0 when the values are no integers at any scale, or `limit` bytes do not suffice. `*codes_size` becomes the
// size of the values as single codes, if all of these are differences of integers.
size_t EncodeIntegers(const double* values, double previous, size_t limit, uint8_t* out, size_t* codes_size) {
  Differences integers, differences;
  const int scale = CommonScale(values, &integers);
  if (scale < 0) return 0;
  int64_t last = 0;
  const bool follows = Origin(previous, scale, &last);
  for (size_t i = 0; i < kBlockValues; ++i) {
    differences[i] = integers[i] - last;
    last = integers[i];
  }
  if (codes_size != nullptr && scale == 0 && follows) {
    *codes_size = 0;
    for (int64_t difference : differences) *codes_size += DifferenceBytes(Zigzag(difference));
  }
  Packing best = ChoosePacking(differences, scale);
  if (best.width > kMaxWidth || best.Bytes(scale) > limit) return 0;
  FillSlots(differences, &best);
  return Write(best, scale, out);
}

size_t EncodeXors(const double* values, double previous, size_t limit, uint8_t* out) {
  Slots slots;
  uint64_t all = 0;
  for (size_t i = 0; i < kBlockValues; ++i) {
    slots[i] = Bits(values[i]) ^ Bits(i == 0 ? previous : values[i - 1]);
    all |= slots[i];
  }
  auto shift = static_cast<uint32_t>(std::countr_zero(all));
  auto width = static_cast<uint32_t>(std::bit_width(all)) - shift;
  if (width > kMaxWidth || 3 + 2 * size_t{width} > limit) return 0;
  for (uint64_t& slot : slots) slot >>= shift;
  out[0] = kBlockXor;
  out[1] = static_cast<uint8_t>(width);
  out[2] = static_cast<uint8_t>(shift);
  PackBits(slots, width, out + 3);
  return 3 + 2 * size_t{width};
}

}  // namespace

size_t EncodeBlock(const double* values, double previous, uint8_t* out) {
  uint64_t changes = 0;
  for (size_t i = 0; i < kBlockValues; ++i) changes |= Bits(values[i]) ^ Bits(previous);
  if (changes == 0) {
    out[0] = kBlockSame;
    return 1;
  }
  // What integers take is nearly always less than the codes, whose size is known without writing them.
  size_t codes_size = 0;
  const size_t integers = EncodeIntegers(values, previous, kBlockValues * 8, out, &codes_size);
  if (integers > 0 && codes_size > 0 && integers < 2 + codes_size) return integers;
  uint8_t codes[kBlockValues * kMaxCodeBytes];
  size_t size = 0;
  double last = previous;
  for (size_t i = 0; i < kBlockValues; ++i) {
    size += EncodeValue(last, values[i], codes + size);
    last = values[i];
  }
  if (integers > 0 && integers < 2 + size) return integers;
  return EncodeBlock(values, previous, codes, size, out);
}

size_t EncodeBlock(const double* values, double previous, const uint8_t* codes, size_t codes_size, uint8_t* out) {
  bool same = true;
  for (size_t i = 0; same && i < kBlockValues; ++i) same = Bits(values[i]) == Bits(previous);
  if (same) {
    out[0] = kBlockSame;
    return 1;
  }
  size_t size = 1 + kBlockValues * 8;
  out[0] = kBlockRaw;
  std::memcpy(out + 1, values, kBlockValues * 8);
  if (2 + codes_size < size) {
    size = 2 + codes_size;
    out[0] = kBlockCodes;
    out[1] = static_cast<uint8_t>(codes_size);
    std::memcpy(out + 2, codes, codes_size);
  }
  if (size_t shorter = EncodeIntegers(values, previous, size - 1, out, nullptr); shorter > 0) {
    return shorter;
  }
  size_t shorter = EncodeXors(values, previous, size - 1, out);
  return shorter > 0 ? shorter : size;
}

namespace {

size_t DecodeCodeBlock(const uint8_t* in, size_t size, double previous, double* values) {
  if (size < 2 || size < 2 + size_t{in[1]}) return 0;
  size_t at = 2;
  const size_t end = 2 + size_t{in[1]};
  for (size_t i = 0; i < kBlockValues; ++i) {
    size_t used = DecodeValue(in + at, end - at, previous, &values[i]);
    if (used == 0) return 0;
    previous = values[i];
    at += used;
  }
  return at == end ? end : 0;
}

size_t DecodeXors(const uint8_t* in, size_t size, double previous, double* values) {
  if (size < 3 || in[1] > kMaxWidth || in[1] + in[2] > 64 || size < 3 + 2 * size_t{in[1]}) return 0;
  const uint32_t shift = in[2] & 63;  // With 64 there are no numbers but 0.
  uint64_t bits = Bits(previous);
  ForEachPacked(in + 3, size - 3, in[1], 0, [&](uint32_t i, uint64_t number) {
    bits ^= number << shift;
    values[i] = std::bit_cast<double>(bits);
  });
  return 3 + 2 * size_t{in[1]};
}

// Sums up the differences, from `at` on. `value_of` makes a value of each integer.
template <bool kSecondOrder, typename ValueOf>
inline void Accumulate(const IntegersHeader& header, const uint8_t* in, size_t size, uint64_t at, double* values,
                       ValueOf value_of) {
  uint64_t difference = 0;
  if (header.separate) {
    difference = header.first;
    at += difference;
    values[0] = value_of(at);
  }
  const uint64_t base = header.base;
  ForEachPacked(in, size, header.width, header.separate ? 1 : 0, [&](uint32_t i, uint64_t number) {
    difference = kSecondOrder ? difference + base + number : base + number;
    at += difference;
    values[i] = value_of(at);
  });
}

size_t DecodeIntegers(const uint8_t* in, size_t size, double previous, double* values) {
  IntegersHeader header;
  if (!ReadHeader(in, size, &header)) return 0;
  int64_t origin;
  Origin(previous, header.scale, &origin);
  const uint8_t* packed = in + header.size;
  const size_t left = size - header.size;
  const auto at = static_cast<uint64_t>(origin);
  const auto plain = [](uint64_t integer) { return static_cast<double>(static_cast<int64_t>(integer)); };
  const auto scaled = [power = kPowers[header.scale]](uint64_t integer) {
    return static_cast<double>(static_cast<int64_t>(integer)) / power;
  };
  if (header.scale == 0 && !header.second_order) {
    Accumulate<false>(header, packed, left, at, values, plain);
  } else if (header.second_order) {
    Accumulate<true>(header, packed, left, at, values, scaled);
  } else {
    Accumulate<false>(header, packed, left, at, values, scaled);
  }
  return header.size + 2 * size_t{header.width};
}

}  // namespace

size_t DecodeBlock(const uint8_t* in, size_t size, double previous, double* values) {
  if (size == 0) return 0;
  switch (in[0]) {
    case kBlockSame: std::fill_n(values, kBlockValues, previous); return 1;
    case kBlockCodes: return DecodeCodeBlock(in, size, previous, values);
    case kBlockXor: return DecodeXors(in, size, previous, values);
    case kBlockRaw:
      if (size < 1 + kBlockValues * 8) return 0;
      std::memcpy(values, in + 1, kBlockValues * 8);
      return 1 + kBlockValues * 8;
    default: break;
  }
  if (in[0] < kBlockScaled || in[0] >= 0xc0 || (in[0] >= 0x20 && in[0] < kBlockDifferences)) return 0;
  return DecodeIntegers(in, size, previous, values);
}

bool ValueCursor::NextOfAnyKind(const uint8_t** at, const uint8_t* end) {
  const size_t used = DecodeValue(*at, static_cast<size_t>(end - *at), value_, &value_);
  *at += used;
  is_integer_ = AsInteger(value_, &integer_);
  return used > 0;
}

ValueCursor::ValueCursor(double previous) : value_(previous), is_integer_(AsInteger(previous, &integer_)) {}

namespace {

bool DecodeBlocks(const uint8_t* blocks, size_t size, size_t count, double* values, DecodedBlocks* decoded) {
  for (size_t at = 0; decoded->done < count && at < size;) {
    const size_t used = DecodeBlock(blocks + at, size - at, decoded->previous, values + decoded->done);
    if (used == 0) return false;
    at += used;
    decoded->done += kBlockValues;
    decoded->previous = values[decoded->done - 1];
  }
  return true;
}

BlocksDecoder FastestDecoder() {
  const BlocksDecoder wide = WideBlocksDecoder();
  return wide != nullptr ? wide : DecodeBlocks;
}

}  // namespace

bool DecodeValues(const uint8_t* blocks, size_t blocks_size, const uint8_t* codes, size_t codes_size, double previous,
                  size_t count, double* values) {
  static const BlocksDecoder decode_blocks = FastestDecoder();
  DecodedBlocks decoded{.previous = previous};
  if (!decode_blocks(blocks, blocks_size, count, values, &decoded)) return false;
  ValueCursor cursor(decoded.previous);
  const uint8_t* const end = codes + codes_size;
  for (size_t i = decoded.done; i < count; ++i) {
    if (!cursor.Next(&codes, end)) return false;
    values[i] = cursor.value();
  }
  return true;
}

}  // namespace tidewright::tsdb
