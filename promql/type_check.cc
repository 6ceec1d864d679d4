// Checks that operators and functions get what they can work with.
#include <algorithm>

#include "promql/functions.h"
#include "promql/lexer.h"
#include "promql/parser.h"

namespace tidewright::promql {
namespace {

class TypeChecker {
 public:
  explicit TypeChecker(std::string_view text) : text_(text) {}
  base::Status Check(Expr& expr);

 private:
  base::Status Error(const Expr& at, const std::string& message) const {
    return ErrorAt(text_, at.span.begin, message);
  }
  base::Status Want(const Expr& expr, ValueType type, const std::string& place) const;
  base::Status CheckBinary(Binary& node);
  base::Status CheckMatching(const Binary& node, bool both_vectors) const;
  base::Status CheckCall(Call& node);
  base::Status CheckArgumentCount(const Call& node) const;
  base::Status CheckInfo(Call& node);
  base::Status CheckAggregate(Aggregate& node);
  base::Status CheckUnary(Unary& node);
  base::Status CheckSelector(VectorSelector& node) const;
  base::Status CheckSubquery(Subquery& node) const;

  std::string_view text_;
};

base::Status TypeChecker::Want(const Expr& expr, ValueType type, const std::string& place) const {
  if (expr.type == type) return base::Status::Ok();
  std::string message = "expected ";
  message.append(TypeName(type)).append(" in ").append(place).append(", got ").append(TypeName(expr.type));
  if (type == ValueType::kMatrix && expr.type == ValueType::kVector) message += "; add a range such as [5m]";
  return Error(expr, message);
}

base::Status TypeChecker::Check(Expr& expr) {
  if (expr.kind == NodeKind::kCall && As<Call>(expr).function->name == "info") {
    TW_RETURN_IF_ERROR(CheckInfo(As<Call>(expr)));
  }
  base::Status status;
  ForEachChild(expr, [&](Expr& child) {
    if (status.ok()) status = Check(child);
  });
  TW_RETURN_IF_ERROR(status);
  switch (expr.kind) {
    case NodeKind::kNumber: expr.type = ValueType::kScalar; break;
    case NodeKind::kString: expr.type = ValueType::kString; break;
    case NodeKind::kVectorSelector: return CheckSelector(As<VectorSelector>(expr));
    case NodeKind::kMatrixSelector: expr.type = ValueType::kMatrix; break;
    case NodeKind::kSubquery: return CheckSubquery(As<Subquery>(expr));
    case NodeKind::kCall: return CheckCall(As<Call>(expr));
    case NodeKind::kAggregate: return CheckAggregate(As<Aggregate>(expr));
    case NodeKind::kBinary: return CheckBinary(As<Binary>(expr));
    case NodeKind::kUnary: return CheckUnary(As<Unary>(expr));
    case NodeKind::kParen: expr.type = As<Paren>(expr).expr->type; break;
  }
  return base::Status::Ok();
}

base::Status TypeChecker::CheckSelector(VectorSelector& node) const {
  node.type = ValueType::kVector;
  if (node.labels_only) return base::Status::Ok();
  bool selective = std::any_of(node.matchers.begin(), node.matchers.end(),
                               [](const Matcher& matcher) { return !matcher.MatchesEmpty(); });
  if (selective) return base::Status::Ok();
  return Error(node, "a vector selector must contain at least one matcher that does not match the empty string");
}

base::Status TypeChecker::CheckSubquery(Subquery& node) const {
  node.type = ValueType::kMatrix;
  if (node.expr->type == ValueType::kVector) return base::Status::Ok();
  std::string got(TypeName(node.expr->type));
  return Error(node, "a subquery is only allowed on an instant vector, got " + got);
}

base::Status TypeChecker::CheckUnary(Unary& node) {
  node.type = node.expr->type;
  if (node.type == ValueType::kScalar || node.type == ValueType::kVector) return base::Status::Ok();
  std::string got(TypeName(node.type));
  return Error(node, "a sign is only allowed before a scalar or an instant vector, got " + got);
}

base::Status TypeChecker::CheckAggregate(Aggregate& node) {
  node.type = ValueType::kVector;
  std::string name(AggText(node.op));
  TW_RETURN_IF_ERROR(Want(*node.expr, ValueType::kVector, "the aggregation " + name));
  if (node.param == nullptr) return base::Status::Ok();
  ValueType wanted = node.op == AggOp::kCountValues ? ValueType::kString : ValueType::kScalar;
  return Want(*node.param, wanted, "the parameter of " + name);
}

base::Status TypeChecker::CheckBinary(Binary& node) {
  auto operand = [](const Expr& expr) { return expr.type == ValueType::kScalar || expr.type == ValueType::kVector; };
  for (const Expr* side : {node.left.get(), node.right.get()}) {
    if (operand(*side)) continue;
    return Error(*side,
                 "a binary operator takes scalars and instant vectors, got " + std::string(TypeName(side->type)));
  }
  bool both_scalars = node.left->type == ValueType::kScalar && node.right->type == ValueType::kScalar;
  bool both_vectors = node.left->type == ValueType::kVector && node.right->type == ValueType::kVector;
  node.type = both_scalars ? ValueType::kScalar : ValueType::kVector;
  if (IsSetOp(node.op) && !both_vectors) {
    return ErrorAt(text_, node.op_span.begin,
                   "the set operator " + Quote(OpText(node.op)) + " only works between instant vectors");
  }
  if (both_scalars && IsComparison(node.op) && !node.return_bool) {
    return ErrorAt(text_, node.op_span.begin, "comparisons between scalars must use the bool modifier");
  }
  return CheckMatching(node, both_vectors);
}

base::Status TypeChecker::CheckMatching(const Binary& node, bool both_vectors) const {
  if (both_vectors) return base::Status::Ok();
  if (!node.matching.labels.empty()) {
    return ErrorAt(text_, node.op_span.begin, "vector matching (on, ignoring) only works between instant vectors");
  }
  if (node.matching.fill_left || node.matching.fill_right) {
    return ErrorAt(text_, node.op_span.begin, "missing series can only be filled in between instant vectors");
  }
  return base::Status::Ok();
}

base::Status TypeChecker::CheckArgumentCount(const Call& node) const {
  const FunctionDef& function = *node.function;
  size_t least = function.args.size() - (function.optional == 0 ? 0 : 1);
  size_t most = least + static_cast<size_t>(std::max(function.optional, 0));
  size_t got = node.args.size();
  bool too_many = function.optional != kUnlimited && got > most;
  if (got >= least && !too_many) return base::Status::Ok();
  std::string bound = function.optional == 0 ? "" : too_many ? "at most " : "at least ";
  std::string name(function.name);
  return Error(node, "expected " + bound + std::to_string(too_many ? most : least) + " argument(s) in call to " +
                         Quote(name) + ", got " + std::to_string(got));
}

base::Status TypeChecker::CheckCall(Call& node) {
  const FunctionDef& function = *node.function;
  node.type = function.returns;
  TW_RETURN_IF_ERROR(CheckArgumentCount(node));
  for (size_t i = 0; i < node.args.size(); ++i) {
    ValueType wanted = function.args[std::min(i, function.args.size() - 1)];
    TW_RETURN_IF_ERROR(Want(*node.args[i], wanted, "the call of \"" + std::string(function.name) + "\""));
  }
  return base::Status::Ok();
}

// The second argument of info() is not evaluated: it lists label matchers.
base::Status TypeChecker::CheckInfo(Call& node) {
  if (node.args.size() < 2) return base::Status::Ok();
  Expr& labels = *node.args[1];
  if (labels.kind != NodeKind::kVectorSelector || !As<VectorSelector>(labels).name.empty()) {
    return Error(labels, "expected only label matchers such as {version=~\".+\"} as the second argument of info()");
  }
  As<VectorSelector>(labels).labels_only = true;
  return base::Status::Ok();
}

}  // namespace

base::Status CheckTypes(Expr& expr, std::string_view text) { return TypeChecker(text).Check(expr); }

}  // namespace tidewright::promql
