#include "remote/write_request.h"

#include <algorithm>

#include "base/document.h"
#include "base/strings.h"
#include "base/wire_reader.h"
#include "scrape/histogram_limits.h"

namespace tidewright::remote {

namespace {

using base::WireReader;

// Fields of WriteRequest, TimeSeries, Label, Sample, Exemplar, Histogram, BucketSpan and MetricMetadata.
constexpr uint32_t kTimeSeries = 1, kRequestMetadata = 3;
constexpr uint32_t kLabels = 1, kSamples = 2, kExemplars = 3, kHistograms = 4;
constexpr uint32_t kName = 1, kValue = 2;
constexpr uint32_t kSampleValue = 1, kSampleTime = 2;
constexpr uint32_t kExemplarLabels = 1, kExemplarValue = 2, kExemplarTime = 3;
constexpr uint32_t kMetadataType = 1, kMetadataFamily = 2, kMetadataHelp = 4, kMetadataUnit = 5;

constexpr char kLabelTag = kLabels << 3 | 2;  // Of a length-delimited field.
// Schemas that the format knows; what is finer than the store's finest one is made coarser.
constexpr int32_t kFinestKnownSchema = 52;

bool ReadSample(std::string_view bytes, tsdb::Sample* sample) {
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kSampleValue) sample->v = reader.Double();
    if (reader.field() == kSampleTime) sample->t = static_cast<int64_t>(reader.Varint());
  }
  return reader.ok();
}

bool ReadLabel(std::string_view bytes, tsdb::Label* label) {
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kName) label->name = reader.Bytes();
    if (reader.field() == kValue) label->value = reader.Bytes();
  }
  return reader.ok();
}

void AppendLabel(std::string_view label, std::string* out) {
  out->push_back(kLabelTag);
  size_t length = label.size();
  for (; length >= 0x80; length >>= 7) out->push_back(static_cast<char>(length | 0x80));
  out->push_back(static_cast<char>(length));
  out->append(label);
}

bool ReadSpan(std::string_view bytes, tsdb::BucketSpans* spans) {
  tsdb::BucketSpan span;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) span.offset = static_cast<int32_t>(reader.ZigZag());
    if (reader.field() == 2) span.length = static_cast<uint32_t>(reader.Varint());
  }
  spans->push_back(span);
  return reader.ok();
}

tsdb::CounterResetHint HintOf(uint64_t number) {
  return number <= static_cast<uint64_t>(tsdb::CounterResetHint::kGauge) ? static_cast<tsdb::CounterResetHint>(number)
                                                                         : tsdb::CounterResetHint::kUnknown;
}

// The members that both kinds have, and the buckets of both: which kind it is becomes clear from the counts.
bool ReadHistogram(std::string_view bytes, WrittenHistogram* out) {
  tsdb::Histogram& integer = out->integer;
  tsdb::FloatHistogram& fractions = out->fractions;
  WireReader reader(bytes);
  bool whole = true;
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: integer.count = reader.Varint(); break;
      case 2:
        fractions.count = reader.Double();
        out->is_float = true;
        break;
      case 3: integer.sum = reader.Double(); break;
      case 4: integer.schema = static_cast<int32_t>(reader.ZigZag()); break;
      case 5: integer.zero_threshold = reader.Double(); break;
      case 6: integer.zero_count = reader.Varint(); break;
      case 7: fractions.zero_count = reader.Double(); break;
      case 8: whole = ReadSpan(reader.Bytes(), &integer.negative_spans) && whole; break;
      case 9: reader.ZigZags([&](int64_t delta) { integer.negative_buckets.push_back(delta); }); break;
      case 10: reader.Doubles([&](double count) { fractions.negative_buckets.push_back(count); }); break;
      case 11: whole = ReadSpan(reader.Bytes(), &integer.positive_spans) && whole; break;
      case 12: reader.ZigZags([&](int64_t delta) { integer.positive_buckets.push_back(delta); }); break;
      case 13: reader.Doubles([&](double count) { fractions.positive_buckets.push_back(count); }); break;
      case 14: integer.hint = HintOf(reader.Varint()); break;
      case 15: out->t = static_cast<int64_t>(reader.Varint()); break;
      case 16: reader.Doubles([&](double bound) { integer.custom_values.push_back(bound); }); break;
      default: break;
    }
  }
  return reader.ok() && whole;
}

