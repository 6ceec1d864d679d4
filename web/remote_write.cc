#include "web/remote_write.h"

#include <snappy.h>

#include <deque>
#include <map>
#include <utility>

#include "base/log.h"
#include "base/secret_hash.h"
#include "base/strings.h"
#include "remote/write_request.h"
#include "web/reply.h"
#include "web/write_batch.h"
#include "web/write_request2.h"

namespace tidewright::web {

namespace {

constexpr size_t kMaxDecodedBytes = 32 << 20;
constexpr int64_t kMaxFutureMs = 10 * 60 * 1000;
// What is kept for the next request: as much as those of usual senders need.
constexpr size_t kKeptBytes = 1 << 20;
constexpr size_t kKeptScratches = 4;
constexpr std::string_view kMediaType = "application/x-protobuf";
constexpr std::string_view kVersion1 = "prometheus.WriteRequest";
constexpr std::string_view kVersion2 = "io.prometheus.write.v2.Request";

// The message that a content type names. What is missing means the first version, as senders of old do not say it.
base::Result<std::string> MessageOf(const std::string& content_type) {
  if (content_type.empty()) return std::string(kVersion1);
  std::vector<std::string> parts = base::Split(content_type, ';');
  if (base::TrimSpace(parts[0]) != kMediaType) {
    return base::InvalidArgumentError("expected " + std::string(kMediaType) + " as the first (media) part, got " +
                                      content_type + " content-type");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    std::string part(base::TrimSpace(parts[i]));
    if (part.rfind("proto=", 0) != 0) continue;
    std::string message = part.substr(6);
    if (message == kVersion1 || message == kVersion2) return message;
    return base::InvalidArgumentError("got " + content_type +
                                      " content type; unknown type for remote write protobuf message " + message +
                                      ", supported: " + std::string(kVersion1) + ", " + std::string(kVersion2));
  }
  return std::string(kVersion1);
}

base::Status CheckEncoding(const http::Headers& headers) {
  std::string encoding = headers.Get("Content-Encoding");
  if (encoding.empty() || base::EqualsIgnoreCase(encoding, "snappy")) return base::Status::Ok();
  return base::InvalidArgumentError(
      encoding + " encoding (compression) is not accepted by this server; only snappy is acceptable");
}

// What version 2.0 asks to be told, whatever the status.
void AddWritten(const WriteOutcome& outcome, http::Response* response) {
  const auto set = [&](const char* kind, uint64_t count) {
    response->headers.Set(std::string("X-Prometheus-Remote-Write-") + kind + "-Written", std::to_string(count));
  };
  set("Samples", outcome.stored - outcome.histograms);
  set("Histograms", outcome.histograms);
  set("Exemplars", outcome.exemplars);
}

}  // namespace

// What a request needs while it is handled, kept for the next so that its memory is not asked for each time.
struct RemoteWriteReceiver::Scratch {
  // A histogram or an exemplar.
  struct Encoded {
    uint32_t series = 0;
    std::string_view bytes;
  };

  std::unique_ptr<char[]> bytes;  // The request, decompressed.
  size_t capacity = 0;
  size_t size = 0;
  std::vector<WrittenSeries> series;
  std::vector<std::string_view> labels;  // Their labels, encoded.
  std::vector<uint64_t> hashes;          // And hashed.
  std::deque<std::string> gathered;      // Labels that did not come in one run.
  std::vector<WriteBatch::Sample> samples;
  std::vector<Encoded> histograms;
  std::vector<Encoded> exemplars;
  std::vector<std::string_view> metadata;
  // Version 2.0: what is decoded as it is read, and what is wrong with single series.
  std::vector<std::pair<uint32_t, tsdb::Exemplar>> decoded_exemplars;
  std::map<std::string, tsdb::Metadata> families;
  std::vector<base::Status> refused;

  std::string_view message() const { return {bytes.get(), size}; }
  // Adds a series; its index.
  uint32_t Add(std::string_view label_bytes) {
    series.emplace_back();
    labels.push_back(label_bytes);
    hashes.push_back(base::SecretHash(label_bytes));
    return static_cast<uint32_t>(series.size() - 1);
  }

