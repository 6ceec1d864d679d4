#include "web/write_request2.h"

#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "base/wire_reader.h"
#include "remote/write_request.h"

namespace tidewright::web {

namespace {

using base::WireReader;

// Fields of Request, TimeSeries, Sample, Exemplar and Metadata.
constexpr uint32_t kSymbols = 4, kTimeSeries = 5;
constexpr uint32_t kLabelRefs = 1, kSamples = 2, kHistograms = 3, kExemplars = 4, kMetadata = 5;
constexpr uint32_t kValue = 1, kTime = 2;
constexpr uint32_t kExemplarLabelRefs = 1, kExemplarValue = 2, kExemplarTime = 3;
constexpr uint32_t kType = 1, kHelpRef = 3, kUnitRef = 4;

bool ReadSample(std::string_view bytes, tsdb::Sample* sample) {
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kValue) sample->v = reader.Double();
    if (reader.field() == kTime) sample->t = static_cast<int64_t>(reader.Varint());
  }
  return reader.ok();
}

base::Status OutsideOfTable(std::string_view what, uint64_t ref, size_t size) {
  return base::InvalidArgumentError(std::string(what) + " " + std::to_string(ref) +
                                    " is outside of the table of symbols, which has " + std::to_string(size));
}

}  // namespace

// A series, not yet understood.
struct WriteRequest2Reader::Parts {
  std::vector<uint64_t> label_refs;
  std::vector<std::string_view> exemplars;
  std::string_view metadata;
};

WriteRequest2Reader::WriteRequest2Reader(std::string_view request) : rest_(request) {
  WireReader reader(request);
  while (reader.Next()) {
    if (reader.field() != kSymbols) continue;
    if (!CountPart()) return;
    symbols_.push_back(reader.Bytes());
  }
  if (!reader.ok()) error_ = "the request is not an io.prometheus.write.v2.Request message";
}

bool WriteRequest2Reader::CountPart() {
  if (++parts_ <= remote::WriteRequestReader::kMaxParts) return true;
  error_ = "the request has more than " + std::to_string(remote::WriteRequestReader::kMaxParts) +
           " symbols, series, samples, histograms and exemplars";
  return false;
}

bool WriteRequest2Reader::Next() {
  WireReader reader(rest_);
  while (ok() && reader.Next()) {
    if (reader.field() != kTimeSeries) continue;
    if (!CountPart()) return false;
    rest_ = reader.rest();
    if (!ReadSeries(reader.Bytes()) && ok()) error_ = "a time series is not a TimeSeries message";
    return ok();
  }
  rest_ = {};
  return false;
}

bool WriteRequest2Reader::ReadSeries(std::string_view message) {
  samples_.clear();
  histograms_.clear();
  exemplars_.clear();
  has_metadata_ = false;
  metadata_ = {};
  Parts parts;
  WireReader reader(message);
  while (reader.Next()) {
    const bool counts = reader.field() >= kSamples && reader.field() <= kExemplars;
    if (counts && !CountPart()) return false;
    if (reader.field() == kLabelRefs) reader.Varints([&](uint64_t ref) { parts.label_refs.push_back(ref); });
    if (reader.field() == kSamples && !ReadSample(reader.Bytes(), &samples_.emplace_back())) return false;
    if (reader.field() == kHistograms) histograms_.push_back(reader.Bytes());
    if (reader.field() == kExemplars) parts.exemplars.push_back(reader.Bytes());
    if (reader.field() == kMetadata) parts.metadata = reader.Bytes();
  }
  if (!reader.ok()) return false;
  series_error_ = Understand(parts);
  return ok();
}

base::Status WriteRequest2Reader::Understand(const Parts& parts) {
  TW_RETURN_IF_ERROR(CheckRefs(parts.label_refs));
  metric_ = {};
  spelled_.Clear();
  for (size_t i = 0; i < parts.label_refs.size(); i += 2) {
    const std::string_view name = symbols_[parts.label_refs[i]], value = symbols_[parts.label_refs[i + 1]];
    if (name == tsdb::kMetricName) metric_ = value;
    pair_.Clear();
    pair_.Bytes(1, name).Bytes(2, value);
    spelled_.Bytes(1, pair_.bytes());
  }
  if (samples_.empty() && histograms_.empty()) {
    return base::InvalidArgumentError("TimeSeries must contain at least one sample or histogram for series " +
                                      base::Quoted(metric_));
  }
  for (std::string_view exemplar : parts.exemplars) TW_RETURN_IF_ERROR(ReadExemplar(exemplar));
  return ReadMetadata(parts.metadata);
}

