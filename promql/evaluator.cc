#include "promql/evaluator.h"

#include <algorithm>

#include "promql/extended_range.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

const char kSameLabels[] = "vector cannot contain metrics with the same labelset";

}  // namespace

const std::string& Evaluator::StringOf(const Expr& expr) { return As<StringLiteral>(StripParens(expr)).value; }

void Evaluator::Release(const EvalMatrix& matrix) {
  size_t count = 0;
  for (const auto& series : matrix) count += series.points.size();
  state_.ReleaseSamples(count);
}

void Evaluator::DropName(EvalSeries& series) const {
  if (state_.options().delayed_name_removal) {
    series.drop_name = true;
  } else {
    series.labels = WithoutMetricLabels(series.labels);
  }
}

void Evaluator::DropNames(EvalMatrix& matrix) const {
  for (auto& series : matrix) DropName(series);
}

base::Status Evaluator::JoinEqual(EvalMatrix& matrix) const { return MergeDuplicates(matrix, kSameLabels); }

std::string Evaluator::ForMetric(const Labels& labels) const {
  std::string name(state_.options().delayed_name_removal ? labels.MetricName() : "");
  return name.empty() ? "" : " for metric name \"" + name + "\"";
}

base::Result<EvalMatrix> Evaluator::Eval(const Expr& expr) {
  if (expr.step_invariant && steps_.count > 1 && expr.kind != NodeKind::kNumber) return EvalOnce(expr);
  return EvalNode(expr);
}

// Evaluates at the first step and repeats the result at the others.
base::Result<EvalMatrix> Evaluator::EvalOnce(const Expr& expr) {
  Evaluator once(state_, Steps{steps_.start, steps_.step, 1});
  auto result = once.Eval(expr);
  if (!result.ok()) return result.status();
  for (auto& series : *result) {
    if (series.points.empty()) continue;
    TW_RETURN_IF_ERROR(state_.AddSamples(steps_.count - 1));
    double value = series.points.front().v;
    series.points.resize(steps_.count);
    for (size_t i = 0; i < steps_.count; ++i) series.points[i] = {steps_.At(i), value};
  }
  return result;
}

base::Result<EvalMatrix> Evaluator::EvalNode(const Expr& expr) {
  TW_RETURN_IF_ERROR(state_.CheckDeadline());
  switch (expr.kind) {
    case NodeKind::kNumber: return Constant(As<NumberLiteral>(expr).value);
    case NodeKind::kVectorSelector: return EvalSelector(As<VectorSelector>(expr), false);
    case NodeKind::kCall: return EvalCall(As<Call>(expr));
    case NodeKind::kAggregate: return EvalAggregate(*this, As<Aggregate>(expr));
    case NodeKind::kBinary: return EvalBinary(*this, As<Binary>(expr));
    case NodeKind::kUnary: return EvalUnary(As<Unary>(expr));
    case NodeKind::kParen: return Eval(*As<Paren>(expr).expr);
    case NodeKind::kString:
    case NodeKind::kMatrixSelector:
    case NodeKind::kSubquery: break;
  }
  return base::InternalError("a range vector or string was evaluated as an instant vector");
}

base::Result<EvalMatrix> Evaluator::Constant(double value) {
  TW_RETURN_IF_ERROR(state_.AddSamples(steps_.count));
  EvalMatrix matrix(1);
  matrix[0].points.resize(steps_.count);
  for (size_t i = 0; i < steps_.count; ++i) matrix[0].points[i] = {steps_.At(i), value};
  return matrix;
}

base::Result<std::vector<double>> Evaluator::EvalScalar(const Expr& expr) {
  if (StripParens(expr).kind == NodeKind::kNumber) {
    return std::vector<double>(steps_.count, As<NumberLiteral>(StripParens(expr)).value);
  }
  auto matrix = Eval(expr);
  if (!matrix.ok()) return matrix.status();
  std::vector<double> values(steps_.count);
  for (const auto& series : *matrix) {
    for (const Point& point : series.points) values[steps_.IndexOf(point.t)] = point.v;
  }
  Release(*matrix);
  return values;
}

base::Result<EvalMatrix> Evaluator::EvalUnary(const Unary& node) {
  auto result = Eval(*node.expr);
  if (!result.ok() || node.op == Op::kAdd) return result;
  for (auto& series : *result) {
    for (Point& point : series.points) point.v = -point.v;
    DropName(series);
  }
  TW_RETURN_IF_ERROR(JoinEqual(*result));
  return result;
}

base::Result<EvalMatrix> Evaluator::EvalCall(const Call& node) {
  const FunctionDef& function = *node.function;
  if (std::holds_alternative<MathFn>(function.implementation)) return EvalMath(node);
  if (std::holds_alternative<RangeFn>(function.implementation)) return EvalRangeCall(node);
  return std::get<GeneralFn>(function.implementation)(*this, node);
}

