// Aggregation over a window of one series, and absence.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "promql/extended_range.h"
#include "promql/functions.h"
#include "promql/histogram.h"
#include "promql/number_text.h"
#include "promql/range_call.h"

namespace tidewright::promql {
namespace {

// Histograms among floats are left out with a remark. False when there are no floats.
bool FloatsOnly(RangeCall& call) {
  if (!call.window.t.empty() && !call.window.histograms.empty()) call.InformIgnoredHistograms();
  return !call.window.t.empty();
}

// The sum and its compensation, without looking for overflow on the way: false when there was some.
bool SumFast(std::span<const double> values, KahanSum* result) {
  double sum = 0, compensation = 0;
  for (double v : values) {
    double total = sum + v;
    double back = total - sum;
    compensation += (sum - (total - back)) + (v - back);
    sum = total;
  }
  result->Set(sum, compensation);
  return std::isfinite(sum);
}

double SumOf(std::span<const double> values) {
  KahanSum sum;
  if (SumFast(values, &sum)) return sum.Value();
  sum = KahanSum();
  for (double v : values) sum.Add(v);
  return sum.Value();
}

double MeanOf(std::span<const double> values) {
  KahanSum sum;
  auto count = static_cast<double>(values.size());
  if (SumFast(values, &sum)) return sum.sum() / count + sum.compensation() / count;
  KahanMean mean;
  for (double v : values) mean.Add(v);
  return mean.Value();
}

// The total of a window's histograms, by HistogramSum or HistogramMean; null with a warning when they do not mix.
template <typename Total>
HistogramPtr TotalOfHistograms(RangeCall& call) {
  auto samples = call.window.histograms;
  Total sum(*samples.front().h);
  bool reconciled = false;
  for (const auto& sample : samples.subspan(1)) {
    auto outcome = sum.Add(*sample.h);
    if (outcome == HistogramSum::Outcome::kIncompatible) {
      call.Warn(kMixedSchemas);
      return nullptr;
    }
    reconciled = reconciled || outcome == HistogramSum::Outcome::kReconciled;
  }
  if (reconciled) call.Info("mismatched custom buckets were reconciled during aggregation", false);
  if (sum.conflicting_resets()) call.Warn("conflicting counter resets during histogram aggregation", false);
  return std::make_shared<const Histogram>(sum.Total());
}

void Sum(RangeCall& call, RangeResult* result) {
  if (call.window.histograms.empty()) {
    result->v = SumOf(call.window.v);
  } else if (!call.window.t.empty()) {
    call.Warn(kMixedTypes);
  } else {
    result->h = TotalOfHistograms<HistogramSum>(call);
  }
}

void Avg(RangeCall& call, RangeResult* result) {
  if (call.window.histograms.empty()) {
    result->v = MeanOf(call.window.v);
  } else if (!call.window.t.empty()) {
    call.Warn(kMixedTypes);
  } else {
    result->h = TotalOfHistograms<HistogramMean>(call);
  }
}

// Computes compute(values) of every window.
template <double (*Compute)(std::span<const double>)>
void EveryWindow(RangeCall&, const RangeInput& input, std::vector<double>& values) {
  const Windows& windows = input.windows();
  auto v = input.samples().v;
  for (size_t i = 0; i < values.size(); ++i) {
    size_t count = windows.end[i] - windows.begin[i];
    if (count > 0) values[i] = Compute(v.subspan(windows.begin[i], count));
  }
}

double CountOf(std::span<const double> values) { return static_cast<double>(values.size()); }
double FirstOf(std::span<const double> values) { return values.front(); }
double LastOf(std::span<const double> values) { return values.back(); }

// Whether `a` is to be taken rather than an earlier `b`.
bool IsAtMost(double a, double b) { return a <= b; }
bool IsAtLeast(double a, double b) { return a >= b; }

// The index of the last value that `better` prefers to those before; NaN, the last one, only when there is nothing
// else.
template <bool (*Better)(double, double)>
size_t ExtremeOf(std::span<const double> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (std::isnan(values[best]) || Better(values[i], values[best])) best = i;
  }
  return best;
}

template <bool (*Better)(double, double)>
void Extreme(RangeCall& call, RangeResult* result) {
  if (FloatsOnly(call)) result->v = call.window.v[ExtremeOf<Better>(call.window.v)];
}

template <bool (*Better)(double, double)>
void TimeOfExtreme(RangeCall& call, RangeResult* result) {
  if (FloatsOnly(call)) result->v = static_cast<double>(call.window.t[ExtremeOf<Better>(call.window.v)]) / 1000;
}

// Extremes of windows that slide: a queue holds the indexes of values that may yet become the extreme, best first.
template <bool (*Better)(double, double)>
void SlidingExtreme(RangeCall&, const RangeInput& input, std::vector<double>& values) {
  const Windows& windows = input.windows();
  auto v = input.samples().v;
  if (values.size() == 1) {
    auto window = v.subspan(windows.begin[0], windows.end[0] - windows.begin[0]);
    values[0] = window.empty() ? Absent() : window[ExtremeOf<Better>(window)];
    return;
  }
  std::vector<size_t> queue;
  size_t head = 0;
  size_t next = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    size_t begin = windows.begin[i];
    for (next = std::max(next, begin); next < windows.end[i]; ++next) {
      auto beaten = [&](size_t index) { return std::isnan(v[index]) || Better(v[next], v[index]); };
      while (queue.size() > head && beaten(queue.back())) queue.pop_back();
      queue.push_back(next);
    }
    while (head < queue.size() && queue[head] < begin) ++head;
    if (windows.end[i] > begin) values[i] = v[queue[head]];
  }
}

