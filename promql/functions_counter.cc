// rate and its kin: how a series moves within a window.
#include <cmath>
#include <limits>

#include "base/metrics.h"
#include "promql/evaluator.h"
#include "promql/extended_range.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

// last - first, plus what the counter had reached at every reset.
double IncreaseOf(std::span<const Point> window, bool counter) {
  double result = window.back().v - window.front().v;
  if (!counter) return result;
  for (size_t i = 1; i < window.size(); ++i) {
    if (window[i].v < window[i - 1].v) result += window[i - 1].v;
  }
  return result;
}

// How much longer than the sampled interval the series is taken to be within the window. The distance to each edge
// counts as far as the samples' spacing makes plausible (up to 1.1 spacings, else half of one), and never to before a
// counter's zero. Source: Prometheus' extrapolation since 2.52.
double ExtrapolationFactor(const RangeCall& call, double increase, bool counter) {
  const Point& first = call.window.front();
  double sampled = Seconds(call.window.back().t - first.t);
  if (sampled == 0) return 1;
  double spacing = sampled / static_cast<double>(call.window.size() - 1);
  double to_start = Seconds(first.t - call.start_ms);
  double to_end = Seconds(call.end_ms - call.window.back().t);
  if (to_start >= spacing * 1.1) to_start = spacing / 2;
  if (to_end >= spacing * 1.1) to_end = spacing / 2;
  if (counter && increase > 0 && first.v >= 0) to_start = std::min(to_start, sampled * (first.v / increase));
  return (sampled + to_start + to_end) / sampled;
}