// Moves what was read for both kinds to the one that the histogram is.
void ChooseKind(WrittenHistogram* out) {
  if (!out->is_float) return;
  tsdb::Histogram& from = out->integer;
  tsdb::FloatHistogram& to = out->fractions;
  to.hint = from.hint;
  to.schema = from.schema;
  to.zero_threshold = from.zero_threshold;
  to.sum = from.sum;
  to.positive_spans = std::move(from.positive_spans);
  to.negative_spans = std::move(from.negative_spans);
  to.custom_values = std::move(from.custom_values);
}

// Spans and buckets mean the same in every exponential schema, so they are checked as if the schema were one that the
// store has, before they are brought to it.
template <typename AnyHistogram>
base::Status BringWithinStore(AnyHistogram* histogram) {
  const int32_t schema = histogram->schema;
  const bool finer = schema > tsdb::kMaxExponentialSchema && schema <= kFinestKnownSchema;
  if (finer) histogram->schema = tsdb::kMaxExponentialSchema;
  TW_RETURN_IF_ERROR(Validate(*histogram));
  if (!finer || IsStale(*histogram)) return base::Status::Ok();
  histogram->schema = schema;
  return scrape::LimitResolution(0, tsdb::kMaxExponentialSchema, histogram);
}

}  // namespace

bool WriteRequestReader::Next() {
  WireReader reader(rest_);
  while (ok() && reader.Next()) {
    if (reader.field() != kTimeSeries && reader.field() != kRequestMetadata) continue;
    if (!CountPart()) return false;
    if (reader.field() == kRequestMetadata) {
      metadata_.push_back(reader.Bytes());
      continue;
    }
    rest_ = reader.rest();
    if (!ReadSeries(reader.Bytes()) && ok()) error_ = "a time series is not a TimeSeries message";
    return ok();
  }
  rest_ = {};
  if (ok() && !reader.ok()) error_ = "the request is not a WriteRequest message";
  return false;
}

bool WriteRequestReader::CountPart() {
  if (++parts_ <= max_parts_) return true;
  error_ = "the request has more than " + std::to_string(max_parts_) +
           " series, samples, histograms, exemplars and families";
  return false;
}

bool WriteRequestReader::ReadSeries(std::string_view message) {
  samples_.clear();
  histograms_.clear();
  exemplars_.clear();
  if (!TakeLabels(&message)) return false;
  WireReader reader(message);
  while (reader.Next()) {
    if (!ReadField(reader.field(), reader.Bytes())) return false;
  }
  return reader.ok();
}

// Takes the labels at the front of a series without looking into them.
bool WriteRequestReader::TakeLabels(std::string_view* message) {
  const char* const begin = message->data();
  std::string_view rest = *message;
  while (rest.size() >= 2 && rest[0] == kLabelTag) {
    const auto length = static_cast<unsigned char>(rest[1]);
    if (length < 0x80) {  // By far the most are that short.
      if (rest.size() - 2 < length) return false;
      rest.remove_prefix(2 + length);
      continue;
    }
    std::string_view label;
    rest.remove_prefix(1);
    if (!WireReader::TakeDelimited(&rest, &label)) return false;
  }
  label_bytes_ = std::string_view(begin, static_cast<size_t>(rest.data() - begin));
  *message = rest;
  return true;
}