base::Status WriteRequest2Reader::CheckRefs(const std::vector<uint64_t>& refs) {
  if (refs.size() % 2 != 0) {
    return base::InvalidArgumentError("invalid number of label references, " + std::to_string(refs.size()) +
                                      ": they come in pairs");
  }
  for (const uint64_t ref : refs) {
    if (ref >= symbols_.size()) return OutsideOfTable("label reference", ref, symbols_.size());
    spelled_bytes_ += sizeof(tsdb::Label) / 2 + symbols_[ref].size();
  }
  if (spelled_bytes_ <= kMaxSpelledBytes) return base::Status::Ok();
  error_ = "the labels of the request, spelled out, are larger than " + std::to_string(kMaxSpelledBytes) + " bytes";
  return base::ResourceExhaustedError(error_);
}

base::Status WriteRequest2Reader::ReadExemplar(std::string_view message) {
  std::vector<uint64_t> refs;
  tsdb::Exemplar exemplar;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kExemplarLabelRefs) reader.Varints([&](uint64_t ref) { refs.push_back(ref); });
    if (reader.field() == kExemplarValue) exemplar.v = reader.Double();
    if (reader.field() == kExemplarTime) exemplar.t = static_cast<int64_t>(reader.Varint());
  }
  if (!reader.ok()) return base::InvalidArgumentError("an exemplar is not an Exemplar message");
  TW_RETURN_IF_ERROR(CheckRefs(refs));
  std::vector<tsdb::Label> labels;
  for (size_t i = 0; i < refs.size(); i += 2) {
    labels.push_back({std::string(symbols_[refs[i]]), std::string(symbols_[refs[i + 1]])});
    if (base::IsValidUtf8(labels.back().name) && base::IsValidUtf8(labels.back().value)) continue;
    return base::InvalidArgumentError("a label of an exemplar is not UTF-8");
  }
  exemplar.labels = tsdb::Labels::FromPairs(std::move(labels));
  exemplars_.push_back(std::move(exemplar));
  return base::Status::Ok();
}

base::Status WriteRequest2Reader::ReadMetadata(std::string_view message) {
  uint64_t type = 0, help = 0, unit = 0;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kType) type = reader.Varint();
    if (reader.field() == kHelpRef) help = reader.Varint();
    if (reader.field() == kUnitRef) unit = reader.Varint();
  }
  if (!reader.ok()) return base::InvalidArgumentError("metadata is not a Metadata message");
  if (type == 0 && help == 0 && unit == 0) return base::Status::Ok();
  if (help >= symbols_.size()) return OutsideOfTable("metadata help_ref", help, symbols_.size());
  if (unit >= symbols_.size()) return OutsideOfTable("metadata unit_ref", unit, symbols_.size());
  if (!base::IsValidUtf8(symbols_[help]) || !base::IsValidUtf8(symbols_[unit])) {
    return base::InvalidArgumentError("metadata is not UTF-8");
  }
  has_metadata_ = true;
  if (type <= static_cast<uint64_t>(tsdb::MetricType::kStateset)) metadata_.type = static_cast<tsdb::MetricType>(type);
  metadata_.help = symbols_[help];
  metadata_.unit = symbols_[unit];
  return base::Status::Ok();
}

std::string FamilyOf(std::string_view metric, tsdb::MetricType type) {
  const bool histogram = type == tsdb::MetricType::kHistogram || type == tsdb::MetricType::kGaugeHistogram;
  for (std::string_view suffix : {"_bucket", "_count", "_sum"}) {
    const bool has = histogram || (type == tsdb::MetricType::kSummary && suffix != "_bucket");
    if (has && metric.ends_with(suffix)) metric.remove_suffix(suffix.size());
  }
  return std::string(metric);
}

}  // namespace tidewright::web
