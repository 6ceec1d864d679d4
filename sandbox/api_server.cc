#include "sandbox/api_server.h"

#include <exception>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/conversion.h"
#include "sandbox/discovery.h"
#include "sandbox/table.h"

namespace tidewright::sandbox {

namespace {

using base::Json;
using base::Status;

constexpr int64_t kTickMs = 200;
constexpr int64_t kMaxWatchMs = 3'600'000;
constexpr int64_t kDefaultWatchMs = 1'800'000;
constexpr const char* kDiscoveryType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

bool IsTrue(const std::string& value) { return value == "true" || value == "1"; }

IncludeObject IncludeOf(const http::QueryParams& query) {
  std::string include = http::QueryValue(query, "includeObject");
  if (include == "None") return IncludeObject::kNone;
  return include == "Object" ? IncludeObject::kObject : IncludeObject::kMetadata;
}

http::Response DocumentReply(const Json& document) { return JsonReply(200, base::DumpJson(document)); }

http::Response PathNotFound(const std::string& path) {
  http::Response response;
  response.status = 404;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  response.body = "404 page not found: " + path + "\n";
  return response;
}

Json VersionDocument() {
  return {{"major", "1"},
          {"minor", "32"},
          {"gitVersion", "v1.32.0+sandbox"},
          {"gitTreeState", "clean"},
          {"goVersion", "none"},
          {"compiler", "gcc"},
          {"platform", "linux/amd64"},
          {"gitCommit", "sandbox"},
          {"buildDate", "1970-01-01T00:00:00Z"}};
}

bool IsWatch(const http::ServerRequest& request) {
  return request.method == "GET" && IsTrue(http::QueryValue(request.query, "watch"));
}

}  // namespace

// One request on a resource, taken apart.
struct ApiServer::Call {
  const http::ServerRequest& request;
  ResourcePath path;
  ResourceTypePtr type;
  AcceptedForm accept;
  WriteContext context;
  int http_status = 200;

