#include "promql/wide_columns.h"

#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>
#include <limits>

#define TW_AVX2 __attribute__((target("avx2")))

namespace tidewright::promql {

namespace {

constexpr size_t kWide = 4;

TW_AVX2 bool Rises(const double* values, size_t count) {
  constexpr size_t kAtOnce = 16;
  size_t i = 1;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    __m256d falls = _mm256_setzero_pd();
#pragma GCC unroll 4
    for (size_t k = i; k < i + kAtOnce; k += kWide) {
      const __m256d before = _mm256_loadu_pd(values + k - 1), after = _mm256_loadu_pd(values + k);
      falls = _mm256_or_pd(falls, _mm256_cmp_pd(after, before, _CMP_NGE_UQ));
    }
    if (_mm256_movemask_pd(falls) != 0) return false;
  }
  for (; i < count; ++i) {
    if (!(values[i] >= values[i - 1])) return false;
  }
  return count == 0 || values[0] == values[0];
}

// The samples at four places.
TW_AVX2 inline __m256d Gather(const double* samples, const uint32_t* at) {
  return _mm256_set_pd(samples[at[3]], samples[at[2]], samples[at[1]], samples[at[0]]);
}

// As ZeroMayBeNear(), for any of four windows.
TW_AVX2 inline bool AnyZeroNear(const Reaches& reaches, size_t i, __m256d first, __m256d increase) {
  const __m256d zero = _mm256_setzero_pd();
  const __m256d bounded =
      _mm256_and_pd(_mm256_cmp_pd(increase, zero, _CMP_GT_OQ), _mm256_cmp_pd(first, zero, _CMP_GE_OQ));
  const __m256d reached = _mm256_mul_pd(_mm256_loadu_pd(&reaches.to_start[i]), increase);
  const __m256d limit =
      _mm256_max_pd(_mm256_set1_pd(kZeroSmallest), _mm256_mul_pd(reached, _mm256_set1_pd(kZeroMargin)));
  const __m256d far = _mm256_cmp_pd(_mm256_mul_pd(first, _mm256_loadu_pd(&reaches.sampled[i])), limit, _CMP_GT_OQ);
  return _mm256_movemask_pd(_mm256_andnot_pd(far, bounded)) != 0;
}

TW_AVX2 size_t Extrapolate(const Increases& of, size_t first, size_t count, double* values) {
  size_t i = first;
  for (; i + kWide <= count; i += kWide) {
    const __m128i begin = _mm_loadu_si128(reinterpret_cast<const __m128i*>(of.begin + i));
    const __m128i end = _mm_loadu_si128(reinterpret_cast<const __m128i*>(of.end + i));
    const __m128i enough = _mm_cmpgt_epi32(_mm_sub_epi32(end, begin), _mm_set1_epi32(1));
    if (_mm_movemask_ps(_mm_castsi128_ps(enough)) != 0xf) break;
    const __m256d from = Gather(of.samples, of.begin + i);
    const __m256d increase = _mm256_sub_pd(Gather(of.samples - 1, of.end + i), from);
    if (of.counter && AnyZeroNear(*of.reaches, i, from, increase)) break;
    _mm256_storeu_pd(values + i, _mm256_mul_pd(increase, _mm256_loadu_pd(&of.reaches->factor[i])));
  }
  return i;
}

static_assert(sizeof(KahanSum) == 2 * sizeof(double) && std::is_standard_layout_v<KahanSum>,
              "a sum and its compensation are beside each other");

TW_AVX2 size_t Add(const double* values, size_t first, size_t count, KahanSum* sums, uint8_t* used) {
  const __m256i absent = _mm256_set1_epi64x(static_cast<long long>(kAbsentBits));
  const __m256d magnitude = _mm256_castsi256_pd(_mm256_set1_epi64x(INT64_MAX));
  const __m256d infinity = _mm256_set1_pd(std::numeric_limits<double>::infinity());
  constexpr uint32_t kFourUsed = 0x01010101;
  size_t i = first;
  for (; i + kWide <= count; i += kWide) {
    __m256d v = _mm256_loadu_pd(values + i);
    const __m256i missing = _mm256_cmpeq_epi64(_mm256_castpd_si256(v), absent);
    if (_mm256_testz_si256(missing, missing) == 0) break;
    auto* const at = reinterpret_cast<double*>(sums + i);
    const __m256d low = _mm256_loadu_pd(at), high = _mm256_loadu_pd(at + kWide);
    const __m256d sum = _mm256_unpacklo_pd(low, high), compensation = _mm256_unpackhi_pd(low, high);
    v = _mm256_permute4x64_pd(v, 0xd8);  // In the order that this leaves the sums in: 0, 2, 1, 3.
    const __m256d total = _mm256_add_pd(sum, v);
    const __m256d back = _mm256_sub_pd(total, sum);
    const __m256d error = _mm256_add_pd(_mm256_sub_pd(sum, _mm256_sub_pd(total, back)), _mm256_sub_pd(v, back));
    const __m256d overflown = _mm256_cmp_pd(_mm256_and_pd(total, magnitude), infinity, _CMP_EQ_OQ);
    const __m256d corrected = _mm256_andnot_pd(overflown, _mm256_add_pd(compensation, error));
    _mm256_storeu_pd(at, _mm256_unpacklo_pd(total, corrected));
    _mm256_storeu_pd(at + kWide, _mm256_unpackhi_pd(total, corrected));
    std::memcpy(used + i, &kFourUsed, sizeof kFourUsed);
  }
  return i;
}

}  // namespace

const WideColumns* FindWideColumns() {
  static constexpr WideColumns kColumns = {Rises, Extrapolate, Add};
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  return has_avx2 ? &kColumns : nullptr;
}

}  // namespace tidewright::promql

#else

namespace tidewright::promql {

const WideColumns* FindWideColumns() { return nullptr; }

}  // namespace tidewright::promql

#endif
