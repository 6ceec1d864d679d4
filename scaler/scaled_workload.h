// ScaledWorkload: one ScaledObject and the workload that it scales, pass by pass. Private to the controller.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "kube/client.h"
#include "scaler/cluster.h"
#include "scaler/hpa_keeper.h"
#include "scaler/object_status.h"
#include "scaler/scaled_object.h"
#include "scaler/signal_values.h"
#include "scaler/status_board.h"
#include "scaler/target.h"
#include "scaler/trigger.h"
#include "scaler/trigger_reader.h"

namespace tidewright::scaler {

// What all ScaledWorkloads share. Borrows everything; all of it must outlive them.
struct WorkloadContext {
  Cluster cluster;
  TriggerContext triggers;  // control and calendar clocks included.
  StatusBoard* board = nullptr;
  TargetRegistry* targets = nullptr;
  SignalValues* values = nullptr;  // What HPAs are to see; may be null.
};

// Not thread-safe: the controller runs one pass at a time. Everything that goes wrong stays inside: it shows in the
// object's conditions, in an event and on the board, and the target keeps its replicas.
class ScaledWorkload {
 public:
  // `resource` is the group of the object: tidewright.dev or keda.sh. Borrows both.
  ScaledWorkload(const WorkloadContext& context, const kube::Resource& resource);
  ~ScaledWorkload();

  // Before the first pass: sources that can push ask for passes by this.
  void PushTo(Trigger::Hasten hasten) { reader_.PushTo(std::move(hasten)); }

  // One pass over the object as last seen; null once it is gone. Returns in how many ms the next pass is due; none when
  // only a change of the object can change anything.
  std::optional<int64_t> Reconcile(const std::shared_ptr<const base::Json>& object);

 private:
  enum class EventType { kNormal, kWarning };
  using Delay = std::optional<int64_t>;

  int64_t Now() const { return context_.triggers.control->NowMs(); }
  std::string Owner() const;
  void Adopt(const std::shared_ptr<const base::Json>& object);
  void StartOver();
  void Forget();

  Delay Refuse(const std::string& reason, const std::string& message, Delay retry);
  base::Status ClaimTarget();
  base::Status RefuseOtherAutoscalers();
  Delay Finalize();
  base::Status Restore(int32_t replicas);
  base::Status PatchFinalizers(bool present);
  base::Status Prepare();
  Delay KeepPaused();
  Delay Follow();
  base::Status KeepHpa();
  void PublishValues(const std::vector<Signal>& signals);
  bool LeavesToHpa(const Decision& decision) const;

  void ApplyFallback(size_t index, Signal* signal);
  std::vector<Signal> ReadTriggers();
  DecisionInput InputFor(std::vector<Signal> signals);

  base::Status ScaleTo(int32_t replicas, const std::string& why, const char* reason);
  void Act(const Decision& decision);
  void Report(const DecisionInput& input, const Decision& decision);
  void ReportReadiness(const DecisionInput& input, const Decision& decision);
  void ReportActivity(const Decision& decision);
  void ReportDecision(const Decision& decision);
  void ReportPause();
  void WriteStatus();
  void ShowOnBoard(WorkloadStatus status);
  WorkloadStatus BaseStatus() const;
  bool Condition(const char* type, const char* status, const std::string& reason, const std::string& message);
  void Event(EventType type, const std::string& reason, const std::string& message);

  const WorkloadContext& context_;
  const kube::Resource& resource_;

  std::shared_ptr<const base::Json> object_;
  std::optional<std::string> uid_;
  std::optional<base::Status> decoded_;  // How the last decoding went; none before the first.
  ScaledObject spec_;                    // The last good one.
  ObjectStatus status_;

  std::optional<kube::Resource> target_resource_;
  Target target_;
  bool first_pass_ = true;
  int64_t followed_since_ms_ = 0;
  bool raised_ = false;  // Somebody else has raised the replicas since the last pass.
  History history_;
  TriggerReader reader_;
  HpaKeeper hpa_;
  int in_fallback_ = 0;  // How many triggers the fallback replaces.
  std::optional<int64_t> written_active_ms_;
  bool overtaken_ = false;             // Somebody else set the replicas while this pass decided.
  std::optional<ScaleRecord> scaled_;  // Done in this pass, not on the board yet.
  std::string reported_problem_;       // The last problem that made an event.
};

}  // namespace tidewright::scaler
