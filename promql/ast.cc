#include "promql/ast.h"

namespace tidewright::promql {

std::string_view TypeName(ValueType type) {
  switch (type) {
    case ValueType::kScalar: return "scalar";
    case ValueType::kVector: return "instant vector";
    case ValueType::kMatrix: return "range vector";
    case ValueType::kString: return "string";
    case ValueType::kNone: break;
  }
  return "none";
}

std::string_view OpText(Op op) {
  static constexpr std::string_view kTexts[] = {
      "", "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/", "and", "or", "unless"};
  return kTexts[static_cast<size_t>(op)];
}

bool IsComparison(Op op) { return op >= Op::kEq && op <= Op::kGe; }
bool IsSetOp(Op op) { return op >= Op::kAnd && op <= Op::kUnless; }

std::string_view AggText(AggOp op) {
  static constexpr std::string_view kTexts[] = {"sum",   "avg",          "min",      "max",        "group",
                                                "count", "count_values", "quantile", "stddev",     "stdvar",
                                                "topk",  "bottomk",      "limitk",   "limit_ratio"};
  return kTexts[static_cast<size_t>(op)];
}

bool AggTakesParameter(AggOp op) {
  switch (op) {
    case AggOp::kCountValues:
    case AggOp::kQuantile:
    case AggOp::kTopk:
    case AggOp::kBottomk:
    case AggOp::kLimitk:
    case AggOp::kLimitRatio: return true;
    default: return false;
  }
}

const Expr& StripParens(const Expr& expr) {
  const Expr* at = &expr;
  while (at->kind == NodeKind::kParen) at = As<Paren>(*at).expr.get();
  return *at;
}

}  // namespace tidewright::promql
