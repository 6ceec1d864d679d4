// Functions of one number, clamping, rounding, scalars.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "promql/evaluator.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double Sign(double v) { return v < 0 ? -1 : v > 0 ? 1 : v; }
double Degrees(double v) { return v * 180 / std::numbers::pi; }
double Radians(double v) { return v * std::numbers::pi / 180; }

// As Go orders numbers: an infinity at that end beats NaN, and -0 lies below 0.
double Least(double a, double b) {
  if (a == -kInfinity || b == -kInfinity) return -kInfinity;
  if (std::isnan(a) || std::isnan(b)) return kNan;
  return a == b && std::signbit(a) ? a : std::min(b, a);
}
double Greatest(double a, double b) { return -Least(-a, -b); }

// Evaluates the vector argument and applies compute(value, step) to every float; histograms and the name are dropped.
template <typename Compute>
base::Result<EvalMatrix> Map(Evaluator& evaluator, const Expr& arg, Compute compute) {
  auto result = evaluator.Eval(arg);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    MapValues(series.values, compute);
    series.DropHistograms();
    evaluator.DropName(series);
  }
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// Nothing is within bounds that contradict each other.
base::Result<EvalMatrix> Clamp(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> low, evaluator.EvalScalar(*call.args[1]));
  TW_ASSIGN_OR_RETURN(std::vector<double> high, evaluator.EvalScalar(*call.args[2]));
  return Map(evaluator, *call.args[0],
             [&](double v, size_t i) { return high[i] < low[i] ? Absent() : Greatest(low[i], Least(high[i], v)); });
}

base::Result<EvalMatrix> ClampMin(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> low, evaluator.EvalScalar(*call.args[1]));
  return Map(evaluator, *call.args[0], [&](double v, size_t i) { return Greatest(low[i], v); });
}

base::Result<EvalMatrix> ClampMax(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> high, evaluator.EvalScalar(*call.args[1]));
  return Map(evaluator, *call.args[0], [&](double v, size_t i) { return Least(high[i], v); });
}

base::Result<EvalMatrix> Round(Evaluator& evaluator, const Call& call) {
  std::vector<double> nearest(evaluator.steps().count, 1);
  if (call.args.size() > 1) {
    TW_ASSIGN_OR_RETURN(nearest, evaluator.EvalScalar(*call.args[1]));
  }
  return Map(evaluator, *call.args[0], [&](double v, size_t i) {
    double inverse = 1 / nearest[i];  // Exact for 0.1 and its like, where dividing by it is not.
    return std::floor(v * inverse + 0.5) / inverse;
  });
}

base::Result<EvalMatrix> Pi(Evaluator& evaluator, const Call&) {
  return evaluator.ScalarMatrix(std::vector<double>(evaluator.steps().count, std::numbers::pi));
}

// NaN unless the vector has exactly one float.
base::Result<EvalMatrix> ScalarOf(Evaluator& evaluator, const Call& call) {
  std::vector<double> values(evaluator.steps().count, kNan);
  std::vector<uint8_t> seen(values.size());
  TW_RETURN_IF_ERROR(evaluator.Stream(*call.args[0], [&](EvalSeries& series) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (IsAbsent(series.values[i])) continue;
      values[i] = seen[i] == 0 ? series.values[i] : kNan;
      seen[i] = 1;
    }
    return base::Status::Ok();
  }));
  return evaluator.ScalarMatrix(std::move(values));
}

base::Result<EvalMatrix> VectorOf(Evaluator& evaluator, const Call& call) { return evaluator.Eval(*call.args[0]); }

template <double (*Choose)(double, double)>
base::Result<EvalMatrix> OfTwo(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> left, evaluator.EvalScalar(*call.args[0]));
  TW_ASSIGN_OR_RETURN(std::vector<double> right, evaluator.EvalScalar(*call.args[1]));
  for (size_t i = 0; i < left.size(); ++i) left[i] = Choose(left[i], right[i]);
  return evaluator.ScalarMatrix(std::move(left));
}

FunctionDef Math(std::string_view name, MathFn compute) {
  return {.name = name, .args = {ValueType::kVector}, .implementation = compute};
}

FunctionDef General(std::string_view name, std::vector<ValueType> args, GeneralFn compute) {
  return {.name = name, .args = std::move(args), .implementation = compute};
}

}  // namespace

std::vector<FunctionDef> MathFunctions() {
  constexpr ValueType kVector = ValueType::kVector;
  constexpr ValueType kScalar = ValueType::kScalar;
  std::vector<FunctionDef> table = {
      Math("abs", [](double v) { return std::fabs(v); }),
      Math("acos", [](double v) { return std::acos(v); }),
      Math("acosh", [](double v) { return std::acosh(v); }),
      Math("asin", [](double v) { return std::asin(v); }),
      Math("asinh", [](double v) { return std::asinh(v); }),
      Math("atan", [](double v) { return std::atan(v); }),
      Math("atanh", [](double v) { return std::atanh(v); }),
      Math("ceil", [](double v) { return std::ceil(v); }),
      Math("cos", [](double v) { return std::cos(v); }),
      Math("cosh", [](double v) { return std::cosh(v); }),
      Math("deg", Degrees),
      Math("exp", [](double v) { return std::exp(v); }),
      Math("floor", [](double v) { return std::floor(v); }),
      Math("ln", [](double v) { return std::log(v); }),
      Math("log10", [](double v) { return std::log10(v); }),
      Math("log2", [](double v) { return std::log2(v); }),
      Math("rad", Radians),
      Math("sgn", Sign),
      Math("sin", [](double v) { return std::sin(v); }),
      Math("sinh", [](double v) { return std::sinh(v); }),
      Math("sqrt", [](double v) { return std::sqrt(v); }),
      Math("tan", [](double v) { return std::tan(v); }),
      Math("tanh", [](double v) { return std::tanh(v); }),
      General("clamp", {kVector, kScalar, kScalar}, Clamp),
      General("clamp_max", {kVector, kScalar}, ClampMax),
      General("clamp_min", {kVector, kScalar}, ClampMin),
      General("vector", {kScalar}, VectorOf),
  };
  table.push_back({.name = "round", .args = {kVector, kScalar}, .optional = 1, .implementation = Round});
  table.push_back({.name = "pi", .returns = kScalar, .implementation = Pi});
  table.push_back({.name = "scalar", .args = {kVector}, .returns = kScalar, .implementation = ScalarOf});
  table.push_back({.name = "max_of",
                   .args = {kScalar, kScalar},
                   .returns = kScalar,
                   .implementation = OfTwo<Greatest>,
                   .experimental = true});
  table.push_back({.name = "min_of",
                   .args = {kScalar, kScalar},
                   .returns = kScalar,
                   .implementation = OfTwo<Least>,
                   .experimental = true});
  return table;
}

}  // namespace tidewright::promql
