#include "web/remote_read.h"

#include <snappy.h>

#include <bit>
#include <memory>
#include <vector>

#include "base/wire_writer.h"
#include "remote/histogram_message.h"
#include "tsdb/chunk.h"
#include "tsdb/encoding.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

using base::WireWriter;

constexpr size_t kMaxRequestBytes = 4 << 20;  // Decompressed.

base::Status TooMuch(const std::string& what) {
  return base::ResourceExhaustedError("the reply would have more than " + what +
                                      "; ask for a shorter time or fewer series");
}

// A matcher for the value that an external label has is true of every series; the series themselves have no such label.
tsdb::Matchers WithoutExternal(const tsdb::Matchers& matchers, const tsdb::Labels& external) {
  tsdb::Matchers out;
  for (const tsdb::Matcher& matcher : matchers) {
    const bool equal = matcher.type() == tsdb::Matcher::Type::kEqual;
    const bool own = equal && external.Has(matcher.name()) && external.Get(matcher.name()) == matcher.value();
    out.push_back(own ? tsdb::Matcher::Equal(matcher.name(), "") : matcher);
  }
  return out;
}

tsdb::Labels WithExternal(const tsdb::Labels& labels, const tsdb::Labels& external) {
  tsdb::LabelsBuilder builder(labels);
  for (const tsdb::Label& label : external) {
    if (!labels.Has(label.name)) builder.Set(label.name, label.value);
  }
  return builder.Build();
}

void AppendLabels(const tsdb::Labels& labels, WireWriter* out) {
  for (const tsdb::Label& label : labels) {
    WireWriter pair;
    pair.Bytes(1, label.name).Bytes(2, label.value);
    out->Bytes(1, pair.bytes());
  }
}

// The series that a query selects, one after the other.
template <typename Use>
base::Status ForEachSeries(tsdb::Queryable& store, const ReadQuery& query, const tsdb::Labels& external, Use use) {
  if (query.end_ms < query.start_ms) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(auto querier, store.NewQuerier(query.start_ms, query.end_ms));
  TW_ASSIGN_OR_RETURN(auto selected,
                      querier->Select({query.start_ms, query.end_ms}, WithoutExternal(query.matchers, external)));
  for (const auto& series : selected) TW_RETURN_IF_ERROR(use(*series));
  return base::Status::Ok();
}

// Samples of a TimeSeries message; how many there are.
size_t AppendSamples(const tsdb::Series& series, WireWriter* out) {
  size_t count = 0;
  WireWriter histograms;
  for (auto it = series.Iterator(); it->Next(); ++count) {
    const tsdb::Sample sample = it->At();
    if (it->type() != tsdb::ValueType::kFloat) {
      histograms.Bytes(4, remote::HistogramMessage(*it->AtHistogram(), sample.t));
      continue;
    }
    WireWriter message;
    message.NonZeroDouble(1, sample.v).Int64(2, sample.t);
    out->Bytes(2, message.bytes());
  }
  out->Raw(histograms.bytes());
  return count;
}

std::vector<tsdb::EncodedChunk> ChunksOf(const tsdb::Series& series) {
  tsdb::ChunkEncoder encoder;
  for (auto it = series.Iterator(); it->Next();) {
    const tsdb::Sample sample = it->At();
    if (it->type() == tsdb::ValueType::kFloat) {
      encoder.Append(sample.t, sample.v);
    } else {
      encoder.Append(sample.t, *it->AtHistogram());
    }
  }
  return encoder.Take();
}

std::string ChunkMessage(const tsdb::EncodedChunk& chunk) {
  WireWriter out;
  out.Int64(1, chunk.mint).Int64(2, chunk.maxt).NonZero(3, static_cast<uint64_t>(chunk.encoding)).Bytes(4, chunk.bytes);
  return out.Take();
}

