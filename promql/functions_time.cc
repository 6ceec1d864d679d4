// The time, dates, timestamps of samples, and the bounds of the query.
#include <cstdint>
#include <limits>

#include "promql/evaluator.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

// A moment in UTC, broken down.
struct Date {
  int64_t year = 0;
  unsigned month = 0;       // 1..12
  unsigned day = 0;         // 1..31
  uint64_t day_number = 0;  // From a Wednesday on.
  int64_t second = 0;       // Of the day.
};

// Days are counted from the first of March of this year, so that all moments lie behind it and leap days end years.
constexpr int64_t kFirstYear = -292'277'022'400;
constexpr uint64_t kDaysOfEra = 146'097;  // 400 years.
constexpr uint64_t kDayOfEpoch = kDaysOfEra * (-kFirstYear / 400) + 719'468;
constexpr uint64_t kSecondsOfDay = 86'400;

// Whole seconds as Prometheus' platforms convert them: what is no 64-bit integer, also NaN, is the least one.
int64_t WholeSeconds(double seconds) {
  bool fits = seconds >= -9223372036854775808.0 && seconds < 9223372036854775808.0;
  return fits ? static_cast<int64_t>(seconds) : std::numeric_limits<int64_t>::min();
}

Date BreakDown(double seconds) {
  uint64_t since = static_cast<uint64_t>(WholeSeconds(seconds)) + kDayOfEpoch * kSecondsOfDay;
  Date date;
  date.second = static_cast<int64_t>(since % kSecondsOfDay);
  date.day_number = since / kSecondsOfDay;
  uint64_t of_era = date.day_number % kDaysOfEra;
  uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
  uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint64_t month = (5 * of_year + 2) / 153;  // From March on.
  date.day = static_cast<unsigned>(of_year - (153 * month + 2) / 5 + 1);
  date.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  auto era = static_cast<int64_t>(date.day_number / kDaysOfEra);
  date.year = kFirstYear + era * 400 + static_cast<int64_t>(year_of_era) + (date.month <= 2 ? 1 : 0);
  return date;
}

bool IsLeap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

unsigned LengthOfMonth(int64_t year, unsigned month) {
  constexpr unsigned kLengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return kLengths[month - 1] + (month == 2 && IsLeap(year) ? 1 : 0);
}

double Year(const Date& date) { return static_cast<double>(date.year); }
double Month(const Date& date) { return date.month; }
double DayOfMonth(const Date& date) { return date.day; }
double Hour(const Date& date) { return static_cast<double>(date.second / 3600); }
double Minute(const Date& date) { return static_cast<double>(date.second / 60 % 60); }
double DayOfWeek(const Date& date) { return static_cast<double>((date.day_number + 3) % 7); }
double DaysInMonth(const Date& date) { return LengthOfMonth(date.year, date.month); }

double DayOfYear(const Date& date) {
  unsigned before = 0;
  for (unsigned month = 1; month < date.month; ++month) before += LengthOfMonth(date.year, month);
  return before + date.day;
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
    MapValues(series.values, [](double v, size_t) { return Part(BreakDown(v)); });
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
