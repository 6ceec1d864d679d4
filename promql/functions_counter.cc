// rate and its kin: how a series moves within a window.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/metrics.h"
#include "promql/counter_reset.h"
#include "promql/extended_range.h"
#include "promql/functions.h"
#include "promql/histogram.h"
#include "promql/histogram_rate.h"
#include "promql/range_call.h"
#include "promql/wide_columns.h"

namespace tidewright::promql {
namespace {

enum class Kind { kRate, kIncrease, kDelta };

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

// The samples of a window in time.
struct Sampled {
  int64_t first_ms = 0;
  int64_t last_ms = 0;
  size_t count = 0;
  int64_t start_ms = 0;  // When the counter began within the window, at zero; 0: before it, or unknown.
};

// The distance to each edge counts as far as the samples' spacing makes plausible: up to 1.1 spacings, else half of
// one. Source: Prometheus' extrapolation since 2.52.
Reach ReachOf(const Sampled& seen, int64_t start_ms, int64_t end_ms) {
  bool began = seen.start_ms != 0;
  double spacing = seen.count < 2 ? 0 : Seconds(seen.last_ms - seen.first_ms) / static_cast<double>(seen.count - 1);
  Reach reach{Seconds(seen.last_ms - (began ? seen.start_ms : seen.first_ms)),
              began ? 0 : Seconds(seen.first_ms - start_ms), Seconds(end_ms - seen.last_ms)};
  if (!began && reach.to_start >= spacing * 1.1) reach.to_start = spacing / 2;
  if (reach.to_end >= spacing * 1.1) reach.to_end = spacing / 2;
  return reach;
}

double Stretch(const Reach& reach, double to_start) {
  return reach.sampled == 0 ? 1 : (reach.sampled + to_start + reach.to_end) / reach.sampled;
}

// By what an increase is multiplied. A counter does not reach back to before its zero, `first` being its first value.
double ExtrapolationFactor(const Reach& reach, double first, double increase, bool counter) {
  double to_start = reach.to_start;
  if (counter && increase > 0 && first >= 0) to_start = std::min(to_start, reach.sampled * (first / increase));
  return Stretch(reach, to_start);
}

void WarnOverlap(RangeCall& call) {
  call.Warn("sample has start time that overlaps with previous sample timestamp for metric \"" +
                std::string(call.labels.Get(tsdb::kMetricName)) + "\"",
            false);
}

// last - first, plus what the counter had reached at every reset.
double IncreaseOf(RangeCall& call, bool counter) {
  const SampleSpan& window = call.window;
  double result = window.v.back() - window.v.front();
  for (size_t i = 1; counter && i < window.v.size(); ++i) {
    bool restarted = StartedBetween(TimesOf(window, i - 1), TimesOf(window, i));
    if (restarted || window.v[i] < window.v[i - 1]) result += window.v[i - 1];
    if (StartsOverlap(TimesOf(window, i - 1), TimesOf(window, i))) WarnOverlap(call);
  }
  return result;
}

// When the counter of the window's first sample began within the window; 0: before, or unknown.
int64_t StartWithin(const RangeCall& call, const SampleTimes& first) {
  return first.start > call.start_ms && first.start < first.t ? first.start : 0;
}

template <Kind kKind>
double Finish(double value, int64_t start_ms, int64_t end_ms) {
  return kKind == Kind::kRate ? value / Seconds(end_ms - start_ms) : value;
}

template <Kind kKind>
void ExtrapolateFloats(RangeCall& call, RangeResult* result) {
  constexpr bool kCounter = kKind != Kind::kDelta;
  const SampleSpan& window = call.window;
  int64_t start = kCounter ? StartWithin(call, TimesOf(window, 0)) : 0;
  if (window.t.size() < 2 && start == 0) return;
  if (kCounter) call.CheckCounterName();
  double increase = IncreaseOf(call, kCounter) + (start != 0 ? window.v.front() : 0);
  Reach reach = ReachOf({window.t.front(), window.t.back(), window.t.size(), start}, call.start_ms, call.end_ms);
  double factor = ExtrapolationFactor(reach, window.v.front(), increase, kCounter);
  result->v = increase * Finish<kKind>(factor, call.start_ms, call.end_ms);  // In this order nothing overflows early.
}

template <Kind kKind>
void ExtrapolateHistograms(RangeCall& call, RangeResult* result) {
  constexpr bool kCounter = kKind != Kind::kDelta;
  auto samples = call.window.histograms;
  int64_t start = kCounter ? StartWithin(call, TimesOf(samples.front())) : 0;
  if (samples.size() < 2 && start == 0) return;
  HistogramPtr increase = HistogramIncrease(call, samples, kCounter);
  if (increase == nullptr) return;
  if (start != 0) {
    HistogramSum sum(*increase);
    if (!AddHistogram(call, sum, *samples.front().h, 1)) return;
    increase = std::make_shared<const Histogram>(sum.Total());
  }
  Reach reach = ReachOf({samples.front().t, samples.back().t, samples.size(), start}, call.start_ms, call.end_ms);
  double factor = ExtrapolationFactor(reach, samples.front().h->count, increase->count, kCounter);
  result->h = Scale(*increase, Finish<kKind>(factor, call.start_ms, call.end_ms));
}

template <Kind kKind>
void Extrapolated(RangeCall& call, RangeResult* result) {
  if (!call.window.t.empty() && !call.window.histograms.empty()) return call.Warn(kMixedTypes);
  if (call.window.histograms.empty()) return ExtrapolateFloats<kKind>(call, result);
  ExtrapolateHistograms<kKind>(call, result);
}

// Whether any of kAtOnce values is less than the one before it.
constexpr size_t kAtOnce = 16;
bool GoesDown(const double* v) {
  using Lanes = double __attribute__((vector_size(16)));
  using Mask = int64_t __attribute__((vector_size(16)));
  Mask down{};
  for (size_t k = 0; k < kAtOnce; k += 2) {
    Lanes before, after;
    std::memcpy(&before, v + k - 1, sizeof(before));
    std::memcpy(&after, v + k, sizeof(after));
    down |= after < before;
  }
  return (down[0] | down[1]) != 0;
}

// Where a counter went down within [begin, end), ascending. Most never do, so that they are looked at several at once.
std::vector<uint32_t> ResetsOf(std::span<const double> v, size_t begin, size_t end) {
  std::vector<uint32_t> resets;
  for (size_t i = begin + 1; i < end;) {
    const size_t stop = std::min(i + kAtOnce, end);
    if (stop - i == kAtOnce && !GoesDown(&v[i])) {
      i = stop;
      continue;
    }
    for (; i < stop; ++i) {
      if (v[i] < v[i - 1]) resets.push_back(static_cast<uint32_t>(i));
    }
  }
  return resets;
}

// The reach of each window. It depends on times only, so that series of one timeline share it.
template <Kind kKind>
const Reaches& ReachesOf(const RangeInput& input) {
  const Windows& windows = input.windows();
  Reaches& reaches = windows.reaches;
  if (!reaches.factor.empty()) return reaches;
  auto t = input.samples().t;
  reaches.Resize(windows.end.size());
  for (size_t i = 0; i < windows.end.size(); ++i) {
    size_t begin = windows.begin[i];
    size_t end = windows.end[i];
    if (end - begin < 2) continue;
    Reach reach = ReachOf({t[begin], t[end - 1], end - begin, 0}, input.start_ms(i), input.end_ms(i));
    reaches.sampled[i] = reach.sampled;
    reaches.to_start[i] = reach.to_start;
    reaches.to_end[i] = reach.to_end;
    reaches.factor[i] = Finish<kKind>(Stretch(reach, reach.to_start), input.start_ms(i), input.end_ms(i));
  }
  return reaches;
}

// As ExtrapolateFloats for windows one after the other; only the resets within are visited.
template <Kind kKind>
class ColumnExtrapolation {
 public:
  static constexpr bool kCounter = kKind != Kind::kDelta;

