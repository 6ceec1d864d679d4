#include "scrape/target.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "base/strings.h"
#include "http/message.h"

namespace tidewright::scrape {
namespace {

constexpr std::string_view kParamPrefix = "__param_";
constexpr uint64_t kSlotsOfInterval = 40;
constexpr uint64_t kLongestSlotMs = 250;
constexpr std::string_view kHistogramLabels[] = {
    "__convert_classic_histograms_to_nhcb__", "__always_scrape_classic_histograms__", "__scrape_native_histograms__"};

std::string_view BoolText(bool value) { return value ? "true" : "false"; }

tsdb::LabelsBuilder DiscoveredLabels(const ScrapeConfig& config, const tsdb::Labels& target,
                                     const tsdb::Labels& group) {
  tsdb::LabelsBuilder labels(target);
  auto fill = [&](std::string_view name, std::string_view value) {
    if (labels.Get(name).empty()) labels.Set(name, value);
  };
  for (const tsdb::Label& label : group) fill(label.name, label.value);
  fill("job", config.job_name);
  fill("__scrape_interval__", base::FormatDuration(config.scrape_interval));
  fill("__scrape_timeout__", base::FormatDuration(config.scrape_timeout));
  fill("__metrics_path__", config.metrics_path);
  fill("__scheme__", config.scheme);
  fill(kHistogramLabels[0], BoolText(config.convert_classic_histograms));
  fill(kHistogramLabels[1], BoolText(config.always_classic_histograms));
  fill(kHistogramLabels[2], BoolText(config.native_histograms));
  for (const auto& [name, values] : config.params) {
    if (!values.empty()) fill(std::string(kParamPrefix) + name, values[0]);
  }
  return labels;
}

// Characters that Go's net/url leaves alone, beside letters and digits.
constexpr std::string_view kPathCharacters = "-_.~$&+,/:;=@";
constexpr std::string_view kHostCharacters = "-_.~!$&'()*+,;=:[]<>\"";

// "a b" -> "a%20b". In a host this also keeps "user@" from becoming credentials.
std::string Escape(std::string_view text, std::string_view allowed) {
  std::string out;
  for (char c : text) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || allowed.find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : http::PercentEncode(std::string_view(&c, 1));
  }
  return out;
}

std::string EscapeQuery(std::string_view text) {
  std::string out = http::PercentEncode(text);
  for (size_t at = out.find("%20"); at != std::string::npos; at = out.find("%20", at)) out.replace(at, 3, "+");
  return out;
}

std::string QueryOf(const ScrapeConfig& config, const tsdb::Labels& labels) {
  std::map<std::string, std::vector<std::string>> params = config.params;
  for (const tsdb::Label& label : labels) {
    if (label.name.rfind(kParamPrefix, 0) != 0) continue;
    std::vector<std::string>& values = params[label.name.substr(kParamPrefix.size())];
    if (values.empty()) values.emplace_back();
    values[0] = label.value;
  }
  std::string query;
  for (const auto& [name, values] : params) {
    for (const std::string& value : values) {
      query += (query.empty() ? "?" : "&") + EscapeQuery(name) + "=" + EscapeQuery(value);
    }
  }
  return query;
}

std::string UrlOf(const ScrapeConfig& config, const tsdb::Labels& labels) {
  std::string path = Escape(labels.Get("__metrics_path__"), kPathCharacters);
  if (!path.empty() && path[0] != '/') path = "/" + path;
  return std::string(labels.Get("__scheme__")) + "://" + Escape(labels.Get("__address__"), kHostCharacters) + path +
         QueryOf(config, labels);
}

base::Status ReadDuration(const tsdb::Labels& labels, std::string_view name, base::Duration* out) {
  auto parsed = base::ParseDuration(labels.Get(name));
  if (!parsed.ok()) return parsed.status().Annotate("label " + std::string(name));
  if (parsed->ms <= 0) return base::InvalidArgumentError("label " + std::string(name) + " is 0; use for example 30s");
  *out = *parsed;
  return base::Status::Ok();
}

// As Go's strconv.ParseBool; no label is false.
base::Status ReadBool(const tsdb::Labels& labels, std::string_view name, bool* out) {
  static constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"};
  static constexpr std::string_view kFalse[] = {"", "0", "f", "F", "FALSE", "false", "False"};
  std::string_view value = labels.Get(name);
  *out = std::find(std::begin(kTrue), std::end(kTrue), value) != std::end(kTrue);
  if (*out || std::find(std::begin(kFalse), std::end(kFalse), value) != std::end(kFalse)) return base::Status::Ok();
  return base::InvalidArgumentError("label " + std::string(name) + " is " + base::Quoted(value) +
                                    "; use true or false");
}

base::Status CheckLabels(const tsdb::Labels& labels, Target* target) {
  std::string_view address = labels.Get("__address__");
  if (address.empty()) return base::InvalidArgumentError("the target has no address; set the label __address__");
  if (address.find('/') != std::string_view::npos) {
    return base::InvalidArgumentError("address " + base::Quoted(address) +
                                      " is not host:port; use __scheme__ and __metrics_path__ for the rest");
  }
  TW_RETURN_IF_ERROR(ReadDuration(labels, "__scrape_interval__", &target->interval));
  TW_RETURN_IF_ERROR(ReadDuration(labels, "__scrape_timeout__", &target->timeout));
  if (target->timeout.ms > target->interval.ms) {
    return base::InvalidArgumentError("the scrape timeout of " + base::FormatDuration(target->timeout) +
                                      " is longer than the interval of " + base::FormatDuration(target->interval));
  }
  TW_RETURN_IF_ERROR(ReadBool(labels, kHistogramLabels[0], &target->convert_classic_histograms));
  TW_RETURN_IF_ERROR(ReadBool(labels, kHistogramLabels[1], &target->always_classic_histograms));
  TW_RETURN_IF_ERROR(ReadBool(labels, kHistogramLabels[2], &target->native_histograms));
  for (const tsdb::Label& label : labels) {
    if (!base::IsValidUtf8(label.value)) {
      return base::InvalidArgumentError("label " + label.name + " has a value that is not UTF-8");
    }
  }
  return base::Status::Ok();
}

tsdb::Labels VisibleLabels(const tsdb::Labels& labels) {
  std::vector<tsdb::Label> visible;
  for (const tsdb::Label& label : labels) {
    if (label.name.rfind("__", 0) != 0) visible.push_back(label);
  }
  return tsdb::Labels::FromPairs(std::move(visible));
}

struct ProtocolName {
  std::string_view name, media_type, parameters;
  bool escaping;  // Whether the format can carry every UTF-8 name, so that the wanted escaping is said.
};

constexpr ProtocolName kProtocols[] = {
    {"OpenMetricsText1.0.0", "application/openmetrics-text", ";version=1.0.0", true},
    {"OpenMetricsText0.0.1", "application/openmetrics-text", ";version=0.0.1", false},
    {"PrometheusText1.0.0", "text/plain", ";version=1.0.0", true},
    {"PrometheusText0.0.4", "text/plain", ";version=0.0.4", false},
    {"PrometheusProto", "application/vnd.google.protobuf",
     ";proto=io.prometheus.client.MetricFamily;encoding=delimited", false},
};

const ProtocolName* FindProtocol(std::string_view name) {
  for (const ProtocolName& protocol : kProtocols) {
    if (protocol.name == name) return &protocol;
  }
  return nullptr;
}

// Weights fall from 0.6 (one more than there are protocols, in tenths) in steps of 0.1; anything is better than
// nothing.
std::string AcceptHeader(const ScrapeConfig& config) {
  std::string accept;
  size_t weight = std::size(kProtocols) + 1;
  for (const std::string& name : config.protocols) {
    const ProtocolName* protocol = FindProtocol(name);
    if (protocol == nullptr) continue;
    accept += std::string(protocol->media_type) + std::string(protocol->parameters);
    if (protocol->escaping) accept += ";escaping=" + config.escaping;
    accept += ";q=0." + std::to_string(weight--) + ",";
  }
  return accept + "*/*;q=0." + std::to_string(weight);
}

std::string Seconds(base::Duration duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(duration.ms) / 1000);
  return text;
}

}  // namespace

