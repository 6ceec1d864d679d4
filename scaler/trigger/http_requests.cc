// The http trigger: requests per second of a host's ingress, from what ingress controllers and meshes say about
// themselves in the embedded store. A short form of the prometheus trigger: the query is written here.
#include <cmath>
#include <optional>
#include <utility>

#include "base/duration.h"
#include "base/strings.h"
#include "scaler/trigger/embedded_query.h"
#include "scaler/trigger/empty_result.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct RequestsConfig {
  std::string ns, name;
  std::string controller = "nginx";
  std::string window = "1m";
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

// What each controller counts requests by. %n and %i are the namespace and the name, escaped for where they stand.
struct Controller {
  const char* name;
  const char* metric;
  const char* matchers;
  bool regex;  // They stand in a regular expression.
};
constexpr Controller kControllers[] = {
    {"nginx", "nginx_ingress_controller_requests", R"(exported_namespace="%n",ingress="%i")", false},
    {"traefik", "traefik_service_requests_total", R"(service=~"%n-%i-[^@]*@kubernetes.*")", true},
    {"envoy", "envoy_cluster_upstream_rq_total", R"(envoy_cluster_name=~"(.*[/_])?%n[/_]%i([/_].*)?")", true},
    {"haproxy", "haproxy_backend_http_requests_total", R"(proxy=~"%n_(svc_)?%i_.*")", true},
    {"istio", "istio_requests_total",
     R"(reporter="destination",destination_service_namespace="%n",destination_service_name="%i")", false},
};

const Controller* FindController(const std::string& name) {
  for (const Controller& controller : kControllers) {
    if (name == controller.name) return &controller;
  }
  return nullptr;
}

// Names of Kubernetes: what else might stand here would end the matcher.
bool IsName(const std::string& text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string::npos;
}

base::Status ParseIngress(const std::string& value, RequestsConfig& config) {
  size_t slash = value.find('/');
  config.ns = slash == std::string::npos ? "" : value.substr(0, slash);
  config.name = slash == std::string::npos ? value : value.substr(slash + 1);
  if (IsName(config.name) && (config.ns.empty() || IsName(config.ns))) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not an ingress; use namespace/name or name");
}

base::Status ParseController(const std::string& value, RequestsConfig& config) {
  config.controller = value;
  if (FindController(value) != nullptr) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not known; use nginx, traefik, envoy, haproxy or istio");
}

base::Status ParseWindow(const std::string& value, RequestsConfig& config) {
  config.window = value;
  auto window = base::ParseDuration(value);
  if (!window.ok()) return window.status();
  if (window->ms >= 1'000 && window->ms <= 3'600'000) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is out of range; use 1s to 1h");
}

constexpr Field<RequestsConfig> kFields[] = {
    {"ingress", Need::kRequired, From::kMetadata, &ParseIngress,
     "`namespace/name` of the ingress, or its name alone in the namespace of the object. For traefik, envoy, haproxy "
     "and istio: of the service behind it."},
    {"requestsPerReplica", Need::kTarget, From::kDecision,
     [](const std::string& value, RequestsConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Requests per second that one replica serves."},
    {"activationRequests", Need::kOptional, From::kMetadata,
     [](const std::string& value, RequestsConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this many requests per second. Default 0."},
    {"controller", Need::kOptional, From::kMetadata, &ParseController,
     "Whose series are read: nginx (default), traefik, envoy, haproxy or istio."},
    {"window", Need::kOptional, From::kMetadata, &ParseWindow, "What the rate is taken over. Default 1m."},
};

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string QueryFor(const RequestsConfig& config) {
  const Controller& controller = *FindController(config.controller);
  // The only special character of a name is the dot.
  auto escape = [&](const std::string& text) { return controller.regex ? Replaced(text, ".", "\\\\.") : text; };
  std::string matchers = Replaced(controller.matchers, "%n", escape(config.ns));
  matchers = Replaced(matchers, "%i", escape(config.name));
  return "sum(rate(" + std::string(controller.metric) + "{" + matchers + "}[" + config.window + "]))";
}

class RequestsTrigger : public Trigger {
 public:
  RequestsTrigger(TriggerInfo info, RequestsConfig config, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), query_(QueryFor(config_), context), context_(context) {}

  base::Result<Reading> Read() override {
    const int64_t now_ms = context_.control->NowMs();
    TW_ASSIGN_OR_RETURN(std::optional<double> value, query_.Read());
    if (!value) {
      // Controllers make a series with the first request, so there may be none because there was no request.
      TW_RETURN_IF_ERROR(
          empty_.Judge(now_ms, [this](int64_t start_ms, int64_t end_ms) { return query_.Past(start_ms, end_ms); }));
      return Reading{0, "no request was counted for " + config_.ns + "/" + config_.name};
    }
    empty_.SawResult(now_ms);
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(*value));
    return Reading{milli, FormatMilli(milli) + " requests/s over " + config_.window};
  }

 private:
  const RequestsConfig config_;
  EmbeddedQuery query_;
  const TriggerContext& context_;
  EmptyResult empty_{EmptyResult::kDefaultWindowMs};
};

}  // namespace

std::unique_ptr<Trigger> MakeHttp(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  RequestsConfig config = ReadMetadata(kFields, reader);
  if (config.ns.empty()) config.ns = spec.ns;
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.ns + "/" + config.name, "http-" + config.ns + "-" + config.name);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<RequestsTrigger>(std::move(info), std::move(config), *context);
}

}  // namespace tidewright::scaler::trigger
