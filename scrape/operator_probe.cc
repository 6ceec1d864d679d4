#include <algorithm>
#include <map>
#include <set>

#include "base/document.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scrape/operator_sections.h"

namespace tidewright::scrape {
namespace {

const std::string kMeta = "__meta_kubernetes_";

base::Status Invalid(std::string what) { return base::InvalidArgumentError(std::move(what)); }

bool IsHost(std::string_view host) {
  if (host.empty() || host.size() > 255) return false;
  for (const std::string& part : base::Split(host, '.')) {
    const bool valid = !part.empty() && part.size() <= 63 && part[0] != '-' &&
                       std::all_of(part.begin(), part.end(),
                                   [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
    if (!valid) return false;
  }
  return true;
}

bool IsPort(const std::string& port) {
  int64_t number = 0;
  return base::ParseInt64(port, &number) && number > 0 && number < 65536;
}

// host or host:port.
base::Status CheckProber(const std::string& url) {
  if (const size_t end = url.find(']'); !url.empty() && url[0] == '[' && end != std::string::npos) {
    const std::string rest = url.substr(end + 1);
    if (rest.empty() || (rest[0] == ':' && IsPort(rest.substr(1)))) return base::Status::Ok();
  }
  auto parts = base::Split(url, ':');
  if (parts.size() <= 2 && IsHost(parts[0]) && (parts.size() == 1 || IsPort(parts[1]))) return base::Status::Ok();
  return Invalid("prober.url: " + base::Quoted(url) +
                 " is not host or host:port; scheme and path have fields of their own");
}

void AddProbeParams(const OperatorObject& context, base::Json* config) {
  const std::string module = TextAt(context.spec, "module");
  base::Json params = base::Json::object();
  for (const auto& param : ObjectAt(context.spec, "params")) {
    params[TextAt(param, "name")] = HasValue(param, "values") ? param["values"] : base::Json::array();
  }
  if (!module.empty()) params["module"] = {module};
  if (!params.empty()) (*config)["params"] = std::move(params);
}

void AddStaticTargets(const OperatorObject& context, const base::Json& targets, base::Json* config) {
  base::Json labels = ObjectAt(targets, "labels").is_object() ? targets["labels"] : base::Json::object();
  if (TextAt(labels, "namespace").empty()) labels["namespace"] = context.ns;
  base::Json group = {{"targets", ObjectAt(targets, "static")}, {"labels", std::move(labels)}};
  (*config)["static_configs"] = base::Json::array({std::move(group)});
}

base::Status AddIngressTargets(const OperatorObject& context, const base::Json& ingress, base::Json* rules,
                               base::Json* config) {
  base::Json sd = KubernetesDiscovery(context, "ingress", ObjectAt(ingress, "namespaceSelector"));
  (*config)["kubernetes_sd_configs"] = base::Json::array({std::move(sd)});
  TW_RETURN_IF_ERROR(AddSelectorRules(ObjectAt(ingress, "selector"), "ingress", rules));
  base::Json url = RelabelJson({kMeta + "ingress_scheme", "__address__", kMeta + "ingress_path"}, "(.+);(.+);(.+)",
                               "__param_target", "${1}://${2}${3}", "replace");
  url["separator"] = ";";
  rules->push_back(std::move(url));
  rules->push_back(RelabelJson({kMeta + "namespace"}, "", "namespace", ""));
  rules->push_back(RelabelJson({kMeta + "ingress_name"}, "", "ingress", ""));
  base::Json address = RelabelJson({"__address__"}, "(.*)", "__tmp_ingress_address", "$1", "replace");
  address["separator"] = ";";
  rules->push_back(std::move(address));
  return base::Status::Ok();
}

base::Status AddProbeTargets(const OperatorObject& context, base::Json* rules, base::Json* config) {
  const base::Json& targets = ObjectAt(context.spec, "targets");
  const bool fixed = ObjectAt(targets, "staticConfig").is_object();
  if (!fixed && !ObjectAt(targets, "ingress").is_object())
    return Invalid("targets: has neither staticConfig nor ingress; set one");
  const base::Json& chosen = targets[fixed ? "staticConfig" : "ingress"];
  if (fixed) {
    AddStaticTargets(context, chosen, config);
    rules->push_back(RelabelJson({"__address__"}, "", "__param_target", ""));
  } else {
    TW_RETURN_IF_ERROR(AddIngressTargets(context, chosen, rules, config));
  }
  rules->push_back(RelabelJson({"__param_target"}, "", "instance", ""));
  rules->push_back(RelabelJson({}, "", "__address__", TextAt(ObjectAt(context.spec, "prober"), "url")));
  return AddFinalRules(context, ObjectAt(chosen, "relabelingConfigs"), "__param_target", rules);
}

// A discovery section whose members only change their names, from camel case to words with underscores.
base::Json Renamed(const base::Json& value, const std::set<std::string>& members) {
  base::Json out = base::Json::object();
  for (const std::string& member : members) {
    std::string name;
    for (char c : member) {
      if (std::isupper(static_cast<unsigned char>(c)) != 0) name += '_';
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    CopyMember(value, member, &out, name);
  }
  return out;
}

base::Json StaticConfigs(const base::Json& list) {
  base::Json out = base::Json::array();
  for (const auto& group : list) {
    base::Json labels = HasValue(group, "labels") ? group["labels"] : base::Json::object();
    out.push_back({{"targets", ObjectAt(group, "targets")}, {"labels", std::move(labels)}});
  }
  return out;
}

// Which selectors a role takes, beside one for its own objects.
base::Status CheckSelector(const base::Json& selector, const std::string& role) {
  static const std::map<std::string, std::set<std::string>> kOthers = {
      {"pod", {"node"}}, {"service", {}}, {"endpoints", {"pod", "service"}}, {"endpointslice", {"pod", "service"}},
      {"node", {}},      {"ingress", {}}};
  const std::string of = base::ToLower(TextAt(selector, "role"));
  const auto others = kOthers.find(role);
  if (others != kOthers.end() && of != role && others->second.count(of) == 0) {
    return Invalid("selectors: role " + role + " takes no selector for role " + of);
  }
  return kube::LabelSelector::Parse(TextAt(selector, "label")).status().Annotate("selectors");
}

base::Status CheckKubernetesSd(const base::Json& sd, const std::string& role) {
  if (!TextAt(sd, "apiServer").empty() && BoolAt(ObjectAt(sd, "namespaces"), "ownNamespace", false)) {
    return Invalid("apiServer and namespaces.ownNamespace exclude each other");
  }
  for (const auto& selector : ObjectAt(sd, "selectors")) TW_RETURN_IF_ERROR(CheckSelector(selector, role));
  return base::Status::Ok();
}

base::Result<base::Json> KubernetesSd(const OperatorObject& context, const base::Json& sd) {
  const std::string role = base::ToLower(TextAt(sd, "role"));
  TW_RETURN_IF_ERROR(CheckKubernetesSd(sd, role));
  base::Json out = {{"role", role}};
  if (!TextAt(sd, "apiServer").empty()) out["api_server"] = sd["apiServer"];
  if (const base::Json& namespaces = ObjectAt(sd, "namespaces"); !namespaces.empty()) {
    out["namespaces"] = Renamed(namespaces, {"names", "ownNamespace"});
  }
  for (const auto& selector : ObjectAt(sd, "selectors")) {
    base::Json one = Renamed(selector, {"label", "field"});
    one["role"] = base::ToLower(TextAt(selector, "role"));
    out["selectors"].push_back(std::move(one));
  }
  const base::Json& attach = ObjectAt(sd, "attachMetadata");
  const bool knows_nodes = role == "pod" || role == "endpoints" || role == "endpointslice";
  if (HasValue(attach, "node") && knows_nodes) out["attach_metadata"]["node"] = attach["node"];
  TW_RETURN_IF_ERROR(AddHttpSettings(context, sd, /*files=*/false, &out));
  return out;
}

base::Result<base::Json> HttpSd(const OperatorObject& context, const base::Json& sd) {
  base::Json out = Renamed(sd, {"url", "refreshInterval"});
  TW_RETURN_IF_ERROR(AddHttpSettings(context, sd, /*files=*/false, &out));
  return out;
}

base::Result<base::Json> DnsSd(const base::Json& sd) {
  const std::string type = TextAt(sd, "type");
  if ((type == "A" || type == "AAAA" || type == "MX" || type == "NS") && !HasValue(sd, "port")) {
    return Invalid("port is needed for records of type " + type);
  }
  return Renamed(sd, {"names", "type", "port", "refreshInterval"});
}

base::Status AddDiscovery(const OperatorObject& context, base::Json* config) {
  // Credentials of the scrape class are for targets, not for where targets are found.
  const base::Json none;
  const OperatorObject plain{context.prometheus, context.object, context.spec, none,
                             context.lookup,     context.kind,   context.ns,   context.name};
  auto convert = [&](const std::string& field, const std::string& as, auto one) -> base::Status {
    size_t index = 0;
    for (const auto& sd : ObjectAt(context.spec, field)) {
      base::Result<base::Json> converted = one(sd);
      if (!converted.ok()) return converted.status().Annotate(field + "[" + std::to_string(index) + "]");
      (*config)[as].push_back(std::move(*converted));
      ++index;
    }
    return base::Status::Ok();
  };
  TW_RETURN_IF_ERROR(convert("kubernetesSDConfigs", "kubernetes_sd_configs",
                             [&](const base::Json& sd) { return KubernetesSd(plain, sd); }));
  TW_RETURN_IF_ERROR(
      convert("httpSDConfigs", "http_sd_configs", [&](const base::Json& sd) { return HttpSd(plain, sd); }));
  TW_RETURN_IF_ERROR(convert("dnsSDConfigs", "dns_sd_configs", DnsSd));
  return convert("fileSDConfigs", "file_sd_configs", [](const base::Json& sd) -> base::Result<base::Json> {
    return Renamed(sd, {"files", "refreshInterval"});
  });
}

// Kinds of discovery that nothing here implements.
base::Status CheckSupported(const base::Json& spec) {
  static const std::set<std::string> kSupported = {"kubernetesSDConfigs", "httpSDConfigs", "dnsSDConfigs",
                                                   "fileSDConfigs"};
  if (!spec.is_object()) return base::Status::Ok();
  constexpr std::string_view kSuffix = "SDConfigs";
  for (const auto& [key, value] : spec.items()) {
    const bool discovery = key.size() > kSuffix.size() && key.substr(key.size() - kSuffix.size()) == kSuffix;
    if (discovery && !value.empty() && kSupported.count(key) == 0) {
      return base::UnimplementedError(key +
                                      " is not supported; use kubernetesSDConfigs, httpSDConfigs, dnsSDConfigs or "
                                      "fileSDConfigs");
    }
  }
  return base::Status::Ok();
}

}  // namespace

base::Result<base::Json> ConvertProbe(const OperatorObject& context) {
  const base::Json& prober = ObjectAt(context.spec, "prober");
  TW_RETURN_IF_ERROR(CheckProber(TextAt(prober, "url")));
  base::Json config = {{"job_name", "probe/" + context.ns + "/" + context.name}, {"honor_timestamps", true}};
  if (BoolAt(context.prometheus, "overrideHonorTimestamps", false)) config["honor_timestamps"] = false;
  const std::string path = TextAt(prober, "path");
  config["metrics_path"] = path.empty() ? "/probe" : path;
  if (!TextAt(prober, "scheme").empty()) config["scheme"] = base::ToLower(TextAt(prober, "scheme"));
  TW_RETURN_IF_ERROR(AddTiming(context, context.spec, "interval", &config));
  AddProbeParams(context, &config);
  base::Json http = context.spec.is_object() ? context.spec : base::Json::object();
  for (auto key : {"proxyUrl", "noProxy", "proxyFromEnvironment", "proxyConnectHeader"})
    CopyMember(prober, key, &http, key);
  TW_RETURN_IF_ERROR(AddHttpSettings(context, http, /*files=*/true, &config));
  base::Json rules = base::Json::array({RelabelJson({"job"}, "", "__tmp_prometheus_job_name", "")});
  const std::string job = TextAt(context.spec, "jobName");
  if (!job.empty()) rules.push_back(RelabelJson({}, "", "job", job));
  TW_RETURN_IF_ERROR(AddProbeTargets(context, &rules, &config));
  TW_RETURN_IF_ERROR(AddMetricRules(context, ObjectAt(context.spec, "metricRelabelings"), &config));
  config["relabel_configs"] = std::move(rules);
  AddLimits(context, &config);
  AddFormats(context, &config);
  return config;
}

base::Result<base::Json> ConvertScrapeConfig(const OperatorObject& context) {
  const base::Json& spec = context.spec;
  TW_RETURN_IF_ERROR(CheckSupported(spec));
  base::Json config = {{"job_name", "scrapeConfig/" + context.ns + "/" + context.name}};
  TW_RETURN_IF_ERROR(AddTiming(context, spec, "scrapeInterval", &config));
  AddHonor(context, spec, /*always_labels=*/false, &config);
  CopyMember(spec, "metricsPath", &config, "metrics_path");
  CopyMember(spec, "params", &config, "params");
  CopyMember(spec, "enableCompression", &config, "enable_compression");
  if (!TextAt(spec, "scheme").empty()) config["scheme"] = base::ToLower(TextAt(spec, "scheme"));
  TW_RETURN_IF_ERROR(AddHttpSettings(context, spec, /*files=*/true, &config));
  if (HasValue(spec, "staticConfigs")) config["static_configs"] = StaticConfigs(spec["staticConfigs"]);
  TW_RETURN_IF_ERROR(AddDiscovery(context, &config));
  base::Json rules = base::Json::array({RelabelJson({"job"}, "", "__tmp_prometheus_job_name", "")});
  for (auto& rule : RelabelRulesJson(ObjectAt(context.scrape_class, "relabelings"))) rules.push_back(rule);
  const std::string job = TextAt(spec, "jobName");
  if (!job.empty()) rules.push_back(RelabelJson({}, "", "job", job, "replace"));
  TW_RETURN_IF_ERROR(AddFinalRules(context, ObjectAt(spec, "relabelings"), "__address__", &rules));
  TW_RETURN_IF_ERROR(AddMetricRules(context, ObjectAt(spec, "metricRelabelings"), &config));
  config["relabel_configs"] = std::move(rules);
  AddLimits(context, &config);
  AddFormats(context, &config);
  const std::string validation = TextAt(spec, "nameValidationScheme"), escaping = TextAt(spec, "nameEscapingScheme");
  if (!validation.empty()) config["metric_name_validation_scheme"] = base::ToLower(validation);
  if (!escaping.empty()) {
    config["metric_name_escaping_scheme"] = escaping == "AllowUTF8" ? "allow-utf-8" : base::ToLower(escaping);
  }
  return config;
}

}  // namespace tidewright::scrape
