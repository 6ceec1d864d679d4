// The prometheus trigger: the value of a PromQL query, asked of the embedded store or of a Prometheus-compatible
// server.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "http/message.h"
#include "scaler/trigger/embedded_query.h"
#include "scaler/trigger/empty_result.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr size_t kShownQuery = 60;
constexpr int64_t kBurstMs = 100;

struct PrometheusConfig {
  std::string server;  // "": the embedded store.
  std::string query;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
  std::string ns;
  http::QueryParams parameters;
  http::Headers headers;
  bool ignore_null = true;
  int64_t null_window_ms = EmptyResult::kDefaultWindowMs;
  bool on_samples = false;  // evaluateOn: samples.
};

// What is not needed once the trigger is made.
struct PrometheusMetadata : PrometheusConfig {
  HttpAccess from_server;  // User name and password that stand in the address.
};

base::Status ParseWindow(const std::string& value, int64_t* ms) {
  constexpr int64_t kMaxWindowMs = 3'600'000;
  auto window = base::ParseGoDuration(value);
  if (!window.ok()) return window.status();
  if (window->ms < 0 || window->ms > kMaxWindowMs) {
    return base::InvalidArgumentError(base::Quoted(value) + " is out of range; use 0s to 1h, for example 5m");
  }
  *ms = window->ms;
  return base::Status::Ok();
}

// "a=b,c=d"
template <typename Add>
base::Status ParsePairs(const std::string& value, const Add& add) {
  for (const std::string& part : base::Split(value, ',')) {
    size_t equals = part.find('=');
    std::string_view name = base::TrimSpace(std::string_view(part).substr(0, equals));
    if (equals == std::string::npos || name.empty()) {
      return base::InvalidArgumentError(base::Quoted(part) + " is not of the form name=value");
    }
    add(std::string(name), std::string(base::TrimSpace(part.substr(equals + 1))));
  }
  return base::Status::Ok();
}

base::Status ParseEvaluateOn(const std::string& value, PrometheusMetadata& config) {
  config.on_samples = value == "samples";
  if (value == "samples" || value == "interval") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a time to evaluate at; use interval or samples");
}

