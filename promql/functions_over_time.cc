// Aggregation over a window of one series, and absence.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/metrics.h"
#include "promql/evaluator.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

bool Sum(RangeCall& call, double* value) {
  KahanSum sum;
  for (const Point& point : call.window) sum.Add(point.v);
  *value = sum.Value();
  return true;
}

bool Avg(RangeCall& call, double* value) {
  KahanMean mean;
  for (const Point& point : call.window) mean.Add(point.v);
  *value = mean.Value();
  return true;
}

// The last sample that `better` prefers to those before; NaN only when there is nothing else.
template <typename Better>
Point Extreme(std::span<const Point> window, Better better) {
  Point best = window.front();
  for (const Point& point : window.subspan(1)) {
    if (std::isnan(best.v) ? !std::isnan(point.v) : better(point.v, best.v)) best = point;
  }
  return best;
}

bool Min(RangeCall& call, double* value) {
  *value = Extreme(call.window, [](double a, double b) { return a <= b; }).v;
  return true;
}

bool Max(RangeCall& call, double* value) {
  *value = Extreme(call.window, [](double a, double b) { return a >= b; }).v;
  return true;
}

bool TimeOfMin(RangeCall& call, double* value) {
  *value = static_cast<double>(Extreme(call.window, [](double a, double b) { return a <= b; }).t) / 1000;
  return true;
}

bool TimeOfMax(RangeCall& call, double* value) {
  *value = static_cast<double>(Extreme(call.window, [](double a, double b) { return a >= b; }).t) / 1000;
  return true;
}

bool Count(RangeCall& call, double* value) {
  *value = static_cast<double>(call.window.size());
  return true;
}

bool First(RangeCall& call, double* value) {
  *value = call.window.front().v;
  return true;
}

bool Last(RangeCall& call, double* value) {
  *value = call.window.back().v;
  return true;
}

bool TimeOfFirst(RangeCall& call, double* value) {
  *value = static_cast<double>(call.window.front().t) / 1000;
  return true;
}

bool TimeOfLast(RangeCall& call, double* value) {
  *value = static_cast<double>(call.window.back().t) / 1000;
  return true;
}

bool Present(RangeCall&, double* value) {
  *value = 1;
  return true;
}

bool Stdvar(RangeCall& call, double* value) {
  Variance variance;
  for (const Point& point : call.window) variance.Add(point.v);
  *value = variance.Value();
  return true;
}

bool Stddev(RangeCall& call, double* value) {
  Stdvar(call, value);
  *value = std::sqrt(*value);
  return true;
}

std::vector<double>& ValuesOf(RangeCall& call) {
  call.scratch.clear();
  for (const Point& point : call.window) call.scratch.push_back(point.v);
  return call.scratch;
}

bool Quantile(RangeCall& call, double* value) {
  double q = call.scalars[0];
  if (!(q >= 0 && q <= 1)) {
    call.evaluator->state().Warn(*call.call->args[0],
                                 "quantile value should be between 0 and 1, got " + base::FormatDouble(q));
  }
  *value = QuantileOf(q, ValuesOf(call));
  return true;
}

// The median of the distances from the median.
bool MedianAbsoluteDeviation(RangeCall& call, double* value) {
  auto& values = ValuesOf(call);
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  double median = QuantileOf(0.5, values);
  for (double& v : values) v = std::fabs(v - median);
  *value = QuantileOf(0.5, values);
  return true;
}

// What the labels of an absent series would be: those that its selector names with = and only once.
Labels AbsentLabels(const Expr& argument) {
  const Expr& expr = StripParens(argument);
  const VectorSelector* selector = nullptr;
  if (expr.kind == NodeKind::kVectorSelector) selector = &As<VectorSelector>(expr);
  if (expr.kind == NodeKind::kMatrixSelector) selector = As<MatrixSelector>(expr).selector.get();
  if (selector == nullptr) return {};
  std::map<std::string, int> uses;
  for (const Matcher& matcher : selector->matchers) ++uses[matcher.name()];
  tsdb::LabelsBuilder labels;
  for (const Matcher& matcher : selector->matchers) {
    bool equal = matcher.type() == Matcher::Type::kEqual && uses[matcher.name()] == 1;
    if (equal && matcher.name() != tsdb::kMetricName) labels.Set(matcher.name(), matcher.value());
  }
  return labels.Build();
}

