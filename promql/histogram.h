// Arithmetic on native histograms.
//
// Histograms of different layouts are brought to a common one first: the coarser of two exponential schemas, the wider
// of two zero buckets (widened further when its edge falls into a populated bucket), the common bounds of two lists of
// custom bounds. Exponential and custom buckets do not mix. Source of all rules: Prometheus' float histograms, as shown
// by its acceptance scripts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "promql/matrix.h"
#include "promql/value.h"

namespace tidewright::promql {

using CounterResetHint = tsdb::CounterResetHint;

inline bool HasCustomBuckets(const Histogram& h) { return h.schema == tsdb::kCustomBucketsSchema; }

// Observations between the bounds, of which those belong to the bucket that are said to.
struct HistogramBucket {
  double lower = 0;
  double upper = 0;
  double count = 0;
  bool includes_lower = false;
  bool includes_upper = false;
};

// All buckets of `h` with their bounds, from the lowest to the highest; those beside the zero bucket begin where it
// ends, even if their own bound lies within it. The zero bucket is left out unless it has a positive count.
std::vector<HistogramBucket> BucketsOf(const Histogram& h);
// The same with the bounds of their indexes, and with `negative_zero` with a zero bucket whose count is negative.
std::vector<HistogramBucket> WholeBucketsOf(const Histogram& h, bool negative_zero = false);

// A histogram under construction: a sum of histograms with compensation for rounding. Thread-compatible.
class HistogramSum {
 public:
  enum class Outcome {
    kAdded,
    kReconciled,    // Added; different custom bounds were cut down to the common ones.
    kIncompatible,  // Nothing happened: custom buckets and exponential ones.
  };

  explicit HistogramSum(const Histogram& first);
  // Adds factor * other.
  Outcome Add(const Histogram& other, double factor = 1);
  // Lowers the resolution of exponential buckets to `schema`, unless it is as low.
  void ReduceTo(int32_t schema);
  void Scale(double factor);
  // The largest of all its numbers, regardless of sign.
  double Largest() const;
  // True when the hints of what was added contradict each other: a counter reset, and none.
  bool conflicting_resets() const { return conflicting_resets_; }
  // The sum without empty buckets.
  Histogram Total() const;

  // True when a counter went down from `previous` to this one, as far as the buckets tell.
  bool IsBelow(const Histogram& previous) const;

 private:
  // One bucket by its index.
  struct Cell {
    int32_t index = 0;
    KahanSum count;
  };
  using Cells = std::vector<Cell>;

  static Cells CellsOf(const tsdb::BucketSpans& spans, const std::vector<double>& counts);
  static void Reduce(Cells& cells, int levels);
  static void AddCells(Cells& into, const Cells& other, double factor);
  static void StoreCells(const Cells& cells, tsdb::BucketSpans* spans, std::vector<double>* counts);
  static bool AnyBelow(const Cells& current, const Cells& previous);

  bool custom() const { return schema_ == tsdb::kCustomBucketsSchema; }
  void WidenZero(double threshold);
  void CutTo(const std::vector<double>& bounds);
  bool Reconcile(HistogramSum& other);
  void AddHint(CounterResetHint hint);

  CounterResetHint hint_;
  int32_t schema_;
  double zero_threshold_;
  KahanSum zero_, count_, sum_;
  Cells positive_, negative_;
  std::vector<double> bounds_;
  bool reset_seen_ = false, no_reset_seen_ = false, conflicting_resets_ = false;
};

// The mean of histograms: their sum over their number. Sums that would overflow are scaled down first.
class HistogramMean {
 public:
  explicit HistogramMean(const Histogram& first) : sum_(first) {}
  HistogramSum::Outcome Add(const Histogram& other);
  bool conflicting_resets() const { return sum_.conflicting_resets(); }
  Histogram Total() const;

 private:
  HistogramSum sum_;  // Times scale_.
  double count_ = 1;
  double scale_ = 1;
};

// True when `current`, the sample after `previous`, shows that a counter was reset in between: by its hint, or by its
// counts and layout.
bool IsCounterReset(const Histogram& current, const Histogram& previous);

// All counts and the sum times `factor`. A negative factor makes a gauge.
HistogramPtr Scale(const Histogram& h, double factor);
// The same with a division, where by zero leaves no buckets.
HistogramPtr Divide(const Histogram& h, double divisor);
// The same counts without empty buckets.
HistogramPtr Compacted(const Histogram& h);
HistogramPtr WithHint(const Histogram& h, CounterResetHint hint);

// Equal bit by bit, hints aside; where the spans are cut does not matter.
bool SameHistogram(const Histogram& a, const Histogram& b);

// The observations below (`keep_below`) or above `bound`, interpolated within its bucket. The sum is estimated.
HistogramPtr Trim(const Histogram& h, double bound, bool keep_below);

// The text by which count_values() names a histogram: {count:4, sum:5, (0.5,1]:2}.
std::string ToText(const Histogram& h);

// How many floats a histogram takes the space of, for limits.
size_t SizeInSamples(const Histogram& h);

}  // namespace tidewright::promql
