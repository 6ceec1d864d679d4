#include "adapter/external_provider.h"

#include <utility>

#include "adapter/metric_query.h"
#include "base/document.h"

namespace tidewright::adapter {

using apiservice::ExternalMetricValue;

ExternalProvider::ExternalProvider(promql::QueryEngine& engine, Registry& registry, base::Clock& clock)
    : engine_(engine), registry_(registry), clock_(clock) {}

std::vector<std::string> ExternalProvider::ListMetrics() { return registry_.ListExternal(); }

base::Result<std::string> ExternalProvider::Render(const ExternalMetric& metric, const std::string& ns,
                                                   const kube::LabelSelector& selector) const {
  MetricQuery query(metric.series);
  TW_RETURN_IF_ERROR(query.AddSelector(selector));
  std::string title = metric.rule->Title();
  if (metric.rule->namespaced && !ns.empty()) {
    if (metric.namespace_label.empty()) {
      return base::InternalError(title +
                                 ": resources maps no label to namespaces; add it to overrides, or set "
                                 "resources.namespaced to false for a metric that belongs to no namespace");
    }
    query.AddEqual(metric.namespace_label, ns);
  }
  base::Result<std::string> text = query.Render(metric.rule->query);
  if (!text.ok()) return base::InternalError(title + ": " + text.status().message());
  return text;
}

base::Result<std::vector<ExternalMetricValue>> ExternalProvider::Get(const std::string& ns, const std::string& metric,
                                                                     const kube::LabelSelector& selector) {
  base::Result<ExternalMetric> found = registry_.FindExternal(metric);
  if (!found.ok()) {
    if (found.status().code() != base::Code::kNotFound) return found.status();
    return base::NotFoundError("the server could not find the external metric " + metric + ": " +
                               found.status().message());
  }
  TW_ASSIGN_OR_RETURN(std::string query, Render(*found, ns, selector));
  int64_t now = clock_.NowMs();
  TW_ASSIGN_OR_RETURN(promql::Value value, EvaluateQuery(engine_, found->rule->Title(), query, now));
  promql::Vector samples;
  if (auto* vector = std::get_if<promql::Vector>(&value)) {
    samples = std::move(*vector);
  } else if (auto* scalar = std::get_if<promql::Scalar>(&value)) {
    samples.push_back({{}, scalar->point});
  } else {
    return base::InternalError(found->rule->Title() + ": the query " + base::Quoted(query) +
                               " gives neither an instant vector nor a scalar");
  }
  std::vector<ExternalMetricValue> values;
  for (const promql::VectorSample& sample : samples) {
    base::Result<base::Quantity> quantity = base::Quantity::FromDoubleMilli(sample.point.v);
    if (!quantity.ok()) continue;
    ExternalMetricValue item;
    item.metric = metric;
    for (const auto& label : sample.labels) item.labels[label.name] = label.value;
    item.timestamp_ms = now;
    item.window_s = WindowSeconds(query);
    item.value = *quantity;
    values.push_back(std::move(item));
  }
  if (values.empty() && !samples.empty()) {
    return base::NotFoundError("the external metric " + metric + " has no value: " + found->rule->Title() +
                               ": the query " + base::Quoted(query) + " gave only NaN or infinite values");
  }
  return values;
}

}  // namespace tidewright::adapter
