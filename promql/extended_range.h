// Anchored and smoothed selectors (experimental).
#pragma once

#include "base/status.h"
#include "promql/functions.h"
#include "promql/range_call.h"

namespace tidewright::promql {

// Their windows also hold the samples up to the lookback before the range, and, smoothed, behind it.
void ExtendedIncrease(RangeCall& call, RangeResult* result);
void ExtendedDelta(RangeCall& call, RangeResult* result);
void ExtendedRate(RangeCall& call, RangeResult* result);

// kInvalidArgument when the function cannot work on such a range.
// Turns the samples of an extended window into those that it stands for: one at each end, and those in between.
base::Status ExtendSamples(Extension extension, int64_t start_ms, int64_t end_ms, MatrixSeries* series);

base::Status CheckExtension(const FunctionDef& function, Extension extension);

// The value at time t on the line between the samples around it, or the last one before it; nothing when there is none
// within `lookback_ms` before or it is stale. `window` reaches as far behind t, and has staleness markers.
RangeResult SmoothedAt(Evaluator& evaluator, const VectorSelector& selector, const LabelsView& labels,
                       const SampleSpan& window, int64_t t, int64_t lookback_ms);

}  // namespace tidewright::promql
