#include "scrape/metric_family.h"

#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "base/wire_reader.h"
#include "scrape/relabel.h"

namespace tidewright::scrape {

using base::WireReader;

namespace {

constexpr size_t kMaxMetricBytes = 4u << 20;

base::Status Broken(std::string_view what) {
  return base::InvalidArgumentError("the protobuf message " + std::string(what) + " is damaged");
}

bool TypeOf(uint64_t number, tsdb::MetricType* type) {
  static constexpr tsdb::MetricType kTypes[] = {tsdb::MetricType::kCounter,   tsdb::MetricType::kGauge,
                                                tsdb::MetricType::kSummary,   tsdb::MetricType::kUnknown,
                                                tsdb::MetricType::kHistogram, tsdb::MetricType::kGaugeHistogram};
  if (number >= std::size(kTypes)) return false;
  *type = kTypes[number];
  return true;
}

// "seconds" is the unit of x_seconds, and of the counter x_seconds_total.
bool UnitFits(const MetricFamily& family) {
  std::string_view name = family.name, unit = family.unit;
  constexpr std::string_view kTotal = "_total";
  if (family.type == tsdb::MetricType::kCounter && name.size() > kTotal.size() &&
      name.substr(name.size() - kTotal.size()) == kTotal) {
    name.remove_suffix(kTotal.size());
  }
  return name.size() > unit.size() && name.substr(name.size() - unit.size()) == unit &&
         name[name.size() - unit.size() - 1] == '_';
}

base::Status CheckFamily(const MetricFamily& family) {
  if (!IsValidMetricName(family.name, NameScheme::kUtf8)) {
    return base::InvalidArgumentError("metric family " + base::Quoted(family.name) + " has no valid name");
  }
  if (!base::IsValidUtf8(family.help)) {
    return base::InvalidArgumentError("metric family " + base::Quoted(family.name) + ": the help is not valid UTF-8");
  }
  if (!family.unit.empty() && !UnitFits(family)) {
    return base::InvalidArgumentError("metric family " + base::Quoted(family.name) + ": unit " +
                                      base::Quoted(family.unit) + " is not the end of its name");
  }
  return base::Status::Ok();
}

double Normal(double value) { return std::isnan(value) ? tsdb::NormalNan() : value; }

// google.protobuf.Timestamp: seconds = 1, nanos = 2.
bool DecodeTimestamp(std::string_view bytes, int64_t* ms) {
  WireReader reader(bytes);
  int64_t seconds = 0;
  int32_t nanos = 0;
  while (reader.Next()) {
    if (reader.field() == 1) seconds = static_cast<int64_t>(reader.Varint());
    if (reader.field() == 2) nanos = static_cast<int32_t>(reader.Varint());
  }
  return reader.ok() && !__builtin_mul_overflow(seconds, int64_t{1000}, ms) &&
         !__builtin_add_overflow(*ms, int64_t{nanos / 1'000'000}, ms);
}

// LabelPair: name = 1, value = 2.
bool DecodeLabel(std::string_view bytes, std::vector<tsdb::Label>* labels) {
  WireReader reader(bytes);
  tsdb::Label label;
  while (reader.Next()) {
    if (reader.field() == 1) label.name = reader.Bytes();
    if (reader.field() == 2) label.value = reader.Bytes();
  }
  labels->push_back(std::move(label));
  return reader.ok();
}

// Exemplar: label = 1, value = 2, timestamp = 3.
bool DecodeExemplar(std::string_view bytes, std::vector<Exemplar>* exemplars) {
  WireReader reader(bytes);
  Exemplar exemplar;
  bool ok = true;
  while (ok && reader.Next()) {
    if (reader.field() == 1) ok = DecodeLabel(reader.Bytes(), &exemplar.labels);
    if (reader.field() == 2) exemplar.value = Normal(reader.Double());
    if (reader.field() == 3) {
      exemplar.has_timestamp = true;
      ok = DecodeTimestamp(reader.Bytes(), &exemplar.timestamp_ms);
    }
  }
  exemplars->push_back(std::move(exemplar));
  return ok && reader.ok();
}

// Counter: value = 1, exemplar = 2, created_timestamp = 3. Gauge and Untyped: value = 1.
bool DecodeSimple(std::string_view bytes, Metric* metric) {
  WireReader reader(bytes);
  bool ok = true;
  while (ok && reader.Next()) {
    if (reader.field() == 1) metric->value = Normal(reader.Double());
    if (reader.field() == 2) ok = DecodeExemplar(reader.Bytes(), &metric->exemplars);
    if (reader.field() == 3) ok = DecodeTimestamp(reader.Bytes(), &metric->start_ms);
  }
  return ok && reader.ok();
}

// Quantile: quantile = 1, value = 2.
bool DecodeQuantile(std::string_view bytes, std::vector<MetricPoint>* points) {
  WireReader reader(bytes);
  MetricPoint point;
  while (reader.Next()) {
    if (reader.field() == 1) point.bound = reader.Double();
    if (reader.field() == 2) point.value = Normal(reader.Double());
  }
  points->push_back(std::move(point));
  return reader.ok();
}

// Summary: sample_count = 1, sample_sum = 2, quantile = 3, created_timestamp = 4.
bool DecodeSummary(std::string_view bytes, Metric* metric) {
  WireReader reader(bytes);
  bool ok = true;
  while (ok && reader.Next()) {
    if (reader.field() == 1) metric->sample_count = reader.Varint();
    if (reader.field() == 2) metric->sample_sum = Normal(reader.Double());
    if (reader.field() == 3) ok = DecodeQuantile(reader.Bytes(), &metric->points);
    if (reader.field() == 4) ok = DecodeTimestamp(reader.Bytes(), &metric->start_ms);
  }
  return ok && reader.ok();
}

// Bucket: cumulative_count = 1, upper_bound = 2, exemplar = 3, cumulative_count_float = 4.
bool DecodeBucket(std::string_view bytes, std::vector<MetricPoint>* points) {
  WireReader reader(bytes);
  MetricPoint point;
  double count_float = 0;
  bool ok = true;
  while (ok && reader.Next()) {
    if (reader.field() == 1) point.value = static_cast<double>(reader.Varint());
    if (reader.field() == 2) point.bound = reader.Double();
    if (reader.field() == 3) ok = DecodeExemplar(reader.Bytes(), &point.exemplars);
    if (reader.field() == 4) count_float = reader.Double();
  }
  if (point.value == 0) point.value = Normal(count_float);
  points->push_back(std::move(point));
  return ok && reader.ok();
}

// BucketSpan: offset = 1, length = 2.
bool DecodeSpan(std::string_view bytes, tsdb::BucketSpans* spans) {
  WireReader reader(bytes);
  tsdb::BucketSpan span;
  while (reader.Next()) {
    if (reader.field() == 1) span.offset = static_cast<int32_t>(reader.ZigZag());
    if (reader.field() == 2) span.length = static_cast<uint32_t>(reader.Varint());
  }
  spans->push_back(span);
  return reader.ok();
}

// The members of Histogram that make it a native one.
bool DecodeNativeField(WireReader& reader, NativeBuckets* native) {
  auto append = [](auto* list) { return [list](auto number) { list->push_back(number); }; };
  switch (reader.field()) {
    case 5: native->schema = static_cast<int32_t>(reader.ZigZag()); return true;
    case 6: native->zero_threshold = reader.Double(); return true;
    case 7: native->zero_count = reader.Varint(); return true;
    case 8: native->zero_count_float = reader.Double(); return true;
    case 9: return DecodeSpan(reader.Bytes(), &native->negative_spans);
    case 10: reader.ZigZags(append(&native->negative_deltas)); return true;
    case 11: reader.Doubles(append(&native->negative_counts)); return true;
    case 12: return DecodeSpan(reader.Bytes(), &native->positive_spans);
    case 13: reader.ZigZags(append(&native->positive_deltas)); return true;
    case 14: reader.Doubles(append(&native->positive_counts)); return true;
    default: return true;
  }
}

// Histogram: sample_count = 1, sample_sum = 2, bucket = 3, sample_count_float = 4, created_timestamp = 15,
// exemplars = 16.
bool DecodeHistogram(std::string_view bytes, Metric* metric) {
  WireReader reader(bytes);
  bool ok = true;
  while (ok && reader.Next()) {
    switch (reader.field()) {
      case 1: metric->sample_count = reader.Varint(); break;
      case 2: metric->sample_sum = Normal(reader.Double()); break;
      case 3: ok = DecodeBucket(reader.Bytes(), &metric->points); break;
      case 4: metric->sample_count_float = reader.Double(); break;
      case 15: ok = DecodeTimestamp(reader.Bytes(), &metric->start_ms); break;
      case 16: ok = DecodeExemplar(reader.Bytes(), &metric->exemplars); break;
      default: ok = DecodeNativeField(reader, &metric->native); break;
    }
  }
  return ok && reader.ok();
}

// Metric's member for a type: gauge = 2, counter = 3, summary = 4, untyped = 5, histogram = 7.
uint32_t FieldOf(tsdb::MetricType type) {
  switch (type) {
    case tsdb::MetricType::kGauge: return 2;
    case tsdb::MetricType::kCounter: return 3;
    case tsdb::MetricType::kSummary: return 4;
    case tsdb::MetricType::kHistogram:
    case tsdb::MetricType::kGaugeHistogram: return 7;
    default: return 5;
  }
}

bool DecodeContent(std::string_view bytes, uint32_t field, Metric* metric) {
  if (field == 4) return DecodeSummary(bytes, metric);
  return field == 7 ? DecodeHistogram(bytes, metric) : DecodeSimple(bytes, metric);
}

base::Status CheckLabels(const Metric& metric) {
  for (const tsdb::Label& label : metric.labels) {
    if (!IsValidLabelName(label.name, NameScheme::kUtf8)) {
      return base::InvalidArgumentError("label name " + base::Quoted(label.name) + " is not valid");
    }
    if (!base::IsValidUtf8(label.value)) {
      return base::InvalidArgumentError("the value of label " + base::Quoted(label.name) + " is not valid UTF-8");
    }
  }
  return base::Status::Ok();
}

}  // namespace

// MetricFamily: name = 1, help = 2, type = 3, metric = 4, unit = 5.
base::Status DecodeMetricFamily(std::string_view bytes, MetricFamily* family) {
  *family = MetricFamily();
  WireReader reader(bytes);
  uint64_t type = 0;
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: family->name = reader.Bytes(); break;
      case 2: family->help = reader.Bytes(); break;
      case 3: type = reader.Varint(); break;
      case kMetricField: family->has_metrics = true; break;
      case 5: family->unit = reader.Bytes(); break;
      default: break;
    }
  }
  if (!reader.ok()) return Broken("MetricFamily " + base::Quoted(family->name));
  if (!TypeOf(type, &family->type)) {
    return base::InvalidArgumentError("metric family " + base::Quoted(family->name) + ": type " + std::to_string(type) +
                                      " is not known");
  }
  return CheckFamily(*family);
}

// Metric: label = 1, timestamp_ms = 6; see FieldOf() for the rest.
base::Status DecodeMetric(std::string_view bytes, tsdb::MetricType type, Metric* metric) {
  *metric = Metric();
  if (bytes.size() > kMaxMetricBytes) {
    return base::InvalidArgumentError("a protobuf message Metric has " + std::to_string(bytes.size()) +
                                      " bytes; at most " + std::to_string(kMaxMetricBytes) + " are read");
  }
  const uint32_t content = FieldOf(type);
  WireReader reader(bytes);
  bool ok = true;
  while (ok && reader.Next()) {
    if (reader.field() == 1) ok = DecodeLabel(reader.Bytes(), &metric->labels);
    if (reader.field() == 6) metric->timestamp_ms = static_cast<int64_t>(reader.Varint());
    if (reader.field() == content) ok = DecodeContent(reader.Bytes(), content, metric);
  }
  if (!ok || !reader.ok()) return Broken("Metric");
  return CheckLabels(*metric);
}

}  // namespace tidewright::scrape
