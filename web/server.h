// WebServer: the web port. Prometheus API, autoscaling API, status page, health, and the program's own metrics.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/server.h"
#include "promql/engine.h"
#include "rules/manager.h"
#include "scaler/status_board.h"
#include "scrape/manager.h"
#include "tsdb/appender.h"
#include "tsdb/db.h"
#include "tsdb/querier.h"
#include "web/admin_api.h"
#include "web/cors.h"
#include "web/federation.h"
#include "web/notification_feed.h"
#include "web/prometheus_api.h"
#include "web/remote_read.h"
#include "web/remote_write.h"
#include "web/rules_api.h"
#include "web/series_api.h"
#include "web/status_api.h"
#include "web/targets_api.h"
#include "web/web_config.h"

namespace tidewright::web {

// Which of several replicas scales.
struct LeaderStatus {
  bool elected = false;  // Otherwise there is one process, which leads.
  bool leads = false;    // This one does.
  std::string leader;    // "" while nobody does, or it is not known.
  std::string identity;  // Of this process.
};

// What the port shows. Borrowed; engine, board, metrics and clocks are required, the rest may be null or empty, which
// leaves its part out.
struct WebSources {
  promql::QueryEngine* engine = nullptr;
  tsdb::Db* store = nullptr;  // For metadata, exemplars, federation and remote read; `scrape` is left out without it.
  tsdb::Appendable* remote_write = nullptr;  // Takes what is written to /api/v1/write.
  tsdb::Db* admin_db = nullptr;              // What the admin API may change; null switches it off.
  std::string data_directory;                // Of the store.
  const scaler::StatusBoard* board = nullptr;
  base::MetricRegistry* metrics = nullptr;
  base::Clock* clock = nullptr;
  base::Clock* calendar = nullptr;  // Shown on the page where it differs from the clock.
  scrape::Manager* scrape = nullptr;
  rules::Manager* rules = nullptr;
  adapter::Adapter* adapter = nullptr;
  std::function<base::Status()> reload;                // POST /-/reload
  std::function<void()> quit;                          // POST /-/quit: asks the process to end; empty switches it off.
  std::function<base::Status()> ready;                 // /-/ready; empty is always ready.
  std::function<std::string()> config;                 // /api/v1/status/config: the YAML in force.
  std::function<std::vector<std::string>()> problems;  // More lines for the page's list of problems.
  std::function<LeaderStatus()> leader;                // /api/v1/status/leader; empty is a process that leads.
  std::function<tsdb::Labels()> external_labels;       // Added by federation and remote read.
  RulesApi::Alertmanagers alertmanagers;               // /api/v1/alertmanagers
  std::function<RuntimeStatus()> runtime;              // /api/v1/status/runtimeinfo
  std::map<std::string, std::string> flags;            // /api/v1/status/flags
  std::string cors_origin = ".*";                      // Origins that may read the API: an anchored expression.
  std::string config_file;                             // web/web_config.h; "": plain HTTP, open to everybody.
};

// Serves:
//   /  /query  /targets ...  /assets/...       the page (web/page.h)
//   /api/v1/query  /query_range ...            web/prometheus_api.h
//   /api/v1/series  /labels ...                web/series_api.h
//   /api/v1/targets ... /metadata              web/targets_api.h
//   /api/v1/rules  /alerts  /alertmanagers     web/rules_api.h
//   /api/v1/status/...  /features              web/status_api.h
//   /api/v1/status/leader                      {"elected", "leads", "leader", "identity"}
//   /api/v1/write                              web/remote_write.h, if there is where to write to
//   /api/v1/read  /federate                    web/remote_read.h, web/federation.h
//   /api/v1/admin/tsdb/...                     web/admin_api.h
//   /api/v1/autoscaling/workloads              web/autoscaling_api.h
//   /api/v1/autoscaling/decisions              the last that changed something, with their steps
//   /api/v1/autoscaling/metric-rules           the adapter's rules and what they list
//   /api/v1/autoscaling/explain  /check-adapter-config    web/metric_explanations.h
//   /metrics  /version  /-/healthy  /-/ready
//   /-/reload  /-/quit (POST and PUT)
// over HTTP, or HTTPS with basic authentication as the configuration file says (web/web_config.h). /api/v1/search/ and
// /api/v1/otlp/ answer as a Prometheus where they are switched off.
// Thread-safe.
class WebServer {
 public:
  explicit WebServer(WebSources sources);
  ~WebServer();  // Stop().

  base::Status Start(const std::string& address, uint16_t port);
  void Stop();  // Idempotent.
  uint16_t port() const { return port_; }

  // Looks whether other problems are known than before, for those who follow /api/v1/notifications/live.
  void ProblemsChanged() { notifications_.Refresh(); }

  // Answers one request, but for streams. Needs no Start().
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Route(const http::ServerRequest& request);
  http::Response Api(const http::ServerRequest& request);
  http::Response OwnApi(const http::ServerRequest& request);
  void Answer(const http::ServerRequest& request, http::Responder& responder);
  http::Response Page(const http::ServerRequest& request);
  http::Response Control(const http::ServerRequest& request);
  http::Response Change(const http::ServerRequest& request);
  void RefreshTls();

  const WebSources sources_;
  WebGuard guard_;
  const Cors cors_;
  PrometheusApi prometheus_api_;
  SeriesApi series_api_;
  NotificationFeed notifications_;
  StatusApi status_api_;
  RulesApi rules_api_;
  AdminApi admin_api_;
  std::optional<RemoteRead> remote_read_;
  std::optional<Federation> federation_;
  std::unique_ptr<RemoteWriteReceiver> remote_write_;
  std::optional<TargetsApi> targets_api_;
  std::atomic<bool> quitting_{false};
  uint16_t port_ = 0;
  std::unique_ptr<http::Server> server_;
};

}  // namespace tidewright::web
