#include "promql/samples.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "promql/histogram.h"
#include "promql/wide_columns.h"

namespace tidewright::promql {
namespace {

constexpr size_t kMostWindows = 1 << 20;  // Kept by one query node.
constexpr size_t kMostTimes = 256;

}  // namespace

int64_t WindowTimes::At(size_t i) const { return first + static_cast<int64_t>(i) * stride; }
int64_t WindowTimes::After(size_t i) const { return SaturatingSub(At(i), before); }
int64_t WindowTimes::Until(size_t i) const { return SaturatingAdd(At(i), behind); }

const Windows& WindowFinder::Find(std::span<const int64_t> t, uint64_t timeline) {
  if (timeline != 0 && timeline == last_timeline_) return *last_;
  last_timeline_ = timeline;
  if (timeline == 0) return FindByTimes(t);
  Windows* windows = &own_;
  auto found = by_timeline_.find(timeline);
  if (found != by_timeline_.end()) return *(last_ = &found->second);
  if (by_timeline_.size() * times_.count < kMostWindows) windows = &by_timeline_[timeline];
  FindWindows(
      times_, t.size(), [&](size_t i) { return t[i]; }, windows);
  return *(last_ = windows);
}

// Comparing times is much cheaper than finding windows in them.
const Windows& WindowFinder::FindByTimes(std::span<const int64_t> t) {
  Windows* windows = &own_;
  if (!t.empty()) {
    uint64_t hash = static_cast<uint64_t>(t.front()) ^ std::rotl(static_cast<uint64_t>(t[t.size() / 2]), 21) ^
                    std::rotl(static_cast<uint64_t>(t.back()), 42) ^ (uint64_t{t.size()} << 48);
    auto found = by_times_.find(hash);
    if (found != by_times_.end()) {
      if (std::equal(t.begin(), t.end(), found->second.t.begin(), found->second.t.end())) return found->second.windows;
    } else if (by_times_.size() < kMostTimes && by_times_.size() * times_.count < kMostWindows) {
      Known& known = by_times_[hash];
      known.t.assign(t.begin(), t.end());
      windows = &known.windows;
    }
  }
  FindWindows(
      times_, t.size(), [&](size_t i) { return t[i]; }, windows);
  return *windows;
}

base::Result<const SampleSpan*> SampleReader::Read(const QueryState::SeriesList& list, size_t i, int64_t from) {
  tsdb::SampleColumns columns;
  span_ = {};
  bool only_floats = false;
  if (!options_.with_start) {
    TW_ASSIGN_OR_RETURN(only_floats, list.querier->Columns(*list.set, i, &buffer_, &columns));
  }
  if (!only_floats) {
    TW_RETURN_IF_ERROR(ReadByIterator(list, i, from));
    return &span_;
  }
  span_.t = columns.t;
  span_.v = columns.v;
  timeline_ = columns.timeline;
  if (!options_.keep_stale) DropStale();
  return &span_;
}

base::Status SampleReader::ReadByIterator(const QueryState::SeriesList& list, size_t i, int64_t from) {
  t_.clear();
  v_.clear();
  start_.clear();
  histograms_.clear();
  last_.reset();
  timeline_ = 0;
  TW_ASSIGN_OR_RETURN(auto iterator, list.querier->Iterator(*list.set, i));
  for (bool more = iterator->Seek(from); more; more = iterator->Next()) {
    Point point = iterator->At();
    bool stale = tsdb::IsStaleNan(point.v);
    if (stale && !options_.keep_stale) continue;
    const Histogram* histogram = iterator->AtHistogram();
    int64_t start = options_.with_start ? iterator->AtStart() : 0;
    if (histogram != nullptr && !stale) {
      histograms_.push_back({point.t, Copy(*histogram), start});
      continue;
    }
    t_.push_back(point.t);
    v_.push_back(point.v);
    start_.push_back(start);
  }
  span_ = {t_, v_, {}, histograms_};
  if (options_.with_start) span_.start = start_;
  return base::Status::Ok();
}

HistogramPtr SampleReader::Copy(const Histogram& histogram) {
  if (!options_.counts_only) return std::make_shared<Histogram>(histogram);
  auto copy = std::make_shared<Histogram>();
  copy->hint = histogram.hint;
  copy->schema = histogram.schema;
  copy->count = histogram.count;
  copy->sum = histogram.sum;
  if (last_.has_value() && histogram.hint == CounterResetHint::kUnknown) {
    bool reset = IsCounterReset(histogram, *last_);
    copy->hint = reset ? CounterResetHint::kCounterReset : CounterResetHint::kNotCounterReset;
  }
  last_ = histogram;
  last_->hint = copy->hint;
  return copy;
}

namespace {

// Whether any of kAtOnce values is not a number, as markers are.
constexpr size_t kAtOnce = 16;
bool HasNan(const double* v) {
  using Lanes = double __attribute__((vector_size(16)));
  using Mask = int64_t __attribute__((vector_size(16)));
  Mask found{};
  for (size_t k = 0; k < kAtOnce; k += 2) {
    Lanes values;
    std::memcpy(&values, v + k, sizeof(values));
    found |= values != values;
  }
  return (found[0] | found[1]) != 0;
}

// Most series have none, so that values are looked at several at once.
bool HasStale(std::span<const double> v) {
  while (v.size() >= kAtOnce && !HasNan(v.data())) v = v.subspan(kAtOnce);
  return std::any_of(v.begin(), v.end(), IsAbsent);  // The same bits, inline.
}

}  // namespace

// Copies the columns without the markers, if there are any.
void SampleReader::DropStale() {
  const WideColumns* wide = FindWideColumns();
  span_.rising = wide != nullptr && wide->rises(span_.v.data(), span_.v.size());
  if (span_.rising) return;
  if (!HasStale(span_.v)) return;
  t_.clear();
  v_.clear();
  for (size_t i = 0; i < span_.v.size(); ++i) {
    if (IsAbsent(span_.v[i])) continue;
    t_.push_back(span_.t[i]);
    v_.push_back(span_.v[i]);
  }
  span_.t = t_;
  span_.v = v_;
  timeline_ = 0;
}

}  // namespace tidewright::promql
