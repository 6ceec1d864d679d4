#include "remote/read_client.h"

#include <snappy.h>

#include <algorithm>
#include <future>
#include <memory>
#include <utility>

#include "base/wire_writer.h"

namespace tidewright::remote {

namespace {

using base::WireWriter;

constexpr size_t kMaxReplyBytes = 512u << 20;  // Also decompressed.
constexpr uint64_t kSamples = 0, kStreamedChunks = 1;

base::MetricLabels NamesOf(const scrape::RemoteReadConfig& config) {
  return {{"remote_name", config.name.empty() ? config.url : config.name}, {"url", config.url}};
}

// As LabelMatcher numbers them.
uint64_t TypeOf(const tsdb::Matcher& matcher) {
  switch (matcher.type()) {
    case tsdb::Matcher::Type::kEqual: return 0;
    case tsdb::Matcher::Type::kNotEqual: return 1;
    case tsdb::Matcher::Type::kRegex: return 2;
    case tsdb::Matcher::Type::kNotRegex: return 3;
  }
  return 0;
}

std::string RequestBody(ReadRange range, const tsdb::Matchers& matchers) {
  WireWriter query, request;
  query.Int64(1, range.mint).Int64(2, range.maxt);
  for (const tsdb::Matcher& matcher : matchers) {
    WireWriter message;
    message.NonZero(1, TypeOf(matcher)).Bytes(2, matcher.name()).Bytes(3, matcher.value());
    query.Bytes(3, message.bytes());
  }
  request.Bytes(1, query.bytes()).Varints(2, std::vector<uint64_t>{kStreamedChunks, kSamples});
  std::string body;
  snappy::Compress(request.bytes().data(), request.bytes().size(), &body);
  return body;
}

bool Has(const tsdb::Matchers& matchers, const std::string& name) {
  return std::any_of(matchers.begin(), matchers.end(),
                     [&](const tsdb::Matcher& matcher) { return matcher.name() == name; });
}

}  // namespace

ReadClient::ReadClient(scrape::RemoteReadConfig config, tsdb::Labels external_labels,
                       scrape::HttpTransport::Factory make_client, base::Clock& clock, base::MetricRegistry& metrics)
    : config_(std::move(config)),
      external_labels_(std::move(external_labels)),
      clock_(clock),
      queries_(metrics.GetCounter("prometheus_remote_read_client_queries_total", "Queries by remote read.",
                                  NamesOf(config_))),
      failures_(metrics.GetCounter("tidewright_remote_read_failures_total", "Queries by remote read that failed.",
                                   NamesOf(config_))),
      transport_(config_.http, std::move(make_client)) {}

std::optional<ReadRange> ReadClient::Wanted(ReadRange range, int64_t local_start,
                                            const tsdb::Matchers& matchers) const {
  for (const auto& required : config_.required_matchers) {
    const bool there = std::any_of(matchers.begin(), matchers.end(), [&](const tsdb::Matcher& matcher) {
      return matcher.type() == tsdb::Matcher::Type::kEqual && matcher.name() == required.first &&
             matcher.value() == required.second;
    });
    if (!there) return std::nullopt;
  }
  if (!config_.read_recent) {
    if (range.mint >= local_start) return std::nullopt;
    range.maxt = std::min(range.maxt, local_start);
  }
  return range;
}

base::Result<std::vector<ReadSeries>> ReadClient::Read(ReadRange range, const tsdb::Matchers& matchers) const {
  tsdb::Matchers asked = matchers;
  std::vector<std::string> added;
  for (const tsdb::Label& label : external_labels_) {
    if (!config_.filter_external_labels || Has(matchers, label.name)) continue;
    asked.push_back(tsdb::Matcher::Equal(label.name, label.value));
    added.push_back(label.name);
  }
  queries_.Add();
  auto response = Ask(RequestBody(range, asked));
  auto series = response.ok() ? Parse(*response, range) : response.status();
  if (!series.ok()) {
    failures_.Add();
    return series.status().Annotate("remote read from " + config_.url);
  }
  for (ReadSeries& one : *series) {
    tsdb::LabelsBuilder builder(one.labels);
    for (const std::string& name : added) builder.Remove(name);
    if (!added.empty()) one.labels = builder.Build();
  }
  std::stable_sort(series->begin(), series->end(),
                   [](const ReadSeries& a, const ReadSeries& b) { return a.labels < b.labels; });
  return series;
}

base::Result<http::Response> ReadClient::Ask(std::string body) const {
  TW_ASSIGN_OR_RETURN(const auto client, transport_.Client(clock_.NowMs(), config_.url));
  auto promise = std::make_shared<std::promise<base::Result<http::Headers>>>();
  transport_.Authorize(clock_.NowMs(),
                       [promise](base::Result<http::Headers> headers) { promise->set_value(std::move(headers)); });
  TW_ASSIGN_OR_RETURN(const http::Headers authorization, promise->get_future().get());
  http::ClientRequest request;
  request.method = "POST";
  request.url = config_.url;
  request.headers = {{"Content-Encoding", "snappy"},
                     {"Accept-Encoding", "snappy"},
                     {"Content-Type", "application/x-protobuf"},
                     {"X-Prometheus-Remote-Read-Version", "0.1.0"}};
  for (const auto& [name, value] : config_.headers) request.headers.Add(name, value);
  for (const auto& [name, value] : authorization) request.headers.Add(name, value);
  request.body = std::move(body);
  request.accept_gzip = false;
  request.total_timeout_ms = config_.timeout_ms;
  request.max_body_bytes = kMaxReplyBytes;
  request.max_redirects = config_.http.follow_redirects ? 10 : 0;
  return client->Send(request);
}

base::Result<std::vector<ReadSeries>> ReadClient::Parse(const http::Response& response, ReadRange range) const {
  if (response.status != 200) {
    return base::UnavailableError("HTTP status " + std::to_string(response.status) + ": " +
                                  response.body.substr(0, 256));
  }
  ReadLimits limits;
  limits.frame_bytes = static_cast<size_t>(config_.chunked_read_limit);
  if (response.headers.Get("Content-Type").starts_with("application/x-streamed-protobuf")) {
    return ParseStreamedReply(response.body, range.mint, range.maxt, limits);
  }
  size_t size = 0;
  std::string message;
  if (!snappy::GetUncompressedLength(response.body.data(), response.body.size(), &size) || size > kMaxReplyBytes ||
      !snappy::Uncompress(response.body.data(), response.body.size(), &message)) {
    return base::DataLossError("the reply is not compressed by snappy, or too large");
  }
  return ParseSampledReply(message, range.mint, range.maxt, limits);
}

}  // namespace tidewright::remote
