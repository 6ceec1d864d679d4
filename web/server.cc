#include "web/server.h"

#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "web/api_error.h"
#include "web/autoscaling_api.h"
#include "web/metric_explanations.h"
#include "web/page.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kApiPrefix = "/api/v1/";
constexpr std::string_view kWritePath = "/api/v1/write";
constexpr std::string_view kCheckRulesPath = "/api/v1/autoscaling/check-adapter-config";
constexpr std::string_view kReadPath = "/api/v1/read";
constexpr std::string_view kOtlpPrefix = "/api/v1/otlp/";
constexpr std::string_view kSearchPrefix = "/api/v1/search/";
constexpr std::string_view kLivePath = "/api/v1/notifications/live";
constexpr std::string_view kFederatePath = "/federate";
constexpr size_t kMaxWriteBytes = 32 << 20;  // Of a body; as many as it may have decompressed.

http::Response JsonDocument(const base::Json& document) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson(document);
  return response;
}

// The last decisions that changed something, of one object or of all.
http::Response DecisionsReply(const scaler::StatusBoard& board, const http::QueryParams& query) {
  constexpr int64_t kDefaultLimit = 100;
  int64_t limit = kDefaultLimit;
  const std::string wanted = http::QueryValue(query, "limit");
  if (!wanted.empty() && (!base::ParseInt64(wanted, &limit) || limit < 1)) {
    return PlainError(400, "limit: " + base::Quoted(wanted) + " is not a positive number");
  }
  return JsonSuccess(DecisionsJson(board.Decisions(http::QueryValue(query, "namespace"),
                                                   http::QueryValue(query, "name"), static_cast<size_t>(limit))));
}

base::Json LeaderJson(const WebSources& sources) {
  LeaderStatus status{false, true, "", ""};
  if (sources.leader) status = sources.leader();
  return {
      {"elected", status.elected}, {"leads", status.leads}, {"leader", status.leader}, {"identity", status.identity}};
}

bool Reads(const std::string& method) { return method == "GET" || method == "HEAD"; }

StatusSources StatusSourcesOf(const WebSources& sources, NotificationFeed& notifications) {
  StatusSources status;
  status.clock = sources.clock;
  status.db = sources.store;
  status.data_directory = sources.data_directory;
  status.flags = sources.flags;
  status.config = sources.config;
  status.runtime = sources.runtime;
  status.notifications = [&notifications] { return notifications.Current(); };
  status.api_features = {{"admin", sources.admin_db != nullptr},
                         {"lifecycle", sources.quit != nullptr},
                         {"remote_write_receiver", sources.remote_write != nullptr},
                         {"otlp_write_receiver", false},
                         {"search", false},
                         {"exclude_alerts", true},
                         {"label_values_match", true},
                         {"query_stats", true},
                         {"query_warnings", true},
                         {"time_range_labels", true},
                         {"time_range_series", true}};
  return status;
}

}  // namespace

WebServer::WebServer(WebSources sources)
    : sources_(std::move(sources)),
      guard_(sources_.config_file),
      cors_(sources_.cors_origin),
      prometheus_api_(*sources_.engine, *sources_.clock),
      series_api_(*sources_.engine, sources_.store),
      notifications_(sources_.problems, *sources_.clock),
      status_api_(StatusSourcesOf(sources_, notifications_)),
      rules_api_(sources_.rules, sources_.alertmanagers),
      admin_api_(sources_.admin_db, sources_.data_directory, *sources_.clock) {
  if (sources_.remote_write != nullptr) {
    remote_write_ = std::make_unique<RemoteWriteReceiver>(*sources_.remote_write, *sources_.clock, *sources_.metrics);
  }
  if (sources_.store == nullptr) return;
  remote_read_.emplace(*sources_.store, sources_.external_labels);
  federation_.emplace(*sources_.store, *sources_.clock, sources_.external_labels);
  if (sources_.scrape != nullptr) targets_api_.emplace(*sources_.scrape, *sources_.store);
}