constexpr Field<PrometheusMetadata> kFields[] = {
    {"serverAddress", Need::kOptional, From::kAny,
     [](const std::string& value, PrometheusMetadata& config) {
       return ParseHttpAddress(value, &config.server, &config.from_server);
     },
     "A Prometheus-compatible server. Without it the embedded store is asked."},
    {"query", Need::kRequired, From::kMetadata,
     [](const std::string& value, PrometheusMetadata& config) { return Keep(value, &config.query); },
     "PromQL with one number as its result."},
    {"threshold", Need::kTarget, From::kDecision,
     [](const std::string& value, PrometheusMetadata& config) {
       return ParsePositiveMilli(value, &config.target_milli);
     },
     "The value per replica."},
    {"activationThreshold", Need::kOptional, From::kDecision,
     [](const std::string& value, PrometheusMetadata& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"ignoreNullValues", Need::kOptional, From::kMetadata,
     [](const std::string& value, PrometheusMetadata& config) { return ParseFlag(value, &config.ignore_null); },
     "An empty result is 0 (default true) or a failure."},
    {"nullValueWindow", Need::kOptional, From::kMetadata,
     [](const std::string& value, PrometheusMetadata& config) { return ParseWindow(value, &config.null_window_ms); },
     "How long an empty result has to last until it is 0; before, the value is missing, and nothing is scaled down. "
     "Default 5m; 0s: at once."},
    {"namespace", Need::kOptional, From::kMetadata,
     [](const std::string& value, PrometheusMetadata& config) { return Keep(value, &config.ns); },
     "Sent as the parameter namespace, for gateways that need it."},
    {"queryParameters", Need::kOptional, From::kMetadata,
     [](const std::string& value, PrometheusMetadata& config) {
       return ParsePairs(value, [&](std::string name, std::string text) {
         config.parameters.emplace_back(std::move(name), std::move(text));
       });
     },
     "More parameters: `a=1,b=2`."},
    {"evaluateOn", Need::kOptional, From::kMetadata, &ParseEvaluateOn,
     "`interval` (default), or `samples`: also 100 ms after samples of the query's metrics were stored. Only for the "
     "embedded store."},
    {"customHeaders", Need::kOptional, From::kAny,
     [](const std::string& value, PrometheusMetadata& config) {
       return ParsePairs(
           value, [&](std::string name, std::string text) { config.headers.Add(std::move(name), std::move(text)); });
     },
     "More headers: `X-Scope-OrgID=shop`."},
    {"awsRegion", Need::kOptional, From::kAny, nullptr},
    {"identityOwner", Need::kOptional, From::kAny, nullptr},
};

base::Result<double> SampleValue(const base::Json& pair) {
  double value = 0;
  bool valid = pair.is_array() && pair.size() == 2 && pair[1].is_string() &&
               base::ParseDouble(pair[1].get_ref<const std::string&>(), &value);
  if (!valid) return base::UnavailableError("the reply is not what a Prometheus server sends");
  return value;
}

base::Result<std::optional<double>> ParseReply(const std::string& body) {
  TW_ASSIGN_OR_RETURN(base::Json reply, base::ParseJson(body));
  const base::Json* result = base::Find(reply, {"data", "result"});
  std::string type = base::FindString(reply, {"data", "resultType"});
  if (result == nullptr || !result->is_array()) {
    return base::UnavailableError("the reply is not what a Prometheus server sends");
  }
  if (type == "scalar") {
    TW_ASSIGN_OR_RETURN(double value, SampleValue(*result));
    return std::optional(value);
  }
  if (type != "vector") return base::FailedPreconditionError("the query gives a " + type + " instead of a vector");
  if (result->empty()) return std::optional<double>();
  if (result->size() > 1) return TooManySeries(result->size());
  const base::Json* pair = base::Find((*result)[0], {"value"});
  if (pair == nullptr) return base::UnavailableError("the reply is not what a Prometheus server sends");
  TW_ASSIGN_OR_RETURN(double value, SampleValue(*pair));
  return std::optional(value);
}

// The time of the last sample in the reply to a range query; none where there is no series.
base::Result<std::optional<int64_t>> ParseLastTime(const std::string& body) {
  TW_ASSIGN_OR_RETURN(base::Json reply, base::ParseJson(body));
  const base::Json* result = base::Find(reply, {"data", "result"});
  if (result == nullptr || !result->is_array()) {
    return base::UnavailableError("the reply is not what a Prometheus server sends");
  }
  std::optional<int64_t> last_ms;
  for (const base::Json& series : *result) {
    for (const char* kind : {"values", "histograms"}) {
      const base::Json* samples = base::Find(series, {kind});
      if (samples == nullptr || !samples->is_array() || samples->empty()) continue;
      const base::Json& newest = samples->back();
      if (!newest.is_array() || newest.empty() || !newest[0].is_number()) {
        return base::UnavailableError("the reply is not what a Prometheus server sends");
      }
      last_ms =
          std::max<int64_t>(last_ms.value_or(0), std::llround(std::clamp(newest[0].get<double>(), 0.0, 1e12) * 1000));
    }
  }
  return last_ms;
}

class PrometheusTrigger : public Trigger {
 public:
  PrometheusTrigger(TriggerInfo info, PrometheusConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)),
        config_(std::move(config)),
        context_(context),
        embedded_(config_.query, context),
        source_(config_.server.empty() ? nullptr : std::make_unique<HttpSource>(std::move(access), context)),
        empty_(config_.null_window_ms) {}

  // Samples come in bursts, one commit for each target: a burst is one reading.
  void Push(Hasten hasten) override {
    if (!config_.on_samples || context_.arrivals == nullptr) return;
    auto tell = [hasten = std::move(hasten), clock = context_.control,
                 quiet = std::make_shared<std::atomic<int64_t>>(0)] {
      const int64_t now_ms = clock->NowMs();
      if (now_ms < quiet->load(std::memory_order_relaxed)) return;
      quiet->store(now_ms + kBurstMs, std::memory_order_relaxed);
      hasten(kBurstMs);
    };
    auto watch = context_.arrivals->Watch(config_.query, std::move(tell));
    if (watch.ok()) watch_ = *std::move(watch);  // What could go wrong was checked.
  }

  base::Result<Reading> Read() override {
    base::Result<std::optional<double>> value = config_.server.empty() ? embedded_.Read() : Remote();
    if (!value.ok()) return value.status();
    if (!*value) return Empty();
    empty_.SawResult(context_.control->NowMs());
    double number = **value;
    // No number, or one without bound, says nothing about how many replicas are needed.
    if (!std::isfinite(number)) {
      return base::FailedPreconditionError("the query gives " + base::FormatDouble(number) +
                                           ", which is not a number to scale by");
    }
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(number));
    return Reading{milli, "query = " + base::FormatDouble(number)};
  }

 private:
  base::Result<Reading> Empty() {
    if (!config_.ignore_null) {
      return base::FailedPreconditionError("the query has no result (ignoreNullValues is false)");
    }
    TW_RETURN_IF_ERROR(empty_.Judge(context_.control->NowMs(), [this](int64_t start_ms, int64_t end_ms) {
      return config_.server.empty() ? embedded_.Past(start_ms, end_ms) : RemotePast(start_ms, end_ms);
    }));
    return Reading{0, "the query has no result, which counts as 0"};
  }

  base::Result<http::Response> Ask(const std::string& path, const http::QueryParams& times) {
    http::ClientRequest request;
    request.url = config_.server + path + "?query=" + http::PercentEncode(config_.query);
    http::QueryParams parameters = times;
    if (!config_.ns.empty()) parameters.emplace_back("namespace", config_.ns);
    parameters.insert(parameters.end(), config_.parameters.begin(), config_.parameters.end());
    for (const auto& [name, value] : parameters) {
      request.url += "&" + http::PercentEncode(name) + "=" + http::PercentEncode(value);
    }
    request.headers = config_.headers;
    return source_->Send(std::move(request));
  }

  base::Result<std::optional<double>> Remote() {
    TW_ASSIGN_OR_RETURN(http::Response response,
                        Ask("/api/v1/query", {{"time", base::FormatTime(context_.control->NowMs())}}));
    if (response.status / 100 != 2) return Refused(response);
    return ParseReply(response.body);
  }

  base::Result<PastResults> RemotePast(int64_t start_ms, int64_t end_ms) {
    TW_ASSIGN_OR_RETURN(http::Response response,
                        Ask("/api/v1/query_range", {{"start", base::FormatTime(start_ms)},
                                                    {"end", base::FormatTime(end_ms)},
                                                    {"step", std::to_string(EmptyResult::kStepMs / 1000)}}));
    // A gateway that knows no such request: then only our own readings tell.
    if (response.status / 100 == 4) return PastResults();
    if (response.status / 100 != 2) return Refused(response);
    TW_ASSIGN_OR_RETURN(std::optional<int64_t> last_ms, ParseLastTime(response.body));
    return PastResults{last_ms, start_ms};
  }

  static base::Status Refused(const http::Response& response) {
    auto body = base::ParseJson(response.body);
    std::string reason = body.ok() ? base::FindString(*body, {"error"}) : "";
    const bool refused = response.status == 401 || response.status == 403;
    if (reason.empty() && refused) reason = "check the credentials";
    const std::string text =
        "the server answered " + std::to_string(response.status) + (reason.empty() ? "" : ": " + reason.substr(0, 300));
    return response.status / 100 == 4 ? base::FailedPreconditionError(text) : base::UnavailableError(text);
  }

  const PrometheusConfig config_;
  const TriggerContext& context_;
  EmbeddedQuery embedded_;
  const std::unique_ptr<HttpSource> source_;  // Of the server; null for the embedded store.
  EmptyResult empty_;
  std::shared_ptr<void> watch_;  // Of the samples that the query looks at.
};

}  // namespace

