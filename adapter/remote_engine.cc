#include "adapter/remote_engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

using base::Json;

constexpr int64_t kAvoidMs = 30'000;
constexpr int64_t kTokenMs = 60'000;
constexpr size_t kMaxBodyBytes = 64 << 20;
constexpr const char* kNotPrometheus = "the reply is not what a Prometheus server sends";

struct Server {
  std::string base;       // Without a slash at its end.
  std::string shown;      // For messages: no user info.
  std::string user_info;  // "user:password", decoded.
  int64_t avoid_until_ms = 0;
};

// Seconds with milliseconds, as the API takes times.
std::string TimeText(int64_t ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%03lld", static_cast<long long>(ms / 1000), static_cast<long long>(ms % 1000));
  return text;
}

std::string Form(const http::QueryParams& parameters) {
  std::string body;
  for (const auto& [name, value] : parameters) {
    body += (body.empty() ? "" : "&") + http::PercentEncode(name) + "=" + http::PercentEncode(value);
  }
  return body;
}

std::string SelectorText(const promql::Matchers& matchers) {
  std::vector<std::string> parts;
  for (const promql::Matcher& matcher : matchers) parts.push_back(matcher.ToString());
  return "{" + base::Join(parts, ",") + "}";
}

base::Result<promql::Labels> ReadLabels(const Json& object) {
  if (!object.is_object()) return base::UnavailableError(kNotPrometheus);
  std::vector<tsdb::Label> labels;
  for (const auto& [name, value] : object.items()) {
    if (!value.is_string()) return base::UnavailableError(kNotPrometheus);
    labels.push_back({name, value.get<std::string>()});
  }
  return promql::Labels::FromPairs(std::move(labels));
}

base::Result<promql::Point> ReadPoint(const Json& pair) {
  promql::Point point;
  bool valid = pair.is_array() && pair.size() == 2 && pair[0].is_number() && pair[1].is_string() &&
               base::ParseDouble(pair[1].get_ref<const std::string&>(), &point.v);
  double seconds = valid ? pair[0].get<double>() : 0;
  if (!valid || !(std::abs(seconds) < 1e12)) return base::UnavailableError(kNotPrometheus);
  point.t = static_cast<int64_t>(std::llround(seconds * 1000));
  return point;
}

// Native histograms are no values for an autoscaler; they are left out.
base::Result<promql::Vector> ReadVector(const Json& result) {
  promql::Vector vector;
  for (const Json& item : result) {
    const Json* metric = base::Find(item, {"metric"});
    const Json* value = base::Find(item, {"value"});
    if (metric == nullptr) return base::UnavailableError(kNotPrometheus);
    if (value == nullptr) continue;
    promql::VectorSample sample;
    TW_ASSIGN_OR_RETURN(sample.labels, ReadLabels(*metric));
    TW_ASSIGN_OR_RETURN(sample.point, ReadPoint(*value));
    vector.push_back(std::move(sample));
  }
  return vector;
}

base::Result<promql::Matrix> ReadMatrix(const Json& result) {
  promql::Matrix matrix;
  for (const Json& item : result) {
    const Json* metric = base::Find(item, {"metric"});
    const Json* values = base::Find(item, {"values"});
    if (metric == nullptr) return base::UnavailableError(kNotPrometheus);
    promql::MatrixSeries series;
    TW_ASSIGN_OR_RETURN(series.labels, ReadLabels(*metric));
    if (values == nullptr || !values->is_array()) continue;
    for (const Json& pair : *values) {
      TW_ASSIGN_OR_RETURN(promql::Point point, ReadPoint(pair));
      series.points.push_back(point);
    }
    matrix.push_back(std::move(series));
  }
  return matrix;
}

base::Result<promql::QueryResult> ReadResult(const Json& data) {
  const Json* result = base::Find(data, {"result"});
  std::string type = base::FindString(data, {"resultType"});
  if (result == nullptr || !result->is_array()) return base::UnavailableError(kNotPrometheus);
  promql::QueryResult answer;
  if (type == "vector") {
    TW_ASSIGN_OR_RETURN(answer.value, ReadVector(*result));
  } else if (type == "matrix") {
    TW_ASSIGN_OR_RETURN(answer.value, ReadMatrix(*result));
  } else if (type == "scalar") {
    TW_ASSIGN_OR_RETURN(promql::Point point, ReadPoint(*result));
    answer.value = promql::Scalar{point};
  } else if (type == "string" && result->size() == 2 && (*result)[1].is_string()) {
    answer.value = promql::StringValue{0, (*result)[1].get<std::string>()};
  } else {
    return base::UnavailableError(kNotPrometheus);
  }
  return answer;
}