base::Result<EvalMatrix> Evaluator::EvalMath(const Call& node) {
  auto result = Eval(*node.args[0]);
  if (!result.ok()) return result;
  MathFn compute = std::get<MathFn>(node.function->implementation);
  for (auto& series : *result) {
    for (Point& point : series.points) point.v = compute(point.v);
    DropName(series);
  }
  TW_RETURN_IF_ERROR(JoinEqual(*result));
  return result;
}

base::Result<EvalMatrix> Evaluator::EvalSelector(const VectorSelector& selector, bool own_times) {
  return FollowAll(selector, state_.SeriesOf(selector), own_times);
}

base::Result<EvalMatrix> Evaluator::FollowAll(const VectorSelector& selector, const QueryState::SeriesList& list,
                                              bool own_times) {
  if (selector.extension == Extension::kAnchored) {
    return base::InvalidArgumentError("the modifier anchored needs a range selector such as x[5m] anchored");
  }
  EvalMatrix matrix;
  for (const auto& series : list) {
    std::vector<Point> points;
    bool smoothed = selector.extension == Extension::kSmoothed && !own_times;
    TW_RETURN_IF_ERROR(smoothed ? FollowSmoothed(selector, *series, &points)
                                : FollowSeries(selector, *series, own_times, &points));
    if (points.empty()) continue;
    matrix.push_back({series->labels(), std::move(points), false});
  }
  return matrix;
}

// The newest sample within the lookback of each step, unless it is a stale marker.
base::Status Evaluator::FollowSeries(const VectorSelector& selector, const tsdb::Series& series, bool own_times,
                                     std::vector<Point>* points) {
  const TimeShift& shift = selector.shift;
  bool pinned = shift.at != TimeShift::At::kNone;
  int64_t lookback = state_.options().lookback_ms;
  auto reference = [&](size_t i) { return SaturatingSub(pinned ? shift.at_ms : steps_.At(i), shift.offset_ms); };
  auto iterator = series.Iterator();
  bool more = iterator->Seek(SaturatingAdd(SaturatingSub(reference(0), lookback), 1));
  Point last{std::numeric_limits<int64_t>::min(), 0};
  for (size_t i = 0; i < steps_.count; ++i) {
    int64_t time = reference(i);
    int64_t after = SaturatingSub(time, lookback);
    if (more && steps_.step > lookback) more = iterator->Seek(SaturatingAdd(after, 1));
    for (; more && iterator->At().t <= time; more = iterator->Next()) last = iterator->At();
    if (last.t > after) {
      if (tsdb::IsStaleNan(last.v)) continue;
      points->push_back({steps_.At(i), own_times ? static_cast<double>(last.t) / 1000 : last.v});
      continue;
    }
    if (!more || pinned) break;
    // Nothing until the next sample: go to the first step that sees it.
    int64_t ahead = (SaturatingSub(iterator->At().t, time) - 1) / steps_.step;
    if (ahead > 0) i += std::min(static_cast<size_t>(ahead), steps_.count - 1 - i);
  }
  return state_.AddSamples(points->size());
}

// The value on the line between the samples around each step, or that of the sample before.
base::Status Evaluator::FollowSmoothed(const VectorSelector& selector, const tsdb::Series& series,
                                       std::vector<Point>* points) {
  const TimeShift& shift = selector.shift;
  int64_t lookback = state_.options().lookback_ms;
  auto iterator = series.Iterator();
  bool more = iterator->Next();
  Point before{std::numeric_limits<int64_t>::min(), 0};
  for (size_t i = 0; i < steps_.count; ++i) {
    if (i % 1024 == 0) TW_RETURN_IF_ERROR(state_.CheckDeadline());
    int64_t time = shift.at != TimeShift::At::kNone ? shift.at_ms : steps_.At(i);
    time = SaturatingSub(time, shift.offset_ms);
    for (; more && iterator->At().t <= time; more = iterator->Next()) before = iterator->At();
    if (before.t <= SaturatingSub(time, lookback) || tsdb::IsStaleNan(before.v)) continue;
    bool behind = more && iterator->At().t <= SaturatingAdd(time, lookback) && !tsdb::IsStaleNan(iterator->At().v);
    points->push_back({steps_.At(i), behind ? Smoothed(before, iterator->At(), time) : before.v});
  }
  return state_.AddSamples(points->size());
}

base::Result<EvalMatrix> Evaluator::EvalRangeVector(const Expr& expr) {
  auto input = RangeInput::Open(*this, StripParens(expr));
  if (!input.ok()) return input.status();
  int64_t end = input->End(steps_.end());
  EvalMatrix matrix;
  for (size_t i = 0; i < input->size(); ++i) {
    RangeInput::Cursor cursor(*input, i);
    auto window = cursor.Window(SaturatingSub(end, input->range_ms()), end);
    if (window.empty()) continue;
    TW_RETURN_IF_ERROR(state_.AddSamples(window.size()));
    matrix.push_back({input->labels(i), {window.begin(), window.end()}, input->drop_name(i)});
  }
  return matrix;
}

}  // namespace tidewright::promql
