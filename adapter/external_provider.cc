#include "adapter/external_provider.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "adapter/metric_query.h"
#include "base/document.h"
#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

using apiservice::ExternalMetricValue;

std::string Labels(const std::map<std::string, std::string>& labels) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : labels) parts.push_back(name + "=" + base::Quoted(value));
  return "{" + base::Join(parts, ", ") + "}";
}

}  // namespace

ExternalProvider::ExternalProvider(promql::QueryEngine& engine, Registry& registry, Diagnoser& diagnoser,
                                   LastExternalValues& last, base::Clock& clock)
    : engine_(engine), registry_(registry), diagnoser_(diagnoser), last_(last), clock_(clock), queries_(engine) {}

std::vector<std::string> ExternalProvider::ListMetrics() { return registry_.ListExternal(); }

base::Result<ExternalMetric> ExternalProvider::Find(const std::string& ns, const std::string& metric) {
  base::Result<ExternalMetric> found = registry_.FindExternal(metric, ns);
  if (found.ok() || found.status().code() != base::Code::kNotFound) return found;
  std::string nearest = registry_.NearestExternal(metric);
  if (!nearest.empty()) nearest = "did you mean " + nearest + "? ";
  return base::NotFoundError("the server could not find the external metric " + metric + ": " + nearest +
                             found.status().message());
}

base::Result<std::string> ExternalProvider::Render(const Question& question, promql::Matchers* conditions) const {
  const ExternalMetric& metric = question.metric;
  if (!metric.rule->promql.empty()) return metric.rule->promql;
  bool by_namespace = metric.rule->namespaced && !question.ns.empty();
  if (by_namespace && metric.namespace_label.empty()) {
    return base::InternalError(metric.rule->Title() +
                               ": resources maps no label to namespaces; add it to overrides, or set "
                               "resources.namespaced to false for a metric that belongs to no namespace");
  }
  MetricQuery query(metric.series);
  TW_RETURN_IF_ERROR(query.AddSelector(question.selector));
  if (by_namespace) query.AddEqual(metric.namespace_label, question.ns);
  base::Result<std::string> text = query.Render(metric.rule->query);
  if (!text.ok()) return base::InternalError(metric.rule->Title() + ": " + text.status().message());
  if (conditions != nullptr) *conditions = query.Conditions();
  return text;
}

base::Status ExternalProvider::Nothing(const Question& question, size_t samples, std::string* suggestion) {
  std::string text = "the external metric " + question.name + " has no value: " + question.metric.rule->Title() +
                     ": the query " + ShownQuery(question.query->text());
  if (samples > 0) return base::NotFoundError(text + " gave only NaN or infinite values");
  Diagnosis diagnosis;
  promql::Matchers conditions;
  if (Render(question, &conditions).ok()) {
    diagnosis = diagnoser_.WhyNoValue(question.metric.series, conditions, question.query->window_s().value_or(0));
  }
  if (suggestion != nullptr) *suggestion = diagnosis.suggestion;
  return base::NotFoundError(text + " gave no samples" + (diagnosis.text.empty() ? "" : ": " + diagnosis.text));
}

base::Result<ExternalProvider::Values> ExternalProvider::Ask(const Question& question, std::string* suggestion) {
  const ExternalMetric& metric = question.metric;
  int64_t now = clock_.NowMs();
  TW_ASSIGN_OR_RETURN(promql::Value value, question.query->Ask(now, [&] { return metric.rule->Title(); }));
  promql::Vector samples;
  if (auto* vector = std::get_if<promql::Vector>(&value)) {
    samples = std::move(*vector);
  } else if (auto* scalar = std::get_if<promql::Scalar>(&value)) {
    samples.push_back({{}, scalar->point, nullptr});
  } else {
    return base::InternalError(metric.rule->Title() + ": the query " + ShownQuery(question.query->text()) +
                               " gives neither an instant vector nor a scalar");
  }
  bool own_promql = !metric.rule->promql.empty();
  bool by_namespace = own_promql && metric.rule->namespaced && !metric.namespace_label.empty();
  Values values;
  size_t candidates = 0;
  for (const promql::VectorSample& sample : samples) {
    ExternalMetricValue item;
    for (const auto& label : sample.labels) item.labels[label.name] = label.value;
    if (by_namespace && item.labels[metric.namespace_label] != question.ns) continue;
    if (own_promql && !question.selector.Matches(item.labels)) continue;
    ++candidates;
    base::Result<base::Quantity> quantity = base::Quantity::FromDoubleMilli(sample.point.v);
    if (!quantity.ok()) continue;
    item.metric = question.name;
    item.timestamp_ms = TimeOf(sample.sampled_ms, now);
    item.window_s = question.query->window_s();
    item.value = *quantity;
    values.push_back(std::move(item));
  }
  if (values.empty()) return Nothing(question, candidates, suggestion);
  return values;
}

base::Result<std::vector<ExternalMetricValue>> ExternalProvider::Get(const std::string& ns, const std::string& metric,
                                                                     const kube::LabelSelector& selector) {
  TW_ASSIGN_OR_RETURN(ExternalMetric found, Find(ns, metric));
  Question question{std::move(found), metric, ns, selector, nullptr};
  std::string key = ns + '\0' + metric + '\0' + selector.ToString();
  TW_ASSIGN_OR_RETURN(question.query, queries_.Get(key + '\0' + question.metric.series, question.metric.rule, nullptr,
                                                   false, [&] { return Render(question, nullptr); }));
  base::Result<Values> values = Ask(question, nullptr);
  if (!last_.enabled()) return values;
  int64_t now = clock_.NowMs();
  if (values.ok()) {
    last_.Store(key, *values, now);
    return values;
  }
  auto kept = last_.Find(key, now);
  if (!kept) return values;
  for (ExternalMetricValue& value : kept->first) {
    value.warning = "metric " + metric + ": a value of " +
                    base::FormatDuration({std::max<int64_t>(1, (now - kept->second) / 1000) * 1000}) +
                    " ago stands in: " + values.status().message();
  }
  return kept->first;
}

Explanation ExternalProvider::Explain(const std::string& ns, const std::string& metric,
                                      const kube::LabelSelector& selector) {
  Explanation result;
  base::Result<ExternalMetric> found = Find(ns, metric);
  if (!found.ok()) {
    result.problem = found.status().message();
    result.suggestions.push_back("`tidewright check adapter-config` shows what each rule gives.");
    return result;
  }
  result.rule = found->rule->Title();
  result.series_query = found->rule->series_query;
  result.metrics_query = found->rule->promql.empty() ? found->rule->metrics_query : found->rule->promql;
  result.series = found->series;
  Question question{*std::move(found), metric, ns, selector, nullptr};
  base::Result<std::string> text = Render(question, nullptr);
  if (!text.ok()) {
    result.problem = text.status().message();
    return result;
  }
  result.query = *text;
  question.query = std::make_shared<const RenderedQuery>(engine_, *std::move(text));
  std::string suggestion;
  base::Result<Values> values = Ask(question, &suggestion);
  if (!values.ok()) result.problem = values.status().message();
  if (!suggestion.empty()) result.suggestions.push_back(suggestion);
  if (!values.ok()) return result;
  for (const ExternalMetricValue& value : *values) {
    result.values.push_back({Labels(value.labels), value.value.ToString()});
  }
  return result;
}

}  // namespace tidewright::adapter
