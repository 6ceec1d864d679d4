#include "web/remote_write.h"

#include <snappy.h>

#include <deque>
#include <utility>

#include "base/log.h"
#include "base/secret_hash.h"
#include "base/strings.h"
#include "web/write_batch.h"
#include "web/write_request.h"

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

http::Response Text(int status, const std::string& text) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, text + "\n"};
}

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
                                      ", supported: " + std::string(kVersion1));
  }
  return std::string(kVersion1);
}

base::Status CheckHeaders(const http::Headers& headers) {
  TW_ASSIGN_OR_RETURN(std::string message, MessageOf(headers.Get("Content-Type")));
  if (message != kVersion1) {
    return base::InvalidArgumentError(message + " protobuf message is not accepted by this server; only " +
                                      std::string(kVersion1) + " is acceptable");
  }
  std::string encoding = headers.Get("Content-Encoding");
  if (encoding.empty() || base::EqualsIgnoreCase(encoding, "snappy")) return base::Status::Ok();
  return base::InvalidArgumentError(
      encoding + " encoding (compression) is not accepted by this server; only snappy is acceptable");
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

  void Clear() {
    series.clear();
    labels.clear();
    hashes.clear();
    gathered.clear();
    samples.clear();
    histograms.clear();
    exemplars.clear();
    metadata.clear();
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
  if (request.method != "POST") return Text(405, "use POST");
  if (base::Status accepted = CheckHeaders(request.headers); !accepted.ok()) return Text(415, accepted.message());
  std::unique_ptr<Scratch> scratch = TakeScratch();
  base::Status read = Read(request.body, scratch.get());
  if (!read.ok()) return Text(400, read.message());
  FindRefs(scratch.get());
  WriteOutcome outcome = Write(scratch.get());
  KeepRefs(*scratch);
  KeepScratch(std::move(scratch));
  return Answer(outcome);
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
base::Status RemoteWriteReceiver::Read(const std::string& body, Scratch* scratch) {
  TW_RETURN_IF_ERROR(Decompress(body, scratch));
  WriteRequestReader reader(std::string_view(scratch->bytes.get(), scratch->size));
  while (reader.Next()) {
    if (reader.samples().empty() && reader.histograms().empty() && reader.exemplars().empty()) continue;
    const auto index = static_cast<uint32_t>(scratch->series.size());
    scratch->series.emplace_back();
    std::string_view labels = reader.label_bytes();
    if (reader.gathered_labels()) labels = scratch->gathered.emplace_back(labels);
    scratch->labels.push_back(labels);
    scratch->hashes.push_back(base::SecretHash(labels));
    for (const tsdb::Sample& sample : reader.samples()) scratch->samples.push_back({sample.t, sample.v, index});
    for (std::string_view histogram : reader.histograms()) scratch->histograms.push_back({index, histogram});
    for (std::string_view exemplar : reader.exemplars()) scratch->exemplars.push_back({index, exemplar});
  }
  if (!reader.ok()) return base::InvalidArgumentError(reader.error());
  scratch->metadata = reader.metadata();
  return base::Status::Ok();
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
  auto labels_of = [scratch](size_t series) { return DecodeLabels(scratch->labels[series]); };
  WriteBatch batch(appendable_, scratch->series, labels_of, clock_.NowMs() + kMaxFutureMs);
  batch.Write(&scratch->samples);
  for (const Scratch::Encoded& encoded : scratch->histograms) {
    auto histogram = DecodeHistogram(encoded.bytes);
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
    if (DecodeExemplar(encoded.bytes, &exemplar)) batch.Write(encoded.series, exemplar);
  }
  for (std::string_view encoded : scratch->metadata) {
    std::string family;
    tsdb::Metadata metadata;
    if (DecodeMetadata(encoded, &family, &metadata)) batch.Write(family, metadata);
  }
  return batch.Finish();
}

http::Response RemoteWriteReceiver::Answer(const WriteOutcome& outcome) {
  samples_.Add(static_cast<double>(outcome.stored + outcome.refused + outcome.unnamed));
  refused_.Add(static_cast<double>(outcome.refused));
  unnamed_.Add(static_cast<double>(outcome.unnamed));
  if (!outcome.failure.ok()) {
    failures_.Add();
    base::LogError("web", "storing what came by remote write", {{"error", outcome.failure.ToString()}});
    return Text(500, outcome.failure.message());
  }
  if (outcome.refused > 0) return Text(400, outcome.refusal.message());
  return {204, {}, ""};
}

}  // namespace tidewright::web
