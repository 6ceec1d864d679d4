// StatusBoard: what every autoscaled workload looks like right now, for the web page, the terminal, the API and
// /metrics.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "scaler/decide.h"

namespace tidewright::scaler {

// One trigger or metric as last read.
struct SignalStatus {
  std::string name;
  std::string type;                    // "redis", "cron", "Pods", "External", ...
  std::optional<int64_t> value_milli;  // Empty while it cannot be read.
  int64_t target_milli = 0;            // Utilization: percent * 1000.
  std::optional<int32_t> proposal;     // Replicas that it asks for.
  bool active = false;                 // Counts for activity and is above its activation threshold.
  std::string error;
  std::string detail;
};

struct ConditionStatus {
  std::string type, status, reason, message;
  std::string since;       // RFC 3339, as in the object.
  int64_t generation = 0;  // Of the object that it was observed of; 0: not said.

  bool operator==(const ConditionStatus&) const = default;
};
// Of one object; null for none. Shared, because each object's are kept by whoever follows it and by the board.
using ConditionList = std::shared_ptr<const std::vector<ConditionStatus>>;

// One change of the replica count.
struct ScaleRecord {
  int64_t t_ms = 0;
  int32_t from = 0;
  int32_t to = 0;
  std::string why;
};

// One workload. `controller` and `ns` and `name` identify the autoscaler object.
struct WorkloadStatus {
  std::string controller;  // "ScaledObject" or "HorizontalPodAutoscaler"
  std::string ns, name;
  std::string target_kind, target_name;
  int32_t current = 0, desired = 0, ready = 0;
  int32_t min = 0, max = 0;
  bool held = false;  // Nothing may change: `why` says what is missing.
  bool paused = false;
  std::string why;
  std::vector<Step> steps;
  std::vector<SignalStatus> signals;
  ConditionList conditions;
  std::vector<ScaleRecord> scales;  // Oldest first, the last 20; kept by the board.
  int64_t decided_ms = 0;           // 0: no decision yet.
  int64_t interval_ms = 0;          // Between two decisions, unless something happens before.
  int32_t decided_from = 0;         // The replicas that it was decided at.
};

// A decision that changed something: a new number, or the begin or end of a hold or a pause.
struct DecisionRecord {
  std::string controller, ns, name;
  std::string target_kind, target_name;
  int64_t t_ms = 0;
  int32_t from = 0, to = 0;
  bool held = false;
  std::string why;
  std::vector<Step> steps;
};

// Thread-safe. Also keeps these metrics, one series per workload (or trigger), gone with the workload:
//   tidewright_workload_replicas, tidewright_workload_desired_replicas, tidewright_workload_ready_replicas,
//   tidewright_workload_min_replicas, tidewright_workload_max_replicas,
//   tidewright_workload_last_decision_timestamp_seconds, tidewright_workload_decision_interval_seconds
//       {namespace, workload, controller, name}
//   tidewright_trigger_value, tidewright_trigger_target {namespace, name, trigger, type}; no value while unreadable
//   tidewright_trigger_errors_total {namespace, name, trigger, type}
//   tidewright_scale_total {namespace, workload, direction}; direction is up or down
// Borrows the registry.
class StatusBoard {
 public:
  explicit StatusBoard(base::MetricRegistry& metrics) : metrics_(metrics) {}

  // Replaces a workload's entry; `status.scales` is ignored. What changed is kept among the decisions.
  void Update(WorkloadStatus status);
  void RecordScale(const std::string& controller, const std::string& ns, const std::string& name,
                   const ScaleRecord& record);
  void CountTriggerError(const std::string& ns, const std::string& name, const SignalStatus& signal);
  void Remove(const std::string& controller, const std::string& ns, const std::string& name);
  void Clear();  // Removes all.

  // Sorted by namespace, name and controller.
  std::vector<WorkloadStatus> Snapshot() const;
  // The last decisions of all workloads, newest first: those of one namespace and name where these are not empty.
  // Decisions of workloads that are gone stay; the oldest go once there are kMaxDecisions.
  std::vector<DecisionRecord> Decisions(const std::string& ns, const std::string& name, size_t limit) const;
  static constexpr size_t kMaxDecisions = 1000;
  std::optional<WorkloadStatus> Get(const std::string& controller, const std::string& ns,
                                    const std::string& name) const;

 private:
  using Key = std::tuple<std::string, std::string, std::string>;  // Namespace, name, controller.
  struct Workload {
    WorkloadStatus status;
    // Its metrics in the registry, found once: to look up all of them is dearer than a decision. In the order of the
    // families, then the target and the value of each signal, null while it has none. Out of date, because others may
    // share a signal's series, when anything was removed since.
    std::vector<base::Gauge*> gauges;
    uint64_t removals = 0;
  };
  void Remember(const WorkloadStatus& before, const WorkloadStatus& now) REQUIRES_LOCK(mu_);
  void FindMetrics(Workload& workload) REQUIRES_LOCK(mu_);
  void SetMetrics(Workload& workload) REQUIRES_LOCK(mu_);
  void RemoveMetric(const std::string& family, const base::MetricLabels& labels) REQUIRES_LOCK(mu_);
  void DropMissingValues(const WorkloadStatus& before, const WorkloadStatus& now) REQUIRES_LOCK(mu_);
  void DropSignalMetrics(const WorkloadStatus& status) REQUIRES_LOCK(mu_);
  void DropMetrics(const WorkloadStatus& status) REQUIRES_LOCK(mu_);

  base::MetricRegistry& metrics_;
  mutable base::Mutex mu_;
  std::map<Key, Workload> workloads_ GUARDED_BY(mu_);
  uint64_t removals_ GUARDED_BY(mu_) = 1;                 // How often a metric was removed, and 1.
  std::deque<DecisionRecord> decisions_ GUARDED_BY(mu_);  // Oldest first.
};

// The signals of a status from what was decided. `types` gives one word per signal.
std::vector<SignalStatus> SignalStatuses(const std::vector<Signal>& signals, const std::vector<std::string>& types,
                                         const Decision& decision);

// status.conditions of an object.
std::vector<ConditionStatus> ConditionsOf(const base::Json& object);

}  // namespace tidewright::scaler
