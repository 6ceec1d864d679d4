#include "adapter/custom_provider.h"

#include <algorithm>
#include <utility>

#include "adapter/metric_query.h"
#include "base/document.h"
#include "base/json.h"
#include "base/metrics.h"

namespace tidewright::adapter {
namespace {

using apiservice::CustomMetricValue;

base::Status NoSuchMetric(const std::string& metric, const std::string& object, const kube::LabelSelector& selector,
                          const std::string& reason) {
  std::string text = "the server could not find the metric " + metric + " for " + object;
  if (!selector.empty()) text += " with selector " + selector.ToString();
  return base::NotFoundError(text + ": " + reason);
}

}  // namespace

CustomProvider::CustomProvider(promql::QueryEngine& engine, Registry& registry, kube::ObjectReader& objects,
                               base::Clock& clock)
    : engine_(engine), registry_(registry), objects_(objects), clock_(clock) {}

base::Result<std::vector<std::string>> CustomProvider::Names(const kube::Resource& resource, const std::string& ns,
                                                             const kube::LabelSelector& selector) {
  auto objects = objects_.List(resource, ns, selector);
  // Whatever is wrong, it is not what the client asks or may do.
  if (!objects.ok()) {
    return base::UnavailableError("cannot list the objects that the metric describes: " + objects.status().message());
  }
  std::vector<std::string> names;
  for (const auto& object : *objects) names.push_back(kube::NameOf(*object));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<apiservice::CustomMetricInfo> CustomProvider::ListMetrics() { return registry_.ListCustom(); }

base::Result<CustomMetric> CustomProvider::Find(const GroupResource& resource, const std::string& ns,
                                                const std::string& metric) {
  base::Result<CustomMetric> found = registry_.FindCustom(resource, metric);
  if (!found.ok()) {
    if (found.status().code() != base::Code::kNotFound) return found.status();
    return NoSuchMetric(metric, resource.ToString(), {}, found.status().message());
  }
  bool namespaced = found->type.resource.namespaced;
  if (namespaced == ns.empty()) {
    return NoSuchMetric(metric, resource.ToString(), {},
                        namespaced ? resource.ToString() + " live in namespaces; ask for /namespaces/<namespace>/" +
                                         resource.ToString() + "/<name>/" + metric
                                   : resource.ToString() + " live in no namespace");
  }
  if (namespaced && found->namespace_label.empty()) {
    return NoSuchMetric(metric, resource.ToString(), {},
                        found->rule->Title() + ": resources maps no label to namespaces; add it to overrides");
  }
  return found;
}

base::Result<CustomProvider::Answer> CustomProvider::Ask(const CustomMetric& metric, const std::string& ns,
                                                         const std::vector<std::string>& names,
                                                         const kube::LabelSelector& metric_selector) {
  MetricQuery query(metric.series);
  TW_RETURN_IF_ERROR(query.AddSelector(metric_selector));
  if (!ns.empty()) query.AddEqual(metric.namespace_label, ns);
  query.AddNames(metric.resource_label, names);
  query.GroupBy({metric.resource_label});
  std::string title = metric.rule->Title();
  base::Result<std::string> text = query.Render(metric.rule->query);
  if (!text.ok()) return base::InternalError(title + ": " + text.status().message());
  Answer answer;
  answer.query = *std::move(text);
  answer.now_ms = clock_.NowMs();
  TW_ASSIGN_OR_RETURN(promql::Value value, EvaluateQuery(engine_, title, answer.query, answer.now_ms));
  const auto* vector = std::get_if<promql::Vector>(&value);
  if (vector == nullptr) {
    return base::InternalError(title + ": the query " + base::Quoted(answer.query) +
                               " does not give an instant vector, so its values belong to no object");
  }
  answer.samples = vector->size();
  for (const promql::VectorSample& sample : *vector) {
    std::string name(sample.labels.Get(metric.resource_label));
    if (!name.empty()) answer.values[name] = sample.point.v;
  }
  return answer;
}

base::Result<CustomMetricValue> CustomProvider::ToValue(const CustomMetric& metric, const Answer& answer,
                                                        const std::string& ns, const std::string& name,
                                                        const std::string& metric_name) const {
  auto it = answer.values.find(name);
  std::string title = metric.rule->Title();
  if (it == answer.values.end()) {
    return base::NotFoundError(title + ": the query " + base::Quoted(answer.query) + " gave " +
                               std::to_string(answer.samples) + " samples, none with " + metric.resource_label + "=" +
                               base::Quoted(name));
  }
  base::Result<base::Quantity> quantity = base::Quantity::FromDoubleMilli(it->second);
  if (!quantity.ok()) {
    return base::NotFoundError(title + ": the query " + base::Quoted(answer.query) + " gave " +
                               base::FormatDouble(it->second) + ", which is no value to scale on");
  }
  CustomMetricValue value;
  const kube::Resource& resource = metric.type.resource;
  value.kind = resource.kind;
  value.api_version = resource.group + "/" + resource.version;
  value.ns = ns;
  value.name = name;
  value.metric = metric_name;
  value.timestamp_ms = answer.now_ms;
  value.window_s = WindowSeconds(answer.query);
  value.value = *quantity;
  return value;
}

base::Result<CustomMetricValue> CustomProvider::GetByName(const GroupResource& resource, const std::string& ns,
                                                          const std::string& name, const std::string& metric,
                                                          const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, metric));
  TW_ASSIGN_OR_RETURN(Answer answer, Ask(found, ns, {name}, metric_selector));
  base::Result<CustomMetricValue> value = ToValue(found, answer, ns, name, metric);
  if (value.ok()) return value;
  return NoSuchMetric(metric, resource.ToString() + " " + name, metric_selector, value.status().message());
}

base::Result<std::vector<CustomMetricValue>> CustomProvider::GetBySelector(const GroupResource& resource,
                                                                           const std::string& ns,
                                                                           const kube::LabelSelector& object_selector,
                                                                           const std::string& metric,
                                                                           const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, metric));
  TW_ASSIGN_OR_RETURN(std::vector<std::string> names, Names(found.type.resource, ns, object_selector));
  if (names.empty()) {
    std::string objects = resource.ToString() + (ns.empty() ? "" : " in namespace " + ns);
    if (!object_selector.empty()) objects += " match " + object_selector.ToString();
    return NoSuchMetric(metric, resource.ToString(), metric_selector, "no " + objects);
  }
  TW_ASSIGN_OR_RETURN(Answer answer, Ask(found, ns, names, metric_selector));
  std::vector<CustomMetricValue> values;
  for (const std::string& name : names) {
    base::Result<CustomMetricValue> value = ToValue(found, answer, ns, name, metric);
    if (value.ok()) values.push_back(*std::move(value));
  }
  return values;
}

}  // namespace tidewright::adapter