  void Clear() {
    series.clear();
    labels.clear();
    hashes.clear();
    gathered.clear();
    samples.clear();
    histograms.clear();
    exemplars.clear();
    metadata.clear();
    decoded_exemplars.clear();
    families.clear();
    refused.clear();
  }
  bool IsSmall() const {
    return capacity <= kKeptBytes && samples.capacity() * sizeof(WriteBatch::Sample) <= kKeptBytes &&
           series.capacity() * sizeof(WrittenSeries) <= kKeptBytes;
  }
};

RemoteWriteReceiver::RemoteWriteReceiver(tsdb::Appendable& appendable, base::Clock& clock,
                                         base::MetricRegistry& metrics)
    : appendable_(appendable),
      clock_(clock),
      samples_(metrics.GetCounter("tidewright_remote_write_samples_total", "Samples that came by remote write.")),
      refused_(
          metrics.GetCounter("tidewright_remote_write_samples_refused_total",
                             "Samples of remote write that were not stored: out of order, too old, in the future.")),
      unnamed_(metrics.GetCounter("tidewright_remote_write_samples_unnamed_total",
                                  "Samples of remote write whose labels name no series.")),
      failures_(metrics.GetCounter("tidewright_remote_write_failures_total",
                                   "Requests of remote write that the store could not write.")) {}

RemoteWriteReceiver::~RemoteWriteReceiver() = default;

http::Response RemoteWriteReceiver::Handle(const http::ServerRequest& request) {
  if (request.method != "POST") return MethodNotAllowed("POST");
  auto message = MessageOf(request.headers.Get("Content-Type"));
  if (!message.ok()) return PlainError(415, message.status().message());
  const bool version2 = *message == kVersion2;
  WriteOutcome outcome;
  http::Response response;
  if (base::Status accepted = CheckEncoding(request.headers); !accepted.ok()) {
    response = PlainError(415, accepted.message());
  } else {
    std::unique_ptr<Scratch> scratch = TakeScratch();
    base::Status read = Decompress(request.body, scratch.get());
    if (read.ok())
      read = version2 ? Read2(scratch->message(), scratch.get()) : Read1(scratch->message(), scratch.get());
    if (!read.ok()) {
      response = PlainError(400, read.message());
    } else {
      FindRefs(scratch.get());
      outcome = Write(scratch.get());
      KeepRefs(*scratch);
      KeepScratch(std::move(scratch));
      response = Answer(outcome, version2);
    }
  }
  if (version2) AddWritten(outcome, &response);
  return response;
}

std::unique_ptr<RemoteWriteReceiver::Scratch> RemoteWriteReceiver::TakeScratch() {
  base::MutexLock lock(scratch_mu_);
  if (scratch_.empty()) return std::make_unique<Scratch>();
  std::unique_ptr<Scratch> scratch = std::move(scratch_.back());
  scratch_.pop_back();
  return scratch;
}

void RemoteWriteReceiver::KeepScratch(std::unique_ptr<Scratch> scratch) {
  if (!scratch->IsSmall()) return;
  scratch->Clear();
  base::MutexLock lock(scratch_mu_);
  if (scratch_.size() < kKeptScratches) scratch_.push_back(std::move(scratch));
}

base::Status RemoteWriteReceiver::Decompress(const std::string& body, Scratch* scratch) {
  size_t size = 0;
  if (!snappy::GetUncompressedLength(body.data(), body.size(), &size)) {
    return base::InvalidArgumentError("snappy: corrupt input");
  }
  if (size > kMaxDecodedBytes) {
    return base::InvalidArgumentError("decoded size exceeds the " + std::to_string(kMaxDecodedBytes) + " bytes limit");
  }
  if (size > scratch->capacity) {
    scratch->bytes = std::make_unique_for_overwrite<char[]>(size);
    scratch->capacity = size;
  }
  scratch->size = size;
  if (snappy::RawUncompress(body.data(), body.size(), scratch->bytes.get())) return base::Status::Ok();
  return base::InvalidArgumentError("snappy: corrupt input");
}

// The whole request is understood before any of it is written.
base::Status RemoteWriteReceiver::Read1(std::string_view message, Scratch* scratch) {
  remote::WriteRequestReader reader(message);
  while (reader.Next()) {
    if (reader.samples().empty() && reader.histograms().empty() && reader.exemplars().empty()) continue;
    std::string_view labels = reader.label_bytes();
    if (reader.gathered_labels()) labels = scratch->gathered.emplace_back(labels);
    const uint32_t index = scratch->Add(labels);
    for (const tsdb::Sample& sample : reader.samples()) scratch->samples.push_back({sample.t, sample.v, index});
    for (std::string_view histogram : reader.histograms()) scratch->histograms.push_back({index, histogram});
    for (std::string_view exemplar : reader.exemplars()) scratch->exemplars.push_back({index, exemplar});
  }
  if (!reader.ok()) return base::InvalidArgumentError(reader.error());
  scratch->metadata = reader.metadata();
  return base::Status::Ok();
}

base::Status RemoteWriteReceiver::Read2(std::string_view message, Scratch* scratch) {
  WriteRequest2Reader reader(message);
  while (reader.Next()) {
    if (!reader.series_error().ok()) {
      scratch->refused.push_back(reader.series_error());
      continue;
    }
    const uint32_t index = scratch->Add(scratch->gathered.emplace_back(reader.label_bytes()));
    for (const tsdb::Sample& sample : reader.samples()) scratch->samples.push_back({sample.t, sample.v, index});
    for (std::string_view histogram : reader.histograms()) scratch->histograms.push_back({index, histogram});
    for (const tsdb::Exemplar& exemplar : reader.exemplars()) {
      scratch->decoded_exemplars.emplace_back(index, exemplar);
    }
    if (!reader.has_metadata()) continue;
    scratch->families[FamilyOf(reader.metric(), reader.metadata().type)] = reader.metadata();
  }
  return reader.ok() ? base::Status::Ok() : base::InvalidArgumentError(reader.error());
}

void RemoteWriteReceiver::FindRefs(Scratch* scratch) {
  base::MutexLock lock(cache_mu_);
  cache_.SetTime(clock_.NowMs());
  for (size_t i = 0; i < scratch->series.size(); ++i) scratch->series[i].ref = cache_.Find(scratch->hashes[i]);
}

void RemoteWriteReceiver::KeepRefs(const Scratch& scratch) {
  base::MutexLock lock(cache_mu_);
  for (size_t i = 0; i < scratch.series.size(); ++i) {
    if (scratch.series[i].learned) cache_.Put(scratch.hashes[i], scratch.series[i].ref);
  }
}

WriteOutcome RemoteWriteReceiver::Write(Scratch* scratch) {
  auto labels_of = [scratch](size_t series) { return remote::DecodeLabels(scratch->labels[series]); };
  WriteBatch batch(appendable_, scratch->series, labels_of, clock_.NowMs() + kMaxFutureMs);
  batch.Write(&scratch->samples);
  for (const Scratch::Encoded& encoded : scratch->histograms) {
    auto histogram = remote::DecodeHistogram(encoded.bytes);
    if (!histogram.ok()) {
      batch.Refuse(histogram.status());
    } else if (histogram->is_float) {
      batch.Write(encoded.series, histogram->t, histogram->fractions);
    } else {
      batch.Write(encoded.series, histogram->t, histogram->integer);
    }
  }
  for (const Scratch::Encoded& encoded : scratch->exemplars) {
    tsdb::Exemplar exemplar;
    if (remote::DecodeExemplar(encoded.bytes, &exemplar)) batch.Write(encoded.series, exemplar);
  }
  for (const auto& [series, exemplar] : scratch->decoded_exemplars) batch.Write(series, exemplar);
  for (const auto& [family, metadata] : scratch->families) batch.Write(family, metadata);
  for (const base::Status& refused : scratch->refused) batch.Refuse(refused);
  for (std::string_view encoded : scratch->metadata) {
    std::string family;
    tsdb::Metadata metadata;
    if (remote::DecodeMetadata(encoded, &family, &metadata)) batch.Write(family, metadata);
  }
  return batch.Finish();
}

http::Response RemoteWriteReceiver::Answer(const WriteOutcome& outcome, bool version2) {
  samples_.Add(static_cast<double>(outcome.stored + outcome.refused + outcome.unnamed));
  refused_.Add(static_cast<double>(outcome.refused));
  unnamed_.Add(static_cast<double>(outcome.unnamed));
  if (!outcome.failure.ok()) {
    failures_.Add();
    base::LogError("web", "storing what came by remote write", {{"error", outcome.failure.ToString()}});
    return PlainError(500, outcome.failure.message());
  }
  if (outcome.refused > 0) return PlainError(400, outcome.refusal.message());
  if (version2 && outcome.unnamed > 0) return PlainError(400, outcome.unnamed_reason.message());
  return {204, {}, ""};
}

}  // namespace tidewright::web
