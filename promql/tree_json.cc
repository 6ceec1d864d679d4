#include "promql/tree_json.h"

#include <cmath>

#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

using base::Json;

Json ToJson(const Expr& expr);

// As numbers are written in trees: no exponent, "+Inf".
Json NumberNode(double value) { return {{"type", "numberLiteral"}, {"val", base::FormatFixed(value)}}; }

Json ToJson(const DurationExpr& expr, bool wrapped);

Json Operation(const DurationExpr& expr, std::string_view op, bool unary, bool wrapped) {
  Json left = expr.left == nullptr ? Json() : ToJson(*expr.left, false);
  Json right = expr.right == nullptr ? Json() : ToJson(*expr.right, false);
  if (unary) std::swap(left, right);
  return {{"type", "durationExpr"}, {"op", op}, {"lhs", left}, {"rhs", right}, {"wrapped", wrapped}};
}

// A sign before a number is part of it, and a plus is left out.
Json UnaryNode(const DurationExpr& expr, bool wrapped) {
  const DurationExpr& operand = *expr.left;
  if (expr.op == Op::kAdd) return ToJson(operand, wrapped);
  if (operand.kind != DurationExpr::Kind::kNumber) return Operation(expr, "-", true, wrapped);
  Json node = NumberNode(-operand.seconds);
  node["duration"] = operand.is_duration;
  return node;
}

Json ToJson(const DurationExpr& expr, bool wrapped) {
  switch (expr.kind) {
    case DurationExpr::Kind::kNumber: {
      Json node = NumberNode(expr.seconds);
      node["duration"] = expr.is_duration;
      return node;
    }
    case DurationExpr::Kind::kStep: return Operation(expr, "step", false, wrapped);
    case DurationExpr::Kind::kRange: return Operation(expr, "range", false, wrapped);
    case DurationExpr::Kind::kMin: return Operation(expr, "min_of", false, wrapped);
    case DurationExpr::Kind::kMax: return Operation(expr, "max_of", false, wrapped);
    case DurationExpr::Kind::kUnary: return UnaryNode(expr, wrapped);
    case DurationExpr::Kind::kBinary: return Operation(expr, OpText(expr.op), false, wrapped);
    case DurationExpr::Kind::kParen: return ToJson(*expr.left, true);
  }
  return {};
}

Json ToJson(const std::unique_ptr<DurationExpr>& expr) { return expr == nullptr ? Json() : ToJson(*expr, false); }

// An offset may begin with a function and its sign, which is kept.
Json OffsetNode(const std::unique_ptr<DurationExpr>& expr) {
  using Kind = DurationExpr::Kind;
  bool signed_call = expr != nullptr && expr->kind == Kind::kUnary && expr->left->kind != Kind::kNumber &&
                     expr->left->kind != Kind::kParen && expr->left->kind != Kind::kBinary;
  return signed_call ? Operation(*expr, OpText(expr->op), true, false) : ToJson(expr);
}

void AddShift(const TimeShift& shift, Json& node) {
  node["offset"] = shift.offset_ms;
  node["offsetExpr"] = OffsetNode(shift.offset_expr);
  node["timestamp"] = shift.at == TimeShift::At::kTime ? Json(shift.at_ms) : Json();
  node["startOrEnd"] = shift.at == TimeShift::At::kStart ? Json("start")
                       : shift.at == TimeShift::At::kEnd ? Json("end")
                                                         : Json();
}

Json SelectorNode(const VectorSelector& selector, const char* type) {
  static constexpr const char* kTypes[] = {"=", "!=", "=~", "!~"};
  Json matchers = Json::array();
  for (const Matcher& matcher : selector.matchers) {
    matchers.push_back(
        {{"name", matcher.name()}, {"type", kTypes[static_cast<int>(matcher.type())]}, {"value", matcher.value()}});
  }
  Json node = {{"type", type},
               {"name", selector.name},
               {"matchers", matchers},
               {"anchored", selector.extension == Extension::kAnchored},
               {"smoothed", selector.extension == Extension::kSmoothed}};
  AddShift(selector.shift, node);
  return node;
}

