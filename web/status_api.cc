#include "web/status_api.h"

#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"

namespace tidewright::web {

namespace {

using base::Json;

Json LabelsJson(const tsdb::Labels& labels) {
  Json json = Json::object();
  for (const tsdb::Label& label : labels) json[label.name] = label.value;
  return json;
}

Json AlertJson(const rules::Alert& alert) {
  return {{"labels", LabelsJson(alert.labels)},
          {"annotations", alert.annotations},
          {"state", rules::AlertStateName(alert.state)},
          {"activeAt", base::FormatTime(alert.active_at_ms, /*millis=*/true)},
          {"value", base::FormatDouble(alert.value)}};
}

Json ActiveAlertsJson(const rules::RuleStatus& rule) {
  Json alerts = Json::array();
  for (const rules::Alert& alert : rule.alerts) {
    if (alert.state != rules::AlertState::kInactive) alerts.push_back(AlertJson(alert));
  }
  return alerts;
}

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

Json RuleJson(const rules::RuleStatus& rule) {
  const char* health = "ok";
  if (!rule.last_error.ok()) health = "err";
  if (rule.last_evaluation_ms == 0) health = "unknown";
  Json json = {{"name", rule.spec.name},
               {"query", rule.spec.expr},
               {"labels", rule.spec.labels},
               {"health", health},
               {"lastError", rule.last_error.message()},
               {"lastEvaluation", base::FormatTime(rule.last_evaluation_ms, /*millis=*/true)},
               {"evaluationTime", rule.evaluation_seconds},
               {"type", "recording"}};
  if (rule.spec.kind == rules::RuleKind::kRecording) return json;
  json["type"] = "alerting";
  json["state"] = rules::AlertStateName(rule.state());
  json["duration"] = Seconds(rule.spec.for_ms);
  json["keepFiringFor"] = Seconds(rule.spec.keep_firing_for_ms);
  json["annotations"] = rule.spec.annotations;
  json["alerts"] = ActiveAlertsJson(rule);
  return json;
}

}  // namespace

Json RulesJson(const rules::Manager& manager) {
  Json groups = Json::array();
  for (const rules::GroupStatus& group : manager.Groups()) {
    Json list = Json::array();
    for (const rules::RuleStatus& rule : group.rules) list.push_back(RuleJson(rule));
    groups.push_back({{"name", group.name},
                      {"file", group.file},
                      {"interval", Seconds(group.interval_ms)},
                      {"limit", group.limit},
                      {"lastEvaluation", base::FormatTime(group.last_evaluation_ms, /*millis=*/true)},
                      {"evaluationTime", group.evaluation_seconds},
                      {"rules", std::move(list)}});
  }
  return {{"groups", std::move(groups)}};
}

Json AlertsJson(const rules::Manager& manager) {
  Json alerts = Json::array();
  for (const rules::GroupStatus& group : manager.Groups()) {
    for (const rules::RuleStatus& rule : group.rules) {
      for (Json& alert : ActiveAlertsJson(rule)) alerts.push_back(std::move(alert));
    }
  }
  return {{"alerts", std::move(alerts)}};
}

Json MetricRulesJson(const std::vector<adapter::RuleStatus>& rules) {
  Json json = Json::array();
  for (const auto& rule : rules) {
    json.push_back({{"section", rule.section},
                    {"index", rule.index},
                    {"line", rule.line},
                    {"object", rule.object},
                    {"seriesQuery", rule.series_query},
                    {"metricsQuery", rule.metrics_query},
                    {"error", rule.error.message()},
                    {"series", rule.series},
                    {"metrics", rule.metrics},
                    {"notes", rule.notes}});
    if (rule.listed_at_ms != 0) json.back()["listedAt"] = base::FormatTime(rule.listed_at_ms);
  }
  return json;
}

Json BuildInfoJson() {
  // Clients choose features by this version: the Prometheus release whose API and language are served.
  return {{"version", "3.14.0"}, {"revision", "tidewright"}, {"branch", ""},
          {"buildUser", ""},     {"buildDate", ""},          {"goVersion", ""}};
}

}  // namespace tidewright::web
