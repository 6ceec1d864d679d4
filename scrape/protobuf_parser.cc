#include "scrape/protobuf_parser.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/document.h"
#include "base/metrics.h"
#include "scrape/float_text.h"

namespace tidewright::scrape {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string BoundText(double bound) { return CanonicalFloatLabel(base::FormatDouble(bound)); }

tsdb::CounterResetHint HintOf(tsdb::MetricType type) {
  return type == tsdb::MetricType::kGaugeHistogram ? tsdb::CounterResetHint::kGauge : tsdb::CounterResetHint::kUnknown;
}

// The bucket indexes that spans name, in order. False when they are not as many as there are counts, or do not fit
// into the index's type.
template <typename Count, typename Add>
bool ForEachBucket(const tsdb::BucketSpans& spans, const std::vector<Count>& counts, Add add) {
  size_t used = 0;
  int64_t index = 0;
  for (const tsdb::BucketSpan& span : spans) {
    index += span.offset;
    if (span.length > counts.size() - used) return false;
    if (std::abs(index) + int64_t{span.length} > std::numeric_limits<int32_t>::max()) return false;
    for (uint32_t i = 0; i < span.length; ++i) add(static_cast<int32_t>(index++), counts[used++]);
  }
  return used == counts.size();
}

bool IntegerBuckets(const tsdb::BucketSpans& spans, const std::vector<int64_t>& deltas, tsdb::BucketSpans* out_spans,
                    std::vector<int64_t>* out) {
  std::vector<IndexedBucket<int64_t>> buckets;
  int64_t count = 0;
  bool overflow = false;
  bool fits = ForEachBucket(spans, deltas, [&](int32_t index, int64_t delta) {
    overflow = __builtin_add_overflow(count, delta, &count) || overflow;
    buckets.push_back({index, count});
  });
  out_spans->clear();
  out->clear();
  if (!fits || overflow) return false;
  BuildBuckets(buckets, 0, out_spans, out);
  return true;
}

bool FloatBuckets(const tsdb::BucketSpans& spans, const std::vector<double>& counts, tsdb::BucketSpans* out_spans,
                  std::vector<double>* out) {
  std::vector<IndexedBucket<double>> buckets;
  bool fits = ForEachBucket(spans, counts, [&](int32_t index, double count) { buckets.push_back({index, count}); });
  out_spans->clear();
  out->clear();
  if (!fits) return false;
  BuildBuckets(buckets, 0, out_spans, out);
  return true;
}

}  // namespace

Entry ProtobufParser::Fail(base::Status status) {
  status_ = std::move(status);
  stage_ = Stage::kDone;
  return Entry::kError;
}

Entry ProtobufParser::Next() {
  at_histogram_ = false;
  for (;;) {
    if (std::optional<Entry> entry = Step()) return *entry;
  }
}

// One step; nothing when it brought no entry.
std::optional<Entry> ProtobufParser::Step() {
  switch (stage_) {
    case Stage::kFamily: return NextFamily();
    case Stage::kUnit:
      stage_ = Stage::kType;
      if (current_.unit.empty()) return std::nullopt;
      text_ = current_.unit;
      return Entry::kUnit;
    case Stage::kType:
      stage_ = Stage::kMetric;
      type_ = current_.type;
      return Entry::kType;
    case Stage::kMetric: return NextMetric();
    case Stage::kPoints: return NextPoint();
    case Stage::kNative: return NativeHistogram();
    case Stage::kDone: break;
  }
  return status_.ok() ? Entry::kEnd : Entry::kError;
}

// The next family that has metrics begins with its help.
std::optional<Entry> ProtobufParser::NextFamily() {
  do {
    std::string_view message;
    if (rest_.empty()) {
      stage_ = Stage::kDone;
      return Entry::kEnd;
    }
    if (!base::WireReader::TakeDelimited(&rest_, &message)) {
      return Fail(base::InvalidArgumentError("the protobuf body ends within a message"));
    }
    if (base::Status status = DecodeMetricFamily(message, &current_); !status.ok()) return Fail(status);
    metrics_ = base::WireReader(message);
  } while (!current_.has_metrics);
  family_ = current_.name;
  text_ = current_.help;
  stage_ = Stage::kUnit;
  return Entry::kHelp;
}

