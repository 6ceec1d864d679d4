#include "promql/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "promql/number_text.h"

namespace tidewright::promql {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The upper bound of the positive bucket `index`. The last one before overflow ends at the largest double.
double ExponentialBound(int64_t index, int32_t schema) {
  double exponent = std::ldexp(static_cast<double>(index), -schema);
  return exponent == 1024 ? std::numeric_limits<double>::max() : std::exp2(exponent);
}

double CustomBound(int64_t index, const std::vector<double>& bounds) {
  if (index < 0) return -kInfinity;
  return index < static_cast<int64_t>(bounds.size()) ? bounds[static_cast<size_t>(index)] : kInfinity;
}

// Calls visit(index, count) for every bucket of the spans.
template <typename Visit>
void ForEachCell(const tsdb::BucketSpans& spans, const std::vector<double>& counts, Visit visit) {
  int64_t index = 0;
  size_t next = 0;
  for (const auto& span : spans) {
    index += span.offset;
    for (uint32_t i = 0; i < span.length && next < counts.size(); ++i) {
      visit(static_cast<int32_t>(index++), counts[next++]);
    }
  }
}

// The bounds that both lists have.
std::vector<double> CommonBounds(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return common;
}

}  // namespace

std::vector<HistogramBucket> WholeBucketsOf(const Histogram& h, bool negative_zero) {
  std::vector<HistogramBucket> buckets;
  buckets.reserve(h.positive_buckets.size() + h.negative_buckets.size() + 1);
  if (HasCustomBuckets(h)) {
    ForEachCell(h.positive_spans, h.positive_buckets, [&](int32_t i, double count) {
      double lower = CustomBound(int64_t{i} - 1, h.custom_values);
      buckets.push_back({lower, CustomBound(i, h.custom_values), count, lower == -kInfinity, true});
    });
    return buckets;
  }
  ForEachCell(h.negative_spans, h.negative_buckets, [&](int32_t i, double count) {
    buckets.push_back(
        {-ExponentialBound(i, h.schema), -ExponentialBound(int64_t{i} - 1, h.schema), count, true, false});
  });
  std::reverse(buckets.begin(), buckets.end());
  bool zero = negative_zero ? h.zero_count != 0 : h.zero_count > 0;
  if (zero) buckets.push_back({-h.zero_threshold, h.zero_threshold, h.zero_count, true, true});
  ForEachCell(h.positive_spans, h.positive_buckets, [&](int32_t i, double count) {
    buckets.push_back({ExponentialBound(int64_t{i} - 1, h.schema), ExponentialBound(i, h.schema), count, false, true});
  });
  return buckets;
}

std::vector<HistogramBucket> BucketsOf(const Histogram& h) {
  std::vector<HistogramBucket> buckets = WholeBucketsOf(h);
  for (HistogramBucket& bucket : buckets) {
    if (bucket.upper < 0) bucket.upper = std::min(bucket.upper, -h.zero_threshold);
    if (bucket.lower > 0) bucket.lower = std::max(bucket.lower, h.zero_threshold);
  }
  return buckets;
}

HistogramSum::HistogramSum(const Histogram& first)
    : hint_(first.hint),
      schema_(first.schema),
      zero_threshold_(first.zero_threshold),
      positive_(CellsOf(first.positive_spans, first.positive_buckets)),
      negative_(CellsOf(first.negative_spans, first.negative_buckets)),
      bounds_(first.custom_values),
      reset_seen_(first.hint == CounterResetHint::kCounterReset),
      no_reset_seen_(first.hint == CounterResetHint::kNotCounterReset) {
  zero_.Set(first.zero_count, 0);
  count_.Set(first.count, 0);
  sum_.Set(first.sum, 0);
}

HistogramSum::Cells HistogramSum::CellsOf(const tsdb::BucketSpans& spans, const std::vector<double>& counts) {
  Cells cells;
  cells.reserve(counts.size());
  ForEachCell(spans, counts, [&](int32_t index, double count) {
    cells.push_back({index, {}});
    cells.back().count.Set(count, 0);
  });
  return cells;
}

