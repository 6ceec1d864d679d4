#include "sandbox/aggregator.h"

#include <set>
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/api_request.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindString;
using base::Json;

constexpr const char* kApiServices = "apiservices.apiregistration.k8s.io";
constexpr int64_t kProbeIntervalMs = 30'000;
constexpr int64_t kRetryIntervalMs = 1'000;
constexpr int64_t kProbeTimeoutMs = 5'000;
constexpr int64_t kForwardTimeoutMs = 60'000;

// Headers of one connection, and those that only the front proxy may set.
bool IsForwardedHeader(const std::string& name) {
  static const auto* dropped = new std::set<std::string>{"host",
                                                         "connection",
                                                         "keep-alive",
                                                         "te",
                                                         "trailer",
                                                         "transfer-encoding",
                                                         "upgrade",
                                                         "content-length",
                                                         "accept-encoding",
                                                         "authorization",
                                                         "expect",
                                                         "proxy-connection",
                                                         "proxy-authorization"};
  std::string lower = base::ToLower(name);
  return dropped->count(lower) == 0 && lower.rfind("x-remote-", 0) != 0;
}

http::Response ServiceUnavailable() {
  http::Response response;
  response.status = 503;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  response.body = "service unavailable\n";
  return response;
}

// The port of an Endpoints subset that serves a Service port: by name, or the only one.
int64_t EndpointPort(const Json& subset, const std::string& port_name) {
  const Json* ports = Find(subset, {"ports"});
  if (ports == nullptr || !ports->is_array()) return 0;
  for (const Json& port : *ports) {
    if (ports->size() == 1 || FindString(port, {"name"}) == port_name) return base::FindInt(port, {"port"});
  }
  return 0;
}

std::string ReadyEndpoint(const Json& endpoints, const std::string& port_name) {
  const Json* subsets = Find(endpoints, {"subsets"});
  if (subsets == nullptr || !subsets->is_array()) return "";
  for (const Json& subset : *subsets) {
    const Json* addresses = Find(subset, {"addresses"});
    const int64_t port = EndpointPort(subset, port_name);
    if (addresses == nullptr || !addresses->is_array() || addresses->empty() || port == 0) continue;
    return FindString((*addresses)[0], {"ip"}) + ":" + std::to_string(port);
  }
  return "";
}

}  // namespace

Aggregator::Aggregator(Rest& rest) : rest_(rest) {}

Aggregator::~Aggregator() { Stop(); }

base::Status Aggregator::Start() {
  const int64_t now_ms = rest_.store().clock().NowMs();
  TW_ASSIGN_OR_RETURN(http::KeyPair ca, http::GenerateCa("sandbox-front-proxy-ca", now_ms));
  http::CertificateRequest request;
  request.common_name = "front-proxy-client";
  request.client = true;
  TW_ASSIGN_OR_RETURN(front_proxy_, http::IssueCertificate(ca, request, now_ms));
  TW_RETURN_IF_ERROR(PublishAuthentication(ca));
  probes_ = std::make_unique<base::ThreadPool>("sandbox-probe", 2);
  return base::Status::Ok();
}

void Aggregator::Stop() {
  if (probes_ != nullptr) probes_->Stop();
}

base::Status Aggregator::PublishAuthentication(const http::KeyPair& ca) {
  ObjectRef ref{rest_.registry().Find("", "v1", "configmaps"), "kube-system", "extension-apiserver-authentication"};
  Json object = {{"metadata", {{"name", ref.name}, {"namespace", ref.ns}}},
                 {"data",
                  {{"requestheader-client-ca-file", ca.certificate_pem},
                   {"requestheader-allowed-names", "[\"front-proxy-client\"]"},
                   {"requestheader-username-headers", "[\"X-Remote-User\"]"},
                   {"requestheader-group-headers", "[\"X-Remote-Group\"]"},
                   {"requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"}}}};
  WriteContext context;
  auto created = rest_.Create(ref, std::move(object), context);
  return created.ok() ? base::Status::Ok() : created.status().Annotate("front-proxy authentication ConfigMap");
}

