// Blocks of integers, four values at a time.
#include <algorithm>

#include "tsdb/integer_block.h"
#include "tsdb/value_codec.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TW_AVX2 __attribute__((target("avx2")))

namespace tidewright::tsdb {

namespace {

// An integer of this size at any scale is found again in its value, so that it need not be looked for.
constexpr uint64_t kSureIntegers = uint64_t{1} << 50;
constexpr size_t kGroups = kBlockValues / 4;
constexpr uint32_t kNarrow = 14;  // Bits: four such numbers, and 7 bits in front, are in one word.

// The value before a block as the integer that the block counts from.
struct Before {
  int scale = -1;  // -1: not known.
  int64_t integer = 0;
};

TW_AVX2 inline __m256i Words(const uint8_t* in, uint32_t bit, uint32_t width) {
  const auto word = [in](uint32_t at) { return static_cast<long long>(GetBytes(in + at / 8, 8)); };
  return _mm256_set_epi64x(word(bit + 3 * width), word(bit + 2 * width), word(bit + width), word(bit));
}

// The packed numbers, of which 8 bytes more can be read than there are.
TW_AVX2 inline void Unpack(const uint8_t* in, uint32_t width, __m256i numbers[kGroups]) {
  const __m256i mask = _mm256_set1_epi64x((int64_t{1} << width) - 1);
  const __m256i bits = _mm256_mul_epu32(_mm256_set_epi64x(3, 2, 1, 0), _mm256_set1_epi64x(width));
  if (width <= kNarrow) {
    const __m256i odd = _mm256_add_epi64(bits, _mm256_set1_epi64x(width % 2 * 4));
#pragma GCC unroll 4
    for (uint32_t k = 0; k < kGroups; ++k) {
      const __m256i word = _mm256_set1_epi64x(static_cast<long long>(GetBytes(in + k * width / 2, 8)));
      numbers[k] = _mm256_and_si256(_mm256_srlv_epi64(word, k % 2 == 0 ? bits : odd), mask);
    }
    return;
  }
  const __m256i seven = _mm256_set1_epi64x(7);
#pragma GCC unroll 4
  for (uint32_t k = 0; k < kGroups; ++k) {
    const uint32_t bit = 4 * k * width;
    const __m256i shift = _mm256_and_si256(_mm256_add_epi64(bits, _mm256_set1_epi64x(bit)), seven);
    numbers[k] = _mm256_and_si256(_mm256_srlv_epi64(Words(in, bit, width), shift), mask);
  }
}

// Makes of numbers their sums up to each, beginning with `*sum` (in all lanes), which becomes the last.
TW_AVX2 inline void SumUp(__m256i numbers[kGroups], __m256i* sum) {
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) {
    __m256i pairs = _mm256_add_epi64(numbers[k], _mm256_slli_si256(numbers[k], 8));
    const __m256i low = _mm256_permute4x64_epi64(pairs, 0x50);
    pairs = _mm256_add_epi64(pairs, _mm256_blend_epi32(_mm256_setzero_si256(), low, 0xf0));
    numbers[k] = _mm256_add_epi64(pairs, *sum);
    *sum = _mm256_permute4x64_epi64(numbers[k], 0xff);
  }
}

// Rounds as a conversion of each would. The upper 48 bits and the lower 16 become the mantissas of numbers of fixed
// exponents, and only their sum rounds.
TW_AVX2 inline __m256d ToDoubles(__m256i integers) {
  const __m256d upper_bias = _mm256_set1_pd(0x3p67), lower_bias = _mm256_set1_pd(0x1p52);
  __m256i upper = _mm256_srai_epi32(integers, 16);
  upper = _mm256_blend_epi16(upper, _mm256_setzero_si256(), 0x33);
  upper = _mm256_add_epi64(upper, _mm256_castpd_si256(upper_bias));
  const __m256i lower = _mm256_blend_epi16(integers, _mm256_castpd_si256(lower_bias), 0x88);
  const __m256d above = _mm256_sub_pd(_mm256_castsi256_pd(upper), _mm256_set1_pd(0x3p67 + 0x1p52));
  return _mm256_add_pd(above, _mm256_castsi256_pd(lower));
}

// Writes the values of a block of integers. Returns the last integer.
TW_AVX2 inline int64_t WriteIntegers(const IntegersHeader& header, const uint8_t* packed, int64_t origin,
                                     double* values) {
  __m256i numbers[kGroups];
  Unpack(packed, header.width, numbers);
  const __m256i base = _mm256_set1_epi64x(static_cast<long long>(header.base));
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) numbers[k] = _mm256_add_epi64(numbers[k], base);
  if (header.separate) {
    const __m256i first = _mm256_set1_epi64x(static_cast<long long>(header.first));
    numbers[0] = _mm256_blend_epi32(numbers[0], first, 0x03);
  }
  __m256i sum = _mm256_setzero_si256();
  if (header.second_order) SumUp(numbers, &sum);
  sum = _mm256_set1_epi64x(origin);
  SumUp(numbers, &sum);
  const __m256d power = _mm256_set1_pd(kPowers[header.scale]);
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) {
    __m256d four = ToDoubles(numbers[k]);
    if (header.scale > 0) four = _mm256_div_pd(four, power);
    _mm256_storeu_pd(values + 4 * k, four);
  }
  return _mm_cvtsi128_si64(_mm256_castsi256_si128(sum));
}