Json RangeNode(const MatrixSelector& range) {
  Json node = SelectorNode(*range.selector, "matrixSelector");
  node["range"] = range.range_ms;
  node["rangeExpr"] = ToJson(range.range_expr);
  return node;
}

Json SubqueryNode(const Subquery& subquery) {
  Json node = {{"type", "subquery"},         {"expr", ToJson(*subquery.expr)},
               {"range", subquery.range_ms}, {"rangeExpr", ToJson(subquery.range_expr)},
               {"step", subquery.step_ms},   {"stepExpr", ToJson(subquery.step_expr)}};
  AddShift(subquery.shift, node);
  return node;
}

Json MatchingNode(const Binary& binary) {
  if (binary.left->type != ValueType::kVector || binary.right->type != ValueType::kVector) return {};
  const VectorMatching& matching = binary.matching;
  const char* card = "one-to-one";
  if (matching.card == VectorMatching::Card::kManyToOne) card = "many-to-one";
  if (matching.card == VectorMatching::Card::kOneToMany) card = "one-to-many";
  if (IsSetOp(binary.op)) card = "many-to-many";
  auto fill = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  return {{"card", card},
          {"on", matching.on},
          {"labels", matching.labels},
          {"include", matching.include},
          {"fillValues", {{"lhs", fill(matching.fill_left)}, {"rhs", fill(matching.fill_right)}}}};
}

Json AggregateNode(const Aggregate& aggregate) {
  return {{"type", "aggregation"},           {"op", AggText(aggregate.op)},
          {"expr", ToJson(*aggregate.expr)}, {"param", aggregate.param == nullptr ? Json() : ToJson(*aggregate.param)},
          {"grouping", aggregate.grouping},  {"without", aggregate.without}};
}

const char* TypeWord(ValueType type) {
  switch (type) {
    case ValueType::kScalar: return "scalar";
    case ValueType::kVector: return "vector";
    case ValueType::kMatrix: return "matrix";
    case ValueType::kString: return "string";
    case ValueType::kNone: break;
  }
  return "none";
}

Json FunctionNode(const FunctionDef& function) {
  Json types = Json::array();
  for (ValueType type : function.args) types.push_back(TypeWord(type));
  return {{"name", function.name},
          {"argTypes", types},
          {"returnType", TypeWord(function.returns)},
          {"variadic", function.optional}};
}

Json CallNode(const Call& call) {
  Json args = Json::array();
  for (const auto& arg : call.args) args.push_back(ToJson(*arg));
  return {{"type", "call"}, {"func", FunctionNode(*call.function)}, {"args", args}};
}

Json BinaryNode(const Binary& binary) {
  return {{"type", "binaryExpr"},         {"op", OpText(binary.op)},    {"lhs", ToJson(*binary.left)},
          {"rhs", ToJson(*binary.right)}, {"bool", binary.return_bool}, {"matching", MatchingNode(binary)}};
}

Json ToJson(const Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kNumber: return NumberNode(As<NumberLiteral>(expr).value);
    case NodeKind::kString: return {{"type", "stringLiteral"}, {"val", As<StringLiteral>(expr).value}};
    case NodeKind::kVectorSelector: return SelectorNode(As<VectorSelector>(expr), "vectorSelector");
    case NodeKind::kMatrixSelector: return RangeNode(As<MatrixSelector>(expr));
    case NodeKind::kSubquery: return SubqueryNode(As<Subquery>(expr));
    case NodeKind::kCall: return CallNode(As<Call>(expr));
    case NodeKind::kAggregate: return AggregateNode(As<Aggregate>(expr));
    case NodeKind::kBinary: return BinaryNode(As<Binary>(expr));
    case NodeKind::kUnary:
      return {{"type", "unaryExpr"}, {"op", OpText(As<Unary>(expr).op)}, {"expr", ToJson(*As<Unary>(expr).expr)}};
    case NodeKind::kParen: return {{"type", "parenExpr"}, {"expr", ToJson(*As<Paren>(expr).expr)}};
  }
  return {};
}

}  // namespace

std::string TreeJson(const Expr& expr) { return base::DumpJson(ToJson(expr)); }

}  // namespace tidewright::promql
