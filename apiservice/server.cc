#include "apiservice/server.h"

#include <optional>
#include <utility>
#include <vector>

#include "apiservice/discovery.h"
#include "apiservice/metrics_json.h"
#include "apiservice/metrics_protobuf.h"
#include "apiservice/status_reply.h"
#include "base/document.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/reply.h"
#include "http/request_head.h"

namespace tidewright::apiservice {

// Hands announcements of the authenticator on for as long as the service lives.
struct ApiService::ChangeRelay {
  base::Mutex mu;
  ApiService* service GUARDED_BY(mu) = nullptr;
};

namespace {

constexpr int kRefusalsLogged = 5;  // A second.
constexpr size_t kMaxWarning = 400;
// A few hundred would be many API servers. Each connection of TLS takes 80 KiB, before it has shown who it is.
constexpr size_t kMostConnections = 1024;
constexpr size_t kCompressValuesFrom = 1 << 20;

bool WantsIndent(const http::ServerRequest& request) {
  std::string pretty = http::QueryValue(request.query, "pretty");
  if (!pretty.empty()) return pretty == "1" || pretty == "true";
  std::string agent = request.headers.Get("User-Agent");
  return agent.rfind("curl", 0) == 0 || agent.rfind("Wget", 0) == 0 || agent.rfind("Mozilla/5.0", 0) == 0;
}

http::Response JsonReply(const http::ServerRequest& request, const base::Json& body) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson(body, WantsIndent(request) ? 2 : -1) + "\n";
  return response;
}

// Lays a body of JSON out for people, if they ask for it.
void Indent(const http::ServerRequest& request, http::Response* response) {
  if (!WantsIndent(request)) return;
  base::Result<base::Json> json = base::ParseJson(response->body);
  if (json.ok()) response->body = base::DumpJson(*json, 2) + "\n";
}

// Values for an autoscaler. Up to a length that a network takes in a millisecond they are not compressed, which would
// take several times that.
http::Response ValuesReply(const char* type, std::string body) {
  http::Response response;
  response.headers.Set("Content-Type", type);
  response.headers.Set("Cache-Control", body.size() < kCompressValuesFrom ? "no-cache, no-transform" : "no-cache");
  response.body = std::move(body);
  return response;
}

http::Response JsonValuesReply(const http::ServerRequest& request, std::string body) {
  http::Response response = ValuesReply("application/json", std::move(body));
  response.body += '\n';
  Indent(request, &response);
  return response;
}

http::Response ProtobufReply(std::string body) { return ValuesReply(kProtobufType, std::move(body)); }

http::Response TextReply(std::string text) {
  http::Response response;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  response.headers.Set("X-Content-Type-Options", "nosniff");
  response.body = std::move(text);
  return response;
}

std::string AcceptOf(const http::ServerRequest& request) { return base::Join(request.headers.GetAll("Accept"), ","); }

bool IsResourceMetrics(const Route& route) {
  return route.kind == Route::Kind::kNodes || route.kind == Route::Kind::kPods;
}

base::Result<kube::LabelSelector> SelectorParam(const http::ServerRequest& request, const char* name) {
  base::Result<kube::LabelSelector> selector = kube::LabelSelector::Parse(http::QueryValue(request.query, name));
  if (!selector.ok()) {
    return base::InvalidArgumentError(std::string("unable to parse ") + name + ": " + selector.status().message());
  }
  return selector;
}

// Field selectors can name the object and its namespace, nothing else.
struct FieldSelector {
  std::string name;
  std::string ns;
};

base::Result<FieldSelector> FieldSelectorParam(const http::ServerRequest& request) {
  FieldSelector result;
  std::string text = http::QueryValue(request.query, "fieldSelector");
  if (text.empty()) return result;
  for (const std::string& term : base::Split(text, ',')) {
    size_t eq = term.find('=');
    std::string field = term.substr(0, eq);
    std::string value = eq == std::string::npos ? "" : term.substr(eq + 1);
    if (!value.empty() && value[0] == '=') value.erase(0, 1);
    bool known = field == "metadata.name" || field == "metadata.namespace";
    if (!known || value.empty()) {
      return base::InvalidArgumentError(
          "the fieldSelector " + base::Quoted(term) +
          " is not supported; use metadata.name=<name> or metadata.namespace=<namespace>");
    }
    (field == "metadata.name" ? result.name : result.ns) = value;
  }
  return result;
}

// The name that a list request is narrowed to, where the path says one and a field selector another.
base::Status CheckFieldName(const FieldSelector& fields, const std::string& path_name) {
  if (fields.name.empty() || fields.name == path_name) return base::Status::Ok();
  return base::InvalidArgumentError("the fieldSelector metadata.name=" + fields.name + " contradicts the name " +
                                    base::Quoted(path_name) + " in the path");
}

const char* ApiOf(const Route& route) {
  switch (route.kind) {
    case Route::Kind::kCustom: return "custom";
    case Route::Kind::kExternal: return "external";
    case Route::Kind::kNodes:
    case Route::Kind::kPods: return "resource";
    case Route::Kind::kGroups:
    case Route::Kind::kGroup:
    case Route::Kind::kResources:
    case Route::Kind::kOpenApiV2:
    case Route::Kind::kOpenApiV3: return "discovery";
    default: return "other";
  }
}

std::string WhyNotServed(const Route& route) {
  std::string text = "the server could not find the requested resource";
  switch (route.kind) {
    case Route::Kind::kCustom: return text + ": no rule gives custom metrics, see `rules` of the configuration";
    case Route::Kind::kExternal: return text + ": no rule gives external metrics, see `externalRules`";
    case Route::Kind::kNodes:
    case Route::Kind::kPods: return text + ": the configuration has no `resourceRules`";
    default: return text;
  }
}

// Labels of our own metrics take only values that a client cannot invent.
std::string GroupLabel(const Route& route) {
  bool known = route.kind != Route::Kind::kNotFound &&
               (route.group == kCustomGroup || route.group == kExternalGroup || route.group == kResourceGroup);
  return known ? route.group : "";
}

std::string ResourceLabel(const Route& route, int code) {
  switch (route.kind) {
    case Route::Kind::kCustom: return code < 300 ? route.resource.ToString() : "*";
    case Route::Kind::kExternal: return "*";
    case Route::Kind::kPods: return "pods";
    case Route::Kind::kNodes: return "nodes";
    default: return "";
  }
}

std::string VerbLabel(const http::ServerRequest& request, const Route& route) {
  bool many = (IsResourceMetrics(route) && route.name.empty()) || route.kind == Route::Kind::kExternal;
  if (request.method == "GET") return many ? "LIST" : "GET";
  for (const char* method : {"HEAD", "POST", "PUT", "PATCH", "DELETE"}) {
    if (request.method == method) return method;
  }
  return "other";
}

// Tells the client once about each value that is not what was asked for. The text is a quoted string of HTTP.
template <typename Value>
void AddWarnings(const std::vector<Value>& values, http::Response* response) {
  constexpr size_t kMostWarnings = 3;
  size_t added = 0;
  for (const Value& value : values) {
    if (value.warning.empty()) continue;
    if (++added > kMostWarnings) return;
    std::string text;
    for (char c : value.warning.substr(0, kMaxWarning)) {
      if (c == '"' || c == '\\') text += '\\';
      text += c >= ' ' && c <= '~' ? c : ' ';
    }
    response->headers.Add("Warning", "299 - \"" + text + "\"");
  }
}

}  // namespace

