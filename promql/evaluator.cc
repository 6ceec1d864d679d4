#include "promql/evaluator.h"

#include <algorithm>

#include "promql/functions.h"
#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

const char kSameLabels[] = "vector cannot contain metrics with the same labelset";

size_t SizeOf(const EvalSeries& series) {
  size_t size = series.values.size();
  for (const auto& h : series.histograms) size += h == nullptr ? 1 : SizeInSamples(*h);
  return size;
}

// A vector on one side, a scalar on the other.
bool IsVectorScalar(const Binary& node) {
  return (node.left->type == ValueType::kVector) != (node.right->type == ValueType::kVector);
}

const Expr& VectorSide(const Binary& node) { return node.left->type == ValueType::kVector ? *node.left : *node.right; }

bool IsMath(const Call& call) { return std::holds_alternative<MathFn>(call.function->implementation); }
bool IsRangeCall(const Call& call) { return std::holds_alternative<RangeFn>(call.function->implementation); }

// Nodes that make each series of their result from one series of their input.
bool GoesSeriesBySeries(const Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kVectorSelector:
    case NodeKind::kUnary: return true;
    case NodeKind::kCall: return IsMath(As<Call>(expr)) || IsRangeCall(As<Call>(expr));
    case NodeKind::kBinary: return IsVectorScalar(As<Binary>(expr));
    default: return false;
  }
}

// Counts the working space of a node while it is evaluated.
class NodeScope {
 public:
  NodeScope(QueryState& state, size_t steps) : state_(state), steps_(steps), status_(state.EnterNode(steps)) {}
  ~NodeScope() { state_.LeaveNode(steps_); }
  NodeScope(const NodeScope&) = delete;
  NodeScope& operator=(const NodeScope&) = delete;
  const base::Status& status() const { return status_; }

 private:
  QueryState& state_;
  const size_t steps_;
  const base::Status status_;
};

}  // namespace

const std::string& Evaluator::StringOf(const Expr& expr) { return As<StringLiteral>(StripParens(expr)).value; }

base::Status Evaluator::Hold(const EvalSeries& series) { return state_.AddSamples(SizeOf(series)); }

void Evaluator::Release(const EvalMatrix& matrix) {
  size_t count = 0;
  for (const auto& series : matrix) count += SizeOf(series);
  state_.ReleaseSamples(count);
}

void Evaluator::DropName(EvalSeries& series) const {
  if (state_.options().delayed_name_removal) {
    series.drop_name = true;
  } else {
    series.labels = series.labels.WithoutMetric();
  }
}

base::Status Evaluator::JoinEqual(EvalMatrix& matrix) const { return MergeDuplicates(matrix, kSameLabels); }

std::string Evaluator::ForMetric(const LabelsView& labels) const {
  std::string name(state_.options().delayed_name_removal ? labels.Get(tsdb::kMetricName) : "");
  return name.empty() ? "" : " for metric name \"" + name + "\"";
}

base::Result<EvalMatrix> Evaluator::ScalarMatrix(std::vector<double> values) {
  EvalMatrix matrix(1);
  matrix[0].values = std::move(values);
  TW_RETURN_IF_ERROR(Hold(matrix[0]));
  return matrix;
}

base::Result<EvalMatrix> Evaluator::Eval(const Expr& expr) {
  NodeScope scope(state_, steps_.count);
  TW_RETURN_IF_ERROR(scope.status());
  const Expr& inner = StripParens(expr);
  if (inner.step_invariant && (steps_.count > 1 || steps_.range) && inner.kind != NodeKind::kNumber)
    return EvalOnce(inner);
  return GoesSeriesBySeries(inner) ? Collect(inner) : EvalNode(inner);
}

base::Status Evaluator::Stream(const Expr& expr, const SeriesSink& sink) {
  NodeScope scope(state_, steps_.count);
  TW_RETURN_IF_ERROR(scope.status());
  const Expr& inner = StripParens(expr);
  bool once = inner.step_invariant && (steps_.count > 1 || steps_.range);
  if (!once && GoesSeriesBySeries(inner) && !NeedsJoin(inner)) return StreamNode(inner, sink);
  auto matrix = Eval(inner);
  if (!matrix.ok()) return matrix.status();
  Release(*matrix);
  for (auto& series : *matrix) TW_RETURN_IF_ERROR(sink(series));
  return base::Status::Ok();
}

// Evaluates at the first step and repeats the result at the others.
base::Result<EvalMatrix> Evaluator::EvalOnce(const Expr& expr) {
  Evaluator once(state_, Steps{steps_.start, steps_.step, 1});
  auto result = once.Eval(expr);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    if (series.values.empty()) continue;
    TW_RETURN_IF_ERROR(state_.AddSamples(SizeOf(series) * (steps_.count - 1)));
    series.values.resize(steps_.count, double(series.values.front()));
    if (series.HasHistograms()) series.histograms.resize(steps_.count, HistogramPtr(series.histograms.front()));
  }
  return result;
}