void Aggregator::Refresh(const ObjectPtr& service) {
  const Json& json = service->json;
  const Json* spec = Find(json, {"spec"});
  std::string text = spec == nullptr ? "" : base::DumpJson(*spec);
  Backend& backend = backends_[kube::NameOf(json)];
  if (backend.spec_text == text) return;
  const bool probing = backend.probing;
  backend = Backend();
  backend.probing = probing;
  backend.spec_text = std::move(text);
  backend.version.group = FindString(json, {"spec", "group"});
  backend.version.version = FindString(json, {"spec", "version"});
  backend.version.group_priority = base::FindInt(json, {"spec", "groupPriorityMinimum"});
  backend.version.version_priority = base::FindInt(json, {"spec", "versionPriority"});
  backend.service_ns = FindString(json, {"spec", "service", "namespace"});
  backend.service_name = FindString(json, {"spec", "service", "name"});
  backend.port = base::FindInt(json, {"spec", "service", "port"}, 443);
  http::ClientOptions options;
  options.user_agent = "kube-aggregator";
  options.tls.certificate_pem = front_proxy_.certificate_pem;
  options.tls.private_key_pem = front_proxy_.private_key_pem;
  options.tls.server_name = backend.service_name + "." + backend.service_ns + ".svc";
  options.tls.insecure_skip_verify = base::FindBool(json, {"spec", "insecureSkipTLSVerify"});
  if (!base::Base64Decode(FindString(json, {"spec", "caBundle"}), &options.tls.ca_pem)) {
    backend.failure = "spec.caBundle is not base64";
    return;
  }
  auto client = http::NewCurlClient(options);
  if (client.ok()) {
    backend.client = std::move(*client);
  } else {
    backend.failure = client.status().message();
  }
}

void Aggregator::Tick() {
  const int64_t now_ms = rest_.store().clock().NowMs();
  std::set<std::string> present;
  std::vector<std::string> due;
  {
    base::MutexLock lock(mu_);
    for (const ObjectPtr& service : rest_.store().List(kApiServices, "")) {
      if (Find(service->json, {"spec", "service", "name"}) == nullptr) continue;
      present.insert(kube::NameOf(service->json));
      Refresh(service);
    }
    std::erase_if(backends_, [&](const auto& entry) { return present.count(entry.first) == 0; });
    for (auto& [name, backend] : backends_) {
      if (backend.probing || now_ms < backend.next_probe_ms) continue;
      backend.probing = true;
      due.push_back(name);
    }
  }
  for (const std::string& name : due) {
    if (probes_ != nullptr) probes_->Submit([this, name] { Probe(name); });
  }
}

void Aggregator::Probe(const std::string& name) {
  Backend backend;
  {
    base::MutexLock lock(mu_);
    auto it = backends_.find(name);
    if (it == backends_.end()) return;
    backend = it->second;
  }
  Outcome outcome = Ask(backend);
  SetAvailable(name, outcome);
  base::MutexLock lock(mu_);
  auto it = backends_.find(name);
  if (it == backends_.end()) return;
  it->second.probing = false;
  if (it->second.spec_text != backend.spec_text) return;  // Changed meanwhile: the next Tick() probes again.
  it->second.version.available = outcome.available;
  if (outcome.available) it->second.version.resources = std::move(outcome.resources);
  it->second.next_probe_ms = rest_.store().clock().NowMs() + (outcome.available ? kProbeIntervalMs : kRetryIntervalMs);
}

base::Result<std::string> Aggregator::BaseUrl(const Backend& backend, std::string* reason) const {
  const std::string key = backend.service_ns + "/" + backend.service_name;
  *reason = "ServiceNotFound";
  ObjectPtr service = rest_.store().Get("services", backend.service_ns, backend.service_name);
  if (service == nullptr)
    return base::UnavailableError("service/" + backend.service_name + " in \"" + backend.service_ns +
                                  "\" is not present");
  std::string port_name;
  bool found = false;
  const Json* ports = Find(service->json, {"spec", "ports"});
  if (ports != nullptr && ports->is_array()) {
    for (const Json& port : *ports) {
      if (base::FindInt(port, {"port"}) != backend.port) continue;
      found = true;
      port_name = FindString(port, {"name"});
    }
  }
  *reason = "ServicePortError";
  if (!found) {
    return base::UnavailableError("service/" + backend.service_name + " in \"" + backend.service_ns +
                                  "\" is not listening on port " + std::to_string(backend.port));
  }
  *reason = "MissingEndpoints";
  if (ObjectPtr endpoints = rest_.store().Get("endpoints", backend.service_ns, backend.service_name)) {
    std::string address = ReadyEndpoint(endpoints->json, port_name);
    if (address.empty()) {
      return base::UnavailableError("endpoints for service/" + backend.service_name + " in \"" + backend.service_ns +
                                    "\" have no addresses with port name \"" + port_name + "\"");
    }
    return "https://" + address;
  }
  std::string address = FindString(service->json, {"spec", "clusterIP"});
  if (address.empty() || address == "None") return base::UnavailableError("service " + key + " has no cluster IP");
  return "https://" + address + ":" + std::to_string(backend.port);
}