ApiService::ApiService(ApiServiceOptions options, ProviderSource providers, Authenticator& authenticator,
                       Authorizer& authorizer, base::Clock& clock, base::MetricRegistry& metrics)
    : options_(std::move(options)),
      providers_(std::move(providers)),
      authenticator_(authenticator),
      authorizer_(authorizer),
      clock_(clock),
      metrics_(metrics),
      documents_(options_.max_listed_metrics),
      relay_(std::make_shared<ChangeRelay>()) {}

ApiService::~ApiService() { Stop(); }

base::Status ApiService::Start() {
  TW_ASSIGN_OR_RETURN(certificate_, ServingCertificate::Create(options_.certificate, clock_));
  http::ServerOptions server_options;
  server_options.name = "apiservice";
  server_options.worker_threads = options_.worker_threads;
  server_options.tls = true;
  server_options.max_connections = kMostConnections;
  TW_ASSIGN_OR_RETURN(server_, http::Server::Create(server_options, [this](const http::ServerRequest& request,
                                                                           std::shared_ptr<http::Responder> responder) {
                        responder->Reply(Handle(request));
                      }));
  {
    base::MutexLock lock(tls_mu_);
    TW_RETURN_IF_ERROR(ShowCertificate(certificate_->current()));
  }
  {
    base::MutexLock lock(relay_->mu);
    relay_->service = this;
  }
  authenticator_.OnChange([relay = relay_] {
    base::MutexLock lock(relay->mu);
    if (relay->service == nullptr) return;
    base::Status status = relay->service->Maintain();
    if (!status.ok()) base::LogError("apiservice", "cannot use the changed client CAs", {{"error", status.ToString()}});
  });
  // What changed between reading the CAs and listening for changes.
  TW_RETURN_IF_ERROR(Maintain());
  TW_ASSIGN_OR_RETURN(port_, server_->Listen(options_.address, options_.port));
  base::LogInfo("apiservice", "serving the metrics APIs",
                {{"address", options_.address}, {"port", std::to_string(port_)}});
  return base::Status::Ok();
}

