// What a HorizontalPodAutoscaler's status and its entry on the board show.
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/quantity.h"
#include "kube/meta.h"
#include "scaler/hpa_workload.h"

namespace tidewright::scaler {

namespace {

std::string QuantityText(int64_t milli) { return base::Quantity::FromMilli(milli).ToString(); }

base::Json MetricId(const HpaMetric& metric) {
  base::Json id = {{"name", metric.name}};
  if (metric.selector.empty()) return id;
  base::Json labels = base::Json::object();
  base::Json expressions = base::Json::array();
  for (const kube::Requirement& requirement : metric.selector.requirements()) {
    using Op = kube::Requirement::Op;
    if (requirement.op == Op::kEquals && !requirement.values.empty()) {
      labels[requirement.key] = requirement.values[0];
      continue;
    }
    const char* op = requirement.op == Op::kExists                                      ? "Exists"
                     : requirement.op == Op::kDoesNotExist                              ? "DoesNotExist"
                     : requirement.op == Op::kNotIn || requirement.op == Op::kNotEquals ? "NotIn"
                                                                                        : "In";
    expressions.push_back({{"key", requirement.key}, {"operator", op}, {"values", requirement.values}});
  }
  if (!labels.empty()) id["selector"]["matchLabels"] = labels;
  if (!expressions.empty()) id["selector"]["matchExpressions"] = expressions;
  return id;
}

base::Json CurrentMetric(const HpaMetric& metric, const Measured& measured) {
  std::string value = QuantityText(measured.value_milli);
  base::Json current = {{metric.type == TargetType::kValue ? "value" : "averageValue", value}};
  if (metric.type == TargetType::kUtilization) current["averageUtilization"] = measured.utilization;
  base::Json entry = {{"type", metric.SourceName()}};
  switch (metric.source) {
    case HpaMetric::Source::kResource: entry["resource"] = {{"name", metric.name}, {"current", current}}; break;
    case HpaMetric::Source::kContainerResource:
      entry["containerResource"] = {{"name", metric.name}, {"container", metric.container}, {"current", current}};
      break;
    case HpaMetric::Source::kPods: entry["pods"] = {{"metric", MetricId(metric)}, {"current", current}}; break;
    case HpaMetric::Source::kObject:
      entry["object"] = {
          {"metric", MetricId(metric)},
          {"describedObject",
           {{"apiVersion", metric.object_api_version}, {"kind", metric.object_kind}, {"name", metric.object_name}}},
          {"current", current}};
      break;
    case HpaMetric::Source::kExternal: entry["external"] = {{"metric", MetricId(metric)}, {"current", current}}; break;
  }
  return entry;
}

}  // namespace

void HpaWorkload::ReportMetrics(const DecisionInput&, const Decision& decision) {
  base::Json metrics = base::Json::array();
  for (size_t i = 0; i < spec_.metrics.size(); ++i) {
    if (decision.proposals[i]) metrics.push_back(CurrentMetric(spec_.metrics[i], decision.measured[i]));
  }
  status_.Set("currentMetrics", std::move(metrics));
}

void HpaWorkload::Show(const std::vector<Signal>& signals, const Decision& decision) {
  WorkloadStatus shown;
  shown.controller = "HorizontalPodAutoscaler";
  shown.ns = kube::NamespaceOf(*object_);
  shown.name = kube::NameOf(*object_);
  shown.target_kind = base::FindString(*object_, {"spec", "scaleTargetRef", "kind"});
  shown.target_name = base::FindString(*object_, {"spec", "scaleTargetRef", "name"});
  shown.current = scale_.spec_replicas;
  shown.desired = decision.replicas;
  shown.ready = ready_;
  shown.min = spec_.scale.min_replicas;
  shown.max = spec_.scale.max_replicas;
  shown.held = decision.hold;
  shown.why = decision.why;
  shown.steps = decision.steps;
  std::vector<std::string> types;
  for (const HpaMetric& metric : spec_.metrics) types.emplace_back(metric.SourceName());
  shown.signals = SignalStatuses(signals, types, decision);
  shown.conditions = status_.conditions();
  shown.interval_ms = context_.sync_period_ms;
  shown.decided_ms = Now();
  shown.decided_from = scaled_ ? scaled_->from : scale_.spec_replicas;
  context_.board->Update(std::move(shown));
  if (scaled_) context_.board->RecordScale("HorizontalPodAutoscaler", spec_.ns, spec_.name, *scaled_);
  scaled_.reset();
}

void HpaWorkload::ShowHeld(const std::string& why) {
  Decision held;
  held.hold = true;
  held.replicas = scale_.spec_replicas;
  held.why = why;
  Show({}, held);
}

void HpaWorkload::WriteStatus() {
  base::Status written = status_.Write(*context_.cluster.client, kube::resources::kHorizontalPodAutoscalers,
                                       kube::NamespaceOf(*object_), kube::NameOf(*object_));
  if (written.ok() || written.code() == base::Code::kNotFound) return;
  base::LogWarn("scaler", "status not written, trying again at the next pass",
                {{"object", Owner()}, {"error", written.ToString()}});
}

}  // namespace tidewright::scaler