// Halves the resolution `levels` times.
void HistogramSum::Reduce(Cells& cells, int levels) {
  size_t kept = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    Cell cell = cells[i];
    cell.index = ((cell.index - 1) >> levels) + 1;
    if (kept > 0 && cells[kept - 1].index == cell.index) {
      cells[kept - 1].count.Add(cell.count.Value());
    } else {
      cells[kept++] = cell;
    }
  }
  cells.resize(kept);
}

void HistogramSum::ReduceTo(int32_t schema) {
  if (custom() || schema >= schema_) return;
  Reduce(positive_, schema_ - schema);
  Reduce(negative_, schema_ - schema);
  schema_ = schema;
}

// Makes the zero bucket reach to `threshold`, or on to the end of the populated bucket in which that lies.
void HistogramSum::WidenZero(double threshold) {
  auto lower = [&](const Cell& cell) { return ExponentialBound(int64_t{cell.index} - 1, schema_); };
  for (bool grown = true; grown;) {
    grown = false;
    for (const Cells* cells : {&positive_, &negative_}) {
      for (const Cell& cell : *cells) {
        double upper = ExponentialBound(cell.index, schema_);
        if (lower(cell) >= threshold || upper <= threshold || cell.count.Value() == 0) continue;
        threshold = upper;
        grown = true;
      }
    }
  }
  for (Cells* cells : {&positive_, &negative_}) {
    std::erase_if(*cells, [&](const Cell& cell) {
      bool inside = lower(cell) < threshold;
      if (inside) zero_.Add(cell.count.Value());
      return inside;
    });
  }
  zero_threshold_ = threshold;
}

// Merges custom buckets into those that end at `bounds`, a subset of the own ones.
void HistogramSum::CutTo(const std::vector<double>& bounds) {
  Cells cut;
  for (const Cell& cell : positive_) {
    double upper = CustomBound(cell.index, bounds_);
    auto index = static_cast<int32_t>(std::lower_bound(bounds.begin(), bounds.end(), upper) - bounds.begin());
    if (cut.empty() || cut.back().index != index) {
      cut.push_back({index, cell.count});
    } else {
      cut.back().count.Add(cell.count.Value());
    }
  }
  positive_ = std::move(cut);
  bounds_ = bounds;
}

// Brings both to one layout, which must be possible. True when custom bounds had to be cut.
bool HistogramSum::Reconcile(HistogramSum& other) {
  if (custom()) {
    if (bounds_ == other.bounds_) return false;
    std::vector<double> common = CommonBounds(bounds_, other.bounds_);
    CutTo(common);
    other.CutTo(common);
    return true;
  }
  while (zero_threshold_ < other.zero_threshold_ || other.zero_threshold_ < zero_threshold_) {
    HistogramSum& narrower = zero_threshold_ < other.zero_threshold_ ? *this : other;
    narrower.WidenZero(std::max(zero_threshold_, other.zero_threshold_));
  }
  ReduceTo(other.schema_);
  other.ReduceTo(schema_);
  return false;
}

void HistogramSum::AddCells(Cells& into, const Cells& other, double factor) {
  Cells merged;
  merged.reserve(into.size() + other.size());
  size_t i = 0;
  for (const Cell& cell : other) {
    while (i < into.size() && into[i].index < cell.index) merged.push_back(into[i++]);
    bool known = i < into.size() && into[i].index == cell.index;
    merged.push_back(known ? into[i++] : Cell{cell.index, {}});
    merged.back().count.Add(factor * cell.count.Value());
  }
  merged.insert(merged.end(), into.begin() + static_cast<std::ptrdiff_t>(i), into.end());
  into = std::move(merged);
}

// A gauge makes all a gauge; otherwise what is not the same everywhere is unknown.
void HistogramSum::AddHint(CounterResetHint hint) {
  reset_seen_ = reset_seen_ || hint == CounterResetHint::kCounterReset;
  no_reset_seen_ = no_reset_seen_ || hint == CounterResetHint::kNotCounterReset;
  conflicting_resets_ = reset_seen_ && no_reset_seen_;
  if (hint == hint_ || hint_ == CounterResetHint::kGauge) return;
  hint_ = hint == CounterResetHint::kGauge ? hint : CounterResetHint::kUnknown;
}