void ApiService::Stop() {
  {
    base::MutexLock lock(relay_->mu);
    relay_->service = nullptr;
  }
  if (server_ != nullptr) server_->Stop();
}

std::string ApiService::ca_bundle() const { return certificate_ == nullptr ? "" : certificate_->ca_bundle(); }

base::Status ApiService::Maintain() {
  base::MutexLock lock(tls_mu_);
  if (server_ == nullptr) return base::Status::Ok();
  base::Result<std::optional<http::KeyPair>> next = certificate_->Next();
  if (next.ok() && *next) return ShowCertificate(**next);
  // A certificate that cannot be read is no reason to go on with client CAs of yesterday.
  if (authenticator_.ClientCaPem() != client_ca_) TW_RETURN_IF_ERROR(ShowCertificate(certificate_->current()));
  return next.status();
}

base::Status ApiService::ShowCertificate(const http::KeyPair& pair) {
  std::string client_ca = authenticator_.ClientCaPem();
  TW_RETURN_IF_ERROR(server_->SetTls({pair.certificate_pem, pair.private_key_pem, client_ca, false}));
  client_ca_ = std::move(client_ca);
  certificate_->Use(pair);
  return base::Status::Ok();
}

bool ApiService::certificate_waits() const { return certificate_ != nullptr && certificate_->waiting(); }

void ApiService::BundlePublished(const std::string& ca_bundle) {
  if (certificate_ != nullptr) certificate_->Published(ca_bundle);
}

http::Response ApiService::Handle(const http::ServerRequest& request) {
  int64_t begin = base::MonotonicNanos();
  Route route = ParseRoute(request.path);
  http::Response response = route.kind == Route::Kind::kHealth ? Health(request) : Admit(request, route);
  Count(request, route, response.status, begin);
  return response;
}

void ApiService::Count(const http::ServerRequest& request, const Route& route, int code, int64_t begin_ns) {
  metrics_
      .GetCounter("apiserver_request_total", "Requests by code, verb and what they were about.",
                  {{"code", std::to_string(code)},
                   {"group", GroupLabel(route)},
                   {"resource", ResourceLabel(route, code)},
                   {"verb", VerbLabel(request, route)},
                   {"version", GroupLabel(route).empty() ? "" : route.version}})
      .Add();
  metrics_
      .GetHistogram("tidewright_apiservice_request_duration_seconds", "How long requests took to answer.",
                    {0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15}, {{"api", ApiOf(route)}})
      .Observe(static_cast<double>(base::MonotonicNanos() - begin_ns) / 1e9);
}

void ApiService::CountAttempt(const char* metric, const char* help, const char* result) {
  metrics_.GetCounter(metric, help, {{"result", result}}).Add();
}