bool WriteRequestReader::ReadField(uint32_t field, std::string_view value) {
  if (field == kSamples || field == kHistograms || field == kExemplars) {
    if (!CountPart()) return false;
    if (field == kSamples) return ReadSample(value, &samples_.emplace_back());
    (field == kHistograms ? histograms_ : exemplars_).push_back(value);
  }
  if (field != kLabels) return true;
  // A label that stands apart from the others.
  if (!gathered_labels()) gathered_labels_.assign(label_bytes_);
  AppendLabel(value, &gathered_labels_);
  label_bytes_ = gathered_labels_;
  return true;
}

base::Result<tsdb::Labels> DecodeLabels(std::string_view label_bytes) {
  std::vector<tsdb::Label> labels;
  WireReader reader(label_bytes);
  while (reader.Next()) {
    tsdb::Label& label = labels.emplace_back();
    if (!ReadLabel(reader.Bytes(), &label)) return base::InvalidArgumentError("a label is not a Label message");
    if (label.name.empty()) return base::InvalidArgumentError("a label has no name");
    if (!base::IsValidUtf8(label.name) || !base::IsValidUtf8(label.value)) {
      return base::InvalidArgumentError("label " + base::Quoted(label.name) + " is not UTF-8");
    }
  }
  if (!reader.ok()) return base::InvalidArgumentError("the labels are not Label messages");
  std::sort(labels.begin(), labels.end());
  for (size_t i = 1; i < labels.size(); ++i) {
    if (labels[i].name != labels[i - 1].name) continue;
    return base::InvalidArgumentError("label name " + base::Quoted(labels[i].name) + " is not unique");
  }
  std::erase_if(labels, [](const tsdb::Label& label) { return label.value.empty(); });
  tsdb::Labels result = tsdb::Labels::FromSorted(std::move(labels));
  if (!result.Has(tsdb::kMetricName)) return base::InvalidArgumentError("the series has no metric name");
  return result;
}

base::Result<WrittenHistogram> DecodeHistogram(std::string_view bytes) {
  WrittenHistogram histogram;
  if (!ReadHistogram(bytes, &histogram)) return base::InvalidArgumentError("a histogram is not a Histogram message");
  ChooseKind(&histogram);
  TW_RETURN_IF_ERROR(histogram.is_float ? BringWithinStore(&histogram.fractions)
                                        : BringWithinStore(&histogram.integer));
  return histogram;
}

bool DecodeExemplar(std::string_view bytes, tsdb::Exemplar* exemplar) {
  std::vector<tsdb::Label> labels;
  WireReader reader(bytes);
  bool whole = true;
  while (reader.Next()) {
    if (reader.field() == kExemplarLabels) whole = ReadLabel(reader.Bytes(), &labels.emplace_back()) && whole;
    if (reader.field() == kExemplarValue) exemplar->v = reader.Double();
    if (reader.field() == kExemplarTime) exemplar->t = static_cast<int64_t>(reader.Varint());
  }
  for (const tsdb::Label& label : labels) whole = whole && base::IsValidUtf8(label.name + label.value);
  exemplar->labels = tsdb::Labels::FromPairs(std::move(labels));
  return reader.ok() && whole;
}

bool DecodeMetadata(std::string_view bytes, std::string* family, tsdb::Metadata* metadata) {
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kMetadataType:
        if (reader.Varint() <= static_cast<uint64_t>(tsdb::MetricType::kStateset)) {
          metadata->type = static_cast<tsdb::MetricType>(reader.Varint());
        }
        break;
      case kMetadataFamily: *family = reader.Bytes(); break;
      case kMetadataHelp: metadata->help = reader.Bytes(); break;
      case kMetadataUnit: metadata->unit = reader.Bytes(); break;
      default: break;
    }
  }
  return reader.ok() && !family->empty() && base::IsValidUtf8(*family) && base::IsValidUtf8(metadata->help) &&
         base::IsValidUtf8(metadata->unit);
}

}  // namespace tidewright::remote
