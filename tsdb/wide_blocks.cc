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
inline bool IsSure(int64_t integer) { return static_cast<uint64_t>(integer) + kSureIntegers < 2 * kSureIntegers; }

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

// Makes of numbers their sums up to each, beginning with `sum` (in all lanes). Only one addition for each four waits
// for what is in front of them.
TW_AVX2 inline void SumUp(__m256i numbers[kGroups], __m256i sum) {
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) {
    __m256i sums = _mm256_add_epi64(numbers[k], _mm256_slli_si256(numbers[k], 8));
    const __m256i low = _mm256_permute4x64_epi64(sums, 0x50);
    sums = _mm256_add_epi64(sums, _mm256_blend_epi32(_mm256_setzero_si256(), low, 0xf0));
    numbers[k] = _mm256_add_epi64(sums, sum);
    sum = _mm256_add_epi64(sum, _mm256_permute4x64_epi64(sums, 0xff));
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
  if (header.second_order) SumUp(numbers, _mm256_setzero_si256());
  SumUp(numbers, _mm256_set1_epi64x(origin));
  const __m256d power = _mm256_set1_pd(kPowers[header.scale]);
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) {
    __m256d four = ToDoubles(numbers[k]);
    if (header.scale > 0) four = _mm256_div_pd(four, power);
    _mm256_storeu_pd(values + 4 * k, four);
  }
  return _mm256_extract_epi64(numbers[kGroups - 1], 3);
}

// Whether sums of the numbers fit 32 bits, and those with `origin` a double, so that WriteSmall() is as good.
inline bool IsSmall(const IntegersHeader& header, int64_t origin) {
  constexpr uint64_t kSmallBase = uint64_t{1} << 26;
  return header.width <= kNarrow && !header.second_order && header.base + kSmallBase < 2 * kSmallBase &&
         IsSure(origin) && IsSure(static_cast<int64_t>(header.first));
}

// Makes of eight numbers their sums up to each.
TW_AVX2 inline __m256i SumUpSmall(__m256i numbers) {
  __m256i sums = _mm256_add_epi32(numbers, _mm256_slli_si256(numbers, 4));
  sums = _mm256_add_epi32(sums, _mm256_slli_si256(sums, 8));
  const __m256i low = _mm256_permute2x128_si256(sums, sums, 0x08);  // The upper half becomes the lower, that becomes 0.
  return _mm256_add_epi32(sums, _mm256_shuffle_epi32(low, 0xff));
}

// The lower halves of eight words, in order.
TW_AVX2 inline __m256i LowerHalves(__m256i first, __m256i second) {
  const __m256 halves = _mm256_shuffle_ps(_mm256_castsi256_ps(first), _mm256_castsi256_ps(second), 0x88);
  return _mm256_permute4x64_epi64(_mm256_castps_si256(halves), 0xd8);
}

// As WriteIntegers(), with numbers of 32 bits, which are converted before `origin` is added: exact, as all are integers
// below 2^53.
TW_AVX2 inline int64_t WriteSmall(const IntegersHeader& header, const uint8_t* packed, int64_t origin, double* values) {
  __m256i numbers[kGroups];
  Unpack(packed, header.width, numbers);
  const __m256i base = _mm256_set1_epi32(static_cast<int>(header.base));
  __m256i front = _mm256_add_epi32(LowerHalves(numbers[0], numbers[1]), base);
  __m256i back = _mm256_add_epi32(LowerHalves(numbers[2], numbers[3]), base);
  if (header.separate) {
    front = _mm256_blend_epi32(front, _mm256_setzero_si256(), 0x01);
    origin += static_cast<int64_t>(header.first);
  }
  front = SumUpSmall(front);
  back = _mm256_add_epi32(SumUpSmall(back), _mm256_permutevar8x32_epi32(front, _mm256_set1_epi32(7)));
  const __m128i sums[kGroups] = {_mm256_castsi256_si128(front), _mm256_extracti128_si256(front, 1),
                                 _mm256_castsi256_si128(back), _mm256_extracti128_si256(back, 1)};
  const __m256d start = _mm256_set1_pd(static_cast<double>(origin)), power = _mm256_set1_pd(kPowers[header.scale]);
#pragma GCC unroll 4
  for (size_t k = 0; k < kGroups; ++k) {
    __m256d four = _mm256_add_pd(_mm256_cvtepi32_pd(sums[k]), start);
    if (header.scale > 0) four = _mm256_div_pd(four, power);
    _mm256_storeu_pd(values + 4 * k, four);
  }
  return origin + _mm_extract_epi32(sums[kGroups - 1], 3);
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
  const int64_t last = IsSmall(header, origin) ? WriteSmall(header, packed, origin, values)
                                               : WriteIntegers(header, packed, origin, values);
  *before = {IsSure(last) ? header.scale : -1, last};
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
