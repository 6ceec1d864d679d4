// Selectors of instant vectors: the newest sample within the lookback of each step.
#include <algorithm>

#include "promql/evaluator.h"
#include "promql/extended_range.h"
#include "promql/histogram.h"
#include "promql/samples.h"

namespace tidewright::promql {
namespace {

// Fills the columns of one series.
class Follower {
 public:
  Follower(const VectorSelector& selector, const Steps& steps, int64_t lookback_ms, Take take)
      : selector_(selector),
        take_(take),
        lookback_ms_(lookback_ms),
        finder_(TimesOf(selector.shift, steps, lookback_ms)) {}

  int64_t first_needed() const { return SaturatingAdd(finder_.times().After(0), 1); }
  void Fill(const SampleSpan& samples, uint64_t timeline, EvalSeries& series);
  // The value on the line between the samples around each step, or that of the sample before.
  void FillSmoothed(Evaluator& evaluator, const SampleSpan& samples, EvalSeries& series);

 private:
  static WindowTimes TimesOf(const TimeShift& shift, const Steps& steps, int64_t lookback_ms) {
    bool pinned = shift.at != TimeShift::At::kNone;
    int64_t first = SaturatingSub(pinned ? shift.at_ms : steps.start, shift.offset_ms);
    return {first, pinned ? 0 : steps.step, steps.count, lookback_ms, 0};
  }
  double Taken(const SampleSpan& samples, size_t i) const;
  void AddHistograms(const SampleSpan& samples, const Windows& floats, EvalSeries& series) const;

  const VectorSelector& selector_;
  const Take take_;
  const int64_t lookback_ms_;
  WindowFinder finder_;
};

// When the last float of the last window was taken.
int64_t NewestOf(const SampleSpan& samples, const Windows& windows) {
  bool any = windows.end.back() > windows.begin.back();
  return any ? samples.t[windows.end.back() - 1] : kNoSample;
}

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

// A staleness marker is the mark of absence.
double Follower::Taken(const SampleSpan& samples, size_t i) const {
  if (take_ == Take::kValue || IsAbsent(samples.v[i])) return samples.v[i];
  if (take_ == Take::kTime) return Seconds(samples.t[i]);
  return samples.start.empty() ? 0 : Seconds(samples.start[i]);
}

void Follower::Fill(const SampleSpan& samples, uint64_t timeline, EvalSeries& series) {
  const Windows& windows = finder_.Find(samples.t, timeline);
  size_t count = windows.end.size();
  series.values.assign(count, Absent());
  for (size_t i = 0; i < count; ++i) {
    if (windows.end[i] > windows.begin[i]) series.values[i] = Taken(samples, windows.end[i] - 1);
  }
  series.sampled_ms = NewestOf(samples, windows);
  if (!samples.histograms.empty()) AddHistograms(samples, windows, series);
}

// Histograms win where they are newer than the floats (among which staleness markers are).
void Follower::AddHistograms(const SampleSpan& samples, const Windows& floats, EvalSeries& series) const {
  Windows windows;
  const auto& histograms = samples.histograms;
  FindWindows(
      finder_.times(), histograms.size(), [&](size_t i) { return histograms[i].t; }, &windows);
  for (size_t i = 0; i < windows.end.size(); ++i) {
    if (windows.end[i] == windows.begin[i]) continue;
    const HistogramSample& newest = histograms[windows.end[i] - 1];
    if (floats.end[i] > floats.begin[i] && samples.t[floats.end[i] - 1] > newest.t) continue;
    if (i + 1 == windows.end.size()) series.sampled_ms = newest.t;
    if (take_ == Take::kValue) {
      series.SetHistogram(i, newest.h);
    } else {
      series.values[i] = Seconds(take_ == Take::kTime ? newest.t : newest.start);
    }
  }
}

void Follower::FillSmoothed(Evaluator& evaluator, const SampleSpan& samples, EvalSeries& series) {
  const WindowTimes& times = finder_.times();
  series.values.assign(times.count, Absent());
  Windows floats, histograms;
  WindowTimes around = times;
  around.behind = lookback_ms_;
  FindWindows(
      around, samples.t.size(), [&](size_t i) { return samples.t[i]; }, &floats);
  FindWindows(
      around, samples.histograms.size(), [&](size_t i) { return samples.histograms[i].t; }, &histograms);
  for (size_t i = 0; i < times.count; ++i) {
    SampleSpan window;
    window.t = samples.t.subspan(floats.begin[i], floats.end[i] - floats.begin[i]);
    window.v = samples.v.subspan(floats.begin[i], floats.end[i] - floats.begin[i]);
    window.histograms = samples.histograms.subspan(histograms.begin[i], histograms.end[i] - histograms.begin[i]);
    RangeResult value = SmoothedAt(evaluator, selector_, series.labels, window, times.At(i), lookback_ms_);
    series.values[i] = value.v;
    if (value.h != nullptr) series.SetHistogram(i, std::move(value.h));
  }
  series.sampled_ms = NewestOf(samples, floats);
}

}  // namespace

base::Status Evaluator::StreamSelector(const VectorSelector& selector, const QueryState::SeriesList& list, Take take,
                                       const SeriesSink& sink) {
  if (selector.extension == Extension::kAnchored) {
    return base::InvalidArgumentError("the modifier anchored needs a range selector such as x[5m] anchored");
  }
  bool smoothed = selector.extension == Extension::kSmoothed && take == Take::kValue;
  Follower follower(selector, steps_, state_.options().lookback_ms, take);
  SampleReader reader({.keep_stale = true, .with_start = take == Take::kStart, .counts_only = selector.counts_only});
  EvalSeries series;
  for (size_t i = 0; i < list.size(); ++i) {
    TW_ASSIGN_OR_RETURN(const SampleSpan* read, reader.Read(list, i, follower.first_needed()));
    const SampleSpan& samples = *read;
    state_.CountRead(samples.size());
    TW_RETURN_IF_ERROR(state_.CheckDeadline());
    series.labels = list.labels(i);
    series.drop_name = false;
    series.histograms.clear();
    if (smoothed) {
      follower.FillSmoothed(*this, samples, series);
    } else {
      follower.Fill(samples, reader.timeline(), series);
    }
    if (!series.IsEmpty()) TW_RETURN_IF_ERROR(sink(series));
  }
  return base::Status::Ok();
}

base::Result<EvalMatrix> Evaluator::Follow(const VectorSelector& selector, const QueryState::SeriesList& list,
                                           Take take) {
  EvalMatrix matrix;
  SeriesSink keep = [&](EvalSeries& series) {
    TW_RETURN_IF_ERROR(Hold(series));
    matrix.push_back(std::move(series));
    return base::Status::Ok();
  };
  TW_RETURN_IF_ERROR(StreamSelector(selector, list, take, keep));
  return matrix;
}

}  // namespace tidewright::promql