std::optional<Entry> ProtobufParser::NextMetric() {
  while (metrics_.Next()) {
    if (metrics_.field() != kMetricField) continue;
    base::Status status = DecodeMetric(metrics_.Bytes(), current_.type, &metric_);
    if (!status.ok()) return Fail(status.Annotate("metric family " + base::Quoted(current_.name)));
    StartMetric();
    return std::nullopt;
  }
  return NextFamily();
}

void ProtobufParser::StartMetric() {
  has_timestamp_ = metric_.timestamp_ms != 0;
  timestamp_ms_ = metric_.timestamp_ms;
  const bool native = IsHistogram() && options_.native_histograms && metric_.native.present();
  converting_ = IsHistogram() && !native && options_.convert_classic_histograms;
  native_ = native || converting_;
  classic_ = native ? options_.keep_classic_histograms && !metric_.points.empty()
                    : !converting_ || options_.keep_classic_histograms;
  point_ = 0;
  // Native histograms come before their classic series, converted ones after.
  stage_ = native ? Stage::kNative : classic_ ? Stage::kPoints : Stage::kNative;
}

bool ProtobufParser::IsHistogram() const {
  return current_.type == tsdb::MetricType::kHistogram || current_.type == tsdb::MetricType::kGaugeHistogram;
}

bool ProtobufParser::HasPoints() const { return IsHistogram() || current_.type == tsdb::MetricType::kSummary; }

// With the bucket for +Inf, which a histogram may leave out.
size_t ProtobufParser::PointCount() const {
  const bool infinite = !metric_.points.empty() && metric_.points.back().bound == kInfinity;
  return kFirstPoint + metric_.points.size() + (IsHistogram() && !infinite ? 1 : 0);
}

std::optional<Entry> ProtobufParser::NextPoint() {
  if (!HasPoints()) return SimplePoint();
  if (point_ == PointCount()) {
    stage_ = converting_ ? Stage::kNative : Stage::kMetric;
    return std::nullopt;
  }
  const size_t point = point_++;
  if (point == kCountPoint) {
    SetSeries("_count");
    value_ = metric_.count();
  } else if (point == kSumPoint) {
    SetSeries("_sum");
    value_ = metric_.sample_sum;
  } else {
    const size_t i = point - kFirstPoint;
    const bool added = i >= metric_.points.size();
    const double bound = added ? kInfinity : metric_.points[i].bound;
    value_ = added ? metric_.count() : metric_.points[i].value;
    if (IsHistogram()) {
      SetSeries("_bucket", "le", BoundText(bound));
    } else {
      SetSeries("", "quantile", BoundText(bound));
    }
  }
  return Entry::kSeries;
}

std::optional<Entry> ProtobufParser::SimplePoint() {
  if (point_++ > 0) {
    stage_ = Stage::kMetric;
    return std::nullopt;
  }
  SetSeries("");
  value_ = metric_.value;
  return Entry::kSeries;
}

std::optional<Entry> ProtobufParser::NativeHistogram() {
  stage_ = classic_ && !converting_ ? Stage::kPoints : Stage::kMetric;
  at_histogram_ = true;
  SetSeries("");
  if (converting_ && !ConvertClassic()) return std::nullopt;
  if (converting_) return Entry::kHistogram;
  if (ConvertNative()) return Entry::kHistogram;
  return Fail(
      base::InvalidArgumentError("histogram " + base::Quoted(current_.name) + ": its spans do not fit its buckets"));
}

