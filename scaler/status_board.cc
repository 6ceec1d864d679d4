#include "scaler/status_board.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace tidewright::scaler {

namespace {

constexpr size_t kMaxScales = 20;
constexpr char kReplicas[] = "tidewright_workload_replicas";
constexpr char kDesired[] = "tidewright_workload_desired_replicas";
constexpr char kReady[] = "tidewright_workload_ready_replicas";
constexpr char kMin[] = "tidewright_workload_min_replicas";
constexpr char kMax[] = "tidewright_workload_max_replicas";
constexpr char kDecided[] = "tidewright_workload_last_decision_timestamp_seconds";
constexpr char kInterval[] = "tidewright_workload_decision_interval_seconds";
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
  WorkloadStatus& slot = workloads_[{status.ns, status.name, status.controller}];
  if (!SameSignals(slot, status)) DropSignalMetrics(slot);
  Remember(slot, status);
  DropMissingValues(slot, status);
  status.scales = std::move(slot.scales);
  slot = std::move(status);
  SetMetrics(slot);
}

// Only where there was a value: to remove a metric is to look at all of its family.
void StatusBoard::DropMissingValues(const WorkloadStatus& before, const WorkloadStatus& now) {
  for (size_t i = 0; i < now.signals.size() && i < before.signals.size(); ++i) {
    if (now.signals[i].value_milli || !before.signals[i].value_milli) continue;
    metrics_.Remove(kValue, SignalLabels(now.ns, now.name, now.signals[i]));
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

void StatusBoard::SetMetrics(const WorkloadStatus& status) {
  base::MetricLabels labels = WorkloadLabels(status);
  metrics_.GetGauge(kReplicas, "Replicas that the workload is set to.", labels).Set(status.current);
  metrics_.GetGauge(kDesired, "Replicas that the last decision asked for.", labels).Set(status.desired);
  metrics_.GetGauge(kReady, "Replicas that are ready.", labels).Set(status.ready);
  metrics_.GetGauge(kMin, "The fewest replicas that the autoscaler may set.", labels).Set(status.min);
  metrics_.GetGauge(kMax, "The most replicas that the autoscaler may set.", labels).Set(status.max);
  metrics_.GetGauge(kDecided, "When the number of replicas was last decided on.", labels)
      .Set(static_cast<double>(status.decided_ms) / 1000);
  metrics_.GetGauge(kInterval, "The longest time between two decisions, if all is well.", labels)
      .Set(static_cast<double>(status.interval_ms) / 1000);
  for (const SignalStatus& signal : status.signals) {
    base::MetricLabels of_signal = SignalLabels(status.ns, status.name, signal);
    metrics_.GetGauge(kTarget, "Target of a trigger or metric.", of_signal)
        .Set(static_cast<double>(signal.target_milli) / 1000);
    if (signal.value_milli) {
      metrics_.GetGauge(kValue, "Last value of a trigger or metric; absent while it cannot be read.", of_signal)
          .Set(static_cast<double>(*signal.value_milli) / 1000);
    }
  }
}

void StatusBoard::DropSignalMetrics(const WorkloadStatus& status) {
  for (const SignalStatus& signal : status.signals) {
    for (const char* family : {kValue, kTarget, kErrors}) {
      metrics_.Remove(family, SignalLabels(status.ns, status.name, signal));
    }
  }
}

void StatusBoard::RecordScale(const std::string& controller, const std::string& ns, const std::string& name,
                              const ScaleRecord& record) {
  base::MutexLock lock(mu_);
  auto it = workloads_.find({ns, name, controller});
  if (it == workloads_.end()) return;
  std::vector<ScaleRecord>& scales = it->second.scales;
  scales.push_back(record);
  if (scales.size() > kMaxScales) scales.erase(scales.begin());
  const char* direction = record.to > record.from ? "up" : "down";
  metrics_
      .GetCounter("tidewright_scale_total", "Changes of replica counts.",
                  {{"namespace", ns}, {"workload", it->second.target_name}, {"direction", direction}})
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
  DropMetrics(it->second);
  workloads_.erase(it);
}

void StatusBoard::Clear() {
  base::MutexLock lock(mu_);
  for (const auto& [key, status] : workloads_) DropMetrics(status);
  workloads_.clear();
}

void StatusBoard::DropMetrics(const WorkloadStatus& status) {
  DropSignalMetrics(status);
  for (const char* family : {kReplicas, kDesired, kReady, kMin, kMax, kDecided, kInterval})
    metrics_.Remove(family, WorkloadLabels(status));
}

std::vector<WorkloadStatus> StatusBoard::Snapshot() const {
  base::MutexLock lock(mu_);
  std::vector<WorkloadStatus> all;
  all.reserve(workloads_.size());
  for (const auto& [key, status] : workloads_) all.push_back(status);
  return all;
}

std::optional<WorkloadStatus> StatusBoard::Get(const std::string& controller, const std::string& ns,
                                               const std::string& name) const {
  base::MutexLock lock(mu_);
  auto it = workloads_.find({ns, name, controller});
  return it == workloads_.end() ? std::nullopt : std::optional(it->second);
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
                          base::FindString(condition, {"lastTransitionTime"})});
  }
  return conditions;
}

}  // namespace tidewright::scaler
