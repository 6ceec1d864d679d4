#include "promql/operators.h"

#include <string>

#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

const Operand kNothing{Absent(), nullptr};
const Operand kIncompatible{Absent(), nullptr, true};

Operand Incompatible(Evaluator& evaluator, const Binary& node, const Operand& left, const Operand& right) {
  std::string op(OpText(node.op));
  auto type = [](const Operand& operand) { return operand.h != nullptr ? "histogram" : "float"; };
  evaluator.state().Info(node, "incompatible sample types encountered for binary operator \"" + op +
                                   "\": " + type(left) + " " + op + " " + type(right));
  return kIncompatible;
}

Operand AddOrSubtract(Evaluator& evaluator, const Binary& node, const Histogram& left, const Histogram& right) {
  bool subtract = node.op == Op::kSub;
  HistogramSum sum(left);
  switch (sum.Add(right, subtract ? -1 : 1)) {
    case HistogramSum::Outcome::kIncompatible:
      evaluator.state().Warn(
          node, "incompatible bucket layout encountered for binary operator " + std::string(OpText(node.op)));
      return kIncompatible;
    case HistogramSum::Outcome::kReconciled:
      evaluator.state().Info(node, std::string("mismatched custom buckets were reconciled during ") +
                                       (subtract ? "subtraction" : "addition"));
      break;
    case HistogramSum::Outcome::kAdded: break;
  }
  if (sum.conflicting_resets()) {
    evaluator.state().Warn(
        node, std::string("conflicting counter resets during histogram ") + (subtract ? "subtraction" : "addition"));
  }
  Histogram total = sum.Total();
  if (subtract) total.hint = CounterResetHint::kGauge;
  return {Absent(), std::make_shared<const Histogram>(std::move(total))};
}

}  // namespace

Operand ComputeAny(Evaluator& evaluator, const Binary& node, const Operand& left, const Operand& right) {
  if (left.h != nullptr && right.h != nullptr) {
    if (node.op == Op::kAdd || node.op == Op::kSub) return AddOrSubtract(evaluator, node, *left.h, *right.h);
    if (node.op != Op::kEq && node.op != Op::kNe) return Incompatible(evaluator, node, left, right);
    bool holds = SameHistogram(*left.h, *right.h) == (node.op == Op::kEq);
    if (node.return_bool) return {holds ? 1.0 : 0.0, nullptr};
    return holds ? Operand{Absent(), left.h} : kNothing;
  }
  if (left.h != nullptr) {
    if (node.op == Op::kMul) return {Absent(), Scale(*left.h, right.v)};
    if (node.op == Op::kDiv) return {Absent(), Divide(*left.h, right.v)};
    if (IsTrim(node.op)) return {Absent(), Trim(*left.h, right.v, node.op == Op::kTrimUpper)};
  } else if (right.h != nullptr && node.op == Op::kMul) {
    return {Absent(), Scale(*right.h, left.v)};
  }
  return Incompatible(evaluator, node, left, right);
}

}  // namespace tidewright::promql
