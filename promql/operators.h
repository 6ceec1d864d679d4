// What binary operators do to one pair of values.
#pragma once

#include <cmath>
#include <string_view>

#include "promql/ast.h"
#include "promql/evaluator.h"
#include "promql/value.h"

namespace tidewright::promql {

// On floats. Comparisons give 1 or 0. Not for trimming.
inline double Compute(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd: return a + b;
    case Op::kSub: return a - b;
    case Op::kMul: return a * b;
    case Op::kDiv: return a / b;
    case Op::kMod: return std::fmod(a, b);
    case Op::kPow: return std::pow(a, b);
    case Op::kAtan2: return std::atan2(a, b);
    case Op::kEq: return a == b ? 1 : 0;
    case Op::kNe: return a != b ? 1 : 0;
    case Op::kLt: return a < b ? 1 : 0;
    case Op::kLe: return a <= b ? 1 : 0;
    case Op::kGt: return a > b ? 1 : 0;
    case Op::kGe: return a >= b ? 1 : 0;
    default: return 0;
  }
}

// Trimming is for histograms.
inline bool IsTrim(Op op) { return op == Op::kTrimUpper || op == Op::kTrimLower; }

// A float, or a histogram.
struct Operand {
  double v = 0;
  HistogramPtr h;
  bool incompatible = false;  // No result, because the operands do not fit.
};

// Applies the operator of `node` to operands of which at least one is a histogram, or that are to be trimmed. Absent
// and null when there is no result, because a comparison fails or, with an annotation, because the types do not fit. A
// comparison that holds gives its left operand, or with `bool` 1, else 0.
Operand ComputeAny(Evaluator& evaluator, const Binary& node, const Operand& left, const Operand& right);

}  // namespace tidewright::promql
