// Binary operators with a scalar on at least one side.
#include <algorithm>

#include "promql/evaluator.h"
#include "promql/operators.h"

namespace tidewright::promql {

bool DropsName(const Binary& node) {
  if (IsTrim(node.op)) return false;
  return !IsComparison(node.op) || node.return_bool;
}

base::Result<EvalMatrix> EvalScalarBinary(Evaluator& evaluator, const Binary& node) {
  TW_ASSIGN_OR_RETURN(std::vector<double> left, evaluator.EvalScalar(*node.left));
  TW_ASSIGN_OR_RETURN(std::vector<double> right, evaluator.EvalScalar(*node.right));
  for (size_t i = 0; i < left.size(); ++i) left[i] = Compute(node.op, left[i], right[i]);
  return evaluator.ScalarMatrix(std::move(left));
}

namespace {

// One of the ways to combine a column with scalars. `Compute` is inlined for each operator.
template <Op kOp>
void CombineColumn(std::vector<double>& values, const std::vector<double>& scalars, bool scalar_left, bool filter) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (IsAbsent(values[i])) continue;
    double result = scalar_left ? Compute(kOp, scalars[i], values[i]) : Compute(kOp, values[i], scalars[i]);
    values[i] = !filter ? result : result == 0 ? Absent() : values[i];
  }
}

using Combine = void (*)(std::vector<double>&, const std::vector<double>&, bool, bool);

Combine CombinerOf(Op op) {
  switch (op) {
    case Op::kAdd: return CombineColumn<Op::kAdd>;
    case Op::kSub: return CombineColumn<Op::kSub>;
    case Op::kMul: return CombineColumn<Op::kMul>;
    case Op::kDiv: return CombineColumn<Op::kDiv>;
    case Op::kMod: return CombineColumn<Op::kMod>;
    case Op::kPow: return CombineColumn<Op::kPow>;
    case Op::kAtan2: return CombineColumn<Op::kAtan2>;
    case Op::kEq: return CombineColumn<Op::kEq>;
    case Op::kNe: return CombineColumn<Op::kNe>;
    case Op::kLt: return CombineColumn<Op::kLt>;
    case Op::kLe: return CombineColumn<Op::kLe>;
    case Op::kGt: return CombineColumn<Op::kGt>;
    default: return CombineColumn<Op::kGe>;
  }
}

// Histograms, or an operator that is only for these.
void CombineAny(Evaluator& evaluator, const Binary& node, const std::vector<double>& scalars, bool scalar_left,
                bool floats, EvalSeries& series) {
  for (size_t i = 0; i < series.values.size(); ++i) {
    bool histogram = series.HistogramAt(i) != nullptr;
    if (!histogram && (!floats || IsAbsent(series.values[i]))) continue;
    Operand scalar{scalars[i], nullptr};
    Operand value{series.values[i], histogram ? series.histograms[i] : nullptr};
    Operand result =
        scalar_left ? ComputeAny(evaluator, node, scalar, value) : ComputeAny(evaluator, node, value, scalar);
    series.Remove(i);
    series.values[i] = result.v;
    if (result.h != nullptr) series.SetHistogram(i, std::move(result.h));
  }
}

}  // namespace

base::Status StreamVectorScalar(Evaluator& evaluator, const Binary& node, const SeriesSink& sink) {
  bool scalar_left = node.left->type == ValueType::kScalar;
  TW_ASSIGN_OR_RETURN(std::vector<double> scalars, evaluator.EvalScalar(scalar_left ? *node.left : *node.right));
  bool filter = IsComparison(node.op) && !node.return_bool;
  bool trim = IsTrim(node.op);
  Combine combine = CombinerOf(node.op);
  return evaluator.Stream(scalar_left ? *node.right : *node.left, [&](EvalSeries& series) {
    if (!trim) combine(series.values, scalars, scalar_left, filter);
    if (trim || series.HasHistograms()) CombineAny(evaluator, node, scalars, scalar_left, trim, series);
    if (series.IsEmpty()) return base::Status::Ok();
    if (DropsName(node)) evaluator.DropName(series);
    return sink(series);
  });
}

}  // namespace tidewright::promql
