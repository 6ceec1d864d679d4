#include "adapter/custom_provider.h"

#include <algorithm>
#include <utility>

#include "adapter/metric_query.h"
#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"

namespace tidewright::adapter {
namespace {

using apiservice::CustomMetricValue;

constexpr size_t kShownObjects = 20;

base::Status NoSuchMetric(const std::string& metric, const std::string& object, const kube::LabelSelector& selector,
                          const std::string& reason) {
  std::string text = "the server could not find the metric " + metric + " for " + object;
  if (!selector.empty()) text += " with selector " + selector.ToString();
  return base::NotFoundError(text + ": " + reason);
}

bool Selects(const kube::LabelSelector& selector, const promql::Labels& labels) {
  if (selector.empty()) return true;
  std::map<std::string, std::string> plain;
  for (const auto& label : labels) plain.emplace(label.name, label.value);
  return selector.Matches(plain);
}

}  // namespace

CustomProvider::CustomProvider(promql::QueryEngine& engine, Registry& registry, kube::ObjectReader& objects,
                               Diagnoser& diagnoser, LastValues& last, base::Clock& clock)
    : engine_(engine), registry_(registry), objects_(objects), diagnoser_(diagnoser), last_(last), clock_(clock) {}

base::Result<std::vector<std::string>> CustomProvider::Names(const kube::Resource& resource, const std::string& ns,
                                                             const kube::LabelSelector& selector,
                                                             const std::string& metric) {
  auto objects = objects_.List(resource, ns, selector);
  // Whatever is wrong, it is not what the client asks or may do.
  if (!objects.ok()) {
    return base::UnavailableError("cannot list the objects that the metric describes: " + objects.status().message());
  }
  std::vector<std::string> names;
  for (const auto& object : *objects) names.push_back(kube::NameOf(*object));
  std::sort(names.begin(), names.end());
  if (!names.empty()) return names;
  std::string title = GroupResource{resource.group, resource.plural}.ToString();
  std::string reason = "no " + title + (ns.empty() ? "" : " in namespace " + ns);
  if (!selector.empty()) reason += " match " + selector.ToString();
  return NoSuchMetric(metric, title, {}, reason);
}

std::vector<apiservice::CustomMetricInfo> CustomProvider::ListMetrics() { return registry_.ListCustom(); }

base::Result<CustomMetric> CustomProvider::Find(const GroupResource& resource, const std::string& ns,
                                                const std::string& name, const std::string& metric) {
  // A namespace may have rules of its own for itself, too.
  base::Result<CustomMetric> found = registry_.FindCustom(resource, metric, ns.empty() ? name : ns);
  if (!found.ok()) {
    if (found.status().code() != base::Code::kNotFound) return found.status();
    std::string nearest = registry_.NearestCustom(resource, metric);
    if (!nearest.empty()) nearest = "did you mean " + nearest + "? ";
    return NoSuchMetric(metric, resource.ToString(), {}, nearest + found.status().message());
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

base::Status CustomProvider::Render(const std::vector<std::string>& names, bool explain, Question* question) const {
  const CustomMetric& metric = question->metric;
  if (!metric.rule->promql.empty()) {
    question->query = metric.rule->promql;
    return base::Status::Ok();
  }
  MetricQuery query(metric.series);
  TW_RETURN_IF_ERROR(query.AddSelector(question->selector));
  if (!question->ns.empty()) query.AddEqual(metric.namespace_label, question->ns);
  query.AddNames(metric.resource_label, names);
  query.GroupBy({metric.resource_label});
  base::Result<std::string> text = query.Render(metric.rule->query);
  if (!text.ok()) return base::InternalError(metric.rule->Title() + ": " + text.status().message());
  question->query = *std::move(text);
  if (explain) question->conditions = query.Conditions();
  return base::Status::Ok();
}

base::Result<CustomProvider::Answer> CustomProvider::Ask(const Question& question) {
  const CustomMetric& metric = question.metric;
  std::string title = metric.rule->Title();
  Answer answer;
  answer.now_ms = clock_.NowMs();
  answer.window_s = WindowSeconds(question.query);
  TW_ASSIGN_OR_RETURN(promql::Value value, EvaluateQuery(engine_, title, question.query, answer.now_ms));
  const auto* vector = std::get_if<promql::Vector>(&value);
  if (vector == nullptr) {
    return base::InternalError(title + ": the query " + ShownQuery(question.query) +
                               " does not give an instant vector, so its values belong to no object");
  }
  bool own_promql = !metric.rule->promql.empty();
  for (const promql::VectorSample& sample : *vector) {
    // What a template asks with, a rule's own PromQL is answered by.
    if (own_promql && !question.ns.empty() && sample.labels.Get(metric.namespace_label) != question.ns) continue;
    if (own_promql && !Selects(question.selector, sample.labels)) continue;
    ++answer.samples;
    std::string name(sample.labels.Get(metric.resource_label));
    if (!name.empty()) answer.values[name] = sample.point.v;
  }
  return answer;
}

base::Result<CustomMetricValue> CustomProvider::ToValue(const Question& question, const Answer& answer,
                                                        const std::string& name) const {
  const CustomMetric& metric = question.metric;
  auto it = answer.values.find(name);
  if (it == answer.values.end()) {
    return base::NotFoundError(metric.rule->Title() + ": the query " + ShownQuery(question.query) + " gave " +
                               std::to_string(answer.samples) + " samples, none with " + metric.resource_label + "=" +
                               base::Quoted(name));
  }
  base::Result<base::Quantity> quantity = base::Quantity::FromDoubleMilli(it->second);
  if (!quantity.ok()) {
    return base::NotFoundError(metric.rule->Title() + ": the query " + ShownQuery(question.query) + " gave " +
                               base::FormatDouble(it->second) + ", which is no value to scale on");
  }
  CustomMetricValue value;
  const kube::Resource& resource = metric.type.resource;
  value.kind = resource.kind;
  value.api_version = resource.group + "/" + resource.version;
  value.ns = question.ns;
  value.name = name;
  value.metric = question.name;
  value.timestamp_ms = answer.now_ms;
  value.window_s = answer.window_s;
  value.value = *quantity;
  return value;
}

std::string CustomProvider::Why(const Question& question, const std::vector<std::string>& names, const Answer& answer,
                                std::string* suggestion) {
  bool no_number =
      std::any_of(names.begin(), names.end(), [&](const std::string& name) { return answer.values.count(name) > 0; });
  if (no_number) return "";  // The text says so itself.
  Question again = question;
  if (!Render(names, true, &again).ok()) return "";
  Diagnosis diagnosis =
      diagnoser_.WhyNoValue(question.metric.series, again.conditions, WindowSeconds(question.query).value_or(0));
  if (suggestion != nullptr) *suggestion = diagnosis.suggestion;
  return diagnosis.text.empty() ? "" : ": " + diagnosis.text;
}

std::string CustomProvider::KeyOf(const Question& question, const std::string& name) const {
  std::string key;
  for (const std::string& part : {question.metric.type.group_resource().ToString(), question.ns, name, question.name,
                                  question.selector.ToString()}) {
    key += part;
    key += '\0';
  }
  return key;
}

namespace {

// A kept value, marked as such.
base::Result<CustomMetricValue> Kept(LastValues& last, const std::string& key, int64_t now_ms, base::Status error) {
  auto kept = last.Find(key, now_ms);
  if (!kept) return error;
  kept->first.warning = "metric " + kept->first.metric + ": a value of " +
                        base::FormatDuration({std::max<int64_t>(1, (now_ms - kept->second) / 1000) * 1000}) +
                        " ago stands in: " + error.message();
  return kept->first;
}

}  // namespace

base::Result<CustomMetricValue> CustomProvider::GetByName(const GroupResource& resource, const std::string& ns,
                                                          const std::string& name, const std::string& metric,
                                                          const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, name, metric));
  Question question{std::move(found), metric, ns, metric_selector, "", {}};
  TW_RETURN_IF_ERROR(Render({name}, false, &question));
  std::string key = KeyOf(question, name);
  base::Result<Answer> answer = Ask(question);
  if (!answer.ok()) return Kept(last_, key, clock_.NowMs(), answer.status());
  base::Result<CustomMetricValue> value = ToValue(question, *answer, name);
  if (value.ok()) {
    last_.Store(key, *value, answer->now_ms);
    return value;
  }
  std::string reason = value.status().message() + Why(question, {name}, *answer, nullptr);
  return Kept(last_, key, answer->now_ms,
              NoSuchMetric(metric, resource.ToString() + " " + name, metric_selector, reason));
}

base::Result<std::vector<CustomMetricValue>> CustomProvider::GetBySelector(const GroupResource& resource,
                                                                           const std::string& ns,
                                                                           const kube::LabelSelector& object_selector,
                                                                           const std::string& metric,
                                                                           const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, "", metric));
  TW_ASSIGN_OR_RETURN(std::vector<std::string> names, Names(found.type.resource, ns, object_selector, metric));
  Question question{std::move(found), metric, ns, metric_selector, "", {}};
  TW_RETURN_IF_ERROR(Render(names, false, &question));
  base::Result<Answer> answer = Ask(question);
  std::vector<CustomMetricValue> values;
  base::Status why = answer.status();
  for (const std::string& name : names) {
    base::Result<CustomMetricValue> value = answer.ok() ? ToValue(question, *answer, name) : why;
    if (last_.enabled() && value.ok()) last_.Store(KeyOf(question, name), *value, answer->now_ms);
    if (last_.enabled() && !value.ok()) value = Kept(last_, KeyOf(question, name), clock_.NowMs(), value.status());
    if (value.ok()) values.push_back(*std::move(value));
  }
  if (!values.empty()) return values;
  if (!answer.ok()) return why;
  std::string reason = ToValue(question, *answer, names[0]).status().message();
  return NoSuchMetric(metric, resource.ToString(), metric_selector, reason + Why(question, names, *answer, nullptr));
}

