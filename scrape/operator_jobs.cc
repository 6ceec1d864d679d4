#include <algorithm>

#include "base/document.h"
#include "base/strings.h"
#include "scrape/operator_sections.h"

namespace tidewright::scrape {
namespace {

const std::string kMeta = "__meta_kubernetes_";

std::string PortText(const base::Json& port) {
  if (port.is_string()) return port.get<std::string>();
  return port.is_number_integer() && port != 0 ? port.dump() : "";
}

base::Json FirstRules() { return base::Json::array({RelabelJson({"job"}, "", "__tmp_prometheus_job_name", "")}); }

base::Json DropFinishedPods() { return RelabelJson({kMeta + "pod_phase"}, "(Failed|Succeeded)", "", "", "drop"); }

// What an endpoint of either monitor says about its requests.
base::Status AddEndpoint(const OperatorObject& context, const base::Json& endpoint, bool files, base::Json* config) {
  TW_RETURN_IF_ERROR(AddTiming(context, endpoint, "interval", config));
  AddHonor(context, endpoint, /*always_labels=*/true, config);
  if (!TextAt(endpoint, "path").empty()) (*config)["metrics_path"] = endpoint["path"];
  if (HasValue(endpoint, "params")) (*config)["params"] = endpoint["params"];
  if (!TextAt(endpoint, "scheme").empty()) (*config)["scheme"] = base::ToLower(TextAt(endpoint, "scheme"));
  return AddHttpSettings(context, endpoint, files, config);
}

// Labels of the object behind a target that become labels of the target.
void AddTargetLabels(const base::Json& names, const std::string& role, base::Json* rules) {
  for (const auto& name : names) {
    if (!name.is_string()) continue;  // kube-apiserver lets nothing else pass.
    const std::string label = SanitizedName(name.get<std::string>());
    rules->push_back(RelabelJson({kMeta + role + "_label_" + label}, "(.+)", label, "${1}"));
  }
}

void AddPodTargetLabels(const OperatorObject& context, base::Json* rules) {
  AddTargetLabels(ObjectAt(context.spec, "podTargetLabels"), "pod", rules);
  AddTargetLabels(ObjectAt(context.prometheus, "podTargetLabels"), "pod", rules);
}

void AddJobLabel(const OperatorObject& context, const std::string& role, base::Json* rules) {
  const std::string label = TextAt(context.spec, "jobLabel");
  if (label.empty()) return;
  rules->push_back(RelabelJson({kMeta + role + "_label_" + SanitizedName(label)}, "(.+)", "job", "${1}"));
}

bool SelectsByRole(const OperatorObject& context) {
  return TextAt(context.spec, "selectorMechanism") == "RoleSelector";
}

// The selector, either as rules on what discovery finds or as selectors of discovery itself.
base::Status AddSelector(const OperatorObject& context, const std::string& label_role,
                         const std::vector<std::string>& sd_roles, base::Json* rules, base::Json* sd) {
  const base::Json& selector = ObjectAt(context.spec, "selector");
  if (!SelectsByRole(context)) return AddSelectorRules(selector, label_role, rules);
  TW_ASSIGN_OR_RETURN(std::string text, SelectorText(selector));
  if (text.empty()) return base::Status::Ok();
  for (const std::string& role : sd_roles) (*sd)["selectors"].push_back({{"role", role}, {"label", text}});
  return base::Status::Ok();
}

std::string ServiceRole(const OperatorObject& context) {
  std::string role = TextAt(context.spec, "serviceDiscoveryRole");
  if (role.empty()) role = TextAt(context.prometheus, "serviceDiscoveryRole");
  return role == "EndpointSlice" ? "endpointslice" : "endpoints";
}

void AddServicePort(const base::Json& endpoint, const std::string& prefix, base::Json* rules) {
  const base::Json& target_port = ObjectAt(endpoint, "targetPort");
  if (const std::string port = TextAt(endpoint, "port"); !port.empty()) {
    rules->push_back(RelabelJson({prefix + "_port_name"}, port, "", "", "keep"));
  } else if (const std::string target = PortText(target_port); !target.empty()) {
    const std::string label = target_port.is_string() ? "_port_name" : "_port_number";
    rules->push_back(RelabelJson({kMeta + "pod_container" + label}, target, "", "", "keep"));
  }
}

// Where the target is: node or pod, namespace, service, container.
void AddServicePlace(const std::string& prefix, base::Json* rules) {
  for (auto [kind, label] : {std::pair{"Node", "node"}, {"Pod", "pod"}}) {
    base::Json rule = RelabelJson({prefix + "_address_target_kind", prefix + "_address_target_name"},
                                  std::string(kind) + ";(.*)", label, "${1}");
    rule["separator"] = ";";
    rules->push_back(std::move(rule));
  }
  rules->push_back(RelabelJson({kMeta + "namespace"}, "", "namespace", ""));
  rules->push_back(RelabelJson({kMeta + "service_name"}, "", "service", ""));
  rules->push_back(RelabelJson({kMeta + "pod_name"}, "", "pod", ""));
  rules->push_back(RelabelJson({kMeta + "pod_container_name"}, "", "container", ""));
}

// What a job of either monitor ends with.
base::Result<base::Json> Complete(const OperatorObject& context, const base::Json& endpoint, base::Json sd,
                                  base::Json rules, base::Json config) {
  TW_RETURN_IF_ERROR(AddFinalRules(context, ObjectAt(endpoint, "relabelings"), "__address__", &rules));
  TW_RETURN_IF_ERROR(AddMetricRules(context, ObjectAt(endpoint, "metricRelabelings"), &config));
  config["kubernetes_sd_configs"] = {std::move(sd)};
  config["relabel_configs"] = std::move(rules);
  AddLimits(context, &config);
  AddFormats(context, &config);
  return config;
}

std::string JobName(const OperatorObject& context, const std::string& prefix) {
  return prefix + "/" + context.ns + "/" + context.name;
}

}  // namespace

base::Result<base::Json> ConvertServiceEndpoint(const OperatorObject& context, const base::Json& endpoint,
                                                size_t index) {
  base::Json config = {{"job_name", JobName(context, "serviceMonitor") + "/" + std::to_string(index)}};
  const base::Json& access = ObjectAt(context.prometheus, "arbitraryFSAccessThroughSMs");
  TW_RETURN_IF_ERROR(AddEndpoint(context, endpoint, !BoolAt(access, "deny", false), &config));
  const std::string role = ServiceRole(context);
  const std::string prefix = kMeta + (role == "endpoints" ? "endpoint" : "endpointslice");
  base::Json sd = KubernetesDiscovery(context, role, ObjectAt(context.spec, "namespaceSelector"));
  base::Json rules = FirstRules();
  TW_RETURN_IF_ERROR(AddSelector(context, "service", {role, "service"}, &rules, &sd));
  AddServicePort(endpoint, prefix, &rules);
  AddServicePlace(prefix, &rules);
  if (BoolAt(endpoint, "filterRunning", true)) rules.push_back(DropFinishedPods());
  AddTargetLabels(ObjectAt(context.spec, "targetLabels"), "service", &rules);
  AddPodTargetLabels(context, &rules);
  rules.push_back(RelabelJson({kMeta + "service_name"}, "", "job", "${1}"));
  AddJobLabel(context, "service", &rules);
  std::string name = TextAt(endpoint, "port");
  const base::Json& target_port = ObjectAt(endpoint, "targetPort");
  if (name.empty() && !target_port.is_null())
    name = target_port.is_string() ? PortText(target_port) : target_port.dump();
  if (!name.empty()) rules.push_back(RelabelJson({}, "", "endpoint", name));
  return Complete(context, endpoint, std::move(sd), std::move(rules), std::move(config));
}

base::Result<base::Json> ConvertPodEndpoint(const OperatorObject& context, const base::Json& endpoint, size_t index) {
  base::Json config = {{"job_name", JobName(context, "podMonitor") + "/" + std::to_string(index)}};
  TW_RETURN_IF_ERROR(AddEndpoint(context, endpoint, /*files=*/true, &config));
  base::Json sd = KubernetesDiscovery(context, "pod", ObjectAt(context.spec, "namespaceSelector"));
  base::Json rules = FirstRules();
  if (BoolAt(endpoint, "filterRunning", true)) rules.push_back(DropFinishedPods());
  TW_RETURN_IF_ERROR(AddSelector(context, "pod", {"pod"}, &rules, &sd));
  const std::string port = TextAt(endpoint, "port"), number = PortText(ObjectAt(endpoint, "portNumber"));
  const base::Json& target_port = ObjectAt(endpoint, "targetPort");
  const std::string target = PortText(target_port);
  const bool by_name = !port.empty() || (number.empty() && target_port.is_string());
  const std::string& wanted = !port.empty() ? port : !number.empty() ? number : target;
  if (!wanted.empty()) {
    rules.push_back(RelabelJson({kMeta + (by_name ? "pod_container_port_name" : "pod_container_port_number")}, wanted,
                                "", "", "keep"));
  }
  rules.push_back(RelabelJson({kMeta + "namespace"}, "", "namespace", ""));
  rules.push_back(RelabelJson({kMeta + "pod_container_name"}, "", "container", ""));
  rules.push_back(RelabelJson({kMeta + "pod_name"}, "", "pod", ""));
  AddPodTargetLabels(context, &rules);
  rules.push_back(RelabelJson({}, "", "job", context.ns + "/" + context.name));
  AddJobLabel(context, "pod", &rules);
  const std::string& name = port.empty() ? target : port;
  if (!name.empty()) rules.push_back(RelabelJson({}, "", "endpoint", name));
  return Complete(context, endpoint, std::move(sd), std::move(rules), std::move(config));
}

}  // namespace tidewright::scrape