bool HasCounterName(std::string_view name) {
  for (std::string_view suffix : {"_total", "_sum", "_count", "_bucket"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

void CheckCounterName(RangeCall& call) {
  std::string_view name = call.labels->MetricName();
  if (name.empty() || HasCounterName(name)) return;
  call.evaluator->state().Info(
      *call.call->args[0],
      "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"" + std::string(name) + "\"");
}

bool Extrapolated(RangeCall& call, bool counter, double* value) {
  if (counter) CheckCounterName(call);
  if (call.window.size() < 2) return false;
  double increase = IncreaseOf(call.window, counter);
  *value = increase * ExtrapolationFactor(call, increase, counter);
  return true;
}

bool Rate(RangeCall& call, double* value) {
  if (!Extrapolated(call, true, value)) return false;
  *value /= Seconds(call.end_ms - call.start_ms);
  return true;
}
bool Increase(RangeCall& call, double* value) { return Extrapolated(call, true, value); }
bool Delta(RangeCall& call, double* value) { return Extrapolated(call, false, value); }

// The difference of the last two samples; false when there are none of different times.
bool LastDifference(const RangeCall& call, bool counter, double* value, double* seconds) {
  if (call.window.size() < 2) return false;
  const Point& last = call.window.back();
  const Point& previous = call.window[call.window.size() - 2];
  if (last.t == previous.t) return false;
  *value = counter && last.v < previous.v ? last.v : last.v - previous.v;
  *seconds = Seconds(last.t - previous.t);
  return true;
}

bool InstantRate(RangeCall& call, double* value) {
  double seconds = 0;
  if (!LastDifference(call, true, value, &seconds)) return false;
  *value /= seconds;
  return true;
}

bool InstantDelta(RangeCall& call, double* value) {
  double seconds = 0;
  return LastDifference(call, false, value, &seconds);
}

bool Resets(RangeCall& call, double* value) {
  *value = 0;
  for (size_t i = 1; i < call.window.size(); ++i) *value += call.window[i].v < call.window[i - 1].v ? 1 : 0;
  return true;
}

bool Changes(RangeCall& call, double* value) {
  *value = 0;
  for (size_t i = 1; i < call.window.size(); ++i) {
    double a = call.window[i - 1].v;
    double b = call.window[i].v;
    if (a != b && !(std::isnan(a) && std::isnan(b))) *value += 1;
  }
  return true;
}

struct Line {
  double slope = 0;
  double intercept = 0;  // The value at the time `origin_ms` of FitLine.
};

// Least squares. A constant series has slope 0 exactly; an infinite one has none.
Line FitLine(std::span<const Point> window, int64_t origin_ms) {
  KahanSum x_sum, y_sum, xy_sum, xx_sum;
  bool constant = true;
  for (const Point& point : window) {
    constant = constant && point.v == window.front().v;
    double x = Seconds(point.t - origin_ms);
    x_sum.Add(x);
    y_sum.Add(point.v);
    xy_sum.Add(x * point.v);
    xx_sum.Add(x * x);
  }
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (constant) return std::isinf(window.front().v) ? Line{kNan, kNan} : Line{0, window.front().v};
  auto total = [](const KahanSum& sum) { return sum.sum() + sum.compensation(); };
  double n = static_cast<double>(window.size());
  double covariance = total(xy_sum) - total(x_sum) * total(y_sum) / n;
  double variance = total(xx_sum) - total(x_sum) * total(x_sum) / n;
  double slope = covariance / variance;
  return {slope, total(y_sum) / n - slope * total(x_sum) / n};
}

bool Deriv(RangeCall& call, double* value) {
  if (call.window.size() < 2) return false;
  *value = FitLine(call.window, call.window.front().t).slope;
  return true;
}

bool PredictLinear(RangeCall& call, double* value) {
  if (call.window.size() < 2) return false;
  Line line = FitLine(call.window, call.time_ms);
  *value = line.slope * call.scalars[0] + line.intercept;
  return true;
}

// Holt's linear method.
bool DoubleExponentialSmoothing(RangeCall& call, double* value) {
  double smoothing = call.scalars[0];
  double trend_factor = call.scalars[1];
  for (double factor : {smoothing, trend_factor}) {
    if (factor > 0 && factor < 1) continue;
    call.error = base::InvalidArgumentError("the smoothing factor and the trend factor must lie between 0 and 1, got " +
                                            base::FormatDouble(factor));
    return false;
  }
  if (call.window.size() < 2) return false;
  double level = call.window[0].v;
  double previous = 0;
  double trend = call.window[1].v - call.window[0].v;
  for (size_t i = 1; i < call.window.size(); ++i) {
    if (i > 1) trend = trend_factor * (level - previous) + (1 - trend_factor) * trend;
    previous = level;
    level = smoothing * call.window[i].v + (1 - smoothing) * (level + trend);
  }
  *value = level;
  return true;
}

FunctionDef OfWindow(std::string_view name, RangeFn compute, RangeFn extended = nullptr, bool smoothable = false) {
  return {.name = name,
          .args = {ValueType::kMatrix},
          .implementation = compute,
          .extended = extended,
          .smoothable = smoothable};
}

}  // namespace

std::vector<FunctionDef> CounterFunctions() {
  constexpr ValueType kMatrix = ValueType::kMatrix;
  constexpr ValueType kScalar = ValueType::kScalar;
  std::vector<FunctionDef> table = {
      OfWindow("rate", Rate, ExtendedRate, true),
      OfWindow("increase", Increase, ExtendedIncrease, true),
      OfWindow("delta", Delta, ExtendedDelta, true),
      OfWindow("resets", Resets, AnchoredResets),
      OfWindow("changes", Changes, AnchoredChanges),
      OfWindow("irate", InstantRate),
      OfWindow("idelta", InstantDelta),
      OfWindow("deriv", Deriv),
  };
  table.push_back(
      {.name = "predict_linear", .args = {kMatrix, kScalar}, .implementation = PredictLinear, .uses_time = true});
  table.push_back({.name = "double_exponential_smoothing",
                   .args = {kMatrix, kScalar, kScalar},
                   .implementation = DoubleExponentialSmoothing,
                   .experimental = true});
  return table;
}

}  // namespace tidewright::promql