// With eight bytes of zeros behind. Sizes are small and even.
inline void CopyPacked(const uint8_t* packed, size_t size, uint8_t* out) {
  size_t at = 0;
  for (; at + 8 <= size; at += 8) std::memcpy(out + at, packed + at, 8);
  const uint8_t* end = packed + at;
  uint64_t last = 0;
  for (size_t i = 0; i < size - at; i += 2) last |= GetBytes(end + i, 2) << (8 * i);
  std::memcpy(out + at, &last, 8);
  std::memset(out + at + 8, 0, 8);
}

// Decodes the block of integers at `in`; returns the bytes used, 0 when they are no block.
TW_AVX2 inline size_t DecodeIntegers(const uint8_t* in, size_t size, double previous, double* values, Before* before) {
  IntegersHeader header;
  if (!ReadHeader(in, size, &header)) return 0;
  int64_t origin = before->integer;
  if (before->scale != header.scale) Origin(previous, header.scale, &origin);
  const uint8_t* packed = in + header.size;
  const size_t packed_bytes = 2 * size_t{header.width};
  uint8_t padded[2 * kMaxWidth + 2 * sizeof(uint64_t)];
  if (size - header.size < packed_bytes + 8) {  // Words may reach past the numbers, but not past the memory.
    CopyPacked(packed, packed_bytes, padded);
    packed = padded;
  }
  const int64_t last = WriteIntegers(header, packed, origin, values);
  const bool sure = static_cast<uint64_t>(last) + kSureIntegers < 2 * kSureIntegers;
  *before = {sure ? header.scale : -1, last};
  return header.size + packed_bytes;
}

TW_AVX2 bool DecodeWide(const uint8_t* blocks, size_t size, size_t count, double* values, DecodedBlocks* decoded) {
  DecodedBlocks now = *decoded;
  Before before;
  for (size_t at = 0; now.done < count && at < size; now.done += kBlockValues) {
    double* const out = values + now.done;
    size_t used = 1;
    if (blocks[at] == kBlockSame) {
      std::fill_n(out, kBlockValues, now.previous);
    } else if (IsIntegerBlock(blocks[at])) {
      used = DecodeIntegers(blocks + at, size - at, now.previous, out, &before);
    } else {
      used = DecodeBlock(blocks + at, size - at, now.previous, out);
      before = {};
    }
    if (used == 0) return false;
    now.previous = out[kBlockValues - 1];
    at += used;
  }
  *decoded = now;
  return true;
}

}  // namespace

BlocksDecoder WideBlocksDecoder() { return __builtin_cpu_supports("avx2") ? DecodeWide : nullptr; }

}  // namespace tidewright::tsdb

#else

namespace tidewright::tsdb {

BlocksDecoder WideBlocksDecoder() { return nullptr; }

}  // namespace tidewright::tsdb

#endif