// 1 at the steps that are not `present`.
base::Result<EvalMatrix> AbsentAt(Evaluator& evaluator, const Expr& argument, const std::vector<uint8_t>& present) {
  EvalMatrix result(1);
  result[0].labels = AbsentLabels(argument);
  for (size_t i = 0; i < present.size(); ++i) {
    if (present[i] == 0) result[0].points.push_back({evaluator.steps().At(i), 1});
  }
  TW_RETURN_IF_ERROR(evaluator.state().AddSamples(result[0].points.size()));
  if (result[0].points.empty()) result.clear();
  return result;
}

base::Result<EvalMatrix> Absent(Evaluator& evaluator, const Call& call) {
  auto input = evaluator.Eval(*call.args[0]);
  if (!input.ok()) return input;
  std::vector<uint8_t> present(evaluator.steps().count);
  for (const auto& series : *input) {
    for (const Point& point : series.points) present[evaluator.steps().IndexOf(point.t)] = 1;
  }
  evaluator.Release(*input);
  return AbsentAt(evaluator, *call.args[0], present);
}

base::Result<EvalMatrix> AbsentOverTime(Evaluator& evaluator, const Call& call) {
  auto input = RangeInput::Open(evaluator, StripParens(*call.args[0]));
  if (!input.ok()) return input.status();
  const Steps& steps = evaluator.steps();
  std::vector<uint8_t> present(steps.count);
  for (size_t i = 0; i < input->size(); ++i) {
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    RangeInput::Cursor cursor(*input, i);
    for (size_t s = 0; s < steps.count && !cursor.exhausted(); ++s) {
      int64_t end = input->End(steps.At(s));
      if (!cursor.Window(SaturatingSub(end, input->range_ms()), end).empty()) present[s] = 1;
    }
  }
  input->ReleaseTo(evaluator);
  return AbsentAt(evaluator, *call.args[0], present);
}

FunctionDef OfWindow(std::string_view name, RangeFn compute, bool keeps_name = false) {
  return {.name = name, .args = {ValueType::kMatrix}, .implementation = compute, .keeps_name = keeps_name};
}

FunctionDef Experimental(std::string_view name, RangeFn compute) {
  return {.name = name, .args = {ValueType::kMatrix}, .implementation = compute, .experimental = true};
}

}  // namespace

std::vector<FunctionDef> OverTimeFunctions() {
  std::vector<FunctionDef> table = {
      OfWindow("avg_over_time", Avg),
      OfWindow("count_over_time", Count),
      OfWindow("first_over_time", First, true),
      OfWindow("last_over_time", Last, true),
      OfWindow("max_over_time", Max),
      OfWindow("min_over_time", Min),
      OfWindow("present_over_time", Present),
      OfWindow("stddev_over_time", Stddev),
      OfWindow("stdvar_over_time", Stdvar),
      OfWindow("sum_over_time", Sum),
      Experimental("mad_over_time", MedianAbsoluteDeviation),
      Experimental("ts_of_first_over_time", TimeOfFirst),
      Experimental("ts_of_last_over_time", TimeOfLast),
      Experimental("ts_of_max_over_time", TimeOfMax),
      Experimental("ts_of_min_over_time", TimeOfMin),
  };
  table.push_back(
      {.name = "quantile_over_time", .args = {ValueType::kScalar, ValueType::kMatrix}, .implementation = Quantile});
  table.push_back({.name = "absent", .args = {ValueType::kVector}, .implementation = Absent});
  table.push_back({.name = "absent_over_time", .args = {ValueType::kMatrix}, .implementation = AbsentOverTime});
  return table;
}

}  // namespace tidewright::promql
