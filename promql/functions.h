// The table of PromQL functions: names, argument types, and what computes them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "promql/ast.h"
#include "promql/matrix.h"

namespace tidewright::promql {

class Evaluator;
struct RangeCall;

// Computes one value from one.
using MathFn = double (*)(double);
// Computes the value of a window; false when there is none. `call` holds the samples, at least one.
using RangeFn = bool (*)(RangeCall& call, double* value);
// Anything else evaluates its arguments itself.
using GeneralFn = base::Result<EvalMatrix> (*)(Evaluator& evaluator, const Call& call);

struct FunctionDef {
  std::string_view name;
  std::vector<ValueType> args = {};  // With variadic arguments the last type stands for all that follow.
  int optional = 0;  // How many of `args` may be missing at the end; kUnlimited: the last may repeat or miss.
  ValueType returns = ValueType::kVector;
  std::variant<MathFn, RangeFn, GeneralFn> implementation;
  bool keeps_name = false;  // The result keeps the metric's name.
  bool uses_time = false;   // The result depends on the evaluation time even when the arguments do not.
  bool experimental = false;
  RangeFn extended = nullptr;  // Over anchored ranges, and smoothed ones if `smoothable`.
  bool smoothable = false;
};
inline constexpr int kUnlimited = -1;

// The function of that (case-sensitive) name, or null.
const FunctionDef* FindFunction(std::string_view name);

// The tables of each family, in the files functions_<family>.cc.
std::vector<FunctionDef> MathFunctions();
std::vector<FunctionDef> CounterFunctions();
std::vector<FunctionDef> OverTimeFunctions();
std::vector<FunctionDef> TimeFunctions();
std::vector<FunctionDef> LabelFunctions();
std::vector<FunctionDef> HistogramFunctions();
std::vector<FunctionDef> InfoFunctions();

}  // namespace tidewright::promql
