#include "promql/duration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/metrics.h"

namespace tidewright::promql {
namespace {

// Go's time.Duration, in which Prometheus keeps durations, ends here.
constexpr double kMaxSeconds = 9223372036.854775;

double Evaluate(const DurationExpr& expr, const DurationContext& context);

double EvaluateBinary(const DurationExpr& expr, const DurationContext& context) {
  double left = Evaluate(*expr.left, context);
  double right = Evaluate(*expr.right, context);
  switch (expr.op) {
    case Op::kAdd: return left + right;
    case Op::kSub: return left - right;
    case Op::kMul: return left * right;
    case Op::kDiv: return left / right;
    case Op::kMod: return std::fmod(left, right);
    default: return std::pow(left, right);
  }
}

double Evaluate(const DurationExpr& expr, const DurationContext& context) {
  switch (expr.kind) {
    case DurationExpr::Kind::kNumber: return expr.seconds;
    case DurationExpr::Kind::kStep: return static_cast<double>(context.step_ms) / 1000;
    case DurationExpr::Kind::kRange: return static_cast<double>(context.range_ms) / 1000;
    case DurationExpr::Kind::kMin: return std::min(Evaluate(*expr.left, context), Evaluate(*expr.right, context));
    case DurationExpr::Kind::kMax: return std::max(Evaluate(*expr.left, context), Evaluate(*expr.right, context));
    case DurationExpr::Kind::kParen: return Evaluate(*expr.left, context);
    case DurationExpr::Kind::kUnary: {
      double value = Evaluate(*expr.left, context);
      return expr.op == Op::kSub ? -value : value;
    }
    case DurationExpr::Kind::kBinary: return EvaluateBinary(expr, context);
  }
  return 0;
}

bool IsConstant(const DurationExpr& expr) {
  if (expr.kind == DurationExpr::Kind::kStep || expr.kind == DurationExpr::Kind::kRange) return false;
  return (expr.left == nullptr || IsConstant(*expr.left)) && (expr.right == nullptr || IsConstant(*expr.right));
}

}  // namespace

base::Result<int64_t> ResolveDuration(const DurationExpr& expr, const DurationContext& context, bool positive) {
  double seconds = Evaluate(expr, context);
  std::string value = base::FormatDouble(seconds) + "s";
  if (!(std::fabs(seconds) <= kMaxSeconds))
    return base::InvalidArgumentError("the duration " + value + " is out of range");
  if (positive && seconds <= 0) return base::InvalidArgumentError("the duration must be greater than 0, got " + value);
  return static_cast<int64_t>(std::llround(seconds * 1000));
}

std::optional<double> ConstantDuration(const DurationExpr& expr) {
  if (!IsConstant(expr)) return std::nullopt;
  return Evaluate(expr, {});
}

}  // namespace tidewright::promql
