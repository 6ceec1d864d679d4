#include "promql/histogram_rate.h"

#include <algorithm>

#include "promql/counter_reset.h"

namespace tidewright::promql {

namespace {

bool IsGauge(const HistogramSample& sample) { return sample.h->hint == CounterResetHint::kGauge; }

std::string QuotedName(const RangeCall& call) { return "\"" + std::string(call.labels.Get(tsdb::kMetricName)) + "\""; }

void WarnNotCounter(RangeCall& call) {
  call.Warn("this native histogram metric is not a counter: " + QuotedName(call), false);
}
void WarnNotGauge(RangeCall& call) {
  call.Warn("this native histogram metric is not a gauge: " + QuotedName(call), false);
}

// Counters are no gauges anywhere, gauges are such at both ends.
void CheckHints(RangeCall& call, std::span<const HistogramSample> samples, bool counter) {
  if (counter) {
    if (std::any_of(samples.begin(), samples.end(), IsGauge)) WarnNotCounter(call);
  } else if (!IsGauge(samples.front()) || !IsGauge(samples.back())) {
    WarnNotGauge(call);
  }
}

bool IsReset(const HistogramSample& previous, const HistogramSample& current) {
  return StartedBetween(TimesOf(previous), TimesOf(current)) || IsCounterReset(*current.h, *previous.h);
}

bool SameKind(std::span<const HistogramSample> samples) {
  return std::all_of(samples.begin(), samples.end(), [&](const HistogramSample& sample) {
    return HasCustomBuckets(*sample.h) == HasCustomBuckets(*samples.back().h);
  });
}

// Nothing in the buckets of another histogram, whose bounds it keeps, so that they count where bounds are reconciled.
HistogramPtr NothingLike(const Histogram& other) {
  auto nothing = std::make_shared<Histogram>();
  nothing->schema = other.schema;
  nothing->custom_values = other.custom_values;
  return nothing;
}

HistogramPtr AsGauge(const HistogramSum& sum) {
  Histogram total = sum.Total();
  total.hint = CounterResetHint::kGauge;
  return std::make_shared<const Histogram>(std::move(total));
}

}  // namespace

bool AddHistogram(RangeCall& call, HistogramSum& sum, const Histogram& other, double factor) {
  switch (sum.Add(other, factor)) {
    case HistogramSum::Outcome::kIncompatible: return false;
    case HistogramSum::Outcome::kReconciled:
      call.Info(
          std::string("mismatched custom buckets were reconciled during ") + (factor < 0 ? "subtraction" : "addition"),
          false);
      break;
    case HistogramSum::Outcome::kAdded: break;
  }
  return true;
}

HistogramPtr HistogramIncrease(RangeCall& call, std::span<const HistogramSample> samples, bool counter) {
  CheckHints(call, samples, counter);
  // When the second sample follows a reset, the first one does not matter.
  bool reset_at_once = counter && samples.size() > 1 && IsReset(samples[0], samples[1]);
  auto used = reset_at_once ? samples.subspan(1) : samples;
  bool fits = counter ? SameKind(used) : HasCustomBuckets(*used.front().h) == HasCustomBuckets(*used.back().h);
  if (!fits) {
    call.Warn(kMixedSchemas);
    return nullptr;
  }
  HistogramSum sum(*samples.back().h);
  for (const auto& sample : used) {
    if (counter) sum.ReduceTo(sample.h->schema);
  }
  HistogramSample first = samples.front();
  if (reset_at_once) first.h = NothingLike(*samples[1].h);
  AddHistogram(call, sum, *first.h, -1);
  for (size_t i = 1; counter && i < samples.size(); ++i) {
    const HistogramSample& previous = i == 1 ? first : samples[i - 1];
    if (IsReset(previous, samples[i])) AddHistogram(call, sum, *previous.h, 1);
  }
  return AsGauge(sum);
}

HistogramPtr LastHistogramDifference(RangeCall& call, const HistogramSample& previous, const HistogramSample& last,
                                     bool counter) {
  if (counter && (IsGauge(previous) || IsGauge(last))) WarnNotCounter(call);
  if (!counter && !(IsGauge(previous) && IsGauge(last))) WarnNotGauge(call);
  HistogramSum sum(*last.h);
  if (!counter || !IsReset(previous, last)) {
    if (!AddHistogram(call, sum, *previous.h, -1)) {
      call.Warn(kMixedSchemas);
      return nullptr;
    }
  }
  return AsGauge(sum);
}

HistogramPtr InterpolateHistograms(const HistogramSample& left, const HistogramSample& right, int64_t t, bool counter,
                                   const std::function<void(const std::string&)>& inform) {
  if (HasCustomBuckets(*left.h) != HasCustomBuckets(*right.h)) return nullptr;
  double fraction = static_cast<double>(t - left.t) / static_cast<double>(right.t - left.t);
  if (counter && IsCounterReset(*right.h, *left.h)) return Scale(*right.h, fraction);
  // Prometheus adds a part of the difference to the left one, and remarks on both steps.
  HistogramSum difference(*right.h);
  bool differ = difference.Add(*left.h, -1) == HistogramSum::Outcome::kReconciled;
  if (differ) inform("mismatched custom buckets were reconciled during subtraction");
  if (differ && difference.Total().custom_values != left.h->custom_values) {
    inform("mismatched custom buckets were reconciled during addition");
  }
  HistogramSum sum(*Scale(difference.Total(), fraction));
  sum.Add(*left.h);
  return std::make_shared<const Histogram>(sum.Total());
}

HistogramPtr ExtendedHistogramIncrease(RangeCall& call, size_t first, size_t last, bool counter) {
  auto samples = call.window.histograms.subspan(first, last - first + 1);
  CheckHints(call, samples, counter);
  if (!SameKind(samples)) {
    call.Warn(kMixedSchemas);
    return nullptr;
  }
  bool smoothed = call.extension == Extension::kSmoothed;
  bool left_between = smoothed && samples.size() > 1 && samples.front().t < call.start_ms;
  bool right_between = smoothed && samples.size() > 1 && samples.back().t > call.end_ms;
  HistogramSample left = samples.front();
  HistogramSample right = samples.back();
  auto inform = [&](const std::string& message) { call.Info(message, false); };
  if (left_between) left.h = InterpolateHistograms(samples[0], samples[1], call.start_ms, counter, inform);
  if (right_between) {
    right.h = InterpolateHistograms(samples[samples.size() - 2], samples.back(), call.end_ms, counter, inform);
  }
  HistogramSum sum(*right.h);
  AddHistogram(call, sum, *left.h, -1);
  // The way from the left edge over the samples in between to the right edge. A reset on the way to the first sample is
  // part of an interpolated left edge.
  const HistogramSample* previous = left_between ? nullptr : &left;
  for (size_t i = 1; counter && i < samples.size(); ++i) {
    const HistogramSample& current = i + 1 < samples.size() ? samples[i] : right;
    if (previous != nullptr && IsReset(*previous, current)) AddHistogram(call, sum, *previous->h, 1);
    previous = &current;
  }
  return AsGauge(sum);
}

}  // namespace tidewright::promql
