// HpaWorkload: one HorizontalPodAutoscaler, pass by pass. Private to the controller.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "scaler/cluster.h"
#include "scaler/hpa.h"
#include "scaler/hpa_metrics.h"
#include "scaler/object_status.h"
#include "scaler/status_board.h"
#include "scaler/target.h"

namespace tidewright::scaler {

// Which pods each autoscaler selects: two that select the same pod must both stop. Thread-safe.
class SelectorRegistry {
 public:
  void Set(const std::string& owner, const std::string& ns, const kube::LabelSelector& selector);
  void Remove(const std::string& owner);
  // Other owners of the namespace that select any of `pods`.
  std::vector<std::string> Others(const std::string& owner, const std::string& ns, const Pods& pods) const;

 private:
  struct Entry {
    std::string ns;
    kube::LabelSelector selector;
  };
  mutable base::Mutex mu_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mu_);
};

// What all HpaWorkloads share. Borrows everything.
struct HpaContext {
  Cluster cluster;
  base::Clock* clock = nullptr;
  StatusBoard* board = nullptr;
  TargetRegistry* targets = nullptr;
  SelectorRegistry* selectors = nullptr;
  HpaDefaults defaults;
  HpaReadOptions reading;
  int64_t sync_period_ms = 15'000;
};

// Not thread-safe: the controller runs one pass at a time. Conditions, reasons and events are those of
// kube-controller-manager.
class HpaWorkload {
 public:
  explicit HpaWorkload(HpaContext context) : context_(std::move(context)) {}

  // One pass over the object as last seen; null once it is gone. Returns in how many ms the next pass is due.
  std::optional<int64_t> Reconcile(const std::shared_ptr<const base::Json>& object);

 private:
  int64_t Now() const { return context_.clock->NowMs(); }
  std::string Owner() const { return "HorizontalPodAutoscaler " + kube::KeyOf(*object_); }
  void Adopt(const std::shared_ptr<const base::Json>& object);
  void Forget();
  void Sync();
  base::Status ReadScale();
  base::Status ReadPods(Pods* pods);
  bool CheckSelector(const Pods& pods);
  bool IsDisabled() const;
  void Stop(const char* condition, const std::string& reason, const std::string& message);
  void Disable();
  std::vector<Signal> ReadSignals(const Pods& pods);
  DecisionInput InputFor(std::vector<Signal> signals, const Pods& pods);
  void Act(const DecisionInput& input, const Decision& decision);
  std::string RescaleReason(const DecisionInput& input, const Decision& decision) const;
  void ReportZero(int32_t replicas);
  void ReportScalingActive(const DecisionInput& input, const Decision& decision);
  void ReportLimits(const DecisionInput& input, const Decision& decision);
  void ReportMetrics(const DecisionInput& input, const Decision& decision);
  void Show(const std::vector<Signal>& signals, const Decision& decision);
  void ShowHeld(const std::string& why);
  void WriteStatus();
  bool Condition(const char* type, bool status, const std::string& reason, const std::string& message);
  void Warn(const std::string& reason, const std::string& message);
  void Event(const char* type, const std::string& reason, const std::string& message);

  const HpaContext context_;
  std::shared_ptr<const base::Json> object_;
  std::optional<std::string> uid_;
  std::optional<base::Result<Hpa>> decoded_;
  Hpa spec_;
  ObjectStatus status_;
  std::optional<kube::Resource> resource_;
  kube::Scale scale_;
  int32_t ready_ = 0;
  History history_;
  bool seeded_ = false;
  std::optional<ScaleRecord> scaled_;
  std::string warned_;  // The last warning event, which is not repeated.
};

}  // namespace tidewright::scaler