  explicit ColumnExtrapolation(const RangeInput& input)
      : input_(input),
        samples_(input.samples().v.data()),
        windows_(input.windows()),
        reaches_(ReachesOf<kKind>(input)) {
    if (!kCounter || input.samples().rising) return;
    resets_ = ResetsOf(input.samples().v, windows_.begin.front(), windows_.end.back());
  }

  void Fill(std::vector<double>& values) {
    const WideColumns* wide = resets_.empty() ? FindWideColumns() : nullptr;
    const Increases increases{samples_, windows_.begin.data(), windows_.end.data(), &reaches_, kCounter};
    const size_t count = values.size();
    for (size_t i = 0; i < count;) {
      if (wide != nullptr) i = wide->extrapolate(increases, i, count, values.data());
      const size_t stop = wide == nullptr ? count : std::min(i + kFewWindows, count);
      for (; i < stop; ++i) {
        if (windows_.end[i] - windows_.begin[i] >= 2) values[i] = At(i);
      }
    }
  }

 private:
  static constexpr size_t kFewWindows = 4;  // Until several at once are tried again.

  double At(size_t i) {
    const size_t begin = windows_.begin[i], end = windows_.end[i];
    double increase = samples_[end - 1] - samples_[begin];
    if (!resets_.empty()) [[unlikely]] {
      while (next_ < resets_.size() && resets_[next_] <= begin) ++next_;
      for (size_t r = next_; r < resets_.size() && resets_[r] < end; ++r) increase += samples_[resets_[r] - 1];
    }
    double factor = reaches_.factor[i];
    if (kCounter && ZeroMayBeNear(reaches_, i, samples_[begin], increase)) [[unlikely]] {
      factor = Finish<kKind>(ExtrapolationFactor(reaches_.at(i), samples_[begin], increase, true), input_.start_ms(i),
                             input_.end_ms(i));
    }
    return increase * factor;
  }