HistogramSum::Outcome HistogramSum::Add(const Histogram& histogram, double factor) {
  if (custom() != HasCustomBuckets(histogram)) return Outcome::kIncompatible;
  HistogramSum other(histogram);
  AddHint(histogram.hint);
  bool reconciled = Reconcile(other);
  zero_.Add(factor * other.zero_.Value());
  count_.Add(factor * histogram.count);
  sum_.Add(factor * histogram.sum);
  AddCells(positive_, other.positive_, factor);
  AddCells(negative_, other.negative_, factor);
  return reconciled ? Outcome::kReconciled : Outcome::kAdded;
}

void HistogramSum::Scale(double factor) {
  auto scale = [&](KahanSum& sum) { sum.Set(sum.sum() * factor, sum.compensation() * factor); };
  for (KahanSum* sum : {&zero_, &count_, &sum_}) scale(*sum);
  for (Cells* cells : {&positive_, &negative_}) {
    for (Cell& cell : *cells) scale(cell.count);
  }
}

double HistogramSum::Largest() const {
  double largest = std::max({std::fabs(zero_.sum()), std::fabs(count_.sum()), std::fabs(sum_.sum())});
  for (const Cells* cells : {&positive_, &negative_}) {
    for (const Cell& cell : *cells) largest = std::max(largest, std::fabs(cell.count.sum()));
  }
  return largest;
}

HistogramSum::Outcome HistogramMean::Add(const Histogram& other) {
  // Far enough from overflow that no sum of two reaches it. A power of two loses no bits.
  constexpr double kSafe = std::numeric_limits<double>::max() / 4;
  constexpr double kDown = 0x1p-64;
  if (scale_ == 1 && std::max(sum_.Largest(), HistogramSum(other).Largest()) > kSafe) {
    scale_ = kDown;
    sum_.Scale(scale_);
  }
  count_ += 1;
  return sum_.Add(other, scale_);
}

Histogram HistogramMean::Total() const { return *Divide(sum_.Total(), count_ * scale_); }

void HistogramSum::StoreCells(const Cells& cells, tsdb::BucketSpans* spans, std::vector<double>* counts) {
  int32_t next = 0;  // The index after the last span.
  for (const Cell& cell : cells) {
    double count = cell.count.Value();
    if (count == 0) continue;
    if (spans->empty() || cell.index != next) spans->push_back({cell.index - next, 0});
    ++spans->back().length;
    counts->push_back(count);
    next = cell.index + 1;
  }
}

Histogram HistogramSum::Total() const {
  Histogram h;
  h.hint = hint_;
  h.schema = schema_;
  h.zero_threshold = zero_threshold_;
  h.zero_count = zero_.Value();
  h.count = count_.Value();
  h.sum = sum_.Value();
  StoreCells(positive_, &h.positive_spans, &h.positive_buckets);
  StoreCells(negative_, &h.negative_spans, &h.negative_buckets);
  h.custom_values = bounds_;
  return h;
}

// True when a populated bucket of `previous` has more than the same bucket of `current`.
bool HistogramSum::AnyBelow(const Cells& current, const Cells& previous) {
  size_t i = 0;
  for (const Cell& cell : previous) {
    while (i < current.size() && current[i].index < cell.index) ++i;
    bool known = i < current.size() && current[i].index == cell.index;
    if ((known ? current[i].count.Value() : 0) < cell.count.Value()) return true;
  }
  return false;
}

bool HistogramSum::IsBelow(const Histogram& histogram) const {
  if (count_.Value() < histogram.count) return true;
  if (custom() != HasCustomBuckets(histogram)) return true;
  HistogramSum previous(histogram);
  if (custom()) {
    HistogramSum current = *this;
    current.Reconcile(previous);
    return AnyBelow(current.positive_, previous.positive_);
  }
  // What only a restart can bring: a finer resolution, a narrower zero bucket.
  if (schema_ > previous.schema_ || zero_threshold_ < previous.zero_threshold_) return true;
  if (zero_threshold_ > previous.zero_threshold_) previous.WidenZero(zero_threshold_);
  if (previous.zero_threshold_ != zero_threshold_ || zero_.Value() < previous.zero_.Value()) return true;
  previous.ReduceTo(schema_);
  return AnyBelow(positive_, previous.positive_) || AnyBelow(negative_, previous.negative_);
}

