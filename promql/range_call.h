// Range vectors as windows over whole series, and what the functions over them work on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "promql/evaluator.h"
#include "promql/samples.h"

namespace tidewright::promql {

inline constexpr char kMixedTypes[] = "encountered a mix of histograms and floats";
inline constexpr char kMixedSchemas[] =
    "vector contains a mix of histograms with exponential and custom buckets schemas";

// The series of a range vector argument and, of the one read last, its samples and the windows of all steps.
class RangeInput {
 public:
  static base::Result<RangeInput> Open(Evaluator& evaluator, const Expr& expr);

  size_t size() const { return selector_ != nullptr ? series_.size() : matrix_.size(); }
  LabelsView labels(size_t i) const;
  bool drop_name(size_t i) const { return selector_ == nullptr && matrix_[i].drop_name; }
  // The matchers of a selector; null for a subquery.
  const Matchers* matchers() const { return selector_ != nullptr ? &selector_->matchers : nullptr; }
  Extension extension() const { return selector_ != nullptr ? selector_->extension : Extension::kNone; }
  // The window of step i is (start_ms(i), end_ms(i)]; anchored and smoothed ones also hold samples around that.
  int64_t start_ms(size_t i) const { return SaturatingSub(end_ms(i), range_ms_); }
  int64_t end_ms(size_t i) const { return finder_->times().At(i); }

  // Reads series i; its samples and windows are valid until the next call.
  base::Status Read(size_t i);
  const SampleSpan& samples() const { return samples_; }
  const Windows& windows() const { return *windows_; }
  SampleSpan Window(size_t step) const;
  // When the newest sample of the last window of series i was taken, or what a subquery gave was computed from; of that
  // at least the time of its last step.
  int64_t NewestOf(size_t i) const;
  // The most samples that a window holds.
  size_t Widest() const;
  void ReleaseTo(Evaluator& evaluator) const {
    evaluator.Release(matrix_);
    evaluator.state().ReleaseSamples(times_.size());
  }

 private:
  RangeInput() = default;
  void ReadColumn(const EvalSeries& series);

  QueryState* state_ = nullptr;
  const VectorSelector* selector_ = nullptr;  // Null for a subquery.
  QueryState::SeriesList series_;             // Of the selector.
  EvalMatrix matrix_;                         // Of a subquery.
  std::vector<int64_t> times_;                // Of its steps.
  std::vector<int64_t> own_t_;                // Of a series of it that has gaps.
  std::vector<double> own_v_;
  std::vector<HistogramSample> own_histograms_;
  int64_t range_ms_ = 0;
  std::unique_ptr<SampleReader> reader_;
  std::unique_ptr<WindowFinder> finder_;
  SampleSpan samples_;
  const Windows* windows_ = nullptr;
  Windows histogram_windows_;
};

// What a function over a window gives; neither: no value.
struct RangeResult {
  double v = Absent();
  HistogramPtr h;
};

// One window, or with a column function all windows of a series.
struct RangeCall {
  SampleSpan window;
  int64_t start_ms = 0;  // The window is (start, end].
  int64_t end_ms = 0;
  int64_t time_ms = 0;  // Evaluation time.
  Extension extension = Extension::kNone;
  std::vector<double> scalars;  // The scalar arguments at this step, in order.
  LabelsView labels;
  const Call* call = nullptr;
  Evaluator* evaluator = nullptr;
  std::vector<double> scratch;  // Kept between calls to save allocations.
  bool name_checked = false;    // Of this series.
  base::Status error;           // Set by a function to fail the query.

  // Annotations at the range vector, with the metric's name where `named`.
  void Warn(const std::string& message, bool named = true);
  void Info(const std::string& message, bool named = true);
  // Remarks, at the first argument, that histograms among floats are left out.
  void InformIgnoredHistograms();
  // Remarks, once per series, on a metric whose name is not that of a counter.
  void CheckCounterName();
};

}  // namespace tidewright::promql
