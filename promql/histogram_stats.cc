#include "promql/histogram_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool HoldsZero(const HistogramBucket& bucket) { return bucket.lower <= 0 && bucket.upper >= 0; }

// A zero bucket of a histogram with observations on one side only lies on that side; the lowest custom bucket above
// zero starts there.
HistogramBucket Narrowed(const Histogram& h, HistogramBucket bucket) {
  if (HasCustomBuckets(h)) {
    if (bucket.lower == -kInfinity && bucket.upper > 0) bucket.lower = 0;
  } else if (HoldsZero(bucket)) {
    if (h.negative_buckets.empty() && !h.positive_buckets.empty()) bucket.lower = 0;
    if (h.positive_buckets.empty() && !h.negative_buckets.empty()) bucket.upper = 0;
  }
  return bucket;
}

bool IsLinear(const Histogram& h, const HistogramBucket& bucket) { return HasCustomBuckets(h) || HoldsZero(bucket); }

// The value below which `fraction` of the bucket's observations lie.
double ValueAt(const Histogram& h, const HistogramBucket& bucket, double fraction) {
  if (IsLinear(h, bucket)) return bucket.lower + (bucket.upper - bucket.lower) * fraction;
  double low = std::log2(std::fabs(bucket.lower));
  double high = std::log2(std::fabs(bucket.upper));
  return bucket.lower > 0 ? std::exp2(low + (high - low) * fraction) : -std::exp2(high + (low - high) * (1 - fraction));
}

// The part of the bucket's observations below `v`, which lies within it.
double FractionBelow(const Histogram& h, const HistogramBucket& bucket, double v) {
  if (IsLinear(h, bucket)) return (v - bucket.lower) / (bucket.upper - bucket.lower);
  double low = std::log2(std::fabs(bucket.lower));
  double high = std::log2(std::fabs(bucket.upper));
  double at = std::log2(std::fabs(v));
  return v > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high);
}

double ObservationsIn(const std::vector<HistogramBucket>& buckets) {
  double count = 0;
  for (const auto& bucket : buckets) count += bucket.count;
  return count;
}

// How many of `all` observations lie below `bound`. As in Prometheus, a custom bucket with zero in it starts there.
double RankOf(double bound, const Histogram& h, const std::vector<HistogramBucket>& buckets, double all) {
  double below = 0;
  for (const auto& whole : buckets) {
    HistogramBucket bucket = Narrowed(h, whole);
    if (HasCustomBuckets(h) && HoldsZero(bucket)) bucket.lower = 0;
    double rank = below;
    bool within = bucket.lower < bound && bucket.upper > bound;
    if (within) rank = std::isinf(bucket.lower) ? bucket.count : below + bucket.count * FractionBelow(h, bucket, bound);
    if (within || bucket.lower >= bound) return rank > all ? all : rank;  // NaN stays.
    below += bucket.count;
  }
  return all;
}

// The index of the first bucket, in the order given, at which `rank` observations are reached, or of the last one that
// has any; counts them in `seen`.
size_t IndexAt(double rank, const std::vector<HistogramBucket>& buckets, double* seen) {
  size_t at = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i].count == 0) continue;
    at = i;
    *seen += buckets[i].count;
    if (*seen >= rank) break;
  }
  return at;
}

}  // namespace

bool HasNanObservations(const Histogram& h) { return std::isnan(h.sum) && h.count > ObservationsIn(BucketsOf(h)); }

double QuantileOf(double q, const Histogram& h) {
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  auto buckets = BucketsOf(h);
  if (std::isnan(q) || h.count == 0 || buckets.empty()) return kNan;
  // From the nearer end; with observations of NaN from below, as these are above all others.
  bool sum_is_nan = std::isnan(h.sum);
  bool forward = sum_is_nan || q < 0.5;
  if (!forward) std::reverse(buckets.begin(), buckets.end());
  double rank = (forward ? q : 1 - q) * h.count;
  double seen = 0;
  size_t at = IndexAt(rank, buckets, &seen);
  HistogramBucket bucket = Narrowed(h, buckets[at]);
  if (std::isinf(bucket.lower)) return bucket.upper;
  if (std::isinf(bucket.upper)) return bucket.lower;
  seen = std::min(seen, h.count);
  if (seen < rank) return sum_is_nan ? kNan : bucket.upper;
  rank = forward ? rank - (seen - bucket.count) : seen - rank;
  // Prometheus goes on to the last bucket to count observations of NaN, and interpolates in that one.
  if (sum_is_nan && at + 1 < buckets.size()) bucket = buckets.back();
  return ValueAt(h, bucket, rank / bucket.count);
}

double FractionOf(double lower, double upper, const Histogram& h) {
  if (h.count == 0 || std::isnan(lower) || std::isnan(upper)) return kNan;
  if (lower >= upper) return 0;
  auto buckets = BucketsOf(h);
  double all = std::isnan(h.sum) ? ObservationsIn(buckets) : h.count;
  return (RankOf(upper, h, buckets, all) - RankOf(lower, h, buckets, all)) / h.count;
}

double VarianceOf(const Histogram& h) {
  double mean = h.sum / h.count;
  KahanSum sum;
  for (const auto& bucket : BucketsOf(h)) {
    if (bucket.count == 0) continue;
    double value = 0;
    if (HasCustomBuckets(h)) {
      value = (bucket.lower + bucket.upper) / 2;
    } else if (!HoldsZero(bucket)) {
      value = std::sqrt(bucket.lower * bucket.upper);
      if (bucket.upper < 0) value = -value;
    }
    double distance = value - mean;
    sum.Add(bucket.count * distance * distance);
  }
  return (sum.sum() + sum.compensation()) / h.count;
}

}  // namespace tidewright::promql
