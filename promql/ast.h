// The syntax tree of a PromQL expression.
//
// Nodes are plain structs owned by their parent; they know where they stand in the query text so that errors and
// annotations can point at it. A tree belongs to one query: the engine resolves duration expressions in place.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promql/value.h"

namespace tidewright::promql {

struct FunctionDef;

enum class ValueType { kNone, kScalar, kVector, kMatrix, kString };

// "scalar", "instant vector", "range vector", "string", "none".
std::string_view TypeName(ValueType type);

// Byte offsets into the query text: [begin, end).
struct Span {
  size_t begin = 0;
  size_t end = 0;
};

enum class Op {
  kNone,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
  kAtan2,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kTrimUpper,  // </ keeps the observations of a histogram below a bound.
  kTrimLower,  // >/ keeps those above.
  kAnd,
  kOr,
  kUnless,
};
std::string_view OpText(Op op);
bool IsComparison(Op op);  // == != < <= > >=
bool IsSetOp(Op op);

enum class AggOp {
  kSum,
  kAvg,
  kMin,
  kMax,
  kGroup,
  kCount,
  kCountValues,
  kQuantile,
  kStddev,
  kStdvar,
  kTopk,
  kBottomk,
  kLimitk,
  kLimitRatio,
};
std::string_view AggText(AggOp op);
bool AggTakesParameter(AggOp op);

// A duration: a constant, or arithmetic that depends on the query's step and range, resolved when the query starts.
struct DurationExpr {
  enum class Kind { kNumber, kStep, kRange, kMin, kMax, kUnary, kBinary, kParen };
  Kind kind = Kind::kNumber;
  Op op = Op::kNone;         // kUnary: kAdd or kSub; kBinary: an arithmetic operator.
  double seconds = 0;        // kNumber.
  bool is_duration = false;  // kNumber was written with units.
  std::unique_ptr<DurationExpr> left;
  std::unique_ptr<DurationExpr> right;
  Span span;
};

enum class NodeKind {
  kNumber,
  kString,
  kVectorSelector,
  kMatrixSelector,
  kSubquery,
  kCall,
  kAggregate,
  kBinary,
  kUnary,
  kParen,
};

struct Expr {
  Expr(NodeKind k, Span s) : kind(k), span(s) {}
  virtual ~Expr() = default;
  Expr(const Expr&) = delete;
  Expr& operator=(const Expr&) = delete;