void Count(RangeCall& call, RangeResult* result) { result->v = static_cast<double>(call.window.size()); }

// True when the first, or else the last sample of a window is a float.
bool FloatAtEnd(const SampleSpan& window, bool first) {
  if (window.t.empty() || window.histograms.empty()) return !window.t.empty();
  return first ? window.t.front() < window.histograms.front().t : window.t.back() > window.histograms.back().t;
}

void First(RangeCall& call, RangeResult* result) {
  if (FloatAtEnd(call.window, true)) {
    result->v = call.window.v.front();
  } else {
    result->h = call.window.histograms.front().h;
  }
}

void Last(RangeCall& call, RangeResult* result) {
  if (FloatAtEnd(call.window, false)) {
    result->v = call.window.v.back();
  } else {
    result->h = call.window.histograms.back().h;
  }
}

void TimeOfFirst(RangeCall& call, RangeResult* result) {
  const SampleSpan& window = call.window;
  int64_t t = FloatAtEnd(window, true) ? window.t.front() : window.histograms.front().t;
  result->v = static_cast<double>(t) / 1000;
}

void TimeOfLast(RangeCall& call, RangeResult* result) {
  const SampleSpan& window = call.window;
  int64_t t = FloatAtEnd(window, false) ? window.t.back() : window.histograms.back().t;
  result->v = static_cast<double>(t) / 1000;
}

void Present(RangeCall&, RangeResult* result) { result->v = 1; }

double VarianceOf(std::span<const double> values) {
  Variance variance;
  for (double v : values) variance.Add(v);
  return variance.Value();
}

void Stdvar(RangeCall& call, RangeResult* result) {
  if (FloatsOnly(call)) result->v = VarianceOf(call.window.v);
}

void Stddev(RangeCall& call, RangeResult* result) {
  if (FloatsOnly(call)) result->v = std::sqrt(VarianceOf(call.window.v));
}

void Quantile(RangeCall& call, RangeResult* result) {
  double q = call.scalars[0];
  if (!FloatsOnly(call)) return;
  if (!(q >= 0 && q <= 1)) {
    call.evaluator->state().Warn(*call.call->args[0],
                                 "quantile value should be between 0 and 1, got " + GeneralText(q));
  }
  call.scratch.assign(call.window.v.begin(), call.window.v.end());
  result->v = QuantileOf(q, call.scratch);
}

// The median of the distances from the median.
void MedianAbsoluteDeviation(RangeCall& call, RangeResult* result) {
  if (!FloatsOnly(call)) return;
  auto& values = call.scratch;
  values.assign(call.window.v.begin(), call.window.v.end());
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) {
    result->v = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  double median = QuantileOf(0.5, values);
  for (double& v : values) v = std::fabs(v - median);
  result->v = QuantileOf(0.5, values);
}

// What the labels of an absent series would be: those that its selector names with =. What it says of the same label
// afterwards takes that back. As in Prometheus, whose index sorts them so, matchers that only take series away come
// last.
Labels AbsentLabels(const Expr& argument) {
  const Expr& expr = StripParens(argument);
  const VectorSelector* selector = nullptr;
  if (expr.kind == NodeKind::kVectorSelector) selector = &As<VectorSelector>(expr);
  if (expr.kind == NodeKind::kMatrixSelector) selector = As<MatrixSelector>(expr).selector.get();
  if (selector == nullptr) return {};
  Matchers matchers = selector->matchers;
  std::set<std::string> needed, named;
  for (const Matcher& matcher : matchers) {
    if (!matcher.MatchesEmpty()) needed.insert(matcher.name());
  }
  std::stable_partition(matchers.begin(), matchers.end(), [&](const Matcher& matcher) {
    bool negated = matcher.type() == Matcher::Type::kNotEqual || matcher.type() == Matcher::Type::kNotRegex;
    return needed.contains(matcher.name()) && !(negated && matcher.MatchesEmpty());
  });
  tsdb::LabelsBuilder labels;
  for (const Matcher& matcher : matchers) {
    if (matcher.name() == tsdb::kMetricName) continue;
    bool names = matcher.type() == Matcher::Type::kEqual && named.insert(matcher.name()).second;
    labels.Set(matcher.name(), names ? matcher.value() : "");
  }
  return labels.Build();
}

