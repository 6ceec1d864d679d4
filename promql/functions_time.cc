// The time, dates, timestamps of samples, and the bounds of the query.
#include <chrono>
#include <cmath>
#include <limits>

#include "promql/evaluator.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

// A moment in UTC, broken down.
struct Date {
  std::chrono::year_month_day day;
  int64_t days = 0;    // Since the epoch.
  int64_t second = 0;  // Of the day.
};

// False for what is not a moment between the years -32767 and 32767.
bool BreakDown(double seconds, Date* date) {
  if (!(std::fabs(seconds) < 9e11)) return false;
  auto whole = static_cast<int64_t>(seconds);
  int64_t days = whole / 86400;
  int64_t second = whole % 86400;
  if (second < 0) {
    second += 86400;
    --days;
  }
  date->days = days;
  date->second = second;
  date->day = std::chrono::year_month_day{std::chrono::sys_days{std::chrono::days{days}}};
  return true;
}

double Year(const Date& date) { return static_cast<int>(date.day.year()); }
double Month(const Date& date) { return static_cast<unsigned>(date.day.month()); }
double DayOfMonth(const Date& date) { return static_cast<unsigned>(date.day.day()); }
double Hour(const Date& date) { return static_cast<double>(date.second / 3600); }
double Minute(const Date& date) { return static_cast<double>(date.second / 60 % 60); }

double DayOfWeek(const Date& date) { return std::chrono::weekday{std::chrono::sys_days{date.day}}.c_encoding(); }

double DayOfYear(const Date& date) {
  std::chrono::sys_days first{date.day.year() / std::chrono::January / 1};
  return static_cast<double>(date.days - first.time_since_epoch().count() + 1);
}

double DaysInMonth(const Date& date) {
  auto last = date.day.year() / date.day.month() / std::chrono::last;
  return static_cast<unsigned>(last.day());
}

base::Result<EvalMatrix> Time(Evaluator& evaluator, const Call&) {
  const Steps& steps = evaluator.steps();
  std::vector<double> values(steps.count);
  for (size_t i = 0; i < steps.count; ++i) values[i] = static_cast<double>(steps.At(i)) / 1000;
  return evaluator.ScalarMatrix(std::move(values));
}

// A part of the date that each value, or the evaluation time, stands for.
template <double (*Part)(const Date&)>
base::Result<EvalMatrix> DatePart(Evaluator& evaluator, const Call& call) {
  auto result = call.args.empty() ? Time(evaluator, call) : evaluator.Eval(*call.args[0]);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    MapValues(series.values, [](double v, size_t) {
      Date date;
      return BreakDown(v, &date) ? Part(date) : std::numeric_limits<double>::quiet_NaN();
    });
    series.DropHistograms();
    evaluator.DropName(series);
  }
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

base::Status DropNames(Evaluator& evaluator, EvalMatrix& matrix) {
  for (auto& series : matrix) evaluator.DropName(series);
  return evaluator.JoinEqual(matrix);
}

// Of a selector the samples' own times, of anything else the evaluation time.
base::Result<EvalMatrix> Timestamp(Evaluator& evaluator, const Call& call) {
  const Expr& arg = StripParens(*call.args[0]);
  bool own = arg.kind == NodeKind::kVectorSelector;
  const auto* selector = own ? &As<VectorSelector>(arg) : nullptr;
  auto result =
      own ? evaluator.Follow(*selector, evaluator.state().SeriesOf(*selector), Take::kTime) : evaluator.Eval(arg);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    for (size_t i = 0; !own && i < series.values.size(); ++i) {
      if (series.PresentAt(i)) series.values[i] = static_cast<double>(evaluator.steps().At(i)) / 1000;
    }
    series.DropHistograms();
  }
  TW_RETURN_IF_ERROR(DropNames(evaluator, *result));
  return result;
}

enum class Bound { kStart, kEnd, kRange, kStep };

// The outermost query's bounds in seconds.
template <Bound kBound>
base::Result<EvalMatrix> QueryBound(Evaluator& evaluator, const Call&) {
  const QueryState& state = evaluator.state();
  bool instant = state.start_ms() == state.end_ms();
  int64_t ms = kBound == Bound::kStart   ? state.start_ms()
               : kBound == Bound::kEnd   ? state.end_ms()
               : kBound == Bound::kRange ? state.end_ms() - state.start_ms()
                                         : (instant ? 0 : state.step_ms());
  return evaluator.ScalarMatrix(std::vector<double>(evaluator.steps().count, static_cast<double>(ms) / 1000));
}

// When the counters of a selector's samples began, 0 where that is unknown. Any other expression has lost it.
base::Result<EvalMatrix> StartTimestamp(Evaluator& evaluator, const Call& call) {
  const Expr& arg = StripParens(*call.args[0]);
  if (arg.kind != NodeKind::kVectorSelector) return EvalMatrix{};
  const auto& selector = As<VectorSelector>(arg);
  auto result = evaluator.Follow(selector, evaluator.state().SeriesOf(selector), Take::kStart);
  if (result.ok()) TW_RETURN_IF_ERROR(DropNames(evaluator, *result));
  return result;
}

FunctionDef DateFunction(std::string_view name, GeneralFn compute) {
  return {.name = name, .args = {ValueType::kVector}, .optional = 1, .implementation = compute, .uses_time = true};
}

FunctionDef BoundFunction(std::string_view name, GeneralFn compute) {
  return {.name = name, .returns = ValueType::kScalar, .implementation = compute, .experimental = true};
}

}  // namespace

std::vector<FunctionDef> TimeFunctions() {
  std::vector<FunctionDef> table = {
      DateFunction("day_of_month", DatePart<DayOfMonth>),
      DateFunction("day_of_week", DatePart<DayOfWeek>),
      DateFunction("day_of_year", DatePart<DayOfYear>),
      DateFunction("days_in_month", DatePart<DaysInMonth>),
      DateFunction("hour", DatePart<Hour>),
      DateFunction("minute", DatePart<Minute>),
      DateFunction("month", DatePart<Month>),
      DateFunction("year", DatePart<Year>),
      BoundFunction("end", QueryBound<Bound::kEnd>),
      BoundFunction("range", QueryBound<Bound::kRange>),
      BoundFunction("start", QueryBound<Bound::kStart>),
      BoundFunction("step", QueryBound<Bound::kStep>),
  };
  table.push_back({.name = "start_timestamp",
                   .args = {ValueType::kVector},
                   .implementation = StartTimestamp,
                   .experimental = true});
  table.push_back({.name = "time", .returns = ValueType::kScalar, .implementation = Time, .uses_time = true});
  table.push_back({.name = "timestamp", .args = {ValueType::kVector}, .implementation = Timestamp, .uses_time = true});
  return table;
}

}  // namespace tidewright::promql