base::Result<std::vector<std::string>> ReadStrings(const Json& data) {
  std::vector<std::string> strings;
  if (data.is_null()) return strings;
  if (!data.is_array()) return base::UnavailableError(kNotPrometheus);
  for (const Json& item : data) {
    if (!item.is_string()) return base::UnavailableError(kNotPrometheus);
    strings.push_back(item.get<std::string>());
  }
  std::sort(strings.begin(), strings.end());
  return strings;
}

class RemoteEngine : public promql::QueryEngine {
 public:
  RemoteEngine(RemoteEngineOptions options, std::vector<Server> servers, std::unique_ptr<http::Client> client,
               base::Clock& clock, base::MetricRegistry& metrics)
      : options_(std::move(options)),
        client_(std::move(client)),
        clock_(clock),
        ok_(Requests(metrics, "success")),
        failed_(Requests(metrics, "error")),
        servers_(std::move(servers)) {}

  base::Result<promql::QueryResult> Instant(const std::string& expr, int64_t time_ms) override {
    TW_ASSIGN_OR_RETURN(Json data, Ask("/api/v1/query", {{"query", expr}, {"time", TimeText(time_ms)}}));
    return ReadResult(data);
  }
  base::Result<promql::QueryResult> Range(const std::string& expr, int64_t start_ms, int64_t end_ms,
                                          int64_t step_ms) override {
    TW_ASSIGN_OR_RETURN(
        Json data,
        Ask("/api/v1/query_range",
            {{"query", expr}, {"start", TimeText(start_ms)}, {"end", TimeText(end_ms)}, {"step", TimeText(step_ms)}}));
    return ReadResult(data);
  }
  base::Result<std::vector<promql::Labels>> Series(const std::vector<promql::Matchers>& selectors, int64_t start_ms,
                                                   int64_t end_ms) override {
    TW_ASSIGN_OR_RETURN(Json data, Ask("/api/v1/series", Parameters(selectors, start_ms, end_ms)));
    if (!data.is_array()) return base::UnavailableError(kNotPrometheus);
    std::vector<promql::Labels> series;
    for (const Json& item : data) {
      TW_ASSIGN_OR_RETURN(promql::Labels labels, ReadLabels(item));
      series.push_back(std::move(labels));
    }
    return series;
  }
  base::Result<std::vector<std::string>> LabelNames(const promql::Matchers& matchers, int64_t start_ms,
                                                    int64_t end_ms) override {
    TW_ASSIGN_OR_RETURN(Json data, Ask("/api/v1/labels", Parameters({matchers}, start_ms, end_ms)));
    return ReadStrings(data);
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const promql::Matchers& matchers,
                                                     int64_t start_ms, int64_t end_ms) override {
    // The one address that takes no POST.
    std::string path =
        "/api/v1/label/" + http::PercentEncode(name) + "/values?" + Form(Parameters({matchers}, start_ms, end_ms));
    TW_ASSIGN_OR_RETURN(Json data, Ask(path, {}));
    return ReadStrings(data);
  }

 private:
  static base::Counter& Requests(base::MetricRegistry& metrics, const char* result) {
    return metrics.GetCounter("tidewright_adapter_remote_requests_total",
                              "Requests to the servers of --query-url, by outcome.", {{"result", result}});
  }

  static http::QueryParams Parameters(const std::vector<promql::Matchers>& selectors, int64_t start_ms,
                                      int64_t end_ms) {
    http::QueryParams parameters = {{"start", TimeText(start_ms)}, {"end", TimeText(end_ms)}};
    for (const promql::Matchers& matchers : selectors) {
      if (!matchers.empty()) parameters.emplace_back("match[]", SelectorText(matchers));
    }
    return parameters;
  }

  base::Result<std::string> Token() {
    if (options_.token_file.empty()) return std::string();
    int64_t now = clock_.NowMs();
    base::MutexLock lock(mu_);
    if (token_read_ms_ != 0 && now - token_read_ms_ < kTokenMs) return token_;
    base::Result<std::string> text = base::ReadFile(options_.token_file);
    if (!text.ok() && token_read_ms_ != 0) return token_;
    if (!text.ok()) return text.status().Annotate("the token for --query-url");
    token_ = std::string(base::TrimSpace(*text));
    token_read_ms_ = now;
    return token_;
  }

