// Restarts of counters that start timestamps tell.
#pragma once

#include <cstdint>

#include "promql/range_call.h"

namespace tidewright::promql {

// When a sample was taken, and when its counter began (0: unknown).
struct SampleTimes {
  int64_t t = 0;
  int64_t start = 0;
};

// True when the counter of `now` began after the sample `before`. A counter that begins at the very time of that sample
// is a new one only if the one before had a valid start as well: otherwise the start is just the first that is known.
inline bool StartedBetween(const SampleTimes& before, const SampleTimes& now) {
  if (now.start == 0 || now.start >= now.t || now.start < before.t) return false;
  return now.start > before.t || (before.start != 0 && before.start < before.t);
}

// True when a counter claims to have begun before the sample of another one.
inline bool StartsOverlap(const SampleTimes& before, const SampleTimes& now) {
  return now.start != 0 && now.start < before.t && now.start != before.start;
}

// The times of the float i of a window.
inline SampleTimes TimesOf(const SampleSpan& window, size_t i) {
  return {window.t[i], window.start.empty() ? 0 : window.start[i]};
}
inline SampleTimes TimesOf(const HistogramSample& sample) { return {sample.t, sample.start}; }

}  // namespace tidewright::promql