  const RangeInput& input_;
  const double* const samples_;
  const Windows& windows_;
  const Reaches& reaches_;
  std::vector<uint32_t> resets_;
  size_t next_ = 0;  // Of the resets: the first behind the beginning of the window.
};

template <Kind kKind>
void ExtrapolatedColumn(RangeCall& call, const RangeInput& input, std::vector<double>& values) {
  if (kKind != Kind::kDelta && input.windows().widest > 1) call.CheckCounterName();
  ColumnExtrapolation<kKind>(input).Fill(values);
}

// --- irate, idelta.

bool DifferenceOfFloats(const RangeCall& call, bool counter, double* value, double* seconds) {
  const SampleSpan& window = call.window;
  size_t last = window.t.size() - 1;
  if (window.t[last] == window.t[last - 1]) return false;
  bool reset = window.v[last] < window.v[last - 1] || StartedBetween(TimesOf(window, last - 1), TimesOf(window, last));
  *value = counter && reset ? window.v[last] : window.v[last] - window.v[last - 1];
  *seconds = Seconds(window.t[last] - window.t[last - 1]);
  return true;
}

template <bool kCounter>
void DifferenceOfHistograms(RangeCall& call, RangeResult* result) {
  const auto& last = call.window.histograms.back();
  const auto& previous = call.window.histograms[call.window.histograms.size() - 2];
  if (last.t == previous.t) return;
  HistogramPtr difference = LastHistogramDifference(call, previous, last, kCounter);
  if (difference == nullptr) return;
  result->h = kCounter ? Divide(*difference, Seconds(last.t - previous.t)) : difference;
}

// Over the last two samples.
template <bool kCounter>
void Instant(RangeCall& call, RangeResult* result) {
  const SampleSpan& window = call.window;
  if (window.size() < 2) return;
  size_t floats = window.t.size();
  size_t histograms = window.histograms.size();
  // Which of the last two samples are floats.
  bool two_floats = floats >= 2 && (histograms == 0 || window.t[floats - 2] > window.histograms.back().t);
  bool two_histograms = histograms >= 2 && (floats == 0 || window.histograms[histograms - 2].t > window.t.back());
  if (two_histograms) return DifferenceOfHistograms<kCounter>(call, result);
  if (!two_floats) return call.Warn(kMixedTypes);
  double value = 0, seconds = 0;
  if (!DifferenceOfFloats(call, kCounter, &value, &seconds)) return;
  result->v = kCounter ? value / seconds : value;
}

// --- deriv, predict_linear, double_exponential_smoothing.

struct Line {
  double slope = 0;
  double intercept = 0;  // The value at the time `origin_ms` of FitLine.
};

// Least squares. A constant series has slope 0 exactly; an infinite one has none.
Line FitLine(const SampleSpan& window, int64_t origin_ms) {
  KahanSum x_sum, y_sum, xy_sum, xx_sum;
  bool constant = true;
  for (size_t i = 0; i < window.t.size(); ++i) {
    double y = window.v[i];
    constant = constant && y == window.v.front();
    double x = Seconds(window.t[i] - origin_ms);
    x_sum.Add(x);
    y_sum.Add(y);
    xy_sum.Add(x * y);
    xx_sum.Add(x * x);
  }
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (constant) return std::isinf(window.v.front()) ? Line{kNan, kNan} : Line{0, window.v.front()};
  auto total = [](const KahanSum& sum) { return sum.sum() + sum.compensation(); };
  double n = static_cast<double>(window.t.size());
  double covariance = total(xy_sum) - total(x_sum) * total(y_sum) / n;
  double variance = total(xx_sum) - total(x_sum) * total(x_sum) / n;
  double slope = covariance / variance;
  return {slope, total(y_sum) / n - slope * total(x_sum) / n};
}

// False when there are too few floats; tells when histograms were among them.
bool EnoughFloats(RangeCall& call) {
  if (!call.window.t.empty() && !call.window.histograms.empty()) call.InformIgnoredHistograms();
  return call.window.t.size() >= 2;
}

void Deriv(RangeCall& call, RangeResult* result) {
  if (EnoughFloats(call)) result->v = FitLine(call.window, call.window.t.front()).slope;
}

void PredictLinear(RangeCall& call, RangeResult* result) {
  if (!EnoughFloats(call)) return;
  Line line = FitLine(call.window, call.time_ms);
  result->v = line.slope * call.scalars[0] + line.intercept;
}

// Holt's linear method.
void DoubleExponentialSmoothing(RangeCall& call, RangeResult* result) {
  double smoothing = call.scalars[0];
  double trend_factor = call.scalars[1];
  for (double factor : {smoothing, trend_factor}) {
    if (!(factor <= 0 || factor >= 1)) continue;  // NaN passes, and so will the result be.
    call.error = base::InvalidArgumentError("the smoothing factor and the trend factor must lie between 0 and 1, got " +
                                            base::FormatDouble(factor));
    return;
  }
  if (!EnoughFloats(call)) return;
  auto v = call.window.v;
  double level = v[0];
  double previous = 0;
  double trend = v[1] - v[0];
  for (size_t i = 1; i < v.size(); ++i) {
    if (i > 1) trend = trend_factor * (level - previous) + (1 - trend_factor) * trend;
    previous = level;
    level = smoothing * v[i] + (1 - smoothing) * (level + trend);
  }
  result->v = level;
}

// --- resets, changes.

// One sample of either type.
struct AnySample {
  SampleTimes times;
  double v = 0;
  const Histogram* h = nullptr;
};

// Calls visit(before, now) for each pair of neighbours of a window's floats and histograms in the order of time,
// from the last sample at or before `anchor_ms` on.
template <typename Visit>
void ForEachPair(const SampleSpan& window, int64_t anchor_ms, Visit visit) {
  size_t i = 0, k = 0;
  AnySample before;
  bool any = false;
  while (i < window.t.size() || k < window.histograms.size()) {
    bool take_float = i < window.t.size() && (k == window.histograms.size() || window.t[i] < window.histograms[k].t);
    AnySample now;
    if (take_float) {
      now = {TimesOf(window, i), window.v[i], nullptr};
      ++i;
    } else {
      now = {TimesOf(window.histograms[k]), 0, window.histograms[k].h.get()};
      ++k;
    }
    if (any && now.times.t > anchor_ms) visit(before, now);
    before = now;
    any = true;
  }
}

bool IsReset(const AnySample& before, const AnySample& now) {
  if (StartedBetween(before.times, now.times)) return true;
  if ((before.h == nullptr) != (now.h == nullptr)) return true;
  return now.h != nullptr ? IsCounterReset(*now.h, *before.h) : now.v < before.v;
}

bool IsChange(const AnySample& before, const AnySample& now) {
  if ((before.h == nullptr) != (now.h == nullptr)) return true;
  if (now.h != nullptr) return !SameHistogram(*now.h, *before.h);
  return now.v != before.v && !(std::isnan(now.v) && std::isnan(before.v));
}

// How many pairs of neighbours satisfy the condition. An anchored range must have a sample of its own.
template <bool (*Condition)(const AnySample&, const AnySample&)>
void CountPairs(RangeCall& call, RangeResult* result) {
  const SampleSpan& window = call.window;
  bool inside = (!window.t.empty() && window.t.back() > call.start_ms) ||
                (!window.histograms.empty() && window.histograms.back().t > call.start_ms);
  if (!inside) return;
  double count = 0;
  ForEachPair(window, call.start_ms, [&](const auto& before, const auto& now) { count += Condition(before, now); });
  result->v = count;
}

FunctionDef OfWindow(std::string_view name, RangeFn compute, RangeFn extended = nullptr, bool smoothable = false) {
  return {.name = name,
          .args = {ValueType::kMatrix},
          .implementation = compute,
          .extended = extended,
          .smoothable = smoothable};
}

template <Kind kKind>
FunctionDef ExtrapolatedFunction(std::string_view name, RangeFn extended) {
  FunctionDef function = OfWindow(name, Extrapolated<kKind>, extended, true);
  function.columns = ExtrapolatedColumn<kKind>;
  return function;
}

}  // namespace

std::vector<FunctionDef> CounterFunctions() {
  constexpr ValueType kMatrix = ValueType::kMatrix;
  constexpr ValueType kScalar = ValueType::kScalar;
  std::vector<FunctionDef> table = {
      ExtrapolatedFunction<Kind::kRate>("rate", ExtendedRate),
      ExtrapolatedFunction<Kind::kIncrease>("increase", ExtendedIncrease),
      ExtrapolatedFunction<Kind::kDelta>("delta", ExtendedDelta),
      OfWindow("resets", CountPairs<IsReset>, CountPairs<IsReset>),
      OfWindow("changes", CountPairs<IsChange>, CountPairs<IsChange>),
      OfWindow("irate", Instant<true>),
      OfWindow("idelta", Instant<false>),
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
