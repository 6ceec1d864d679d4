// The operators </ and >/: the part of a histogram below or above a bound.
#include <algorithm>
#include <cmath>
#include <limits>

#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What is kept of one bucket.
struct Part {
  double count = 0;
  double mean = 0;  // Of the kept observations, estimated.
};

// Where buckets end for the purpose of interpolation, and how.
struct Shape {
  double lower = 0;
  double upper = 0;
  bool linear = false;
};

// How much of a bucket lies below `bound`, which is within it.
double FractionBelow(const Shape& shape, double bound) {
  if (shape.linear) return (bound - shape.lower) / (shape.upper - shape.lower);
  double low = std::log2(std::fabs(shape.lower));
  double high = std::log2(std::fabs(shape.upper));
  return (std::log2(std::fabs(bound)) - low) / (high - low);
}

double Middle(const Shape& shape) {
  if (shape.linear) return (shape.lower + shape.upper) / 2;
  double mean = std::sqrt(shape.lower * shape.upper);
  return shape.lower < 0 ? -mean : mean;
}

// An open bucket has nothing to interpolate in: below the lowest bound everything is taken to lie at its end or at the
// bound, whichever is lower, above the highest likewise.
bool TrimOpen(const Shape& shape, double count, double bound, bool keep_below, Part* part) {
  bool open_below = std::isinf(shape.lower);
  bool open_above = std::isinf(shape.upper);
  if (!open_below && !open_above) return false;
  if (open_below && open_above) {
    part->count = std::isinf(bound) && (bound > 0) == keep_below ? count : 0;
  } else if (open_below) {
    bool whole = keep_below ? shape.upper <= 0 && bound != -kInfinity : bound == -kInfinity;
    *part = {whole ? count : 0, keep_below ? std::min(shape.upper, bound) : shape.upper};
  } else {
    bool whole = keep_below ? bound == kInfinity : bound != kInfinity;
    *part = {whole ? count : 0, keep_below ? shape.lower : std::max(shape.lower, bound)};
  }
  return true;
}

Part TrimBucket(const Shape& shape, double count, double bound, bool keep_below) {
  Part part;
  if (std::isnan(bound)) return part;  // Nothing lies on either side.
  if (TrimOpen(shape, count, bound, keep_below, &part)) return part;
  if (keep_below ? shape.upper <= bound : shape.lower >= bound) return {count, Middle(shape)};
  if (keep_below ? shape.lower >= bound : shape.upper <= bound) return {};
  double below = FractionBelow(shape, bound);
  Shape kept = shape;
  (keep_below ? kept.upper : kept.lower) = bound;
  return {count * (keep_below ? below : 1 - below), Middle(kept)};
}

// The lowest custom bucket above zero starts at zero, as far as a bound above zero is concerned.
Shape ShapeOf(const Histogram& h, const HistogramBucket& bucket, double bound) {
  Shape shape{bucket.lower, bucket.upper, HasCustomBuckets(h)};
  bool lowest = shape.linear && shape.lower == -kInfinity;
  if (lowest && shape.upper > 0 && shape.upper != kInfinity && bound >= 0) shape.lower = 0;
  return shape;
}

// The zero bucket, of which `shape` is the side with observations.
Part TrimZero(const Shape& shape, double count, double bound, bool keep_below) {
  const Part whole{count, (shape.lower + shape.upper) / 2};
  if (bound <= shape.lower) return keep_below ? Part() : whole;
  if (bound >= shape.upper) return keep_below ? whole : Part();
  double width = shape.upper - shape.lower;
  if (keep_below) return {count * ((bound - shape.lower) / width), (shape.lower + bound) / 2};
  return {count * ((shape.upper - bound) / width), (bound + shape.upper) / 2};
}

bool Populated(const std::vector<double>& counts) {
  return std::any_of(counts.begin(), counts.end(), [](double count) { return count != 0; });
}

// A zero bucket of a histogram with observations on one side only lies on that side.
Shape ShapeOfZero(const Histogram& h) {
  Shape shape{-h.zero_threshold, h.zero_threshold, true};
  bool negative = Populated(h.negative_buckets), positive = Populated(h.positive_buckets);
  if (negative && !positive) shape.upper = 0;
  if (positive && !negative) shape.lower = 0;
  return shape;
}

}  // namespace

HistogramPtr Trim(const Histogram& h, double bound, bool keep_below) {
  auto trimmed = std::make_shared<Histogram>(h);
  trimmed->count = 0;
  trimmed->sum = 0;
  bool changed = false;
  auto trim = [&](const HistogramBucket& bucket, double* count) {
    if (bucket.count == 0) return;
    Part part = count == &trimmed->zero_count ? TrimZero(ShapeOfZero(h), bucket.count, bound, keep_below)
                                              : TrimBucket(ShapeOf(h, bucket, bound), bucket.count, bound, keep_below);
    changed = changed || part.count != bucket.count;
    *count = part.count;
    trimmed->count += part.count;
    if (part.count != 0) trimmed->sum += part.count * part.mean;
  };
  // Buckets come from below: the negative side backwards, zero if populated, the positive side.
  auto buckets = WholeBucketsOf(h);
  size_t negative = h.negative_buckets.size();
  size_t zero = !HasCustomBuckets(h) && h.zero_count > 0 ? 1 : 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    double* count = i < negative          ? &trimmed->negative_buckets[negative - 1 - i]
                    : i - negative < zero ? &trimmed->zero_count
                                          : &trimmed->positive_buckets[i - negative - zero];
    trim(buckets[i], count);
  }
  return changed ? Compacted(*trimmed) : std::make_shared<Histogram>(h);
}

}  // namespace tidewright::promql
