// What the evaluator computes with: series of points over the steps of a query.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "promql/value.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

// True for the labels that say what a metric is rather than where it comes from: __name__, __type__, __unit__.
inline bool IsMetricLabel(std::string_view name) {
  return name == tsdb::kMetricName || name == "__type__" || name == "__unit__";
}

// The evaluation times start, start + step, ... (count of them), in ms. An instant query has one.
struct Steps {
  int64_t start = 0;
  int64_t step = 1;
  size_t count = 1;
  bool range = false;  // From one time to a later one, if only with one step in between.
  int64_t At(size_t i) const { return start + static_cast<int64_t>(i) * step; }
  // The step at which an evaluation time lies; `t` must be one.
  size_t IndexOf(int64_t t) const { return static_cast<size_t>((t - start) / step); }
  int64_t end() const { return At(count - 1); }
};

// The labels of a result: those of a series or of a group, not copied, perhaps without those that say what a metric is.
// The Labels are kept by the query (QueryState::Own, PlanMemory); those of selected series are only made when somebody
// asks, so that an aggregation that knows their groups does without.
class LabelsView {
 public:
  LabelsView();  // No labels.
  explicit LabelsView(const Labels& labels) : labels_(&labels) {}
  LabelsView(const tsdb::SeriesSet& set, size_t index) : set_(&set), index_(index) {}

  // Calls visit(label) for each label, in order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    if (labels_ == nullptr) return LabelsView(set_->labels(index_), nameless_).ForEach(visit);
    for (const auto& label : *labels_) {
      if (!nameless_ || !IsMetricLabel(label.name)) visit(label);
    }
  }
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const { return !Get(name).empty(); }
  LabelsView WithoutMetric() const;
  Labels Copy() const;
  // Equal for equal labels.
  uint64_t Hash() const;
  friend bool operator==(const LabelsView& a, const LabelsView& b);

  // Of a selected series: the set and where in it. Null for any other labels.
  const tsdb::SeriesSet* set() const { return set_; }
  size_t index() const { return index_; }
  bool nameless() const { return nameless_; }

 private:
  LabelsView(const Labels& labels, bool nameless) : labels_(&labels), nameless_(nameless) {}

  const Labels* labels_ = nullptr;  // Null: those of a selected series.
  const tsdb::SeriesSet* set_ = nullptr;
  size_t index_ = 0;
  bool nameless_ = false;
};

// The mark of a step without a float. No result has these bits, as the staleness marker never leaves a selector.
inline constexpr uint64_t kAbsentBits = tsdb::kStaleNanBits;
inline double Absent() { return std::bit_cast<double>(kAbsentBits); }
inline bool IsAbsent(double value) { return std::bit_cast<uint64_t>(value) == kAbsentBits; }

// The age of what was computed from no sample: older than any.
inline constexpr int64_t kNoSample = std::numeric_limits<int64_t>::min();

// Values of one series at every step: columns, so that operators are loops over arrays.
struct EvalSeries {
  LabelsView labels;
  // The metric name is to be removed when the query ends (delayed name removal): until then labels hold it.
  bool drop_name = false;
  std::vector<double> values;            // One per step; Absent() where there is no float.
  std::vector<HistogramPtr> histograms;  // Empty, or one per step; null where there is none.
  int64_t sampled_ms = kNoSample;        // Of the newest sample behind the value at the last step.

  bool HasHistograms() const { return !histograms.empty(); }
  const Histogram* HistogramAt(size_t i) const { return histograms.empty() ? nullptr : histograms[i].get(); }
  // A float or a histogram.
  bool PresentAt(size_t i) const { return !IsAbsent(values[i]) || HistogramAt(i) != nullptr; }
  bool IsEmpty() const;
  // Where there is a histogram there is no float.
  void SetHistogram(size_t i, HistogramPtr h);
  void Remove(size_t i);
  void DropHistograms() { histograms.clear(); }
};
using EvalMatrix = std::vector<EvalSeries>;

// Applies compute(value, step) to every float of a column.
template <typename Compute>
void MapValues(std::vector<double>& values, Compute compute) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!IsAbsent(values[i])) values[i] = compute(values[i], i);
  }
}

// Sums without losing the low bits (Kahan, as improved by Neumaier).
class KahanSum {
 public:
  void Add(double value) {
    double total = sum_ + value;
    // The exact rounding error of the addition, without a branch on which is larger (Knuth).
    double back = total - sum_;
    double error = (sum_ - (total - back)) + (value - back);
    compensation_ = std::isinf(total) ? 0 : compensation_ + error;
    sum_ = total;
  }
  double Value() const { return std::isinf(sum_) ? sum_ : sum_ + compensation_; }
  double sum() const { return sum_; }
  double compensation() const { return compensation_; }
  void Set(double sum, double compensation) {
    sum_ = sum;
    compensation_ = compensation;
  }

 private:
  double sum_ = 0;
  double compensation_ = 0;
};

// The mean of values added one by one: sum over count while the sum is finite, then an incremental mean.
class KahanMean {
 public:
  void Add(double value);
  double Value() const;
  size_t count() const { return count_; }

 private:
  void AddIncrementally(double value);
  KahanSum sum_;   // Of the values.
  KahanSum mean_;  // Once the sum has overflowed.
  bool incremental_ = false;
  size_t count_ = 0;
};

// Population variance of values added one by one (Welford, compensated).
class Variance {
 public:
  void Add(double value);
  double Value() const;

 private:
  double count_ = 0;
  KahanSum mean_;
  KahanSum squares_;
};

// The q-quantile by linear interpolation of `values`, whose order changes. NaN for no values.
double QuantileOf(double q, std::vector<double>& values);

// Joins series with equal labels into one. Values of both at one step are an error.
base::Status MergeDuplicates(EvalMatrix& matrix, const char* error);

}  // namespace tidewright::promql
