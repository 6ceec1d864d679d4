#include "web/server.h"

#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "web/api_error.h"
#include "web/autoscaling_api.h"
#include "web/metric_explanations.h"
#include "web/page.h"
#include "web/status_api.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kApiPrefix = "/api/v1/";
constexpr std::string_view kWritePath = "/api/v1/write";
constexpr std::string_view kCheckRulesPath = "/api/v1/autoscaling/check-adapter-config";
constexpr size_t kMaxWriteBytes = 32 << 20;  // Of a body; as many as it may have decompressed.

http::Response Text(int status, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  response.body = std::move(body);
  return response;
}

http::Response JsonDocument(const base::Json& document) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson(document);
  return response;
}

http::Response NotFound(const std::string& path) {
  return ErrorReply(base::NotFoundError("there is nothing at " + path), ErrorSource::kRequest);
}

http::Response Page(const PageFile& file) {
  http::Response response;
  response.headers.Set("Content-Type", std::string(file.content_type));
  // The page loads nothing but its own two files, and nobody may frame it.
  response.headers.Set("Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                       "frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
  response.headers.Set("X-Content-Type-Options", "nosniff");
  response.body = file.content;
  return response;
}

base::Json LeaderJson(const WebSources& sources) {
  LeaderStatus status{false, true, "", ""};
  if (sources.leader) status = sources.leader();
  return {
      {"elected", status.elected}, {"leads", status.leads}, {"leader", status.leader}, {"identity", status.identity}};
}

bool Reads(const std::string& method) { return method == "GET" || method == "HEAD"; }

}  // namespace

WebServer::WebServer(WebSources sources)
    : sources_(std::move(sources)),
      prometheus_api_(*sources_.engine, *sources_.clock),
      admin_api_(sources_.admin_db, sources_.data_directory, *sources_.clock) {
  if (sources_.remote_write != nullptr) {
    remote_write_ = std::make_unique<RemoteWriteReceiver>(*sources_.remote_write, *sources_.clock, *sources_.metrics);
  }
  if (sources_.scrape != nullptr && sources_.store != nullptr) targets_api_.emplace(*sources_.scrape, *sources_.store);
}

WebServer::~WebServer() { Stop(); }

base::Status WebServer::Start(const std::string& address, uint16_t port) {
  http::ServerOptions options;
  options.name = "web";
  options.worker_threads = 4;
  if (remote_write_ != nullptr) options.max_body_bytes = kMaxWriteBytes;
  TW_ASSIGN_OR_RETURN(server_, http::Server::Create(options, [this](const http::ServerRequest& request,
                                                                    const std::shared_ptr<http::Responder>& responder) {
                        responder->Reply(Handle(request));
                      }));
  auto bound = server_->Listen(address, port);
  if (!bound.ok()) return bound.status().Annotate("web port");
  port_ = *bound;
  return base::Status::Ok();
}

void WebServer::Stop() {
  if (server_ != nullptr) server_->Stop();
}

http::Response WebServer::Handle(const http::ServerRequest& request) {
  if (PrometheusApi::Handles(request.path)) return prometheus_api_.Handle(request);
  if (request.path == kWritePath && remote_write_ != nullptr) return remote_write_->Handle(request);
  if (AdminApi::Handles(request.path)) return admin_api_.Handle(request);
  if (request.path.rfind("/-/", 0) == 0) return Control(request);
  if (request.path == kCheckRulesPath && sources_.adapter != nullptr && request.method == "POST") {
    return CheckAdapterConfig(*sources_.adapter, request);
  }
  if (!Reads(request.method)) return Text(405, "only GET is possible here\n");
  if (targets_api_ && TargetsApi::Handles(request.path)) return targets_api_->Handle(request);
  if (request.path.rfind(kApiPrefix, 0) == 0) return Api(request);
  if (request.path == "/metrics") {
    http::Response response = Text(200, sources_.metrics->Render());
    response.headers.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
  }
  const PageFile* file = FindPageFile(request.path);
  return file != nullptr ? Page(*file) : NotFound(request.path);
}

http::Response WebServer::Control(const http::ServerRequest& request) {
  if (request.path == "/-/healthy" && Reads(request.method)) return Text(200, "Tidewright is Healthy.\n");
  if (request.path == "/-/ready" && Reads(request.method)) {
    base::Status ready = sources_.ready ? sources_.ready() : base::Status::Ok();
    return ready.ok() ? Text(200, "Tidewright is Ready.\n") : Text(503, ready.message() + "\n");
  }
  if (request.path != "/-/reload" || !sources_.reload) return NotFound(request.path);
  if (request.method != "POST" && request.method != "PUT") return Text(405, "use POST or PUT\n");
  base::Status reloaded = sources_.reload();
  return reloaded.ok() ? Text(200, "") : Text(500, "failed to reload config: " + reloaded.message() + "\n");
}

http::Response WebServer::Api(const http::ServerRequest& request) {
  std::string name = request.path.substr(kApiPrefix.size());
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
  base::Json data;
  if (name == "autoscaling/decisions") {
    constexpr int64_t kDefaultLimit = 100;
    int64_t limit = kDefaultLimit;
    std::string wanted = http::QueryValue(request.query, "limit");
    if (!wanted.empty() && (!base::ParseInt64(wanted, &limit) || limit < 1)) {
      return Text(400, "limit: " + base::Quoted(wanted) + " is not a positive number\n");
    }
    data =
        DecisionsJson(sources_.board->Decisions(http::QueryValue(request.query, "namespace"),
                                                http::QueryValue(request.query, "name"), static_cast<size_t>(limit)));
  } else if (name == "autoscaling/metric-rules" && sources_.adapter != nullptr) {
    data = MetricRulesJson(sources_.adapter->Rules());
  } else if (name == "rules" && sources_.rules != nullptr) {
    data = RulesJson(*sources_.rules);
  } else if (name == "alerts" && sources_.rules != nullptr) {
    data = AlertsJson(*sources_.rules);
  } else if (name == "status/leader") {
    data = LeaderJson(sources_);
  } else if (name == "status/config" && sources_.config) {
    data = {{"yaml", sources_.config()}};
  } else if (name == "status/buildinfo") {
    data = BuildInfoJson();
  } else {
    return NotFound(request.path);
  }
  return JsonDocument({{"status", "success"}, {"data", std::move(data)}});
}

}  // namespace tidewright::web