Aggregator::Outcome Aggregator::Ask(const Backend& backend) const {
  Outcome outcome;
  auto url = BaseUrl(backend, &outcome.reason);
  if (!url.ok()) {
    outcome.message = url.status().message();
    return outcome;
  }
  outcome.reason = "FailedDiscoveryCheck";
  const std::string path = "/apis/" + backend.version.group + "/" + backend.version.version;
  if (backend.client == nullptr) {
    outcome.message = backend.failure;
    return outcome;
  }
  http::ClientRequest request;
  request.url = *url + path;
  request.headers = {{"Accept", "application/json"},
                     {"X-Remote-User", "system:kube-aggregator"},
                     {"X-Remote-Group", "system:masters"}};
  request.connect_timeout_ms = kProbeTimeoutMs;
  request.total_timeout_ms = kProbeTimeoutMs;
  auto reply = backend.client->Send(request);
  if (!reply.ok()) {
    outcome.message = "failing or missing response from " + request.url + ": " + reply.status().message();
  } else if (reply->status < 200 || reply->status > 299) {
    outcome.message =
        "failing or missing response from " + request.url + ": bad status " + std::to_string(reply->status);
  } else {
    outcome.available = true;
    outcome.reason = "Passed";
    outcome.message = "all checks passed";
    outcome.resources = std::move(reply->body);
  }
  return outcome;
}

void Aggregator::SetAvailable(const std::string& name, const Outcome& outcome) {
  const int64_t now_ms = rest_.store().clock().NowMs();
  auto mutate = [&](Json& object) {
    kube::SetCondition(object, "Available", outcome.available ? "True" : "False", outcome.reason, outcome.message,
                       now_ms);
    return base::Status::Ok();
  };
  // An APIService that was deleted meanwhile needs no condition.
  (void)rest_.store().Update(kApiServices, "", name, mutate);
}

std::vector<ProxiedVersion> Aggregator::Versions() const {
  std::vector<ProxiedVersion> versions;
  base::MutexLock lock(mu_);
  for (const auto& [name, backend] : backends_) versions.push_back(backend.version);
  return versions;
}

bool Aggregator::Handles(std::string_view group, std::string_view version) const {
  base::MutexLock lock(mu_);
  return backends_.count(std::string(version) + "." + std::string(group)) > 0;
}

void Aggregator::Forward(std::string_view group, std::string_view version, const http::ServerRequest& request,
                         http::Responder& responder) {
  Backend backend;
  {
    base::MutexLock lock(mu_);
    auto it = backends_.find(std::string(version) + "." + std::string(group));
    if (it != backends_.end()) backend = it->second;
  }
  std::string reason;
  auto url = BaseUrl(backend, &reason);
  if (!backend.version.available || backend.client == nullptr || !url.ok()) {
    responder.Reply(ServiceUnavailable());
    return;
  }
  http::ClientRequest forwarded;
  forwarded.method = request.method;
  forwarded.url = *url + request.target;
  forwarded.body = request.body;
  forwarded.total_timeout_ms = kForwardTimeoutMs;
  for (const auto& [name, value] : request.headers) {
    if (IsForwardedHeader(name)) forwarded.headers.Add(name, value);
  }
  forwarded.headers.Add("X-Remote-User", "sandbox-admin");
  forwarded.headers.Add("X-Remote-Group", "system:masters");
  forwarded.headers.Add("X-Remote-Group", "system:authenticated");
  auto reply = backend.client->Send(forwarded);
  if (!reply.ok()) {
    responder.Reply(StatusReply(StatusObject(
        base::UnavailableError("error trying to reach service: " + reply.status().message()), nullptr, "", {})));
    return;
  }
  http::Response response;
  response.status = reply->status;
  response.body = std::move(reply->body);
  for (const char* name : {"Content-Type", "ETag", "Vary", "Warning", "Cache-Control"}) {
    if (reply->headers.Has(name)) response.headers.Set(name, reply->headers.Get(name));
  }
  responder.Reply(std::move(response));
}

}  // namespace tidewright::sandbox