http::Response ApiService::Admit(const http::ServerRequest& request, const Route& route) {
  constexpr const char* kAuthentications = "Requests that had to show who makes them, by whether it was found out.";
  base::Result<UserInfo> user = authenticator_.Authenticate(request);
  bool nobody = user.status().code() == base::Code::kUnauthenticated;
  CountAttempt("authentication_attempts", kAuthentications, user.ok() ? "success" : nobody ? "failure" : "error");
  if (!user.ok()) {
    LogRefusal(request, "", user.status());
    http::Response reply = StatusReply(user.status());
    // A connection from before the front proxy's CA was known, or changed, stays unknown: the next one need not be.
    if (nobody) reply.headers.Set("Connection", "close");
    return reply;
  }
  constexpr const char* kAuthorizations = "Requests of known users, by whether they were allowed.";
  base::Status allowed = authorizer_.Authorize(*user, AttributesOf(request.method, request.path));
  bool denied = allowed.code() == base::Code::kPermissionDenied;
  CountAttempt("authorization_attempts_total", kAuthorizations, allowed.ok() ? "allowed" : denied ? "denied" : "error");
  if (!allowed.ok()) {
    LogRefusal(request, user->name, allowed);
    return StatusReply(allowed);
  }
  return Dispatch(request, route);
}

void ApiService::LogRefusal(const http::ServerRequest& request, const std::string& user, const base::Status& status) {
  int64_t second = clock_.NowMs() / 1000;
  {
    base::MutexLock lock(refusals_mu_);
    if (second != refusals_second_) refusals_ = 0;
    refusals_second_ = second;
    if (++refusals_ > kRefusalsLogged) return;
  }
  base::LogWarn("apiservice", "request refused",
                {{"user", user},
                 {"peer", request.peer.address},
                 {"certificate", request.peer.common_name},
                 {"verb", request.method},
                 {"path", request.path.substr(0, 200)},
                 {"reason", status.message()}});
}

http::Response ApiService::Health(const http::ServerRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return MethodNotAllowedReply(request.method);
  std::string path = request.path.substr(1);
  size_t slash = path.find('/');
  std::string part = slash == std::string::npos ? "" : path.substr(slash + 1);
  if (!part.empty() && part.back() == '/') part.pop_back();
  std::vector<HealthCheck> checks = {{"ping", nullptr}};
  if (path.rfind("readyz", 0) == 0) checks.insert(checks.end(), options_.ready.begin(), options_.ready.end());
  bool known = part.empty();
  bool well = true;
  std::string report;
  for (const HealthCheck& one : checks) {
    if (!part.empty() && part != one.name) continue;
    known = true;
    base::Status status = one.check ? one.check() : base::Status::Ok();
    well = well && status.ok();
    report +=
        (status.ok() ? "[+]" : "[-]") + one.name + (status.ok() ? " ok\n" : " failed: " + status.message() + "\n");
  }
  if (!known) return StatusReply(base::NotFoundError("there is no health check " + base::Quoted(part)));
  bool verbose = http::HasQuery(request.query, "verbose");
  std::string name = path.substr(0, slash);
  if (well) return TextReply(verbose ? report + name + " check passed\n" : "ok");
  http::Response response = TextReply(report + name + " check failed\n");
  response.status = 503;
  return response;
}