std::unique_ptr<Trigger> MakePrometheus(const TriggerSpec& spec, MetadataReader& reader,
                                        const TriggerContext* context) {
  PrometheusMetadata config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  if (access.username.empty()) {
    access.username = config.from_server.username;
    access.password = config.from_server.password;
  }
  // A foreign server may know functions that we do not: only queries to ourselves can be checked here.
  bool embedded = spec.metadata.count("serverAddress") == 0 && spec.metadata.count("serverAddressFromEnv") == 0 &&
                  spec.authentication.empty();
  if (embedded && !config.query.empty()) {
    base::Status status = promql::CheckExpression(config.query);
    if (!status.ok()) {
      reader.Error("query", base::Quoted(config.query) + ": " + status.message());
    } else if (config.on_samples) {
      status = promql::MetricsOf(config.query).status();
      if (!status.ok()) reader.Error("evaluateOn", "samples: " + status.message() + "; use interval");
    }
  }
  if (config.on_samples && !embedded) {
    reader.Error("evaluateOn", "samples is for the embedded store; remove it, or serverAddress and authenticationRef");
  }
  if (context == nullptr) return nullptr;
  std::string shown = config.query.size() > kShownQuery ? config.query.substr(0, kShownQuery) + "..." : config.query;
  TriggerInfo info = InfoOf(spec, shown, "prometheus");
  info.source = ServerOf(config.server);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<PrometheusTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
