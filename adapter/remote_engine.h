// A Prometheus-compatible server, or several that know the same, as a promql::QueryEngine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/client.h"
#include "http/message.h"
#include "promql/engine.h"

namespace tidewright::adapter {

struct RemoteEngineOptions {
  // http(s)://host[:port][/prefix], in order of preference. User info in an address authenticates (basic).
  std::vector<std::string> urls;
  http::ClientTls tls;
  http::Headers headers;        // Sent with each request, for instance X-Scope-OrgID.
  std::string token_file;       // Its content is sent as bearer token; read again each minute.
  int64_t timeout_ms = 10'000;  // Of one request to one server.
};

// Asks by POST, so that queries may be long. A server that cannot be reached, or answers with 5xx or 429, is passed
// over for the next one, and not tried first for half a minute; what a server says about the query itself (400, 422) is
// the answer. Counts tidewright_adapter_remote_requests_total{result}. Errors: as QueryEngine; kUnavailable names what
// each server said. Thread-safe. Borrows clock and metrics.
base::Result<std::unique_ptr<promql::QueryEngine>> NewRemoteEngine(RemoteEngineOptions options, base::Clock& clock,
                                                                   base::MetricRegistry& metrics);

}  // namespace tidewright::adapter
