// How histograms move within a window.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "promql/histogram.h"
#include "promql/range_call.h"

namespace tidewright::promql {

// The last histogram minus the first, plus, for counters, what was lost by resets. Null when they do not fit together.
// Warns and informs as it goes. At least one histogram.
HistogramPtr HistogramIncrease(RangeCall& call, std::span<const HistogramSample> samples, bool counter);

// The difference of two histograms in sequence, for irate and idelta; null when they do not fit.
HistogramPtr LastHistogramDifference(RangeCall& call, const HistogramSample& previous, const HistogramSample& last,
                                     bool counter);

// The same over an anchored or smoothed range, whose edges are interpolated in the latter. `first` and `last` are the
// samples used.
HistogramPtr ExtendedHistogramIncrease(RangeCall& call, size_t first, size_t last, bool counter);

// The histogram on the line between two at time t; null when they do not mix. After a counter reset the line starts
// from nothing. `inform` is called with each remark on bounds that had to be reconciled.
HistogramPtr InterpolateHistograms(const HistogramSample& left, const HistogramSample& right, int64_t t, bool counter,
                                   const std::function<void(const std::string&)>& inform);

// `sum` plus or minus a histogram, with the info that bounds had to be reconciled. False when they do not mix.
bool AddHistogram(RangeCall& call, HistogramSum& sum, const Histogram& other, double factor);

}  // namespace tidewright::promql
