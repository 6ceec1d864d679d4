#include "adapter/custom_provider.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "adapter/metric_query.h"
#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"

namespace tidewright::adapter {
namespace {

using apiservice::CustomMetricValue;
using apiservice::CustomMetricValues;

constexpr size_t kShownObjects = 20;

base::Status NoSuchMetric(const std::string& metric, const std::string& object, const kube::LabelSelector& selector,
                          const std::string& reason) {
  std::string text = "the server could not find the metric " + metric + " for " + object;
  if (!selector.empty()) text += " with selector " + selector.ToString();
  return base::NotFoundError(text + ": " + reason);
}

// The parts of a key.
std::string Joined(std::initializer_list<std::string_view> parts) {
  std::string key;
  for (std::string_view part : parts) {
    key += part;
    key += '\0';
  }
  return key;
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
    : engine_(engine),
      registry_(registry),
      objects_(objects),
      diagnoser_(diagnoser),
      last_(last),
      clock_(clock),
      queries_(engine) {}

base::Result<kube::NameListPtr> CustomProvider::NamesOf(const kube::Resource& resource, const std::string& ns,
                                                        const kube::LabelSelector& selector, const std::string& metric,
                                                        const kube::NameListPtr& known) {
  base::Result<kube::NameListPtr> names = objects_.Names(resource, ns, selector, known);
  // Whatever is wrong, it is not what the client asks or may do.
  if (!names.ok()) {
    return base::UnavailableError("cannot list the objects that the metric describes: " + names.status().message());
  }
  if (!(*names)->names.empty()) return names;
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

base::Result<std::string> CustomProvider::Render(const Question& question, const Names& names,
                                                 promql::Matchers* conditions) const {
  const CustomMetric& metric = question.metric;
  if (!metric.rule->promql.empty()) return metric.rule->promql;
  MetricQuery query(metric.series);
  TW_RETURN_IF_ERROR(query.AddSelector(question.selector));
  if (!question.ns.empty()) query.AddEqual(metric.namespace_label, question.ns);
  query.AddNames(metric.resource_label, names);
  query.GroupBy({metric.resource_label});
  base::Result<std::string> text = query.Render(metric.rule->query);
  if (!text.ok()) return base::InternalError(metric.rule->Title() + ": " + text.status().message());
  if (conditions != nullptr) *conditions = query.Conditions();
  return text;
}

std::string CustomProvider::QueryKey(const Question& question, const std::string& objects) {
  const CustomMetric& metric = question.metric;
  return Joined({metric.series, metric.namespace_label, question.ns, metric.resource_label, objects,
                 question.selector.ToString()});
}

base::Status CustomProvider::SetQuery(const std::string& key, const kube::NameListPtr& names, Question* question) {
  auto render = [&] { return Render(*question, names->names, nullptr); };
  const bool spells = question->metric.rule->promql.empty();
  TW_ASSIGN_OR_RETURN(question->query, queries_.Get(key, question->metric.rule, names, spells, render));
  return base::Status::Ok();
}

base::Result<bool> CustomProvider::Visit(const Question& question, int64_t now_ms, const promql::ElementSink& sink) {
  const CustomMetric& metric = question.metric;
  auto title = [&] { return metric.rule->Title(); };
  if (metric.rule->promql.empty()) return question.query->Visit(now_ms, metric.resource_label, sink, title);
  // What a template asks with, a rule's own PromQL is answered by.
  TW_ASSIGN_OR_RETURN(const promql::Value value, question.query->Ask(now_ms, title));
  const auto* vector = std::get_if<promql::Vector>(&value);
  if (vector == nullptr) return false;
  for (const promql::VectorSample& sample : *vector) {
    if (!question.ns.empty() && sample.labels.Get(metric.namespace_label) != question.ns) continue;
    if (!Selects(question.selector, sample.labels)) continue;
    sink(sample.labels.Get(metric.resource_label), sample.point.v, sample.sampled_ms);
  }
  return true;
}

base::Result<CustomProvider::Answer> CustomProvider::Ask(const Question& question, const Names& names) {
  Answer answer;
  answer.now_ms = clock_.NowMs();
  answer.of.resize(names.size());
  size_t next = 0;  // Samples mostly come in the order of the names.
  auto take = [&](std::string_view name, double value, int64_t sampled_ms) {
    ++answer.samples;
    if (next >= names.size() || names[next] != name) {
      next = static_cast<size_t>(std::lower_bound(names.begin(), names.end(), name) - names.begin());
      if (next == names.size() || names[next] != name) return;
    }
    answer.of[next++] = {true, value, sampled_ms};
  };
  TW_ASSIGN_OR_RETURN(const bool vector, Visit(question, answer.now_ms, take));
  if (vector) return answer;
  return base::InternalError(question.metric.rule->Title() + ": the query " + ShownQuery(question.query->text()) +
                             " does not give an instant vector, so its values belong to no object");
}

CustomProvider::Values CustomProvider::Head(const Question& question) const {
  const kube::Resource& resource = question.metric.type.resource;
  return {resource.kind,
          resource.group + "/" + resource.version,
          question.ns,
          question.name,
          question.query->window_s(),
          nullptr,
          {}};
}

base::Result<CustomMetricValue> CustomProvider::ToValue(const Question& question, const Answer& answer,
                                                        const Names& names, size_t i) const {
  const CustomMetric& metric = question.metric;
  const Answer::Found& found = answer.of[i];
  if (!found.any) {
    return base::NotFoundError(metric.rule->Title() + ": the query " + ShownQuery(question.query->text()) + " gave " +
                               std::to_string(answer.samples) + " samples, none with " + metric.resource_label + "=" +
                               base::Quoted(names[i]));
  }
  base::Result<base::Quantity> quantity = base::Quantity::FromDoubleMilli(found.value);
  if (!quantity.ok()) {
    return base::NotFoundError(metric.rule->Title() + ": the query " + ShownQuery(question.query->text()) + " gave " +
                               base::FormatDouble(found.value) + ", which is no value to scale on");
  }
  return CustomMetricValue{{}, TimeOf(found.sampled_ms, answer.now_ms), *quantity, ""};
}

std::string CustomProvider::Why(const Question& question, const Names& names, std::string* suggestion) {
  promql::Matchers conditions;
  if (!Render(question, names, &conditions).ok()) return "";
  Diagnosis diagnosis =
      diagnoser_.WhyNoValue(question.metric.series, conditions, question.query->window_s().value_or(0));
  if (suggestion != nullptr) *suggestion = diagnosis.suggestion;
  return diagnosis.text.empty() ? "" : ": " + diagnosis.text;
}

std::string CustomProvider::KeyOf(const Question& question, const std::string& name) const {
  return Joined({question.metric.type.group_resource().ToString(), question.ns, name, question.name,
                 question.selector.ToString()});
}

namespace {

// A kept value, marked as such.
base::Result<CustomMetricValue> Kept(LastValues& last, const std::string& metric, const std::string& key,
                                     int64_t now_ms, base::Status error) {
  auto kept = last.Find(key, now_ms);
  if (!kept) return error;
  kept->first.warning = "metric " + metric + ": a value of " +
                        base::FormatDuration({std::max<int64_t>(1, (now_ms - kept->second) / 1000) * 1000}) +
                        " ago stands in: " + error.message();
  return kept->first;
}

}  // namespace

base::Result<CustomMetricValues> CustomProvider::GetByName(const GroupResource& resource, const std::string& ns,
                                                           const std::string& name, const std::string& metric,
                                                           const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, name, metric));
  Question question{std::move(found), metric, ns, metric_selector, nullptr};
  const std::string query_key = QueryKey(question, name);
  kube::NameListPtr list = queries_.NamesOf(query_key);
  if (list == nullptr) list = std::make_shared<kube::NameList>(kube::NameList{{name}});
  const Names& names = list->names;
  TW_RETURN_IF_ERROR(SetQuery(query_key, list, &question));
  Values values = Head(question);
  values.names = list;
  std::string key = last_.enabled() ? KeyOf(question, name) : "";
  base::Result<Answer> answer = Ask(question, names);
  base::Result<CustomMetricValue> value = answer.ok() ? ToValue(question, *answer, names, 0) : answer.status();
  if (value.ok()) {
    last_.Store(key, *value, answer->now_ms);
  } else {
    base::Status error = answer.status();
    if (answer.ok()) {
      bool no_number = answer->of[0].any;  // Then the text says it all.
      std::string reason = value.status().message() + (no_number ? "" : Why(question, names, nullptr));
      error = NoSuchMetric(metric, resource.ToString() + " " + name, metric_selector, reason);
    }
    value = Kept(last_, metric, key, clock_.NowMs(), error);
  }
  if (!value.ok()) return value.status();
  value->name = names[0];
  values.values.push_back(*std::move(value));
  return values;
}

base::Result<CustomMetricValues> CustomProvider::GetBySelector(const GroupResource& resource, const std::string& ns,
                                                               const kube::LabelSelector& object_selector,
                                                               const std::string& metric,
                                                               const kube::LabelSelector& metric_selector) {
  TW_ASSIGN_OR_RETURN(CustomMetric found, Find(resource, ns, "", metric));
  Question question{std::move(found), metric, ns, metric_selector, nullptr};
  const std::string query_key = QueryKey(question, "*" + object_selector.ToString());
  TW_ASSIGN_OR_RETURN(const kube::NameListPtr list,
                      NamesOf(question.metric.type.resource, ns, object_selector, metric, queries_.NamesOf(query_key)));
  const Names& names = list->names;
  TW_RETURN_IF_ERROR(SetQuery(query_key, list, &question));
  base::Result<Answer> answer = Ask(question, names);
  Values values = Head(question);
  values.names = list;
  values.values.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    if (!last_.enabled() && (!answer.ok() || !answer->of[i].any)) continue;
    base::Result<CustomMetricValue> value = answer.ok() ? ToValue(question, *answer, names, i) : answer.status();
    std::string key = last_.enabled() ? KeyOf(question, names[i]) : "";
    bool fresh = value.ok();
    if (!fresh) value = Kept(last_, metric, key, clock_.NowMs(), value.status());
    if (!value.ok()) continue;
    if (fresh) last_.Store(key, *value, answer->now_ms);
    value->name = names[i];
    values.values.push_back(*std::move(value));
  }
  if (!values.values.empty()) return values;
  if (!answer.ok()) return answer.status();
  bool no_number = std::any_of(answer->of.begin(), answer->of.end(), [](const auto& found) { return found.any; });
  std::string reason = ToValue(question, *answer, names, 0).status().message();
  if (!no_number) reason += Why(question, names, nullptr);
  return NoSuchMetric(metric, resource.ToString(), metric_selector, reason);
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
  Names names = {name};
  if (name == "*") {
    base::Result<kube::NameListPtr> listed =
        NamesOf(found->type.resource, ns, object_selector, metric, /*known=*/nullptr);
    if (!listed.ok()) return fail(listed.status(), "An HPA asks with the selector of the workload that it scales.");
    names = (*listed)->names;
  }
  Question question{*std::move(found), metric, ns, metric_selector, nullptr};
  base::Result<std::string> text = Render(question, names, nullptr);
  if (!text.ok()) return fail(text.status(), "");
  result.query = *text;
  question.query = std::make_shared<const RenderedQuery>(engine_, *std::move(text));
  base::Result<Answer> answer = Ask(question, names);
  if (!answer.ok()) return fail(answer.status(), "Run the query by itself, at /api/v1/query.");
  bool no_number = false;  // Then the text says it all.
  for (size_t i = 0; i < names.size(); ++i) {
    base::Result<CustomMetricValue> value = ToValue(question, *answer, names, i);
    if (value.ok()) result.values.push_back({names[i], value->value.ToString()});
    if (value.ok()) continue;
    if (result.without.empty()) result.problem = value.status().message();
    no_number = no_number || answer->of[i].any;
    result.without.push_back(names[i]);
  }
  if (result.without.empty()) return result;
  std::string suggestion;
  if (!no_number) result.problem += Why(question, result.without, &suggestion);
  if (!suggestion.empty()) result.suggestions.push_back(suggestion);
  result.without.resize(std::min(result.without.size(), kShownObjects));
  return result;
}

}  // namespace tidewright::adapter