WebServer::~WebServer() { Stop(); }

base::Status WebServer::Start(const std::string& address, uint16_t port) {
  TW_RETURN_IF_ERROR(guard_.Load());
  TW_RETURN_IF_ERROR(cors_.status().Annotate("--web.cors.origin"));
  http::ServerOptions options;
  options.name = "web";
  options.worker_threads = 4;
  options.tls = guard_.has_tls();
  if (remote_write_ != nullptr) options.max_body_bytes = kMaxWriteBytes;
  TW_ASSIGN_OR_RETURN(server_, http::Server::Create(options, [this](const http::ServerRequest& request,
                                                                    const std::shared_ptr<http::Responder>& responder) {
                        Answer(request, *responder);
                      }));
  if (options.tls) {
    bool changed = false;
    TW_ASSIGN_OR_RETURN(http::ServerTls tls, guard_.Tls(&changed));
    TW_RETURN_IF_ERROR(server_->SetTls(tls).Annotate(sources_.config_file));
  }
  auto bound = server_->Listen(address, port);
  if (!bound.ok()) return bound.status().Annotate("web port");
  port_ = *bound;
  return base::Status::Ok();
}

// What the file names now holds for the next connection.
void WebServer::RefreshTls() {
  if (server_ == nullptr || !guard_.has_tls()) return;
  bool changed = false;
  auto tls = guard_.Tls(&changed);
  if (!tls.ok() || !changed) return;  // Errors have been logged; requests are refused meanwhile.
  base::Status set = server_->SetTls(*tls);
  if (!set.ok()) base::LogError("web", "new certificates not taken", {{"error", set.message()}});
}

// A request for the stream that is allowed has no content by itself.
void WebServer::Answer(const http::ServerRequest& request, http::Responder& responder) {
  http::Response reply = Handle(request);
  const bool streams = request.path == kLivePath && request.method == "GET" && reply.status == 204;
  if (streams) return notifications_.Subscribe(std::move(reply.headers), responder);
  responder.Reply(std::move(reply));
}

void WebServer::Stop() {
  notifications_.Close();
  if (server_ != nullptr) server_->Stop();
}

http::Response WebServer::Handle(const http::ServerRequest& request) {
  RefreshTls();
  std::optional<http::Response> refusal = guard_.Refuse(request);
  http::Response response = refusal ? *std::move(refusal) : Route(request);
  guard_.AddHeaders(&response);
  return response;
}

http::Response WebServer::Route(const http::ServerRequest& request) {
  if (request.path.rfind("/-/", 0) == 0) return Control(request);
  if (request.path == kFederatePath && federation_) return federation_->Handle(request);
  if (request.path.rfind(kApiPrefix, 0) != 0) return Page(request);
  http::Response response = request.method == "OPTIONS" ? NoContent() : Api(request);
  cors_.AddHeaders(request, &response);
  return response;
}

http::Response WebServer::Page(const http::ServerRequest& request) {
  if (!Reads(request.method)) return MethodNotAllowed("GET");
  if (request.path == "/metrics") {
    http::Response response = PlainText(200, sources_.metrics->Render());
    response.headers.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    return response;
  }
  if (request.path == "/version") return PlainText(200, base::DumpJson(BuildInfoJson()) + "\n");
  const PageFile* file = FindPageFile(request.path);
  return file != nullptr ? PageReply(*file, request.headers) : PlainError(404, "404 page not found");
}

http::Response WebServer::Control(const http::ServerRequest& request) {
  if (request.path == "/-/healthy" && Reads(request.method)) return PlainText(200, "Tidewright is Healthy.\n");
  if (request.path == "/-/ready" && Reads(request.method)) {
    base::Status ready = sources_.ready ? sources_.ready() : base::Status::Ok();
    if (ready.ok()) return PlainText(200, "Tidewright is Ready.\n");
    http::Response response = PlainText(503, ready.message() + "\n");
    response.headers.Set("X-Prometheus-Stopping", "false");
    return response;
  }
  if (request.path == "/-/reload" || request.path == "/-/quit") return Change(request);
  return PlainError(404, "404 page not found");
}