bool ProtobufParser::ConvertClassic() {
  converter_.Reset();
  for (const MetricPoint& point : metric_.points) converter_.SetBucket(point.bound, point.value);
  converter_.SetCount(metric_.count());
  converter_.SetSum(metric_.sample_sum);
  converter_.SetHint(HintOf(current_.type));
  if (!converter_.Convert()) return false;
  histogram_ = converter_.histogram();
  float_histogram_ = converter_.float_histogram();
  return true;
}

bool ProtobufParser::ConvertNative() {
  const NativeBuckets& native = metric_.native;
  auto fill = [&](auto* histogram) {
    histogram->hint = HintOf(current_.type);
    histogram->schema = native.schema;
    histogram->zero_threshold = native.zero_threshold;
    histogram->sum = metric_.sample_sum;
  };
  if (metric_.sample_count_float > 0 || native.zero_count_float > 0) {
    fill(&fractions_);
    fractions_.count = metric_.sample_count_float;
    fractions_.zero_count = native.zero_count_float;
    float_histogram_ = &fractions_;
    histogram_ = nullptr;
    return FloatBuckets(native.positive_spans, native.positive_counts, &fractions_.positive_spans,
                        &fractions_.positive_buckets) &&
           FloatBuckets(native.negative_spans, native.negative_counts, &fractions_.negative_spans,
                        &fractions_.negative_buckets);
  }
  fill(&integer_);
  integer_.count = metric_.sample_count;
  integer_.zero_count = native.zero_count;
  histogram_ = &integer_;
  float_histogram_ = nullptr;
  return IntegerBuckets(native.positive_spans, native.positive_deltas, &integer_.positive_spans,
                        &integer_.positive_buckets) &&
         IntegerBuckets(native.negative_spans, native.negative_deltas, &integer_.negative_spans,
                        &integer_.negative_buckets);
}

void ProtobufParser::SetSeries(std::string_view suffix, std::string_view extra_name, std::string extra_value) {
  labels_.clear();
  labels_.push_back({std::string(tsdb::kMetricName), std::string(current_.name).append(suffix)});
  if (options_.type_and_unit_labels && current_.type != tsdb::MetricType::kUnknown) {
    labels_.push_back({"__type__", std::string(MetricTypeName(current_.type))});
  }
  if (options_.type_and_unit_labels && !current_.unit.empty()) {
    labels_.push_back({"__unit__", std::string(current_.unit)});
  }
  labels_.insert(labels_.end(), metric_.labels.begin(), metric_.labels.end());
  if (!extra_name.empty()) labels_.push_back({std::string(extra_name), std::move(extra_value)});
  std::sort(labels_.begin() + 1, labels_.end());
  text_buffer_ = labels_[0].value;
  for (size_t i = 1; i < labels_.size(); ++i) {
    text_buffer_.append("\xff").append(labels_[i].name).append("\xff").append(labels_[i].value);
  }
  series_ = text_buffer_;
}

void ProtobufParser::AppendLabels(std::vector<tsdb::Label>* labels) const {
  labels->insert(labels->end(), labels_.begin(), labels_.end());
}

// Native histograms have exemplars of their own, or else those of their classic buckets; without a time these cannot
// be ordered and are left out.
void ProtobufParser::AppendExemplars(std::vector<Exemplar>* exemplars) const {
  auto take = [exemplars](const std::vector<Exemplar>& from, bool timed) {
    for (const Exemplar& exemplar : from) {
      if (!timed || exemplar.has_timestamp) exemplars->push_back(exemplar);
    }
  };
  if (at_histogram_) {
    if (!metric_.exemplars.empty()) return take(metric_.exemplars, true);
    for (const MetricPoint& point : metric_.points) take(point.exemplars, true);
  } else if (!HasPoints()) {
    take(metric_.exemplars, false);
  } else if (IsHistogram() && point_ > kFirstPoint && point_ - kFirstPoint <= metric_.points.size()) {
    take(metric_.points[point_ - kFirstPoint - 1].exemplars, false);
  }
}

}  // namespace tidewright::scrape