  const NodeKind kind;
  Span span;
  ValueType type = ValueType::kNone;  // Set by the type check.
  int height = 1;                     // Of the tree below, counted by the parser.
  bool step_invariant = false;        // The same at every step: pinned by @, or constant. Set by the engine.
  int order = 0;                      // In which nodes are evaluated; see QueryState::Warn(). Set by the engine.
};
using ExprPtr = std::unique_ptr<Expr>;

struct NumberLiteral : Expr {
  NumberLiteral(Span s, double v) : Expr(NodeKind::kNumber, s), value(v) {}
  double value;
  bool is_duration = false;  // Written with units, and printed so.
};

struct StringLiteral : Expr {
  StringLiteral(Span s, std::string v) : Expr(NodeKind::kString, s), value(std::move(v)) {}
  std::string value;
};

// offset and @: what both selectors and subqueries can carry.
struct TimeShift {
  enum class At { kNone, kTime, kStart, kEnd };
  At at = At::kNone;
  int64_t at_ms = 0;                          // kTime as written; kStart and kEnd once the query is known.
  int64_t offset_ms = 0;                      // Resolved.
  std::unique_ptr<DurationExpr> offset_expr;  // Null: no offset, or offset_ms is it.
  bool has_offset = false;
};

// The experimental modifiers of a selector's boundaries.
enum class Extension { kNone, kAnchored, kSmoothed };

struct VectorSelector : Expr {
  explicit VectorSelector(Span s) : Expr(NodeKind::kVectorSelector, s) {}
  std::string name;   // Written before the braces, or empty.
  Matchers matchers;  // With the one for the name.
  TimeShift shift;
  Extension extension = Extension::kNone;
  bool counts_only = false;  // Nobody looks at the buckets of its histograms. Set by the engine.
  bool labels_only = false;  // Stands for a set of label matchers: the second argument of info().
};

struct MatrixSelector : Expr {
  explicit MatrixSelector(Span s) : Expr(NodeKind::kMatrixSelector, s) {}
  std::unique_ptr<VectorSelector> selector;
  int64_t range_ms = 0;
  std::unique_ptr<DurationExpr> range_expr;  // Null when range_ms is what was written.
};

struct Subquery : Expr {
  explicit Subquery(Span s) : Expr(NodeKind::kSubquery, s) {}
  ExprPtr expr;
  int64_t range_ms = 0;
  int64_t step_ms = 0;  // 0: the default step.
  std::unique_ptr<DurationExpr> range_expr;
  std::unique_ptr<DurationExpr> step_expr;
  TimeShift shift;
};

struct Call : Expr {
  explicit Call(Span s) : Expr(NodeKind::kCall, s) {}
  const FunctionDef* function = nullptr;
  std::vector<ExprPtr> args;
};

struct Aggregate : Expr {
  explicit Aggregate(Span s) : Expr(NodeKind::kAggregate, s) {}
  AggOp op = AggOp::kSum;
  ExprPtr expr;
  ExprPtr param;  // Null unless the operator takes one.
  std::vector<std::string> grouping;
  bool without = false;
};

struct VectorMatching {
  enum class Card { kOneToOne, kManyToOne, kOneToMany };
  Card card = Card::kOneToOne;
  bool on = false;  // on(labels); otherwise ignoring(labels).
  std::vector<std::string> labels;
  std::vector<std::string> include;  // Copied from the one side by group_left / group_right.
  std::optional<double> fill_left;
  std::optional<double> fill_right;
};

struct Binary : Expr {
  explicit Binary(Span s) : Expr(NodeKind::kBinary, s) {}
  Op op = Op::kNone;
  Span op_span;
  ExprPtr left;
  ExprPtr right;
  bool return_bool = false;
  VectorMatching matching;
};

struct Unary : Expr {
  explicit Unary(Span s) : Expr(NodeKind::kUnary, s) {}
  Op op = Op::kSub;
  ExprPtr expr;
};

struct Paren : Expr {
  explicit Paren(Span s) : Expr(NodeKind::kParen, s) {}
  ExprPtr expr;
};

template <typename T>
const T& As(const Expr& expr) {
  return static_cast<const T&>(expr);
}
template <typename T>
T& As(Expr& expr) {
  return static_cast<T&>(expr);
}

// The expression inside any number of parentheses.
const Expr& StripParens(const Expr& expr);

// Calls `visit` with each direct child of `expr`, in the order of the text.
template <typename Visit>
void ForEachChild(Expr& expr, Visit visit) {
  switch (expr.kind) {
    case NodeKind::kSubquery: visit(*As<Subquery>(expr).expr); break;
    case NodeKind::kMatrixSelector: visit(*As<MatrixSelector>(expr).selector); break;
    case NodeKind::kUnary: visit(*As<Unary>(expr).expr); break;
    case NodeKind::kParen: visit(*As<Paren>(expr).expr); break;
    case NodeKind::kCall:
      for (auto& arg : As<Call>(expr).args) visit(*arg);
      break;
    case NodeKind::kAggregate:
      if (As<Aggregate>(expr).param) visit(*As<Aggregate>(expr).param);
      visit(*As<Aggregate>(expr).expr);
      break;
    case NodeKind::kBinary:
      visit(*As<Binary>(expr).left);
      visit(*As<Binary>(expr).right);
      break;
    case NodeKind::kNumber:
    case NodeKind::kString:
    case NodeKind::kVectorSelector: break;
  }
}

}  // namespace tidewright::promql
