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
class RangeInput;
struct RangeCall;
struct RangeResult;

// Computes one value from one.
using MathFn = double (*)(double);
// Computes the value of a window, which has samples.
using RangeFn = void (*)(RangeCall& call, RangeResult* result);
// Computes the values of all windows of a series of floats, the same as the RangeFn would, faster. `call` holds no
// window; `values` are absent.
using ColumnFn = void (*)(RangeCall& call, const RangeInput& input, std::vector<double>& values);
// Anything else evaluates its arguments itself.
using GeneralFn = base::Result<EvalMatrix> (*)(Evaluator& evaluator, const Call& call);

struct FunctionDef {
  std::string_view name;
  std::vector<ValueType> args = {};  // With variadic arguments the last type stands for all that follow.
  int optional = 0;  // Not 0: how often the last of `args` may occur, or it may be missing; kUnlimited: any number.
  ValueType returns = ValueType::kVector;
  std::variant<MathFn, RangeFn, GeneralFn> implementation;
  bool keeps_name = false;  // The result keeps the metric's name.
  bool uses_time = false;   // The result depends on the evaluation time even when the arguments do not.
  bool experimental = false;
  ColumnFn columns = nullptr;
  RangeFn extended = nullptr;  // Over anchored ranges, and smoothed ones if `smoothable`.
  bool smoothable = false;
};
inline constexpr int kUnlimited = -1;

// The function of that (case-sensitive) name, or null.
const FunctionDef* FindFunction(std::string_view name);

// Which argument of a function over a range is the range vector.
size_t RangeArgument(const FunctionDef& function);

// The tables of each family, in the files functions_<family>.cc.
std::vector<FunctionDef> MathFunctions();
std::vector<FunctionDef> CounterFunctions();
std::vector<FunctionDef> OverTimeFunctions();
std::vector<FunctionDef> TimeFunctions();
std::vector<FunctionDef> LabelFunctions();
std::vector<FunctionDef> HistogramFunctions();
std::vector<FunctionDef> InfoFunctions();

}  // namespace tidewright::promql
