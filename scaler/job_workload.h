// JobWorkload: one ScaledJob and the Jobs that it starts, pass by pass. Private to the controller.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "kube/client.h"
#include "scaler/job_pool.h"
#include "scaler/object_status.h"
#include "scaler/scaled_job.h"
#include "scaler/scaled_workload.h"
#include "scaler/trigger_reader.h"

namespace tidewright::scaler {

// Not thread-safe: the controller runs one pass at a time. Everything that goes wrong stays inside: it shows in the
// object's conditions, in an event and on the board, and no Job is started or ended.
class JobWorkload {
 public:
  // `resource` is the group of the object: tidewright.dev or keda.sh. Borrows both.
  JobWorkload(const WorkloadContext& context, const kube::Resource& resource);

  // Before the first pass: sources that can push ask for passes by this.
  void PushTo(Trigger::Hasten hasten) { reader_.PushTo(std::move(hasten)); }

  // One pass over the object as last seen; null once it is gone. Returns in how many ms the next pass is due; none when
  // only a change of the object can change anything.
  std::optional<int64_t> Reconcile(const std::shared_ptr<const base::Json>& object);

 private:
  using Delay = std::optional<int64_t>;

  int64_t Now() const { return context_.triggers.control->NowMs(); }
  void Adopt(const std::shared_ptr<const base::Json>& object);
  void Forget();
  Delay Refuse(const std::string& reason, const std::string& message, Delay retry);
  Delay KeepPaused();
  Delay Follow();
  void Start(const JobDecision& decision);
  void Report(const std::vector<Signal>& signals, const JobDecision& decision);
  void ReportConditions(const std::vector<Signal>& signals, const JobDecision& decision);
  void ReportDecision(const JobDecision& decision);
  void Show(const std::vector<Signal>& signals, const JobDecision& decision);
  void ShowIdle(const std::string& why, bool held);
  WorkloadStatus BaseStatus() const;
  void WriteStatus();
  bool Condition(const char* type, const char* status, const std::string& reason, const std::string& message);
  void Event(const char* type, const std::string& reason, const std::string& message);

  const WorkloadContext& context_;
  const kube::Resource& resource_;

  std::shared_ptr<const base::Json> object_;
  std::optional<std::string> uid_;
  std::optional<base::Status> decoded_;  // How the last decoding went; none before the first.
  ScaledJob spec_;                       // The last good one.
  Target template_;                      // What the triggers' environment is looked up in.
  ObjectStatus status_;
  TriggerReader reader_;
  JobPool jobs_;
  std::optional<int64_t> written_active_ms_;
  std::optional<ScaleRecord> started_;  // In this pass, not on the board yet.
  std::string reported_problem_;        // The last problem that made an event.
};

}  // namespace tidewright::scaler
