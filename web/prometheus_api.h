// The Prometheus HTTP API, as far as queries go: what Grafana, promtool and `curl` ask.
#pragma once

#include <atomic>
#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "promql/engine.h"

namespace tidewright::web {

// Answers /api/v1/{query,query_range,format_query,parse_query}. A query ends early
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

  promql::QueryEngine& engine_;
  base::Clock& clock_;
};

// {"resultType":...,"result":...} with times in seconds and values as strings.
std::string RenderValue(const promql::Value& value);

}  // namespace tidewright::web