http::Response ApiService::Dispatch(const http::ServerRequest& request, const Route& route) {
  if (route.kind == Route::Kind::kBadPath) return StatusReply(base::InvalidArgumentError("invalid request path"));
  Providers providers = providers_();
  bool served = (route.group == kCustomGroup && providers.custom != nullptr) ||
                (route.group == kExternalGroup && providers.external != nullptr) ||
                (route.group == kResourceGroup && providers.resource != nullptr);
  // An APIService may be there for a group that nothing is configured for. Its list is answered all the same: otherwise
  // the API server could not discover all resources, and would delete no namespace.
  bool list = route.kind == Route::Kind::kResources;
  if (route.kind == Route::Kind::kNotFound || (!route.group.empty() && !served && !list)) {
    return StatusReply(base::NotFoundError(WhyNotServed(route)));
  }
  bool watch = http::QueryValue(request.query, "watch") == "true" || http::QueryValue(request.query, "watch") == "1";
  if ((request.method != "GET" && request.method != "HEAD") || watch) {
    return MethodNotAllowedReply(watch ? "WATCH" : request.method);
  }
  if (route.kind == Route::Kind::kOwnMetrics) return TextReply(metrics_.Render());
  bool document = route.kind == Route::Kind::kGroups || route.kind == Route::Kind::kGroup ||
                  route.kind == Route::Kind::kResources || route.kind == Route::Kind::kOpenApiV2 ||
                  route.kind == Route::Kind::kOpenApiV3;
  if (document) return Document(request, route, providers);
  bool values = route.kind == Route::Kind::kCustom || route.kind == Route::Kind::kExternal;
  std::optional<Form> form = values                     ? Negotiate(AcceptOf(request), {Form::kProtobuf})
                             : IsResourceMetrics(route) ? Negotiate(AcceptOf(request), {Form::kProtobuf, Form::kTable})
                                                        : Negotiate(AcceptOf(request), {});
  if (!form) return NotAcceptableReply();
  switch (route.kind) {
    case Route::Kind::kCustom: return Custom(request, route, *form, *providers.custom);
    case Route::Kind::kExternal: return External(request, route, *form, *providers.external);
    case Route::Kind::kPods: return Pods(request, route, *form, *providers.resource);
    case Route::Kind::kNodes: return Nodes(request, route, *form, *providers.resource);
    default: break;
  }
  return JsonReply(request, {{"gitVersion", options_.version}, {"major", ""}, {"minor", ""}, {"platform", "linux"}});
}

http::Response ApiService::Document(const http::ServerRequest& request, const Route& route,
                                    const Providers& providers) {
  // OpenAPI is JSON whatever a client prefers; kube-apiserver asks for protobuf first and reads either.
  bool openapi = route.kind == Route::Kind::kOpenApiV2 || route.kind == Route::Kind::kOpenApiV3;
  bool groups = route.kind == Route::Kind::kGroups;
  std::optional<Form> form = Form::kObject;
  if (!openapi) form = groups ? Negotiate(AcceptOf(request), {Form::kDiscoveryV2}) : Negotiate(AcceptOf(request), {});
  if (!form) return NotAcceptableReply();
  bool aggregated = *form == Form::kDiscoveryV2;
  std::shared_ptr<const DiscoveryDocument> found = documents_.Get(route, aggregated, providers);
  if (found == nullptr) return StatusReply(base::NotFoundError("the server could not find the requested resource"));
  http::Response response;
  response.headers.Set("Content-Type", found->content_type);
  response.headers.Set("Vary", "Accept");
  response.headers.Set("ETag", found->tag);
  for (const std::string& known : base::Split(request.headers.Get("If-None-Match"), ',')) {
    if (base::TrimSpace(known) != found->tag) continue;
    response.status = 304;
    return response;
  }
  if (!found->gzip.empty() && !WantsIndent(request)) {
    response.headers.Set("Vary", "Accept, Accept-Encoding");
    if (http::AcceptsGzip(request.headers)) {
      response.headers.Set("Content-Encoding", "gzip");
      response.body = found->gzip;
      return response;
    }
  }
  response.body = found->body;
  Indent(request, &response);
  return response;
}

http::Response ApiService::Custom(const http::ServerRequest& request, const Route& route, Form form,
                                  CustomMetricsProvider& provider) {
  base::Result<kube::LabelSelector> objects = SelectorParam(request, "labelSelector");
  if (!objects.ok()) return StatusReply(objects.status());
  base::Result<kube::LabelSelector> metric = SelectorParam(request, "metricLabelSelector");
  if (!metric.ok()) return StatusReply(metric.status());
  base::Result<FieldSelector> fields = FieldSelectorParam(request);
  if (!fields.ok()) return StatusReply(fields.status());
  if (base::Status status = CheckFieldName(*fields, route.name); !status.ok()) return StatusReply(status);
  auto found = route.name == "*" ? provider.GetBySelector(route.resource, route.ns, *objects, route.metric, *metric)
                                 : provider.GetByName(route.resource, route.ns, route.name, route.metric, *metric);
  if (!found.ok()) return StatusReply(found.status());
  http::Response response = form == Form::kProtobuf
                                ? ProtobufReply(CustomMetricsProtobuf(route.version, *found, *metric))
                                : JsonValuesReply(request, CustomMetricsText(route.version, *found, *metric));
  AddWarnings(found->values, &response);
  return response;
}

