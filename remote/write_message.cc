#include "remote/write_message.h"

#include <snappy.h>

#include "remote/histogram_message.h"

namespace tidewright::remote {

namespace {

using base::WireWriter;

std::string Compressed(const std::string& message) {
  std::string body;
  snappy::Compress(message.data(), message.size(), &body);
  return body;
}

void AppendLabel(std::string_view name, std::string_view value, WireWriter* out) {
  WireWriter pair;
  pair.Bytes(1, name).Bytes(2, value);
  out->Bytes(1, pair.bytes());
}

void AppendSamples(std::span<const tsdb::LogCommit::Float> samples, WireWriter* out) {
  WireWriter message;
  for (const tsdb::LogCommit::Float& sample : samples) {
    message.Clear();
    message.NonZeroDouble(1, sample.v).Int64(2, sample.t);
    out->Bytes(2, message.bytes());
  }
}

void AppendHistograms(uint32_t field, std::span<const tsdb::LogCommit::OneHistogram> histograms, WireWriter* out) {
  for (const tsdb::LogCommit::OneHistogram& one : histograms) {
    out->Bytes(field,
               std::visit([&](const auto& value) { return HistogramMessage(value, one.sample.t); }, one.sample.value));
  }
}

// The family that a series belongs to has its name, or that without the suffix of a part of it.
const tsdb::Metadata* MetadataOf(std::string_view metric, const MetadataByFamily& metadata) {
  auto found = metadata.find(std::string(metric));
  if (found != metadata.end()) return &found->second;
  for (std::string_view suffix : {"_bucket", "_count", "_sum", "_total", "_info"}) {
    if (!metric.ends_with(suffix)) continue;
    found = metadata.find(std::string(metric.substr(0, metric.size() - suffix.size())));
    if (found != metadata.end()) return &found->second;
  }
  return nullptr;
}

std::string_view MetricName(const tsdb::LabelViews& labels) {
  for (const auto& [name, value] : labels) {
    if (name == tsdb::kMetricName) return value;
  }
  return "";
}

}  // namespace

std::string MetadataRequest(MetadataByFamily::const_iterator begin, MetadataByFamily::const_iterator end) {
  WireWriter request, message;
  for (; begin != end; ++begin) {
    message.Clear();
    message.NonZero(1, static_cast<uint64_t>(begin->second.type)).Bytes(2, begin->first);
    message.Bytes(4, begin->second.help).Bytes(5, begin->second.unit);
    request.Bytes(3, message.bytes());
  }
  return Compressed(request.bytes());
}

void WriteRequest1::Add(const tsdb::LabelViews& labels, const SeriesContent& content) {
  series_.Clear();
  for (const auto& [name, value] : labels) AppendLabel(name, value, &series_);
  AppendSamples(content.floats, &series_);
  WireWriter message;
  for (const tsdb::LoggedExemplar& one : content.exemplars) {
    message.Clear();
    for (const tsdb::Label& label : one.exemplar.labels) AppendLabel(label.name, label.value, &message);
    message.NonZeroDouble(2, one.exemplar.v).Int64(3, one.exemplar.t);
    series_.Bytes(3, message.bytes());
  }
  AppendHistograms(4, content.histograms, &series_);
  request_.Bytes(1, series_.bytes());
}

std::string WriteRequest1::Finish() const { return Compressed(request_.bytes()); }

uint64_t WriteRequest2::Symbol(std::string_view text) {
  auto known = symbols_.find(text);
  if (known != symbols_.end()) return known->second;
  table_.Bytes(4, text);
  return symbols_.emplace(text, symbols_.size()).first->second;
}

void WriteRequest2::Add(const tsdb::LabelViews& labels, const SeriesContent& content) {
  if (content.floats.empty() && content.histograms.empty()) return;
  series_.Clear();
  refs_.clear();
  for (const auto& [name, value] : labels) {
    refs_.push_back(Symbol(name));
    refs_.push_back(Symbol(value));
  }
  series_.Varints(1, refs_);
  AppendSamples(content.floats, &series_);
  AppendHistograms(3, content.histograms, &series_);
  WireWriter message;
  for (const tsdb::LoggedExemplar& one : content.exemplars) {
    message.Clear();
    refs_.clear();
    for (const tsdb::Label& label : one.exemplar.labels) {
      refs_.push_back(Symbol(label.name));
      refs_.push_back(Symbol(label.value));
    }
    message.Varints(1, refs_).NonZeroDouble(2, one.exemplar.v).Int64(3, one.exemplar.t);
    series_.Bytes(4, message.bytes());
  }
  if (const tsdb::Metadata* known = MetadataOf(MetricName(labels), metadata_); known != nullptr) {
    message.Clear();
    message.NonZero(1, static_cast<uint64_t>(known->type)).NonZero(3, Symbol(known->help));
    message.NonZero(4, Symbol(known->unit));
    series_.Bytes(5, message.bytes());
  }
  all_.Bytes(5, series_.bytes());
}

std::string WriteRequest2::Finish() const { return Compressed(table_.bytes() + all_.bytes()); }

}  // namespace tidewright::remote