void AppendFrame(const std::string& series, size_t query, std::string* out) {
  WireWriter response;
  response.Bytes(1, series).NonZero(2, query);
  const std::string& message = response.bytes();
  WireWriter::AppendVarint(message.size(), out);
  const uint32_t checksum = tsdb::Crc32c(message);
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(checksum >> shift));
  *out += message;
}

// The frames of one series: its labels again in each.
void AppendFrames(const tsdb::Labels& labels, const std::vector<tsdb::EncodedChunk>& chunks, size_t query,
                  std::string* out) {
  WireWriter head;
  AppendLabels(labels, &head);
  for (size_t i = 0; i < chunks.size();) {
    WireWriter series;
    series.Raw(head.bytes());
    size_t bytes = 0;
    for (; i < chunks.size() && (bytes == 0 || bytes + chunks[i].bytes.size() <= RemoteRead::kMaxFrameBytes); ++i) {
      bytes += chunks[i].bytes.size();
      series.Bytes(2, ChunkMessage(chunks[i]));
    }
    AppendFrame(series.bytes(), query, out);
  }
}

base::Result<std::string> Decompressed(const std::string& body) {
  size_t size = 0;
  std::string out;
  if (!snappy::GetUncompressedLength(body.data(), body.size(), &size) || size > kMaxRequestBytes ||
      !snappy::Uncompress(body.data(), body.size(), &out)) {
    return base::InvalidArgumentError("snappy: corrupt input");
  }
  return out;
}

}  // namespace

base::Result<std::string> RemoteRead::Samples(const ReadRequest& request) const {
  const tsdb::Labels external = external_ ? external_() : tsdb::Labels();
  WireWriter response;
  size_t count = 0;
  for (const ReadQuery& query : request.queries) {
    WireWriter result;
    TW_RETURN_IF_ERROR(ForEachSeries(store_, query, external, [&](const tsdb::Series& series) {
      WireWriter message;
      AppendLabels(WithExternal(series.labels(), external), &message);
      const size_t samples = AppendSamples(series, &message);
      count += samples;
      if (samples > 0) result.Bytes(1, message.bytes());
      return count > kMaxSamples ? TooMuch(std::to_string(kMaxSamples) + " samples") : base::Status::Ok();
    }));
    response.Bytes(1, result.bytes());
  }
  std::string body;
  snappy::Compress(response.bytes().data(), response.bytes().size(), &body);
  return body;
}

base::Result<std::string> RemoteRead::Chunks(const ReadRequest& request) const {
  const tsdb::Labels external = external_ ? external_() : tsdb::Labels();
  std::string body;
  for (size_t i = 0; i < request.queries.size(); ++i) {
    TW_RETURN_IF_ERROR(ForEachSeries(store_, request.queries[i], external, [&](const tsdb::Series& series) {
      AppendFrames(WithExternal(series.labels(), external), ChunksOf(series), i, &body);
      return body.size() > kMaxChunkBytes ? TooMuch("256 MiB") : base::Status::Ok();
    }));
  }
  return body;
}

http::Response RemoteRead::Handle(const http::ServerRequest& request) const {
  if (request.method != "POST") return MethodNotAllowed("POST");
  auto bytes = Decompressed(request.body);
  if (!bytes.ok()) return PlainError(400, bytes.status().message());
  ReadRequest asked;
  ReadRequestError error;
  if (!ParseReadRequest(*bytes, &asked, &error)) return PlainError(error.http_status, error.status.message());
  const bool samples = asked.format == ReadFormat::kSamples;
  auto body = samples ? Samples(asked) : Chunks(asked);
  if (!body.ok()) {
    const bool too_much = body.status().code() == base::Code::kResourceExhausted;
    return PlainError(too_much ? 400 : 500, body.status().message());
  }
  http::Response response;
  response.body = *std::move(body);
  response.headers.Set("Content-Type", samples
                                           ? "application/x-protobuf"
                                           : "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
  if (samples) response.headers.Set("Content-Encoding", "snappy");
  return response;
}

}  // namespace tidewright::web
