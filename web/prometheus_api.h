// The Prometheus HTTP API, as far as queries go: what Grafana, promtool and `curl` ask.
#pragma once

#include <atomic>
#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "promql/engine.h"

namespace tidewright::web {

// Answers /api/v1/{query,query_range,series,labels,label/<name>/values,format_query,parse_query}. A query ends early
// when its client goes away. Stateless; thread-safe. Borrows its arguments. Formats: Prometheus "HTTP API"
// documentation.
class PrometheusApi {
 public:
  PrometheusApi(promql::QueryEngine& engine, base::Clock& clock) : engine_(engine), clock_(clock) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Query(const http::QueryParams& params, const promql::QueryOrigin& origin,
                       const std::atomic<bool>* client_gone);
  http::Response QueryRange(const http::QueryParams& params, const promql::QueryOrigin& origin,
                            const std::atomic<bool>* client_gone);
  static http::Response FormatQuery(const http::QueryParams& params);
  http::Response Series(const http::QueryParams& params);
  http::Response Labels(const http::QueryParams& params);
  http::Response LabelValues(const std::string& name, const http::QueryParams& params);

  promql::QueryEngine& engine_;
  base::Clock& clock_;
};

// URL parameters and, for POST forms, those of the body.
base::Result<http::QueryParams> AllParams(const http::ServerRequest& request);

// Seconds since the epoch as a decimal, or RFC 3339; to milliseconds. The error names the parameter.
base::Result<int64_t> ParseApiTime(const std::string& name, const std::string& text);
// A number of seconds or a duration such as 5m; to milliseconds, > 0.
base::Result<int64_t> ParseApiDuration(const std::string& name, const std::string& text);

// {"resultType":...,"result":...} with times in seconds and values as strings.
std::string RenderValue(const promql::Value& value);

}  // namespace tidewright::web
