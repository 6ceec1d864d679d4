#include "adapter/metric_rule.h"

#include <utility>

#include "adapter/config.h"
#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"

namespace tidewright::adapter {
namespace {

using base::Json;

constexpr int64_t kReportMs = 10'000;
constexpr size_t kMostMetrics = 100;  // In a status.
constexpr size_t kMostNotes = 1000;   // Bytes of a message.

std::string KeyOf(const Json& object) { return kube::NamespaceOf(object) + "/" + kube::NameOf(object); }

std::string TitleOf(const std::string& key) { return "MetricRule " + key; }

// The label that the mapping gives namespaces; nothing is asked of the API server for it.
std::string NamespaceLabel(const LabelMapping& mapping) {
  for (const auto& [label, target] : mapping.overrides()) {
    if (target.group.empty() && (target.resource == "namespace" || target.resource == "namespaces")) return label;
  }
  return mapping.ToTemplateLabel("", "namespace");
}

Json Condition(const Json& object, bool ready, const std::string& reason, const std::string& message, int64_t now_ms) {
  Json condition = {{"type", "Ready"},
                    {"status", ready ? "True" : "False"},
                    {"reason", reason},
                    {"message", message},
                    {"observedGeneration", base::FindInt(object, {"metadata", "generation"})},
                    {"lastTransitionTime", base::FormatTime(now_ms)}};
  const Json* before = base::Find(object, {"status", "conditions"});
  if (before == nullptr || !before->is_array()) return condition;
  for (const Json& old : *before) {
    if (base::FindString(old, {"type"}) != "Ready" || base::FindString(old, {"status"}) != condition["status"])
      continue;
    std::string since = base::FindString(old, {"lastTransitionTime"});
    if (!since.empty()) condition["lastTransitionTime"] = since;
  }
  return condition;
}

}  // namespace

const kube::Resource& MetricRuleResource() {
  static const kube::Resource* const kResource =
      new kube::Resource{"tidewright.dev", "v1alpha1", "metricrules", "MetricRule", true};
  return *kResource;
}

base::Result<std::shared_ptr<const Rule>> DecodeMetricRule(const Json& object) {
  std::string title = TitleOf(KeyOf(object));
  const Json* spec = base::Find(object, {"spec"});
  base::Node root = base::NodeFromJson(spec != nullptr ? *spec : Json::object());
  base::ErrorList errors(title);
  base::ObjectReader reader(root, "spec", errors);
  std::string api = "Custom";
  reader.Optional("api", &api);
  if (api != "Custom" && api != "External")
    reader.Error("api", base::Quoted(api) + " is unknown; use Custom or External");
  std::shared_ptr<Rule> rule = ReadRule(reader, api == "External" ? "externalRules" : "rules", 0);
  reader.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  rule->object = title;
  rule->ns = kube::NamespaceOf(object);
  std::string label = NamespaceLabel(rule->resources);
  if (rule->promql.empty() && !label.empty()) rule->selector.push_back(promql::Matcher::Equal(label, rule->ns));
  return std::shared_ptr<const Rule>(std::move(rule));
}

MetricRuleSource::MetricRuleSource(kube::SharedCaches& caches) : informer_(caches.Get(MetricRuleResource())) {}

MetricRuleSource::~MetricRuleSource() { Stop(); }

void MetricRuleSource::Start(Changed changed) {
  changed_ = std::move(changed);
  handler_ = informer_->AddHandler(
      [this](kube::EventType type, const std::shared_ptr<const Json>& object) { OnObject(type, *object); });
}

void MetricRuleSource::Stop() {
  if (handler_ != 0) informer_->RemoveHandler(std::exchange(handler_, 0));
}

void MetricRuleSource::OnObject(kube::EventType type, const Json& object) {
  std::string key = KeyOf(object);
  std::vector<std::shared_ptr<const Rule>> rules;
  {
    base::MutexLock lock(mu_);
    if (type == kube::EventType::kDeleted) {
      rules_.erase(key);
    } else {
      rules_.insert_or_assign(key, DecodeMetricRule(object));
    }
    for (const auto& [name, rule] : rules_) {
      if (rule.ok()) rules.push_back(*rule);
    }
  }
  changed_(std::move(rules));
}

std::vector<std::shared_ptr<const Json>> MetricRuleSource::Objects() const { return informer_->List(); }

std::map<std::string, std::string> MetricRuleSource::Faults() const {
  std::map<std::string, std::string> faults;
  base::MutexLock lock(mu_);
  for (const auto& [key, rule] : rules_) {
    if (!rule.ok()) faults[key] = rule.status().message();
  }
  return faults;
}

Json MetricRuleStatus(const Json& object, const RuleStatus* rule, const std::string& fault, int64_t now_ms) {
  Json status = {{"observedGeneration", base::FindInt(object, {"metadata", "generation"})},
                 {"series", 0},
                 {"metrics", Json::array()}};
  if (!fault.empty()) {
    status["conditions"] = Json::array({Condition(object, false, "Invalid", fault, now_ms)});
    return status;
  }
  if (rule == nullptr || rule->listed_at_ms == 0) {
    std::string why = rule == nullptr || rule->error.ok() ? "not listed yet" : rule->error.message();
    status["conditions"] = Json::array({Condition(object, false, "NotListed", why, now_ms)});
    return status;
  }
  status["series"] = rule->series;
  for (const std::string& metric : rule->metrics) {
    if (status["metrics"].size() < kMostMetrics) status["metrics"].push_back(metric);
  }
  std::string notes;
  for (const std::string& note : rule->notes) notes += (notes.empty() ? "" : "; ") + note;
  bool any = !rule->metrics.empty();
  std::string message = any ? "gives " + std::to_string(rule->metrics.size()) + " metrics"
                            : "no series matches " + rule->series_query + ", or none becomes a metric";
  if (!notes.empty()) message += ": " + notes.substr(0, kMostNotes);
  status["conditions"] = Json::array({Condition(object, any, any ? "Listed" : "NoMetrics", message, now_ms)});
  return status;
}

MetricRuleReporter::MetricRuleReporter(MetricRuleSource& source, std::function<std::vector<RuleStatus>()> rules,
                                       kube::Client& client, base::Clock& clock, base::Scheduler& scheduler)
    : source_(source), rules_(std::move(rules)), client_(client), clock_(clock), scheduler_(scheduler) {}

MetricRuleReporter::~MetricRuleReporter() { Stop(); }

void MetricRuleReporter::Start() { Schedule(clock_.NowMs()); }

void MetricRuleReporter::Schedule(int64_t when_ms) {
  base::MutexLock lock(mu_);
  task_ = scheduler_.At(when_ms, [this] {
    auto pass = gate_.TryEnter();
    if (!pass) return;
    ReportNow();
    Schedule(clock_.NowMs() + kReportMs);
  });
}

void MetricRuleReporter::Stop() {
  gate_.CloseAndWait();
  base::Scheduler::TaskId task = 0;
  {
    base::MutexLock lock(mu_);
    task = std::exchange(task_, 0);
  }
  if (task != 0) scheduler_.Cancel(task);
}

void MetricRuleReporter::ReportNow() {
  std::vector<std::shared_ptr<const Json>> objects = source_.Objects();
  if (objects.empty()) return;
  std::map<std::string, std::string> faults = source_.Faults();
  std::vector<RuleStatus> listed = rules_();
  std::map<std::string, const RuleStatus*> by_title;
  for (const RuleStatus& rule : listed) by_title[rule.object] = &rule;
  for (const auto& object : objects) {
    std::string key = KeyOf(*object);
    auto fault = faults.find(key);
    auto rule = by_title.find(TitleOf(key));
    Json status = MetricRuleStatus(*object, rule == by_title.end() ? nullptr : rule->second,
                                   fault == faults.end() ? "" : fault->second, clock_.NowMs());
    const Json* before = base::Find(*object, {"status"});
    if (before != nullptr && *before == status) continue;
    base::Status written = client_
                               .Patch(MetricRuleResource(), kube::NamespaceOf(*object), kube::NameOf(*object),
                                      kube::PatchType::kMerge, {{"status", std::move(status)}}, "status")
                               .status();
    if (!written.ok() && written.code() != base::Code::kNotFound) {
      base::LogWarn("adapter", "cannot write the status of a MetricRule",
                    {{"name", key}, {"error", written.ToString()}});
    }
  }
}

}  // namespace tidewright::adapter