base::Result<EvalMatrix> Evaluator::Collect(const Expr& expr) {
  EvalMatrix matrix;
  SeriesSink keep = [&](EvalSeries& series) {
    TW_RETURN_IF_ERROR(Hold(series));
    matrix.push_back(std::move(series));
    return base::Status::Ok();
  };
  TW_RETURN_IF_ERROR(StreamNode(expr, keep));
  if (NeedsJoin(expr)) TW_RETURN_IF_ERROR(JoinEqual(matrix));
  return matrix;
}

base::Result<EvalMatrix> Evaluator::EvalNode(const Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kNumber: return ScalarMatrix(std::vector<double>(steps_.count, As<NumberLiteral>(expr).value));
    case NodeKind::kCall: return std::get<GeneralFn>(As<Call>(expr).function->implementation)(*this, As<Call>(expr));
    case NodeKind::kAggregate: return EvalAggregate(*this, As<Aggregate>(expr));
    case NodeKind::kBinary:
      return As<Binary>(expr).left->type == ValueType::kVector ? EvalVectorBinary(*this, As<Binary>(expr))
                                                               : EvalScalarBinary(*this, As<Binary>(expr));
    default: return base::InternalError("a range vector or string was evaluated as an instant vector");
  }
}

base::Status Evaluator::StreamNode(const Expr& expr, const SeriesSink& sink) {
  switch (expr.kind) {
    case NodeKind::kVectorSelector: {
      const auto& selector = As<VectorSelector>(expr);
      return StreamSelector(selector, state_.SeriesOf(selector), Take::kValue, sink);
    }
    case NodeKind::kUnary: return StreamUnary(As<Unary>(expr), sink);
    case NodeKind::kBinary: return StreamVectorScalar(*this, As<Binary>(expr), sink);
    default: return IsMath(As<Call>(expr)) ? StreamMath(As<Call>(expr), sink) : StreamRangeCall(As<Call>(expr), sink);
  }
}

// True when the series of `expr` stay different without their metric labels.
bool Evaluator::StaysUnique(const Expr& parenthesized) const {
  const Expr& expr = StripParens(parenthesized);
  switch (expr.kind) {
    case NodeKind::kVectorSelector: return state_.DifferWithoutName(As<VectorSelector>(expr));
    case NodeKind::kMatrixSelector: return state_.DifferWithoutName(*As<MatrixSelector>(expr).selector);
    case NodeKind::kUnary: return StaysUnique(*As<Unary>(expr).expr);
    case NodeKind::kBinary: return IsVectorScalar(As<Binary>(expr)) && StaysUnique(VectorSide(As<Binary>(expr)));
    case NodeKind::kCall: {
      const auto& call = As<Call>(expr);
      if (IsMath(call)) return StaysUnique(*call.args[0]);
      return IsRangeCall(call) && StaysUnique(*call.args[RangeArgument(*call.function)]);
    }
    default: return false;
  }
}

// True when a node that goes series by series may make series equal by dropping their names.
bool Evaluator::NeedsJoin(const Expr& expr) const {
  if (state_.options().delayed_name_removal || expr.kind == NodeKind::kVectorSelector) return false;
  bool drops = true;
  if (expr.kind == NodeKind::kUnary) drops = As<Unary>(expr).op == Op::kSub;
  if (expr.kind == NodeKind::kBinary) drops = DropsName(As<Binary>(expr));
  if (expr.kind == NodeKind::kCall) drops = !As<Call>(expr).function->keeps_name;
  return drops && !StaysUnique(expr);
}

base::Result<std::vector<double>> Evaluator::EvalScalar(const Expr& expr) {
  if (StripParens(expr).kind == NodeKind::kNumber) {
    return std::vector<double>(steps_.count, As<NumberLiteral>(StripParens(expr)).value);
  }
  auto matrix = Eval(expr);
  if (!matrix.ok()) return matrix.status();
  Release(*matrix);
  return std::move(matrix->front().values);
}

base::Status Evaluator::StreamUnary(const Unary& node, const SeriesSink& sink) {
  if (node.op == Op::kAdd) return Stream(*node.expr, sink);
  return Stream(*node.expr, [&](EvalSeries& series) {
    MapValues(series.values, [](double v, size_t) { return -v; });
    for (auto& h : series.histograms) {
      if (h != nullptr) h = Scale(*h, -1);
    }
    if (node.type == ValueType::kVector) DropName(series);
    return sink(series);
  });
}

// Functions of one float; histograms are left out.
base::Status Evaluator::StreamMath(const Call& node, const SeriesSink& sink) {
  MathFn compute = std::get<MathFn>(node.function->implementation);
  return Stream(*node.args[0], [&](EvalSeries& series) {
    MapValues(series.values, [&](double v, size_t) { return compute(v); });
    series.DropHistograms();
    DropName(series);
    return sink(series);
  });
}

}  // namespace tidewright::promql