Explanation CustomProvider::Explain(const GroupResource& resource, const std::string& ns, const std::string& name,
                                    const kube::LabelSelector& object_selector, const std::string& metric,
                                    const kube::LabelSelector& metric_selector) {
  Explanation result;
  auto fail = [&](const base::Status& status, std::string suggestion) {
    result.problem = status.message();
    if (!suggestion.empty()) result.suggestions.push_back(std::move(suggestion));
    return result;
  };
  base::Result<CustomMetric> found = Find(resource, ns, name == "*" ? "" : name, metric);
  if (!found.ok()) return fail(found.status(), "`tidewright check adapter-config` shows what each rule gives.");
  result.rule = found->rule->Title();
  result.series_query = found->rule->series_query;
  result.metrics_query = found->rule->promql.empty() ? found->rule->metrics_query : found->rule->promql;
  result.series = found->series;
  std::vector<std::string> names = {name};
  if (name == "*") {
    base::Result<std::vector<std::string>> listed = Names(found->type.resource, ns, object_selector, metric);
    if (!listed.ok()) return fail(listed.status(), "An HPA asks with the selector of the workload that it scales.");
    names = *std::move(listed);
  }
  Question question{*std::move(found), metric, ns, metric_selector, "", {}};
  if (base::Status rendered = Render(names, false, &question); !rendered.ok()) return fail(rendered, "");
  result.query = question.query;
  base::Result<Answer> answer = Ask(question);
  if (!answer.ok()) return fail(answer.status(), "Run the query by itself, at /api/v1/query.");
  std::vector<std::string> missing;
  for (const std::string& object : names) {
    base::Result<CustomMetricValue> value = ToValue(question, *answer, object);
    if (value.ok()) result.values.push_back({object, value->value.ToString()});
    if (value.ok()) continue;
    if (missing.empty()) result.problem = value.status().message();
    missing.push_back(object);
  }
  if (missing.empty()) return result;
  std::string suggestion;
  result.problem += Why(question, missing, *answer, &suggestion);
  if (!suggestion.empty()) result.suggestions.push_back(suggestion);
  missing.resize(std::min(missing.size(), kShownObjects));
  result.without = std::move(missing);
  return result;
}

}  // namespace tidewright::adapter
