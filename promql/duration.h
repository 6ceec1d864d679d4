// Evaluates duration expressions.
#pragma once

#include <cstdint>
#include <optional>

#include "base/status.h"
#include "promql/ast.h"

namespace tidewright::promql {

// What step() and range() stand for, in ms.
struct DurationContext {
  int64_t step_ms = 0;
  int64_t range_ms = 0;
};

// The value in ms. kInvalidArgument when it is not finite, out of range, or not > 0 although `positive`.
base::Result<int64_t> ResolveDuration(const DurationExpr& expr, const DurationContext& context, bool positive);

// The value in seconds of an expression without step() and range(); nothing otherwise.
std::optional<double> ConstantDuration(const DurationExpr& expr);

}  // namespace tidewright::promql
