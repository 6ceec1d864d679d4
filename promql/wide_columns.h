// Loops over columns of values, four values at a time where the processor can (AVX2). Every result is bit for bit what
// one value after the other gives.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "promql/matrix.h"
#include "promql/samples.h"

namespace tidewright::promql {

// Whether what an increase is multiplied with may depend on the counter's values, as its zero may be nearer than the
// window reaches back. Without divisions, which it has to be right about to the last bit: what is too near to tell
// counts as dependent.
inline constexpr double kZeroMargin = 1.0001, kZeroSmallest = 1e-290;
inline bool ZeroMayBeNear(const Reaches& reaches, size_t i, double first, double increase) {
  if (!(increase > 0 && first >= 0)) return false;
  return !(first * reaches.sampled[i] > std::max(reaches.to_start[i] * increase * kZeroMargin, kZeroSmallest));
}

// A column of samples, its windows, and what the increase within each is to be multiplied with.
struct Increases {
  const double* samples = nullptr;
  const uint32_t* begin = nullptr;  // As in Windows.
  const uint32_t* end = nullptr;
  const Reaches* reaches = nullptr;
  bool counter = false;  // The samples never fall, and the counter's zero limits how far back they reach.
};

// Thread-safe.
struct WideColumns {
  // Whether no value is NaN, nor less than the one before it.
  bool (*rises)(const double* values, size_t count);
  // Sets values[i], for i from `first` on, to the last sample of window i less its first, times its factor. Returns the
  // i where it stopped: a window among the next four has fewer than two samples, or may reach a counter's zero, or
  // there are fewer than four.
  size_t (*extrapolate)(const Increases& increases, size_t first, size_t count, double* values);
  // Adds those of the next four values that are there to the sums of their steps, for i from `first` on, and marks
  // these as used. Returns where it stopped: a value is absent, or there are fewer than four.
  size_t (*add)(const double* values, size_t first, size_t count, KahanSum* sums, uint8_t* used);
};

// Null where the processor has no AVX2.
const WideColumns* FindWideColumns();

}  // namespace tidewright::promql
