// The samples of stored series, read whole, and the windows of a query's steps in them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "promql/query_state.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

struct HistogramSample {
  int64_t t = 0;
  HistogramPtr h;
  int64_t start = 0;  // When the counter began; 0: unknown.
};

// Samples of one series: floats as parallel columns, and histograms, each in time order.
struct SampleSpan {
  std::span<const int64_t> t;
  std::span<const double> v;
  std::span<const int64_t> start;  // When the counters of the floats began, 0: unknown. Empty: all unknown.
  std::span<const HistogramSample> histograms;
  bool rising = false;  // The floats are known to have no NaN among them, and never to fall.

  bool empty() const { return t.empty() && histograms.empty(); }
  size_t size() const { return t.size() + histograms.size(); }
};

// In seconds: the interval that a window's samples span, and how far beyond its ends the series is taken to reach.
struct Reach {
  double sampled = 0;
  double to_start = 0;
  double to_end = 0;
};

// Of each window, by columns, and by what an increase is multiplied to fill the window, per second for rates, unless a
// counter's zero is nearer.
struct Reaches {
  std::vector<double> sampled, to_start, to_end, factor;

  void Resize(size_t count) {
    for (auto* column : {&sampled, &to_start, &to_end, &factor}) column->resize(count);
  }
  Reach at(size_t i) const { return {sampled[i], to_start[i], to_end[i]}; }
};

// The window of step i is [begin[i], end[i]) of a column.
struct Windows {
  std::vector<uint32_t> begin, end;
  uint32_t widest = 0;      // Samples in the largest one.
  mutable Reaches reaches;  // What rate() and its kin work out from the times, once; else empty.
};

// Which times the windows cover: of step i those in (At(i) - before, At(i) + behind], where At(i) = first + i * stride.
struct WindowTimes {
  int64_t first = 0;
  int64_t stride = 0;  // 0: the same window at every step.
  size_t count = 0;
  int64_t before = 0;
  int64_t behind = 0;
  int64_t At(size_t i) const;
  int64_t After(size_t i) const;  // The exclusive start of window i.
  int64_t Until(size_t i) const;  // Its inclusive end.
};

// `time_of(k)` is the ascending time of element k of `size`.
template <typename TimeOf>
void FindWindows(const WindowTimes& times, size_t size, TimeOf time_of, Windows* windows) {
  windows->reaches.Resize(0);
  windows->widest = 0;
  windows->begin.resize(times.count);
  windows->end.resize(times.count);
  size_t begin = 0, end = 0;
  for (size_t i = 0; i < times.count; ++i) {
    int64_t until = times.Until(i);
    int64_t after = times.After(i);
    while (end < size && time_of(end) <= until) ++end;
    while (begin < end && time_of(begin) <= after) ++begin;
    windows->begin[i] = static_cast<uint32_t>(begin);
    windows->end[i] = static_cast<uint32_t>(end);
    windows->widest = std::max(windows->widest, static_cast<uint32_t>(end - begin));
  }
}

// Windows in columns of floats. Those of series with the same times are found once.
class WindowFinder {
 public:
  explicit WindowFinder(const WindowTimes& times) : times_(times) {}
  const WindowTimes& times() const { return times_; }
  // Valid until the next call.
  const Windows& Find(std::span<const int64_t> t, uint64_t timeline);

 private:
  struct Known {
    std::vector<int64_t> t;
    Windows windows;
  };
  const Windows& FindByTimes(std::span<const int64_t> t);

  WindowTimes times_;
  Windows own_;
  const Windows* last_ = nullptr;  // Found last, for series of last_timeline_ (0: unknown).
  uint64_t last_timeline_ = 0;
  std::unordered_map<uint64_t, Windows> by_timeline_;
  std::unordered_map<uint64_t, Known> by_times_;  // Of series whose timeline is not known, by a hash of their times.
};

// Reads one series after the other.
class SampleReader {
 public:
  struct Options {
    bool keep_stale = false;  // Markers stay in the column of floats, also those of histograms; else there are none.
    bool with_start = false;  // Start timestamps are read.
    // Histograms come without buckets; whether they are resets is told by hints, from the sample before.
    bool counts_only = false;
  };
  explicit SampleReader(const Options& options) : options_(options) {}

  // The samples from time `from` on; valid until the next call.
  base::Result<const SampleSpan*> Read(const QueryState::SeriesList& list, size_t i, int64_t from);
  // Of the floats read last; 0: its own.
  uint64_t timeline() const { return timeline_; }

 private:
  base::Status ReadByIterator(const QueryState::SeriesList& list, size_t i, int64_t from);
  void DropStale();
  HistogramPtr Copy(const Histogram& histogram);

  const Options options_;
  tsdb::ColumnBuffer buffer_;
  std::vector<int64_t> t_, start_;
  std::vector<double> v_;
  std::vector<HistogramSample> histograms_;
  std::optional<Histogram> last_;  // With counts_only: whole.
  SampleSpan span_;
  uint64_t timeline_ = 0;
};

}  // namespace tidewright::promql