http::Response ApiService::External(const http::ServerRequest& request, const Route& route, Form form,
                                    ExternalMetricsProvider& provider) {
  base::Result<kube::LabelSelector> selector = SelectorParam(request, "labelSelector");
  if (!selector.ok()) return StatusReply(selector.status());
  auto values = provider.Get(route.ns, route.metric, *selector);
  if (!values.ok()) return StatusReply(values.status());
  http::Response response = form == Form::kProtobuf ? ProtobufReply(ExternalMetricsProtobuf(*values))
                                                    : JsonValuesReply(request, ExternalMetricsText(*values));
  AddWarnings(*values, &response);
  return response;
}

http::Response ApiService::Pods(const http::ServerRequest& request, const Route& route, Form form,
                                ResourceMetricsProvider& provider) {
  base::Result<kube::LabelSelector> selector = SelectorParam(request, "labelSelector");
  if (!selector.ok()) return StatusReply(selector.status());
  base::Result<FieldSelector> fields = FieldSelectorParam(request);
  if (!fields.ok()) return StatusReply(fields.status());
  if (!route.name.empty()) {
    if (base::Status status = CheckFieldName(*fields, route.name); !status.ok()) return StatusReply(status);
  }
  const std::string& ns = route.ns.empty() ? fields->ns : route.ns;
  const std::string& name = route.name.empty() ? fields->name : route.name;
  auto pods = provider.Pods(ns, name, *selector);
  if (!pods.ok()) return StatusReply(pods.status());
  bool other_namespace = !fields->ns.empty() && fields->ns != ns;
  if (other_namespace) pods->clear();
  bool table = form == Form::kTable, protobuf = form == Form::kProtobuf;
  if (route.name.empty()) {
    if (protobuf) return ProtobufReply(PodMetricsListProtobuf(route.version, *pods));
    return JsonReply(request, table ? PodMetricsTable(*pods) : PodMetricsListJson(route.version, *pods));
  }
  if (pods->empty()) {
    return StatusReply(base::NotFoundError("podmetrics.metrics.k8s.io " + base::Quoted(ns + "/" + route.name) +
                                           " not found: no running pod of that name has both CPU and memory values"));
  }
  if (protobuf) return ProtobufReply(PodMetricsProtobuf(route.version, pods->front()));
  return JsonReply(request, table ? PodMetricsTable(*pods) : PodMetricsJson(route.version, pods->front()));
}

http::Response ApiService::Nodes(const http::ServerRequest& request, const Route& route, Form form,
                                 ResourceMetricsProvider& provider) {
  base::Result<kube::LabelSelector> selector = SelectorParam(request, "labelSelector");
  if (!selector.ok()) return StatusReply(selector.status());
  base::Result<FieldSelector> fields = FieldSelectorParam(request);
  if (!fields.ok()) return StatusReply(fields.status());
  if (!route.name.empty()) {
    if (base::Status status = CheckFieldName(*fields, route.name); !status.ok()) return StatusReply(status);
  }
  auto nodes = provider.Nodes(route.name.empty() ? fields->name : route.name, *selector);
  if (!nodes.ok()) return StatusReply(nodes.status());
  bool table = form == Form::kTable, protobuf = form == Form::kProtobuf;
  if (route.name.empty()) {
    if (protobuf) return ProtobufReply(NodeMetricsListProtobuf(route.version, *nodes));
    return JsonReply(request, table ? NodeMetricsTable(*nodes) : NodeMetricsListJson(route.version, *nodes));
  }
  if (nodes->empty()) {
    return StatusReply(base::NotFoundError("nodemetrics.metrics.k8s.io " + base::Quoted(route.name) +
                                           " not found: no node of that name has both CPU and memory values"));
  }
  if (protobuf) return ProtobufReply(NodeMetricsProtobuf(route.version, nodes->front()));
  return JsonReply(request, table ? NodeMetricsTable(*nodes) : NodeMetricsJson(route.version, nodes->front()));
}

}  // namespace tidewright::apiservice
