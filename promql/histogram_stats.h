// Estimates from native histograms.
#pragma once

#include "promql/value.h"

namespace tidewright::promql {

// The mean of the squared distances from the mean, taking every observation to lie in the middle of its bucket.
double VarianceOf(const Histogram& h);

// Observations of NaN are counted, but in no bucket.
bool HasNanObservations(const Histogram& h);

// The q-quantile, interpolated within its bucket: exponentially in exponential buckets, linearly in the zero bucket and
// in custom ones. NaN when there are no observations or the quantile falls among those of NaN, infinite outside [0, 1].
double QuantileOf(double q, const Histogram& h);

// Which part of the observations lies between the bounds, with the same interpolation.
double FractionOf(double lower, double upper, const Histogram& h);

}  // namespace tidewright::promql