bool IsCounterReset(const Histogram& current, const Histogram& previous) {
  if (current.hint == CounterResetHint::kCounterReset) return true;
  if (current.hint == CounterResetHint::kNotCounterReset) return false;
  return HistogramSum(current).IsBelow(previous);
}

HistogramPtr Scale(const Histogram& h, double factor) {
  auto scaled = std::make_shared<Histogram>(h);
  if (factor < 0) scaled->hint = CounterResetHint::kGauge;
  scaled->zero_count *= factor;
  scaled->count *= factor;
  scaled->sum *= factor;
  for (double& count : scaled->positive_buckets) count *= factor;
  for (double& count : scaled->negative_buckets) count *= factor;
  return scaled;
}

HistogramPtr Divide(const Histogram& h, double divisor) {
  auto divided = std::make_shared<Histogram>(h);
  if (divisor < 0) divided->hint = CounterResetHint::kGauge;
  divided->zero_count /= divisor;
  divided->count /= divisor;
  divided->sum /= divisor;
  if (divisor == 0) {
    divided->positive_buckets.clear();
    divided->negative_buckets.clear();
    divided->positive_spans.clear();
    divided->negative_spans.clear();
  }
  for (double& count : divided->positive_buckets) count /= divisor;
  for (double& count : divided->negative_buckets) count /= divisor;
  return divided;
}

HistogramPtr Compacted(const Histogram& h) { return std::make_shared<Histogram>(HistogramSum(h).Total()); }

HistogramPtr WithHint(const Histogram& h, CounterResetHint hint) {
  auto copy = std::make_shared<Histogram>(h);
  copy->hint = hint;
  return copy;
}

namespace {

bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) { return SameBits(x, y); });
}

std::vector<int32_t> IndexesOf(const tsdb::BucketSpans& spans, const std::vector<double>& counts) {
  std::vector<int32_t> indexes;
  ForEachCell(spans, counts, [&](int32_t index, double) { indexes.push_back(index); });
  return indexes;
}

}  // namespace

bool SameHistogram(const Histogram& a, const Histogram& b) {
  return a.schema == b.schema && SameBits(a.zero_threshold, b.zero_threshold) && SameBits(a.zero_count, b.zero_count) &&
         SameBits(a.count, b.count) && SameBits(a.sum, b.sum) && SameBits(a.custom_values, b.custom_values) &&
         SameBits(a.positive_buckets, b.positive_buckets) && SameBits(a.negative_buckets, b.negative_buckets) &&
         IndexesOf(a.positive_spans, a.positive_buckets) == IndexesOf(b.positive_spans, b.positive_buckets) &&
         IndexesOf(a.negative_spans, a.negative_buckets) == IndexesOf(b.negative_spans, b.negative_buckets);
}

std::string ToText(const Histogram& h) {
  std::string text = "{count:" + GeneralText(h.count) + ", sum:" + GeneralText(h.sum);
  for (const HistogramBucket& bucket : WholeBucketsOf(h, /*negative_zero=*/true)) {
    if (bucket.count == 0) continue;
    text += bucket.includes_lower ? ", [" : ", (";
    text += GeneralText(bucket.lower) + "," + GeneralText(bucket.upper);
    text += bucket.includes_upper ? "]:" : "):";
    text += GeneralText(bucket.count);
  }
  return text + "}";
}

size_t SizeInSamples(const Histogram& h) {
  size_t words = h.positive_spans.size() + h.negative_spans.size() + h.positive_buckets.size() +
                 h.negative_buckets.size() + h.custom_values.size();
  return (176 + 8 * words) / 16;
}

}  // namespace tidewright::promql