uint64_t Target::Hash() const {
  uint64_t hash = labels.Hash();
  for (char c : url) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;  // FNV-1a.
  return hash;
}

TargetResult BuildTarget(const ScrapeConfig& config, const tsdb::Labels& target, const tsdb::Labels& group) {
  TargetResult result;
  tsdb::LabelsBuilder builder = DiscoveredLabels(config, target, group);
  result.discovered = builder.Build();
  if (!Relabel(config.relabel_rules, &builder, &result.dropped_by)) return result;
  if (builder.Build().empty()) return result;
  if (builder.Get("instance").empty()) builder.Set("instance", builder.Get("__address__"));
  tsdb::Labels labels = builder.Build();
  Target built;
  result.error = CheckLabels(labels, &built);
  if (!result.error.ok()) return result;
  built.labels = VisibleLabels(labels);
  built.url = UrlOf(config, labels);
  result.target = std::move(built);
  return result;
}

http::ClientRequest BuildRequest(const ScrapeConfig& config, const Target& target) {
  http::ClientRequest request;
  request.url = target.url;
  request.headers.Add("Accept", AcceptHeader(config));
  request.headers.Add("X-Prometheus-Scrape-Timeout-Seconds", Seconds(target.timeout));
  if (!config.enable_compression) request.headers.Add("Accept-Encoding", "identity");
  request.accept_gzip = config.enable_compression;
  request.connect_timeout_ms = target.timeout.ms;
  request.total_timeout_ms = target.timeout.ms;
  request.max_redirects = config.http.follow_redirects ? 10 : 0;
  // One byte less than the limit is the most that passes.
  if (config.limits.body_size > 0) request.max_body_bytes = static_cast<size_t>(config.limits.body_size - 1);
  return request;
}

std::string ProtocolMediaType(const std::string& protocol) {
  const ProtocolName* found = FindProtocol(protocol);
  return found == nullptr ? "" : std::string(found->media_type);
}

int64_t FirstScrapeMs(const Target& target, int64_t now_ms) {
  auto interval = static_cast<uint64_t>(target.interval.ms);
  const uint64_t slot = std::clamp<uint64_t>(interval / kSlotsOfInterval, 1, kLongestSlotMs);
  uint64_t offset = target.Hash() % (interval / slot) * slot;
  uint64_t phase = static_cast<uint64_t>(now_ms) % interval;
  return now_ms + static_cast<int64_t>((offset + interval - phase) % interval);
}

int64_t SampleTimeMs(int64_t start_ms, int64_t planned_ms, base::Duration interval) {
  int64_t tolerance = std::min<int64_t>(2, interval.ms / 100);
  return std::llabs(start_ms - planned_ms) <= tolerance ? planned_ms : start_ms;
}

}  // namespace tidewright::scrape
