#include "scaler/status_board.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"

namespace tidewright::scaler {

namespace {

constexpr size_t kMaxScales = 20;
// One series for each workload, in the order in which StatusBoard::SetMetrics() sets them.
constexpr std::array<std::pair<const char*, const char*>, 7> kFamilies = {{
    {"tidewright_workload_replicas", "Replicas that the workload is set to."},
    {"tidewright_workload_desired_replicas", "Replicas that the last decision asked for."},
    {"tidewright_workload_ready_replicas", "Replicas that are ready."},
    {"tidewright_workload_min_replicas", "The fewest replicas that the autoscaler may set."},
    {"tidewright_workload_max_replicas", "The most replicas that the autoscaler may set."},
    {"tidewright_workload_last_decision_timestamp_seconds", "When the number of replicas was last decided on."},
    {"tidewright_workload_decision_interval_seconds", "The longest time between two decisions, if all is well."},
}};
constexpr char kValue[] = "tidewright_trigger_value";
constexpr char kTarget[] = "tidewright_trigger_target";
constexpr char kErrors[] = "tidewright_trigger_errors_total";

base::MetricLabels WorkloadLabels(const WorkloadStatus& status) {
  return {{"namespace", status.ns},
          {"workload", status.target_name},
          {"controller", status.controller},
          {"name", status.name}};
}

base::MetricLabels SignalLabels(const std::string& ns, const std::string& name, const SignalStatus& signal) {
  return {{"namespace", ns}, {"name", name}, {"trigger", signal.name}, {"type", signal.type}};
}

bool SameSignals(const WorkloadStatus& a, const WorkloadStatus& b) {
  return std::equal(a.signals.begin(), a.signals.end(), b.signals.begin(), b.signals.end(),
                    [](const SignalStatus& x, const SignalStatus& y) { return x.name == y.name && x.type == y.type; });
}

}  // namespace

void StatusBoard::Update(WorkloadStatus status) {
  base::MutexLock lock(mu_);
  Workload& slot = workloads_[{status.ns, status.name, status.controller}];
  const bool moved = !slot.status.name.empty() && slot.status.target_name != status.target_name;
  if (moved) DropMetrics(slot.status);
  if (!moved && !SameSignals(slot.status, status)) DropSignalMetrics(slot.status);
  Remember(slot.status, status);
  DropMissingValues(slot.status, status);
  status.scales = std::move(slot.status.scales);
  slot.status = std::move(status);
  SetMetrics(slot);
}

void StatusBoard::RemoveMetric(const std::string& family, const base::MetricLabels& labels) {
  ++removals_;
  metrics_.Remove(family, labels);
}

// Only where there was a value: to remove a metric is to look at all of its family.
void StatusBoard::DropMissingValues(const WorkloadStatus& before, const WorkloadStatus& now) {
  for (size_t i = 0; i < now.signals.size() && i < before.signals.size(); ++i) {
    if (now.signals[i].value_milli || !before.signals[i].value_milli) continue;
    RemoveMetric(kValue, SignalLabels(now.ns, now.name, now.signals[i]));
  }
}

void StatusBoard::Remember(const WorkloadStatus& before, const WorkloadStatus& now) {
  bool first = before.name.empty();
  bool same = !first && before.desired == now.desired && before.held == now.held && before.paused == now.paused;
  if (same) return;
  if (decisions_.size() == kMaxDecisions) decisions_.pop_front();
  decisions_.push_back({now.controller, now.ns, now.name, now.target_kind, now.target_name, now.decided_ms,
                        now.decided_from, now.desired, now.held, now.why, now.steps});
}

std::vector<DecisionRecord> StatusBoard::Decisions(const std::string& ns, const std::string& name, size_t limit) const {
  base::MutexLock lock(mu_);
  std::vector<DecisionRecord> found;
  for (auto it = decisions_.rbegin(); it != decisions_.rend() && found.size() < limit; ++it) {
    if ((ns.empty() || it->ns == ns) && (name.empty() || it->name == name)) found.push_back(*it);
  }
  return found;
}

void StatusBoard::FindMetrics(Workload& workload) {
  const WorkloadStatus& status = workload.status;
  std::vector<base::Gauge*>& gauges = workload.gauges;
  gauges.clear();
  gauges.reserve(kFamilies.size() + 2 * status.signals.size());
  const base::MetricLabels labels = WorkloadLabels(status);
  for (const auto& [family, help] : kFamilies) gauges.push_back(&metrics_.GetGauge(family, help, labels));
  for (const SignalStatus& signal : status.signals) {
    gauges.push_back(
        &metrics_.GetGauge(kTarget, "Target of a trigger or metric.", SignalLabels(status.ns, status.name, signal)));
    gauges.push_back(nullptr);
  }
  workload.removals = removals_;
}

void StatusBoard::SetMetrics(Workload& workload) {
  const WorkloadStatus& status = workload.status;
  const bool known =
      workload.removals == removals_ && workload.gauges.size() == kFamilies.size() + 2 * status.signals.size();
  if (!known) FindMetrics(workload);
  auto gauge = workload.gauges.begin();
  for (double value :
       {static_cast<double>(status.current), static_cast<double>(status.desired), static_cast<double>(status.ready),
        static_cast<double>(status.min), static_cast<double>(status.max), static_cast<double>(status.decided_ms) / 1000,
        static_cast<double>(status.interval_ms) / 1000}) {
    (*gauge++)->Set(value);
  }
  for (const SignalStatus& signal : status.signals) {
    (*gauge++)->Set(static_cast<double>(signal.target_milli) / 1000);
    base::Gauge*& value = *gauge++;
    if (!signal.value_milli) continue;
    if (value == nullptr) {
      value = &metrics_.GetGauge(kValue, "Last value of a trigger or metric; absent while it cannot be read.",
                                 SignalLabels(status.ns, status.name, signal));
    }
    value->Set(static_cast<double>(*signal.value_milli) / 1000);
  }
}

void StatusBoard::DropSignalMetrics(const WorkloadStatus& status) {
  for (const SignalStatus& signal : status.signals) {
    for (const char* family : {kValue, kTarget, kErrors}) {
      RemoveMetric(family, SignalLabels(status.ns, status.name, signal));
    }
  }
}

void StatusBoard::RecordScale(const std::string& controller, const std::string& ns, const std::string& name,
                              const ScaleRecord& record) {
  base::MutexLock lock(mu_);
  auto it = workloads_.find({ns, name, controller});
  if (it == workloads_.end()) return;
  std::vector<ScaleRecord>& scales = it->second.status.scales;
  scales.push_back(record);
  if (scales.size() > kMaxScales) scales.erase(scales.begin());
  const char* direction = record.to > record.from ? "up" : "down";
  metrics_
      .GetCounter("tidewright_scale_total", "Changes of replica counts.",
                  {{"namespace", ns}, {"workload", it->second.status.target_name}, {"direction", direction}})
      .Add();
}

void StatusBoard::CountTriggerError(const std::string& ns, const std::string& name, const SignalStatus& signal) {
  base::MutexLock lock(mu_);
  metrics_.GetCounter(kErrors, "Failed readings of a trigger or metric.", SignalLabels(ns, name, signal)).Add();
}

void StatusBoard::Remove(const std::string& controller, const std::string& ns, const std::string& name) {
  base::MutexLock lock(mu_);
  auto it = workloads_.find({ns, name, controller});
  if (it == workloads_.end()) return;
  DropMetrics(it->second.status);
  workloads_.erase(it);
}

void StatusBoard::Clear() {
  base::MutexLock lock(mu_);
  for (const auto& [key, workload] : workloads_) DropMetrics(workload.status);
  workloads_.clear();
}

void StatusBoard::DropMetrics(const WorkloadStatus& status) {
  DropSignalMetrics(status);
  for (const auto& [family, help] : kFamilies) RemoveMetric(family, WorkloadLabels(status));
}

std::vector<WorkloadStatus> StatusBoard::Snapshot() const {
  base::MutexLock lock(mu_);
  std::vector<WorkloadStatus> all;
  all.reserve(workloads_.size());
  for (const auto& [key, workload] : workloads_) all.push_back(workload.status);
  return all;
}

std::optional<WorkloadStatus> StatusBoard::Get(const std::string& controller, const std::string& ns,
                                               const std::string& name) const {
  base::MutexLock lock(mu_);
  auto it = workloads_.find({ns, name, controller});
  return it == workloads_.end() ? std::nullopt : std::optional(it->second.status);
}

std::vector<SignalStatus> SignalStatuses(const std::vector<Signal>& signals, const std::vector<std::string>& types,
                                         const Decision& decision) {
  std::vector<SignalStatus> statuses;
  for (size_t i = 0; i < signals.size(); ++i) {
    const Signal& signal = signals[i];
    SignalStatus status;
    status.name = signal.name;
    status.type = i < types.size() ? types[i] : "";
    status.target_milli = signal.target_milli;
    status.error = signal.error;
    status.detail = signal.detail;
    if (i < decision.proposals.size()) status.proposal = decision.proposals[i];
    if (status.proposal) {
      const Measured& measured = decision.measured[i];
      bool total = signal.type == TargetType::kAverageValue || signal.type == TargetType::kValue;
      bool percent = signal.type == TargetType::kUtilization;
      status.value_milli =
          total ? signal.value_milli : (percent ? int64_t{measured.utilization} * 1000 : measured.value_milli);
      status.active = signal.counts_for_activity && signal.value_milli > signal.activation_milli;
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

std::vector<ConditionStatus> ConditionsOf(const base::Json& object) {
  std::vector<ConditionStatus> conditions;
  const base::Json* list = base::Find(object, {"status", "conditions"});
  if (list == nullptr || !list->is_array()) return conditions;
  for (const base::Json& condition : *list) {
    conditions.push_back({base::FindString(condition, {"type"}), base::FindString(condition, {"status"}),
                          base::FindString(condition, {"reason"}), base::FindString(condition, {"message"}),
                          base::FindString(condition, {"lastTransitionTime"}),
                          base::FindInt(condition, {"observedGeneration"})});
  }
  return conditions;
}

}  // namespace tidewright::scaler