http::Response WebServer::Change(const http::ServerRequest& request) {
  if (request.method != "POST" && request.method != "PUT") return PlainText(405, "Only POST or PUT requests allowed");
  if (request.path == "/-/quit") {
    if (!sources_.quit) return PlainText(403, "Lifecycle API is not enabled.");
    if (quitting_.exchange(true)) return PlainText(200, "Termination already in progress.");
    sources_.quit();
    return PlainText(200, "Requesting termination... Goodbye!");
  }
  if (!sources_.reload) return PlainText(403, "Lifecycle API is not enabled.");
  base::Status reloaded = sources_.reload();
  return reloaded.ok() ? PlainText(200, "") : PlainText(500, "failed to reload config: " + reloaded.message() + "\n");
}

http::Response WebServer::Api(const http::ServerRequest& request) {
  const std::string& path = request.path;
  if (PrometheusApi::Handles(path)) return prometheus_api_.Handle(request);
  if (SeriesApi::Handles(path)) return series_api_.Handle(request);
  if (RulesApi::Handles(path)) return rules_api_.Handle(request);
  if (AdminApi::Handles(path)) return admin_api_.Handle(request);
  if (status_api_.Handles(path)) return status_api_.Handle(request);
  if (path == kReadPath && remote_read_) return remote_read_->Handle(request);
  if (path == kWritePath) {
    if (remote_write_ != nullptr) return remote_write_->Handle(request);
    return PlainError(404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver");
  }
  if (path.rfind(kOtlpPrefix, 0) == 0) return PlainError(404, "there is no receiver of OTLP");
  if (path.rfind(kSearchPrefix, 0) == 0) {
    return ErrorReply(base::UnavailableError("search API disabled"), ErrorSource::kRequest);
  }
  if (path == kCheckRulesPath && sources_.adapter != nullptr && request.method == "POST") {
    return CheckAdapterConfig(*sources_.adapter, request);
  }
  if (!Reads(request.method)) return MethodNotAllowed("GET");
  if (targets_api_ && TargetsApi::Handles(path)) return targets_api_->Handle(request);
  return OwnApi(request);
}

// What Prometheus does not have.
http::Response WebServer::OwnApi(const http::ServerRequest& request) {
  const std::string name = request.path.substr(kApiPrefix.size());
  if (name == "autoscaling/workloads") {
    int64_t now = sources_.clock->NowMs();
    int64_t calendar = sources_.calendar != nullptr ? sources_.calendar->NowMs() : now;
    base::Json report = AutoscalingReport(sources_.board->Snapshot(), now, calendar);
    report["leader"] = LeaderJson(sources_);
    if (sources_.problems) {
      for (const std::string& problem : sources_.problems()) report["problems"].push_back(problem);
    }
    return JsonDocument(report);
  }
  if (name == "autoscaling/explain" && sources_.adapter != nullptr) return ExplainMetric(*sources_.adapter, request);
  if (name == "autoscaling/decisions") return DecisionsReply(*sources_.board, request.query);
  if (name == "autoscaling/metric-rules" && sources_.adapter != nullptr) {
    return JsonSuccess(MetricRulesJson(sources_.adapter->Rules()));
  }
  if (name == "status/leader") return JsonSuccess(LeaderJson(sources_));
  if (!name.ends_with('/')) return PlainError(404, "404 page not found");
  http::Response moved = PlainText(301, "");
  moved.headers.Set("Location", std::string(kApiPrefix) + name.substr(0, name.size() - 1));
  return moved;
}

}  // namespace tidewright::web
