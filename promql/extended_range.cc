// rate, increase, delta, resets and changes over anchored and smoothed ranges.
//
// A plain range is extrapolated to its edges. An anchored one starts from the last sample at or before its start, so
// that every increase between two samples is counted exactly once; a smoothed one interpolates the values at both edges
// from the samples just outside.
#include "promql/extended_range.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "promql/histogram_rate.h"

namespace tidewright::promql {
namespace {

// The line through two samples at time t. A counter that was reset in between is taken to have restarted at once, from
// zero.
double Interpolate(const Point& left, const Point& right, int64_t t, bool counter) {
  const double from = counter && right.v < left.v ? 0 : left.v;
  const double to = right.v;
  return from + (to - from) * static_cast<double>(t - left.t) / static_cast<double>(right.t - left.t);
}

// Which samples of an extended window stand for its edges: the last one at or before the start, else the first; and the
// first one at or after the end of a smoothed range, else the last.
struct Edges {
  size_t first = 0;
  size_t last = 0;
  bool inside = false;  // The range holds something to work on.
};

// `time_of(i)` of `size` > 0 samples.
template <typename TimeOf>
Edges FindEdges(const RangeCall& call, size_t size, TimeOf time_of) {
  Edges edges;
  while (edges.first + 1 < size && time_of(edges.first + 1) <= call.start_ms) ++edges.first;
  edges.last = size - 1;
  bool smoothed = call.extension == Extension::kSmoothed;
  while (smoothed && edges.last > 0 && time_of(edges.last - 1) >= call.end_ms) --edges.last;
  edges.inside = time_of(edges.last) > call.start_ms && time_of(edges.first) <= call.end_ms;
  return edges;
}

Point PointAt(const SampleSpan& window, size_t i) { return {window.t[i], window.v[i]}; }

// What a counter lost by resets on its way from `left` over the samples [begin, end) to `right`.
double LostByResets(double left, const SampleSpan& window, size_t begin, size_t end, double right) {
  double lost = 0;
  double previous = left;
  for (size_t i = begin; i < end; ++i) {
    if (window.v[i] < previous) lost += previous;
    previous = window.v[i];
  }
  return right < previous ? lost + previous : lost;
}

void FloatDifference(RangeCall& call, bool counter, RangeResult* result) {
  const SampleSpan& window = call.window;
  auto [first, last, inside] = FindEdges(call, window.t.size(), [&](size_t i) { return window.t[i]; });
  if (!inside) return;
  if (counter) call.CheckCounterName();
  bool smoothed = call.extension == Extension::kSmoothed;
  double left = window.v[first];
  double right = window.v[last];
  if (smoothed && window.t[first] < call.start_ms) {
    left = Interpolate(PointAt(window, first), PointAt(window, first + 1), call.start_ms, counter);
  }
  if (smoothed && last > 0 && window.t[last] > call.end_ms) {
    right = Interpolate(PointAt(window, last - 1), PointAt(window, last), call.end_ms, counter);
  }
  result->v = right - left;
  if (!counter) return;
  // The edges' values stand for the samples there.
  size_t begin = first + (window.t[first] <= call.start_ms ? 1 : 0);
  size_t end = last + (window.t[last] >= call.end_ms ? 0 : 1);
  result->v += LostByResets(left, window, begin, end, right);
}

void Difference(RangeCall& call, bool counter, RangeResult* result) {
  const auto& histograms = call.window.histograms;
  if (!call.window.t.empty() && !histograms.empty()) return call.Warn(kMixedTypes);
  if (histograms.empty()) return FloatDifference(call, counter, result);
  Edges edges = FindEdges(call, histograms.size(), [&](size_t i) { return histograms[i].t; });
  if (edges.inside) result->h = ExtendedHistogramIncrease(call, edges.first, edges.last, counter);
}

}  // namespace

void ExtendedIncrease(RangeCall& call, RangeResult* result) { Difference(call, true, result); }
void ExtendedDelta(RangeCall& call, RangeResult* result) { Difference(call, false, result); }

void ExtendedRate(RangeCall& call, RangeResult* result) {
  Difference(call, true, result);
  double seconds = static_cast<double>(call.end_ms - call.start_ms) / 1000;
  if (result->h != nullptr) {
    result->h = Divide(*result->h, seconds);
  } else if (!IsAbsent(result->v)) {
    result->v /= seconds;
  }
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

base::Status ExtendSamples(Extension extension, int64_t start_ms, int64_t end_ms, MatrixSeries* series) {
  bool smoothed = extension == Extension::kSmoothed;
  if (!series->histograms.empty()) {
    return base::InvalidArgumentError(std::string(smoothed ? "smoothed" : "anchored") +
                                      " modifier is not supported with histograms");
  }
  const std::vector<Point> points = std::exchange(series->points, {});
  RangeCall call;
  call.extension = extension;
  call.start_ms = start_ms;
  call.end_ms = end_ms;
  if (points.empty()) return base::Status::Ok();
  auto [first, last, inside] = FindEdges(call, points.size(), [&](size_t i) { return points[i].t; });
  if (points[last].t <= start_ms) return base::Status::Ok();
  double left = points[first].v, right = points[last].v;
  if (smoothed && points[first].t < start_ms) {
    left = Interpolate(points[first], points[first + 1], start_ms, false);
  }
  if (smoothed && last > 0 && points[last].t > end_ms) {
    right = Interpolate(points[last - 1], points[last], end_ms, false);
  }
  series->points.push_back({start_ms, left});
  for (size_t i = first; i <= last; ++i) {
    if (points[i].t > start_ms && points[i].t < end_ms) series->points.push_back(points[i]);
  }
  series->points.push_back({end_ms, right});
  return base::Status::Ok();
}

namespace {

RangeResult SmoothedFloat(const SampleSpan& window, int64_t t, int64_t lookback_ms) {
  size_t behind = static_cast<size_t>(std::upper_bound(window.t.begin(), window.t.end(), t) - window.t.begin());
  if (behind == 0 || window.t[behind - 1] <= SaturatingSub(t, lookback_ms)) return {};
  Point before = PointAt(window, behind - 1);
  bool alone = before.t == t || behind == window.t.size() || IsAbsent(window.v[behind]) || IsAbsent(before.v);
  return {alone ? before.v : Interpolate(before, PointAt(window, behind), t, false), nullptr};
}

}  // namespace

RangeResult SmoothedAt(Evaluator& evaluator, const VectorSelector& selector, const LabelsView& labels,
                       const SampleSpan& window, int64_t t, int64_t lookback_ms) {
  const auto& histograms = window.histograms;
  if (histograms.empty()) return SmoothedFloat(window, t, lookback_ms);
  auto warn = [&](const char* message) {
    evaluator.state().Warn(selector, std::string(message) + evaluator.ForMetric(labels));
    return RangeResult{};
  };
  if (!std::all_of(window.v.begin(), window.v.end(), IsAbsent)) return warn(kMixedTypes);
  auto next = std::upper_bound(histograms.begin(), histograms.end(), t,
                               [](int64_t time, const HistogramSample& sample) { return time < sample.t; });
  if (next == histograms.begin()) return {};
  const HistogramSample& before = *std::prev(next);
  if (before.t <= SaturatingSub(t, lookback_ms)) return {};
  // A staleness marker after the sample ends it, or stands where the line would lead.
  auto ended = [&](int64_t until) {
    return std::any_of(window.t.begin(), window.t.end(),
                       [&](int64_t mark) { return mark > before.t && mark <= until; });
  };
  if (ended(t)) return {};
  if (before.t == t || next == histograms.end() || ended(next->t)) return {Absent(), before.h};
  bool counter = before.h->hint != CounterResetHint::kGauge;
  auto inform = [&](const std::string& message) { evaluator.state().Info(selector, message); };
  HistogramPtr value = InterpolateHistograms(before, *next, t, counter, inform);
  if (value == nullptr) return warn(kMixedSchemas);
  return {Absent(), std::move(value)};
}

}  // namespace tidewright::promql