  // In the order in which they should be tried: those that failed lately come last.
  std::vector<Server> Order() {
    int64_t now = clock_.NowMs();
    base::MutexLock lock(mu_);
    std::vector<Server> order = servers_;
    std::stable_partition(order.begin(), order.end(), [&](const Server& s) { return s.avoid_until_ms <= now; });
    return order;
  }

  void Note(const Server& server, bool well) {
    (well ? ok_ : failed_).Add();
    base::MutexLock lock(mu_);
    for (Server& own : servers_) {
      if (own.base == server.base) own.avoid_until_ms = well ? 0 : clock_.NowMs() + kAvoidMs;
    }
  }

  base::Result<Json> Ask(const std::string& path, const http::QueryParams& form) {
    TW_ASSIGN_OR_RETURN(std::string token, Token());
    std::string problems;
    for (const Server& server : Order()) {
      bool next = false;
      base::Result<Json> data = AskOne(server, path, form, token, &next);
      Note(server, !next);
      if (!next) return data;
      problems += (problems.empty() ? "" : "; ") + server.shown + ": " + data.status().message();
    }
    return base::UnavailableError(problems);
  }

  base::Result<Json> AskOne(const Server& server, const std::string& path, const http::QueryParams& form,
                            const std::string& token, bool* next) {
    http::ClientRequest request;
    request.url = server.base + path;
    request.headers = options_.headers;
    if (!form.empty()) {
      request.method = "POST";
      request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
      request.body = Form(form);
    }
    if (!server.user_info.empty()) {
      request.headers.Set("Authorization", "Basic " + base::Base64Encode(server.user_info));
    }
    if (!token.empty()) request.headers.Set("Authorization", "Bearer " + token);
    request.total_timeout_ms = options_.timeout_ms;
    request.max_body_bytes = kMaxBodyBytes;
    base::Result<http::Response> reply = client_->Send(request);
    *next = !reply.ok();
    if (!reply.ok()) return reply.status();
    return Read(*reply, next);
  }

  static base::Result<Json> Read(const http::Response& reply, bool* next) {
    base::Result<Json> json = base::ParseJson(reply.body);
    bool success = json.ok() && reply.status / 100 == 2 && base::FindString(*json, {"status"}) == "success";
    if (success) {
      const Json* data = base::Find(*json, {"data"});
      return data != nullptr ? *data : Json();
    }
    std::string error = json.ok() ? base::FindString(*json, {"error"}) : "";
    if (error.empty()) error = "status " + std::to_string(reply.status);
    // About the query, and not about the server.
    if (json.ok() && (reply.status == 400 || reply.status == 422)) return base::InvalidArgumentError(error);
    *next = true;
    return base::UnavailableError(error);
  }

  const RemoteEngineOptions options_;
  const std::unique_ptr<http::Client> client_;
  base::Clock& clock_;
  base::Counter& ok_;
  base::Counter& failed_;
  base::Mutex mu_;
  std::vector<Server> servers_ GUARDED_BY(mu_);
  std::string token_ GUARDED_BY(mu_);
  int64_t token_read_ms_ GUARDED_BY(mu_) = 0;
};

}  // namespace

base::Result<std::unique_ptr<promql::QueryEngine>> NewRemoteEngine(RemoteEngineOptions options, base::Clock& clock,
                                                                   base::MetricRegistry& metrics) {
  std::vector<Server> servers;
  for (const std::string& text : options.urls) {
    base::Result<http::Url> url = http::Url::Parse(text);
    if (!url.ok()) return url.status().Annotate("--query-url");
    Server server;
    TW_ASSIGN_OR_RETURN(server.user_info, http::PercentDecode(url->user_info));
    if (!server.user_info.empty() && !options.token_file.empty()) {
      return base::InvalidArgumentError("--query-url has a user, and there is a token file: use one of them");
    }
    server.base = url->ToString();
    while (server.base.ends_with('/')) server.base.pop_back();
    server.shown = server.base;
    servers.push_back(std::move(server));
  }
  if (servers.empty()) return base::InvalidArgumentError("--query-url names no server");
  http::ClientOptions client_options;
  client_options.tls = options.tls;
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCurlClient(client_options));
  return std::unique_ptr<promql::QueryEngine>(
      std::make_unique<RemoteEngine>(std::move(options), std::move(servers), std::move(client), clock, metrics));
}

}  // namespace tidewright::adapter