  ObjectRef Ref() const { return {type, path.ns, path.name}; }
};

ApiServer::ApiServer(ApiServerOptions options, base::Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      store_(clock, options_.store),
      rest_(store_, registry_, options_.rest),
      watches_(store_),
      aggregator_(rest_) {}

ApiServer::~ApiServer() { Stop(); }

Status ApiServer::Start() {
  TW_RETURN_IF_ERROR(CreateNamespaces());
  TW_RETURN_IF_ERROR(aggregator_.Start());
  http::ServerOptions options;
  options.name = "sandbox-api";
  options.max_body_bytes = options_.max_body_bytes;
  options.worker_threads = 8;
  auto server = http::Server::Create(
      options, [this](const http::ServerRequest& request, ResponderPtr responder) { Handle(request, responder); });
  if (!server.ok()) return server.status().Annotate("sandbox API server");
  server_ = std::move(*server);
  auto port = server_->Listen(options_.address, options_.port);
  if (!port.ok()) return port.status().Annotate("sandbox API server");
  port_ = *port;
  loop_ = std::thread([this] { Loop(); });
  return Status::Ok();
}

void ApiServer::Stop() {
  stop_.Stop();
  if (loop_.joinable()) loop_.join();
  watches_.StopAll();
  if (server_ != nullptr) server_->Stop();
  // Watches that a handler started while the server was stopping.
  watches_.StopAll();
  aggregator_.Stop();
}

void ApiServer::Loop() {
  do {
    Tick();
  } while (clock_.SleepFor(kTickMs, stop_));
}

void ApiServer::Tick() {
  aggregator_.Tick();
  rest_.CollectGarbage();
  watches_.Tick();
}

Status ApiServer::CreateNamespaces() {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    ObjectRef ref{registry_.Find("", "v1", "namespaces"), "", name};
    WriteContext context;
    auto created = rest_.Create(ref, Json{{"metadata", {{"name", name}}}}, context);
    if (!created.ok()) return created.status();
  }
  return Status::Ok();
}

std::string ApiServer::Url() const { return "http://" + options_.address + ":" + std::to_string(port_); }

Status ApiServer::WriteKubeconfig(const std::string& path) const {
  std::string text =
      "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n"
      "clusters:\n- name: sandbox\n  cluster:\n    server: " +
      Url() +
      "\nusers:\n- name: sandbox-admin\n  user: {}\n"
      "contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: sandbox-admin\n    namespace: default\n";
  return base::WriteFileAtomic(path, text, 0600).Annotate("kubeconfig");
}

// ---- Routing ----

void ApiServer::Handle(const http::ServerRequest& request, const ResponderPtr& responder) {
  // The JSON library throws when a body is shaped in a way that no check foresaw; that is the client's mistake.
  try {
    Route(request, responder);
  } catch (const std::exception& error) {
    base::LogWarn("sandbox", "request not understood", {{"path", request.path}, {"error", error.what()}});
    responder->Reply(StatusReply(
        StatusObject(base::InvalidArgumentError(std::string("the object has an unexpected structure: ") + error.what()),
                     nullptr, "", {})));
  }
}

void ApiServer::Route(const http::ServerRequest& request, const ResponderPtr& responder) {
  if (RouteDocument(request, *responder)) return;
  std::vector<std::string> parts = base::Split(request.path, '/');  // "", "apis", group, version, ...
  if (parts.size() >= 4 && parts[1] == "apis" && !registry_.HasVersion(parts[2], parts[3]) &&
      aggregator_.Handles(parts[2], parts[3])) {
    aggregator_.Forward(parts[2], parts[3], request, *responder);
    return;
  }
  if (RouteDiscovery(request, *responder)) return;
  auto path = ParseResourcePath(request.path);
  ResourceTypePtr type = path ? registry_.Find(path->group, path->version, path->plural) : nullptr;
  if (type == nullptr) {
    if (!path) {
      responder->Reply(PathNotFound(request.path));
      return;
    }
    responder->Reply(StatusReply(
        StatusObject(base::NotFoundError("the server could not find the requested resource"), nullptr, "", {})));
    return;
  }
  Call call{request, *path, type, ParseAccept(request.headers), WriteContextOf(request)};
  RouteResource(call, responder);
}

bool ApiServer::RouteDocument(const http::ServerRequest& request, http::Responder& responder) {
  const std::string& path = request.path;
  if (path == "/version") {
    responder.Reply(DocumentReply(VersionDocument()));
  } else if (path == "/healthz" || path == "/livez" || path == "/readyz") {
    http::Response response;
    response.headers.Set("Content-Type", "text/plain; charset=utf-8");
    response.body = "ok";
    responder.Reply(std::move(response));
  } else if (path == "/openapi/v2") {
    // An almost empty protobuf document (swagger: "2.0"): kubectl then falls back to the types it knows.
    http::Response response;
    response.headers.Set("Content-Type", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
    response.body = std::string("\x0a\x03") + "2.0";
    responder.Reply(std::move(response));
  } else if (path == "/openapi/v3") {
    responder.Reply(DocumentReply(OpenApiIndex(registry_.All())));
  } else if (path.rfind("/openapi/v3/", 0) == 0) {
    std::vector<std::string> parts = base::Split(path, '/');  // "", openapi, v3, api|apis, ...
    Json document;
    if (parts.size() == 5 && parts[3] == "api") document = OpenApiDocument(registry_.All(), "", parts[4]);
    if (parts.size() == 6 && parts[3] == "apis") document = OpenApiDocument(registry_.All(), parts[4], parts[5]);
    responder.Reply(document.is_null() ? PathNotFound(path) : DocumentReply(document));
  } else {
    return false;
  }
  return true;
}

bool ApiServer::RouteDiscovery(const http::ServerRequest& request, http::Responder& responder) {
  std::string path = request.path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  std::vector<std::string> parts = base::Split(path, '/');
  const bool core = parts.size() > 1 && parts[1] == "api";
  if (parts.size() < 2 || (!core && parts[1] != "apis")) return false;
  const size_t version_at = core ? 2 : 3;
  if (parts.size() > version_at + 1) return false;
  Json document;
  if (parts.size() == 2 && ParseAccept(request.headers).aggregated_discovery) {
    http::Response response = DocumentReply(AggregatedDiscoveryDocument(registry_.All(), aggregator_.Versions(), core));
    response.headers.Set("Content-Type", kDiscoveryType);
    response.headers.Set("Vary", "Accept");
    responder.Reply(std::move(response));
    return true;
  }
  if (parts.size() == 2) {
    document = core ? ApiVersionsDocument(options_.address + ":" + std::to_string(port_))
                    : ApiGroupListDocument(registry_.All(), aggregator_.Versions());
  } else if (!core && parts.size() == 3) {
    document = ApiGroupDocument(registry_.All(), aggregator_.Versions(), parts[2]);
  } else {
    document = ApiResourceListDocument(registry_.All(), core ? "" : parts[2], parts[version_at]);
  }
  responder.Reply(document.is_null() ? PathNotFound(path) : DocumentReply(document));
  return true;
}

void ApiServer::RouteResource(Call& call, const ResponderPtr& responder) {
  base::Result<std::string> text = base::InternalError("");
  if (IsWatch(call.request)) {
    Status started = StartWatch(call, responder);
    if (started.ok()) return;
    text = started;
  } else {
    text = Dispatch(call);
  }
  if (!text.ok()) {
    Json object = StatusObject(text.status(), &call.path, call.type->kind, call.context.causes);
    if (call.http_status == 405) {
      object["code"] = 405;
      object["reason"] = "MethodNotAllowed";
    }
    responder->Reply(StatusReply(object));
    return;
  }
  http::Response response = JsonReply(call.http_status, std::move(*text));
  for (const std::string& warning : call.context.warnings) {
    std::string escaped;
    for (char c : warning) escaped += c == '"' ? "\\\"" : std::string(1, c);
    response.headers.Add("Warning", "299 - \"" + escaped + "\"");
  }
  responder->Reply(std::move(response));
}

base::Result<std::string> ApiServer::Dispatch(Call& call) {
  const ResourcePath& path = call.path;
  if (path.subresource == "scale" && call.type->scale) return Scale(call);
  const bool known = path.subresource.empty() || (path.subresource == "status" && call.type->status) ||
                     (path.subresource == "finalize" && path.plural == "namespaces");
  if (!known) return base::NotFoundError("the server could not find the requested resource");
  return path.name.empty() ? Collection(call) : Item(call);
}

namespace {

Status MethodNotAllowed(int& http_status) {
  http_status = 405;
  return base::UnimplementedError("the server does not allow this method on the requested resource");
}

}  // namespace

base::Result<std::string> ApiServer::Collection(Call& call) {
  const std::string& method = call.request.method;
  if (method == "GET" && !call.type->create_only) return ListText(call);
  if (method == "DELETE" && !call.type->create_only) return DeleteCollection(call);
  if (method != "POST") return MethodNotAllowed(call.http_status);
  TW_ASSIGN_OR_RETURN(Json body, ParseBody(call.request));
  ObjectRef ref = call.Ref();
  ref.name = base::FindString(body, {"metadata", "name"});
  call.path.name = ref.name;
  if (ref.type->namespaced && ref.ns.empty()) ref.ns = base::FindString(body, {"metadata", "namespace"}, "default");
  TW_ASSIGN_OR_RETURN(ObjectPtr created, rest_.Create(ref, std::move(body), call.context));
  call.http_status = 201;
  return ObjectText(call, created);
}

base::Result<std::string> ApiServer::Item(Call& call) {
  const std::string& method = call.request.method;
  const std::string subresource = call.path.subresource == "status" ? "status" : "";
  ObjectPtr object;
  if (method == "GET") {
    TW_ASSIGN_OR_RETURN(object, rest_.Get(call.Ref()));
  } else if (method == "PUT") {
    TW_ASSIGN_OR_RETURN(Json body, ParseBody(call.request));
    TW_ASSIGN_OR_RETURN(object, rest_.Update(call.Ref(), subresource, body, call.context));
  } else if (method == "PATCH") {
    auto kind = PatchKindOf(call.request.headers.Get("Content-Type"));
    if (!kind) return base::UnimplementedError("the patch's Content-Type is not one of the four patch formats");
    TW_ASSIGN_OR_RETURN(Json body, ParseBody(call.request));
    TW_ASSIGN_OR_RETURN(object, rest_.Patch(call.Ref(), subresource, *kind, body, call.context));
  } else if (method == "DELETE") {
    return DeleteItem(call);
  } else {
    return MethodNotAllowed(call.http_status);
  }
  if (method != "GET") rest_.CollectGarbage();
  return ObjectText(call, object);
}

base::Result<std::string> ApiServer::Scale(Call& call) {
  const std::string& method = call.request.method;
  Json scale;
  if (method == "GET") {
    TW_ASSIGN_OR_RETURN(scale, rest_.GetScale(call.Ref()));
  } else if (method == "PUT") {
    TW_ASSIGN_OR_RETURN(Json body, ParseBody(call.request));
    TW_ASSIGN_OR_RETURN(scale, rest_.UpdateScale(call.Ref(), body, call.context));
  } else if (method == "PATCH") {
    auto kind = PatchKindOf(call.request.headers.Get("Content-Type"));
    if (!kind) return base::UnimplementedError("the patch's Content-Type is not one of the four patch formats");
    TW_ASSIGN_OR_RETURN(Json body, ParseBody(call.request));
    TW_ASSIGN_OR_RETURN(scale, rest_.PatchScale(call.Ref(), *kind, body, call.context));
  } else {
    return MethodNotAllowed(call.http_status);
  }
  return base::DumpJson(scale);
}

std::string ApiServer::ObjectText(const Call& call, const ObjectPtr& object) const {
  if (call.accept.table) {
    Json converted = FromStorage(*call.type, object->json);
    Json table = RenderTable(*call.type, {&converted}, IncludeOf(call.request.query), clock_.NowMs());
    table["metadata"]["resourceVersion"] = std::to_string(object->resource_version);
    return base::DumpJson(table);
  }
  if (IsInVersion(*call.type, object->json)) return object->text;
  return base::DumpJson(FromStorage(*call.type, object->json));
}

base::Result<std::string> ApiServer::ListText(Call& call) {
  TW_ASSIGN_OR_RETURN(ObjectFilter filter,
                      ObjectFilter::Parse(*call.type, http::QueryValue(call.request.query, "labelSelector"),
                                          http::QueryValue(call.request.query, "fieldSelector")));
  uint64_t version = 0;
  std::vector<ObjectPtr> objects = rest_.List(*call.type, call.path.ns, filter, &version);
  if (call.accept.table) {
    std::vector<Json> converted;
    std::vector<const Json*> pointers;
    for (const ObjectPtr& object : objects) converted.push_back(FromStorage(*call.type, object->json));
    for (const Json& object : converted) pointers.push_back(&object);
    Json table = RenderTable(*call.type, pointers, IncludeOf(call.request.query), clock_.NowMs());
    table["metadata"]["resourceVersion"] = std::to_string(version);
    return base::DumpJson(table);
  }
  std::string text = "{\"kind\":\"" + call.type->kind + "List\",\"apiVersion\":\"" + call.type->ApiVersion() +
                     "\",\"metadata\":{\"resourceVersion\":\"" + std::to_string(version) + "\"},\"items\":[";
  for (size_t i = 0; i < objects.size(); ++i) {
    if (i > 0) text += ',';
    text += ObjectText(call, objects[i]);
  }
  return text + "]}";
}

base::Result<std::string> ApiServer::DeleteItem(Call& call) {
  TW_ASSIGN_OR_RETURN(DeleteOptions options, DeleteOptionsOf(call.request));
  TW_ASSIGN_OR_RETURN(ObjectPtr last, rest_.Delete(call.Ref(), options, call.context));
  if (rest_.Get(call.Ref()).ok()) return ObjectText(call, last);  // Something still keeps it.
  Json status = {{"kind", "Status"},
                 {"apiVersion", "v1"},
                 {"metadata", Json::object()},
                 {"status", "Success"},
                 {"details", {{"name", call.path.name}, {"kind", call.path.plural}, {"uid", kube::UidOf(last->json)}}}};
  if (!call.path.group.empty()) status["details"]["group"] = call.path.group;
  return base::DumpJson(status);
}

base::Result<std::string> ApiServer::DeleteCollection(Call& call) {
  TW_ASSIGN_OR_RETURN(DeleteOptions options, DeleteOptionsOf(call.request));
  TW_ASSIGN_OR_RETURN(std::string listed, ListText(call));
  TW_ASSIGN_OR_RETURN(ObjectFilter filter,
                      ObjectFilter::Parse(*call.type, http::QueryValue(call.request.query, "labelSelector"),
                                          http::QueryValue(call.request.query, "fieldSelector")));
  for (const ObjectPtr& object : rest_.List(*call.type, call.path.ns, filter, nullptr)) {
    ObjectRef ref{call.type, kube::NamespaceOf(object->json), kube::NameOf(object->json)};
    auto deleted = rest_.Delete(ref, options, call.context);
    if (!deleted.ok() && deleted.status().code() != base::Code::kNotFound) return deleted.status();
  }
  return listed;
}

Status ApiServer::StartWatch(Call& call, const ResponderPtr& responder) {
  if (call.type->create_only || !call.path.subresource.empty()) return MethodNotAllowed(call.http_status);
  const http::QueryParams& query = call.request.query;
  WatchOptions options;
  options.ns = call.path.ns;
  std::string fields = http::QueryValue(query, "fieldSelector");
  if (!call.path.name.empty()) fields += (fields.empty() ? "" : ",") + ("metadata.name=" + call.path.name);
  TW_ASSIGN_OR_RETURN(options.filter,
                      ObjectFilter::Parse(*call.type, http::QueryValue(query, "labelSelector"), fields));
  const std::string version = http::QueryValue(query, "resourceVersion");
  int64_t number = 0;
  if (!version.empty() && version != "0") {
    if (!base::ParseInt64(version, &number) || number < 0) {
      return base::InvalidArgumentError("resourceVersion: Invalid value: \"" + version + "\": must be a number");
    }
    options.since = static_cast<uint64_t>(number);
  }
  options.initial_events_end = IsTrue(http::QueryValue(query, "sendInitialEvents"));
  if (options.initial_events_end) options.since.reset();
  options.bookmarks = IsTrue(http::QueryValue(query, "allowWatchBookmarks"));
  options.table = call.accept.table;
  options.include = IncludeOf(query);
  int64_t seconds = 0;
  const bool timed = base::ParseInt64(http::QueryValue(query, "timeoutSeconds"), &seconds) && seconds > 0;
  options.timeout_ms = timed ? std::min(seconds, kMaxWatchMs / 1000) * 1000 : kDefaultWatchMs;
  watches_.Start(call.type, std::move(options), responder);
  return Status::Ok();
}

}  // namespace tidewright::sandbox
