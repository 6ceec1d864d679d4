// Functions over anchored and smoothed range selectors (experimental).
#pragma once

#include "base/status.h"
#include "promql/evaluator.h"
#include "promql/functions.h"

namespace tidewright::promql {

// Their windows also hold the samples up to the lookback before the range, and, smoothed, behind it.
bool ExtendedIncrease(RangeCall& call, double* value);
bool ExtendedDelta(RangeCall& call, double* value);
bool ExtendedRate(RangeCall& call, double* value);
bool AnchoredResets(RangeCall& call, double* value);
bool AnchoredChanges(RangeCall& call, double* value);

// kInvalidArgument when the function cannot work on such a range.
base::Status CheckExtension(const FunctionDef& function, Extension extension);

// The value at time t on the line between the samples around it.
double Smoothed(const Point& left, const Point& right, int64_t t);

}  // namespace tidewright::promql
