#include "scrape/classic_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "scrape/float_text.h"

namespace tidewright::scrape {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int32_t kMaxEmptyBuckets = 2;
constexpr double kMaxWhole = 9.2e18;  // Counts from here on are not exact integers anyway.

// Calls add(gap, bucket) for every bucket that is not empty; `gap` is its distance to the one before, -1 for the first.
template <typename Count, typename Add>
void ForEachFilled(const std::vector<IndexedBucket<Count>>& buckets, Add add) {
  const IndexedBucket<Count>* previous = nullptr;
  for (const IndexedBucket<Count>& bucket : buckets) {
    if (bucket.count == 0) continue;
    add(previous == nullptr ? int64_t{-1} : int64_t{bucket.index} - previous->index - 1, bucket);
    previous = &bucket;
  }
}

// Lengthens the last span over `gap` empty buckets, or begins a new one after them. Returns how many empty buckets it
// took in.
int32_t ExtendSpans(int64_t gap, int32_t index, int32_t max_gap, tsdb::BucketSpans* spans) {
  if (gap < 0 || gap > max_gap) {
    spans->push_back({gap < 0 ? index : static_cast<int32_t>(gap), 1});
    return 0;
  }
  spans->back().length += static_cast<uint32_t>(gap) + 1;
  return static_cast<int32_t>(gap);
}

struct Suffix {
  std::string_view text;
  enum class Kind { kBucket, kSum, kCount } kind;
};
constexpr Suffix kSuffixes[] = {
    {"_bucket", Suffix::Kind::kBucket}, {"_sum", Suffix::Kind::kSum}, {"_count", Suffix::Kind::kCount}};

// The suffix of a classic histogram's series, or nullptr.
const Suffix* SuffixOf(std::string_view name) {
  for (const Suffix& suffix : kSuffixes) {
    if (name.size() >= suffix.text.size() && name.substr(name.size() - suffix.text.size()) == suffix.text) {
      return &suffix;
    }
  }
  return nullptr;
}

std::string_view BaseName(std::string_view name) {
  const Suffix* suffix = SuffixOf(name);
  return suffix == nullptr ? name : name.substr(0, name.size() - suffix->text.size());
}

tsdb::Labels GroupOf(const tsdb::Labels& series) {
  tsdb::LabelsBuilder group(series);
  group.Remove("le").Set(tsdb::kMetricName, BaseName(series.MetricName()));
  return group.Build();
}

std::string TextOf(const tsdb::Labels& labels) {
  std::string text(labels.MetricName());
  char separator = '{';
  for (const tsdb::Label& label : labels) {
    if (label.name == tsdb::kMetricName) continue;
    text += std::exchange(separator, ',') + label.name + "=\"";
    for (char c : label.value) {
      if (c == '"' || c == '\\') text += '\\';
      text += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    text += '"';
  }
  if (separator == ',') text += '}';
  return text;
}

}  // namespace

void BuildBuckets(const std::vector<IndexedBucket<int64_t>>& buckets, int32_t max_gap, tsdb::BucketSpans* spans,
                  std::vector<int64_t>* deltas) {
  int64_t previous = 0;
  ForEachFilled(buckets, [&](int64_t gap, const IndexedBucket<int64_t>& bucket) {
    int32_t empty = ExtendSpans(gap, bucket.index, max_gap, spans);
    if (empty > 0) {
      deltas->push_back(-previous);
      deltas->insert(deltas->end(), static_cast<size_t>(empty - 1), 0);
      previous = 0;
    }
    deltas->push_back(bucket.count - previous);
    previous = bucket.count;
  });
}

void BuildBuckets(const std::vector<IndexedBucket<double>>& buckets, int32_t max_gap, tsdb::BucketSpans* spans,
                  std::vector<double>* counts) {
  ForEachFilled(buckets, [&](int64_t gap, const IndexedBucket<double>& bucket) {
    int32_t empty = ExtendSpans(gap, bucket.index, max_gap, spans);
    counts->insert(counts->end(), static_cast<size_t>(empty), 0.0);
    counts->push_back(bucket.count);
  });
}

void ClassicHistogram::SetBucket(double le, double count) {
  if (!(count >= 0) || std::isnan(le) || buckets_.size() >= kMaxBuckets) valid_ = false;
  if (!valid_) return;
  auto at = std::lower_bound(buckets_.begin(), buckets_.end(), le,
                             [](const Bucket& bucket, double bound) { return bucket.le < bound; });
  if (at != buckets_.end() && at->le == le) return;
  valid_ = (at == buckets_.begin() || (at - 1)->count <= count) && (at == buckets_.end() || count <= at->count);
  if (valid_) buckets_.insert(at, {le, count});
}

void ClassicHistogram::SetCount(double count) {
  if (!(count >= 0)) valid_ = false;
  count_ = count;
  has_count_ = true;
}

void ClassicHistogram::Complete() {
  if (!has_count_ && !buckets_.empty()) count_ = buckets_.back().count;
  if (buckets_.empty() || buckets_.back().le != kInfinity) SetBucket(kInfinity, count_);
}

std::vector<double> ClassicHistogram::Bounds() const {
  std::vector<double> bounds;
  for (size_t i = 0; i + 1 < buckets_.size(); ++i) bounds.push_back(buckets_[i].le);
  return bounds;
}

bool ClassicHistogram::Convert() {
  if (valid_) Complete();
  if (!valid_ || buckets_.back().count != count_) return false;
  auto whole = [](double count) { return count == std::floor(count) && count < kMaxWhole; };
  bool all_whole = whole(count_);
  for (const Bucket& bucket : buckets_) all_whole = all_whole && whole(bucket.count);
  is_float_ = !all_whole;
  return all_whole ? ConvertWhole() : ConvertFractions();
}

bool ClassicHistogram::ConvertWhole() {
  histogram_.schema = tsdb::kCustomBucketsSchema;
  histogram_.count = static_cast<uint64_t>(count_);
  histogram_.sum = sum_;
  histogram_.custom_values = Bounds();
  std::vector<IndexedBucket<int64_t>> own;
  int64_t before = 0;
  for (const Bucket& bucket : buckets_) {
    auto upto = static_cast<int64_t>(bucket.count);
    own.push_back({static_cast<int32_t>(own.size()), upto - before});
    before = upto;
  }
  BuildBuckets(own, kMaxEmptyBuckets, &histogram_.positive_spans, &histogram_.positive_buckets);
  return tsdb::Validate(histogram_).ok();
}

bool ClassicHistogram::ConvertFractions() {
  float_histogram_.schema = tsdb::kCustomBucketsSchema;
  float_histogram_.count = count_;
  float_histogram_.sum = sum_;
  float_histogram_.custom_values = Bounds();
  std::vector<IndexedBucket<double>> own;
  double before = 0;
  for (const Bucket& bucket : buckets_) {
    own.push_back({static_cast<int32_t>(own.size()), bucket.count - before});
    before = bucket.count;
  }
  BuildBuckets(own, kMaxEmptyBuckets, &float_histogram_.positive_spans, &float_histogram_.positive_buckets);
  return tsdb::Validate(float_histogram_).ok();
}

// Shows what the inner parser is at.
Entry ClassicHistogramParser::Adopt(Entry entry) {
  series_ = inner_->series();
  value_ = inner_->value();
  has_timestamp_ = inner_->has_timestamp();
  timestamp_ms_ = inner_->timestamp_ms();
  family_ = inner_->family();
  text_ = inner_->text();
  type_ = inner_->type();
  if (entry == Entry::kError) status_ = inner_->status();
  return entry;
}

std::string_view ClassicHistogramParser::GuessSeries() const {
  return PassesOn() ? inner_->GuessSeries() : std::string_view();
}

bool ClassicHistogramParser::NextIfSeries(std::string_view text) {
  if (!PassesOn() || !inner_->NextIfSeries(text)) return false;
  emitting_ = false;
  Adopt(Entry::kSeries);
  return true;
}

Entry ClassicHistogramParser::Next() {
  emitting_ = false;
  for (;;) {
    Entry entry = std::exchange(has_pending_, false) ? pending_ : inner_->Next();
    if (collecting_ && EndsGroup(entry) && Emit()) {
      pending_ = entry;
      has_pending_ = true;
      return Entry::kHistogram;
    }
    if (entry == Entry::kType) {
      family_type_ = inner_->type();
      family_name_ = inner_->family();
    }
    if (entry == Entry::kSeries && Collect() && !keep_classic_) continue;
    return Adopt(entry);
  }
}

// Whether the inner parser is at something that does not belong to the group being collected. Errors end the scrape.
bool ClassicHistogramParser::EndsGroup(Entry entry) {
  if (entry == Entry::kError) return false;
  if (entry != Entry::kSeries || family_type_ != tsdb::MetricType::kHistogram) return true;
  std::vector<tsdb::Label> labels;
  inner_->AppendLabels(&labels);
  return !(GroupOf(tsdb::Labels::FromPairs(std::move(labels))) == group_);
}

// Takes the series at hand into the group if it belongs to a classic histogram.
bool ClassicHistogramParser::Collect() {
  if (family_type_ != tsdb::MetricType::kHistogram) return false;
  std::vector<tsdb::Label> pairs;
  inner_->AppendLabels(&pairs);
  tsdb::Labels labels = tsdb::Labels::FromPairs(std::move(pairs));
  const Suffix* suffix = SuffixOf(labels.MetricName());
  if (suffix == nullptr || BaseName(labels.MetricName()) != family_name_) return false;
  double le = 0;
  if (suffix->kind == Suffix::Kind::kBucket && (!ParseSampleValue(labels.Get("le"), &le) || std::isnan(le))) {
    return false;
  }
  if (!std::exchange(collecting_, true)) {
    group_ = GroupOf(labels);
    group_start_ms_ = inner_->StartTimestampMs();
  }
  group_has_timestamp_ = inner_->has_timestamp();
  group_timestamp_ms_ = inner_->timestamp_ms();
  inner_->AppendExemplars(&exemplars_);
  if (suffix->kind == Suffix::Kind::kBucket) classic_.SetBucket(le, inner_->value());
  if (suffix->kind == Suffix::Kind::kSum) classic_.SetSum(inner_->value());
  if (suffix->kind == Suffix::Kind::kCount) classic_.SetCount(inner_->value());
  return true;
}

// Ends the group. Returns whether it makes a histogram, which then is the entry at hand.
bool ClassicHistogramParser::Emit() {
  collecting_ = false;
  converted_ = std::move(classic_);
  classic_.Reset();
  converted_exemplars_ = std::move(exemplars_);
  exemplars_.clear();
  converted_start_ms_ = group_start_ms_;
  if (!converted_.Convert()) return false;
  converted_labels_ = std::move(group_);
  converted_text_ = TextOf(converted_labels_);
  emitting_ = true;
  series_ = converted_text_;
  histogram_ = converted_.histogram();
  float_histogram_ = converted_.float_histogram();
  has_timestamp_ = group_has_timestamp_;
  timestamp_ms_ = group_timestamp_ms_;
  return true;
}

void ClassicHistogramParser::AppendLabels(std::vector<tsdb::Label>* labels) const {
  if (!emitting_) return inner_->AppendLabels(labels);
  labels->insert(labels->end(), converted_labels_.begin(), converted_labels_.end());
}

SeriesLine ClassicHistogramParser::series_line() const { return emitting_ ? SeriesLine() : inner_->series_line(); }

void ClassicHistogramParser::AppendLabelsOf(const SeriesLine& line, std::vector<tsdb::Label>* labels) const {
  inner_->AppendLabelsOf(line, labels);
}

int64_t ClassicHistogramParser::StartTimestampMs() {
  return emitting_ ? converted_start_ms_ : inner_->StartTimestampMs();
}

void ClassicHistogramParser::AppendExemplars(std::vector<Exemplar>* exemplars) const {
  if (!emitting_ && !collecting_) return inner_->AppendExemplars(exemplars);
  if (!emitting_) return;  // They are the histogram's.
  exemplars->insert(exemplars->end(), converted_exemplars_.begin(), converted_exemplars_.end());
}

}  // namespace tidewright::scrape
