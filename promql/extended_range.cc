// rate, increase, delta, resets and changes over anchored and smoothed ranges.
//
// A plain range is extrapolated to its edges. An anchored one starts from the last sample at or before its start, so
// that every increase between two samples is counted exactly once; a smoothed one interpolates the values at both edges
// from the samples just outside.
#include "promql/extended_range.h"

#include <algorithm>
#include <cmath>

namespace tidewright::promql {
namespace {

// The line through two samples at time t. A counter that was reset in between is taken to have restarted at once:
// before the range's start from zero, at its end going on from the left value.
double Interpolate(const Point& left, const Point& right, int64_t t, bool counter, bool at_start) {
  double from = left.v;
  double to = right.v;
  if (counter && to < from) {
    if (at_start) {
      from = 0;
    } else {
      to += from;
    }
  }
  return from + (to - from) * static_cast<double>(t - left.t) / static_cast<double>(right.t - left.t);
}

// The index of the last sample at or before the range's start, else of the first one.
size_t FirstIndex(const RangeCall& call) {
  auto after = std::upper_bound(call.window.begin(), call.window.end(), call.start_ms,
                                [](int64_t t, const Point& point) { return t < point.t; });
  return after == call.window.begin() ? 0 : static_cast<size_t>(after - call.window.begin()) - 1;
}

// The index of the first sample at or after the range's end, else of the last one.
size_t LastIndex(const RangeCall& call) {
  auto at = std::lower_bound(call.window.begin(), call.window.end(), call.end_ms,
                             [](const Point& point, int64_t t) { return point.t < t; });
  return std::min(static_cast<size_t>(at - call.window.begin()), call.window.size() - 1);
}

// What a counter lost by resets on its way from `left` over the points to `right`.
double LostByResets(double left, std::span<const Point> points, double right) {
  double lost = 0;
  double previous = left;
  for (const Point& point : points) {
    if (point.v < previous) lost += previous;
    previous = point.v;
  }
  return right < previous ? lost + previous : lost;
}

bool Difference(const RangeCall& call, bool counter, double* value) {
  auto window = call.window;
  bool smoothed = call.extension == Extension::kSmoothed;
  size_t first = FirstIndex(call);
  size_t last = smoothed ? LastIndex(call) : window.size() - 1;
  if (window[last].t <= call.start_ms || window[first].t > call.end_ms) return false;
  double left = window[first].v;
  double right = window[last].v;
  if (smoothed && window[first].t < call.start_ms) {
    left = Interpolate(window[first], window[first + 1], call.start_ms, counter, true);
  }
  if (smoothed && last > 0 && window[last].t > call.end_ms) {
    // With both edges between the same two samples, a reset in between lies before both.
    bool same = last == first + 1 && window[first].t < call.start_ms;
    right = Interpolate(window[last - 1], window[last], call.end_ms, counter, same);
  }
  *value = right - left;
  if (!counter) return true;
  // The edges' values stand for the samples there.
  size_t begin = first + (window[first].t <= call.start_ms ? 1 : 0);
  size_t end = last + (window[last].t >= call.end_ms ? 0 : 1);
  *value += LostByResets(left, window.subspan(begin, end > begin ? end - begin : 0), right);
  return true;
}

// The samples from the anchor on; empty when none lies inside of the range.
std::span<const Point> Anchored(const RangeCall& call) {
  if (call.window.back().t <= call.start_ms) return {};
  return call.window.subspan(FirstIndex(call));
}

}  // namespace

bool ExtendedIncrease(RangeCall& call, double* value) { return Difference(call, true, value); }
bool ExtendedDelta(RangeCall& call, double* value) { return Difference(call, false, value); }

bool ExtendedRate(RangeCall& call, double* value) {
  if (!Difference(call, true, value)) return false;
  *value /= static_cast<double>(call.end_ms - call.start_ms) / 1000;
  return true;
}

bool AnchoredResets(RangeCall& call, double* value) {
  auto points = Anchored(call);
  *value = 0;
  for (size_t i = 1; i < points.size(); ++i) *value += points[i].v < points[i - 1].v ? 1 : 0;
  return !points.empty();
}

bool AnchoredChanges(RangeCall& call, double* value) {
  auto points = Anchored(call);
  *value = 0;
  for (size_t i = 1; i < points.size(); ++i) {
    double a = points[i - 1].v;
    double b = points[i].v;
    if (a != b && !(std::isnan(a) && std::isnan(b))) *value += 1;
  }
  return !points.empty();
}

base::Status CheckExtension(const FunctionDef& function, Extension extension) {
  if (extension == Extension::kNone) return base::Status::Ok();
  bool smoothed = extension == Extension::kSmoothed;
  if (function.extended != nullptr && (!smoothed || function.smoothable)) return base::Status::Ok();
  return base::InvalidArgumentError(std::string(smoothed ? "smoothed" : "anchored") +
                                    " modifier can only be used with: " +
                                    (smoothed ? "delta, increase, rate" : "changes, delta, increase, rate, resets") +
                                    " - not with " + std::string(function.name));
}

double Smoothed(const Point& left, const Point& right, int64_t t) {
  return left.t == t ? left.v : Interpolate(left, right, t, false, true);
}

}  // namespace tidewright::promql
