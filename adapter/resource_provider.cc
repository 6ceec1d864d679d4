#include "adapter/resource_provider.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "adapter/metric_query.h"
#include "adapter/registry.h"
#include "base/document.h"
#include "base/json.h"
#include "base/log.h"

namespace tidewright::adapter {
namespace {

// Names of one query: keeps the alternation well below the limits of any engine's regular expressions.
constexpr size_t kMaxNames = 1000;

bool IsUsage(double value) { return std::isfinite(value) && value >= 0; }

std::optional<apiservice::ResourceUsage> MakeUsage(double cpu, double memory) {
  if (!IsUsage(cpu) || !IsUsage(memory)) return std::nullopt;
  base::Result<base::Quantity> cores = base::Quantity::FromDoubleMilli(cpu);
  base::Result<base::Quantity> bytes =
      base::Quantity::FromDoubleMilli(std::trunc(memory), base::Quantity::Format::kBinarySi);
  if (!cores.ok() || !bytes.ok()) return std::nullopt;
  return apiservice::ResourceUsage{*cores, *bytes};
}

}  // namespace

ResourceProvider::ResourceProvider(promql::QueryEngine& engine, ResourceMapper& mapper, kube::ObjectReader& objects,
                                   base::Clock& clock)
    : engine_(engine), mapper_(mapper), objects_(objects), clock_(clock) {}

void ResourceProvider::SetRules(std::shared_ptr<const ResourceRules> rules) {
  base::MutexLock lock(mu_);
  rules_ = std::move(rules);
}

base::Result<std::shared_ptr<const ResourceRules>> ResourceProvider::Rules() const {
  base::MutexLock lock(mu_);
  if (rules_ == nullptr) return base::NotFoundError("no resourceRules are configured");
  return rules_;
}

base::Result<std::vector<ResourceProvider::Object>> ResourceProvider::List(const kube::Resource& resource,
                                                                           const std::string& ns,
                                                                           const std::string& name,
                                                                           const kube::LabelSelector& selector) {
  auto found = objects_.List(resource, ns, selector);
  if (!found.ok()) return base::UnavailableError(found.status().message());
  std::vector<Object> objects;
  for (const auto& object : *found) {
    bool running = resource.plural != "pods" || base::FindString(*object, {"status", "phase"}, "Running") == "Running";
    bool wanted = name.empty() || kube::NameOf(*object) == name;
    if (running && wanted)
      objects.push_back({kube::NamespaceOf(*object), kube::NameOf(*object), kube::LabelsOf(*object)});
  }
  std::sort(objects.begin(), objects.end(),
            [](const Object& a, const Object& b) { return a.ns != b.ns ? a.ns < b.ns : a.name < b.name; });
  return objects;
}

base::Result<ResourceProvider::Values> ResourceProvider::Ask(const ResourceRule& rule, const std::string& type_name,
                                                             const std::string& ns,
                                                             const std::vector<std::string>& names, int64_t now_ms) {
  bool pods = type_name == "pods";
  std::string label = LabelOf(rule.resources, *mapper_.Find("", type_name), mapper_);
  std::string namespace_label = NamespaceLabelOf(rule.resources, mapper_);
  if (label.empty() || (pods && namespace_label.empty())) {
    return base::InternalError(rule.path + ".resources maps no label to " +
                               (label.empty() ? type_name : std::string("namespaces")) + "; add it to overrides");
  }
  Values values;
  for (size_t begin = 0; begin < names.size(); begin += kMaxNames) {
    size_t end = std::min(names.size(), begin + kMaxNames);
    MetricQuery query("");
    if (pods) query.AddEqual(namespace_label, ns);
    query.AddNames(label, {names.begin() + begin, names.begin() + end});
    query.GroupBy(pods ? std::vector<std::string>{label, rule.container_label} : std::vector<std::string>{label});
    base::Result<std::string> text = query.Render(pods ? rule.container_query : rule.node_query);
    if (!text.ok()) return base::InternalError(rule.path + ": " + text.status().message());
    TW_ASSIGN_OR_RETURN(promql::Value value, EvaluateQuery(engine_, rule.path, *text, now_ms));
    const auto* vector = std::get_if<promql::Vector>(&value);
    if (vector == nullptr) {
      return base::InternalError(rule.path + ": the query " + base::Quoted(*text) + " does not give an instant vector");
    }
    for (const promql::VectorSample& sample : *vector) {
      std::string container(pods ? sample.labels.Get(rule.container_label) : "");
      values[std::string(sample.labels.Get(label))][container] = {sample.point.v, TimeOf(sample.sampled_ms, now_ms)};
    }
  }
  return values;
}

base::Status ResourceProvider::PodsOfNamespace(const ResourceRules& rules, const std::vector<Object>& pods,
                                               int64_t now_ms, std::vector<apiservice::PodMetrics>* out) {
  std::vector<std::string> names;
  for (const Object& pod : pods) names.push_back(pod.name);
  TW_ASSIGN_OR_RETURN(Values cpu, Ask(rules.cpu, "pods", pods[0].ns, names, now_ms));
  TW_ASSIGN_OR_RETURN(Values memory, Ask(rules.memory, "pods", pods[0].ns, names, now_ms));
  for (const Object& pod : pods) {
    const auto& cpu_of = cpu[pod.name];
    const auto& memory_of = memory[pod.name];
    apiservice::PodMetrics metrics{pod.ns, pod.name, pod.labels, now_ms, rules.window_ms, {}};
    bool complete = !cpu_of.empty() && cpu_of.size() == memory_of.size();
    for (const auto& [container, cores] : cpu_of) {
      auto bytes = memory_of.find(container);
      std::optional<apiservice::ResourceUsage> usage;
      if (bytes != memory_of.end()) usage = MakeUsage(cores.value, bytes->second.value);
      complete = complete && usage.has_value();
      if (!complete) break;
      metrics.containers[container] = *usage;
      metrics.timestamp_ms = std::min({metrics.timestamp_ms, cores.at_ms, bytes->second.at_ms});
    }
    if (complete) out->push_back(std::move(metrics));
  }
  return base::Status::Ok();
}

base::Result<std::vector<apiservice::PodMetrics>> ResourceProvider::Pods(const std::string& ns, const std::string& name,
                                                                         const kube::LabelSelector& selector) {
  TW_ASSIGN_OR_RETURN(std::shared_ptr<const ResourceRules> rules, Rules());
  TW_ASSIGN_OR_RETURN(std::vector<Object> pods, List(kube::resources::kPods, ns, name, selector));
  int64_t now = clock_.NowMs();
  std::vector<apiservice::PodMetrics> result;
  base::Status error;
  bool answered = pods.empty();
  for (size_t begin = 0; begin < pods.size();) {
    size_t end = begin;
    while (end < pods.size() && pods[end].ns == pods[begin].ns) ++end;
    base::Status status = PodsOfNamespace(*rules, {pods.begin() + begin, pods.begin() + end}, now, &result);
    answered = answered || status.ok();
    if (!status.ok()) {
      base::LogWarn("adapter", "pods of a namespace have no resource metrics",
                    {{"namespace", pods[begin].ns}, {"error", status.ToString()}});
      error = status;
    }
    begin = end;
  }
  if (!answered) return error;
  return result;
}

base::Result<std::vector<apiservice::NodeMetrics>> ResourceProvider::Nodes(const std::string& name,
                                                                           const kube::LabelSelector& selector) {
  TW_ASSIGN_OR_RETURN(std::shared_ptr<const ResourceRules> rules, Rules());
  TW_ASSIGN_OR_RETURN(std::vector<Object> nodes, List(kube::resources::kNodes, "", name, selector));
  std::vector<apiservice::NodeMetrics> result;
  if (nodes.empty()) return result;
  int64_t now = clock_.NowMs();
  std::vector<std::string> names;
  for (const Object& node : nodes) names.push_back(node.name);
  TW_ASSIGN_OR_RETURN(Values cpu, Ask(rules->cpu, "nodes", "", names, now));
  TW_ASSIGN_OR_RETURN(Values memory, Ask(rules->memory, "nodes", "", names, now));
  for (const Object& node : nodes) {
    auto cores = cpu.find(node.name);
    auto bytes = memory.find(node.name);
    if (cores == cpu.end() || bytes == memory.end()) continue;
    const Measured &cpu_use = cores->second.begin()->second, &memory_use = bytes->second.begin()->second;
    std::optional<apiservice::ResourceUsage> usage = MakeUsage(cpu_use.value, memory_use.value);
    int64_t at_ms = std::min(cpu_use.at_ms, memory_use.at_ms);
    if (usage) result.push_back({node.name, node.labels, at_ms, rules->window_ms, *usage});
  }
  return result;
}

}  // namespace tidewright::adapter