// 1 at the steps that are not `present`.
base::Result<EvalMatrix> AbsentAt(Evaluator& evaluator, const Expr& argument, const std::vector<uint8_t>& present) {
  EvalSeries series;
  series.labels = evaluator.state().Own(AbsentLabels(argument));
  for (uint8_t there : present) series.values.push_back(there != 0 ? promql::Absent() : 1);
  if (series.IsEmpty()) return EvalMatrix{};
  TW_RETURN_IF_ERROR(evaluator.Hold(series));
  EvalMatrix result;
  result.push_back(std::move(series));
  return result;
}

base::Result<EvalMatrix> AbsentVector(Evaluator& evaluator, const Call& call) {
  std::vector<uint8_t> present(evaluator.steps().count);
  TW_RETURN_IF_ERROR(evaluator.Stream(*call.args[0], [&](EvalSeries& series) {
    for (size_t i = 0; i < present.size(); ++i) present[i] |= series.PresentAt(i) ? 1 : 0;
    return base::Status::Ok();
  }));
  return AbsentAt(evaluator, *call.args[0], present);
}

base::Result<EvalMatrix> AbsentOverTime(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(RangeInput input, RangeInput::Open(evaluator, StripParens(*call.args[0])));
  TW_RETURN_IF_ERROR(CheckExtension(*call.function, input.extension()));
  std::vector<uint8_t> present(evaluator.steps().count);
  for (size_t i = 0; i < input.size(); ++i) {
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    TW_RETURN_IF_ERROR(input.Read(i));
    for (size_t s = 0; s < present.size(); ++s) present[s] |= input.Window(s).empty() ? 0 : 1;
  }
  input.ReleaseTo(evaluator);
  return AbsentAt(evaluator, *call.args[0], present);
}

FunctionDef OfWindow(std::string_view name, RangeFn compute, ColumnFn columns = nullptr) {
  return {.name = name, .args = {ValueType::kMatrix}, .implementation = compute, .columns = columns};
}

FunctionDef Keeping(FunctionDef function) {
  function.keeps_name = true;
  return function;
}

FunctionDef Experimental(std::string_view name, RangeFn compute) {
  return {.name = name, .args = {ValueType::kMatrix}, .implementation = compute, .experimental = true};
}

}  // namespace

std::vector<FunctionDef> OverTimeFunctions() {
  std::vector<FunctionDef> table = {
      OfWindow("avg_over_time", Avg, EveryWindow<MeanOf>),
      OfWindow("count_over_time", Count, EveryWindow<CountOf>),
      Keeping(OfWindow("first_over_time", First, EveryWindow<FirstOf>)),
      Keeping(OfWindow("last_over_time", Last, EveryWindow<LastOf>)),
      OfWindow("max_over_time", Extreme<IsAtLeast>, SlidingExtreme<IsAtLeast>),
      OfWindow("min_over_time", Extreme<IsAtMost>, SlidingExtreme<IsAtMost>),
      OfWindow("present_over_time", Present),
      OfWindow("stddev_over_time", Stddev),
      OfWindow("stdvar_over_time", Stdvar, EveryWindow<VarianceOf>),
      OfWindow("sum_over_time", Sum, EveryWindow<SumOf>),
      Experimental("mad_over_time", MedianAbsoluteDeviation),
      Experimental("ts_of_first_over_time", TimeOfFirst),
      Experimental("ts_of_last_over_time", TimeOfLast),
      Experimental("ts_of_max_over_time", TimeOfExtreme<IsAtLeast>),
      Experimental("ts_of_min_over_time", TimeOfExtreme<IsAtMost>),
  };
  table.push_back(
      {.name = "quantile_over_time", .args = {ValueType::kScalar, ValueType::kMatrix}, .implementation = Quantile});
  table.push_back({.name = "absent", .args = {ValueType::kVector}, .implementation = AbsentVector});
  table.push_back({.name = "absent_over_time", .args = {ValueType::kMatrix}, .implementation = AbsentOverTime});
  return table;
}

}  // namespace tidewright::promql
