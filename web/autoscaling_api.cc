#include "web/autoscaling_api.h"

#include "base/duration.h"
#include "base/json.h"

namespace tidewright::web {

namespace {

using base::Json;
using scaler::WorkloadStatus;

double FromMilli(int64_t milli) { return static_cast<double>(milli) / 1000; }

const std::vector<scaler::ConditionStatus>& ConditionsOf(const WorkloadStatus& workload) {
  static const std::vector<scaler::ConditionStatus> kNone;
  return workload.conditions == nullptr ? kNone : *workload.conditions;
}

Json SignalJson(const scaler::SignalStatus& signal) {
  Json json = {{"name", signal.name},   {"type", signal.type},
               {"value", nullptr},      {"target", FromMilli(signal.target_milli)},
               {"proposal", nullptr},   {"active", signal.active},
               {"error", signal.error}, {"detail", signal.detail}};
  if (signal.value_milli) json["value"] = FromMilli(*signal.value_milli);
  if (signal.proposal) json["proposal"] = *signal.proposal;
  return json;
}

Json StepsJson(const std::vector<scaler::Step>& steps) {
  Json list = Json::array();
  for (const auto& step : steps) {
    list.push_back({{"stage", step.stage}, {"signal", step.signal}, {"replicas", step.replicas}, {"text", step.text}});
  }
  return list;
}

Json WorkloadJson(const WorkloadStatus& workload) {
  Json json = {{"controller", workload.controller},
               {"namespace", workload.ns},
               {"name", workload.name},
               {"target", workload.target_kind + "/" + workload.target_name},
               {"minReplicas", workload.min},
               {"maxReplicas", workload.max},
               {"currentReplicas", workload.current},
               {"desiredReplicas", workload.desired},
               {"readyReplicas", workload.ready},
               {"held", workload.held},
               {"paused", workload.paused},
               {"why", workload.why},
               {"signals", Json::array()},
               {"steps", StepsJson(workload.steps)},
               {"conditions", Json::array()},
               {"events", Json::array()}};
  for (const auto& signal : workload.signals) json["signals"].push_back(SignalJson(signal));
  for (const auto& condition : ConditionsOf(workload)) {
    json["conditions"].push_back({{"type", condition.type},
                                  {"status", condition.status},
                                  {"reason", condition.reason},
                                  {"message", condition.message},
                                  {"since", condition.since}});
  }
  for (const auto& change : workload.scales) {
    json["events"].push_back(
        {{"time", base::FormatTime(change.t_ms)}, {"from", change.from}, {"to", change.to}, {"why", change.why}});
  }
  return json;
}

// Conditions that say, when not True, that the workload is not scaled as asked.
bool Matters(const scaler::ConditionStatus& condition) {
  if (condition.type != "Ready" && condition.type != "ScalingActive" && condition.type != "AbleToScale") return false;
  // An HPA whose workload was set to 0 by hand is switched off, not broken.
  return condition.status != "True" && condition.reason != "ScalingDisabled";
}

}  // namespace

Json AutoscalingReport(const std::vector<WorkloadStatus>& workloads, int64_t now_ms, int64_t calendar_ms) {
  Json report = {{"now", base::FormatTime(now_ms)},
                 {"calendar", base::FormatTime(calendar_ms)},
                 {"problems", Problems(workloads)},
                 {"workloads", Json::array()}};
  for (const WorkloadStatus& workload : workloads) report["workloads"].push_back(WorkloadJson(workload));
  return report;
}

Json DecisionsJson(const std::vector<scaler::DecisionRecord>& decisions) {
  Json list = Json::array();
  for (const auto& decision : decisions) {
    list.push_back({{"controller", decision.controller},
                    {"namespace", decision.ns},
                    {"name", decision.name},
                    {"target", decision.target_kind + "/" + decision.target_name},
                    {"time", base::FormatTime(decision.t_ms)},
                    {"from", decision.from},
                    {"to", decision.to},
                    {"held", decision.held},
                    {"why", decision.why},
                    {"steps", StepsJson(decision.steps)}});
  }
  return list;
}

std::vector<std::string> Problems(const std::vector<WorkloadStatus>& workloads) {
  std::vector<std::string> problems;
  for (const WorkloadStatus& workload : workloads) {
    for (const auto& condition : ConditionsOf(workload)) {
      if (!Matters(condition)) continue;
      problems.push_back(workload.controller + " " + workload.ns + "/" + workload.name + ": " + condition.message);
      break;
    }
  }
  return problems;
}

}  // namespace tidewright::web
