// What a ScaledWorkload says about itself: conditions, status, events and its entry on the board.
#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"
#include "scaler/scaled_workload.h"

namespace tidewright::scaler {

namespace {

// status.lastActiveTime moves at most this often while the object stays active: one write per poll and object is what
// throttles peers at a few hundred objects, and after a restart the cooldown starts anew anyway.
constexpr int64_t kActiveTimeStepMs = 300'000;

}  // namespace

void ScaledWorkload::Report(const DecisionInput& input, const Decision& decision) {
  reader_.Report(input.signals, spec_.fallback ? spec_.fallback->failure_threshold + 1 : 1, &status_);
  ReportReadiness(input, decision);
  ReportActivity(decision);
  ReportPause();
  ReportDecision(decision);
  WriteStatus();
  WorkloadStatus shown = BaseStatus();
  shown.desired = decision.replicas;
  shown.held = decision.hold;
  shown.why = decision.why;
  shown.steps = decision.steps;
  shown.signals = SignalStatuses(input.signals, reader_.Types(), decision);
  shown.decided_ms = input.now_ms;
  shown.decided_from = input.current.spec_replicas;
  ShowOnBoard(std::move(shown));
}

void ScaledWorkload::ReportReadiness(const DecisionInput& input, const Decision& decision) {
  std::string errors = ErrorsOf(input.signals);
  bool changed = false;
  if (decision.all_failed) {
    changed = Condition("Ready", "False", "TriggerError", errors);
  } else if (decision.any_error) {
    changed = Condition("Ready", "Unknown", "PartialTriggerError", errors);
  } else {
    std::string message = "The object is valid and its triggers can be read.";
    if (spec_.mode == ScalingMode::kDryRun) message += " It is a dry run: what is decided is not carried out.";
    changed = Condition("Ready", "True", "ScaledObjectReady", message);
  }
  if (changed && errors.empty()) Event(EventType::kNormal, "ScaledObjectReady", "ScaledObject is ready for scaling");
  if (changed && !errors.empty()) Event(EventType::kWarning, "KEDAScalerFailed", errors);
  reported_problem_.clear();
  if (in_fallback_ > 0) {
    if (Condition("Fallback", "True", "FallbackExists", "At least one trigger is replaced by the fallback.")) {
      Event(EventType::kWarning, "ScaledObjectFallbackActivated", "A trigger fails; the fallback counts instead");
    }
  } else {
    bool ended = Condition("Fallback", "False", "NoFallbackFound", "No fallback is in use.");
    if (ended && spec_.fallback && !first_pass_ && decision.any_error) {
      Event(EventType::kNormal, "ScaledObjectFallbackDeactivated", "The triggers can be read again");
    }
  }
}

void ScaledWorkload::ReportActivity(const Decision& decision) {
  int32_t rest = spec_.scale.idle_replicas.value_or(0);
  bool may_rest = spec_.scale.idle_replicas || spec_.scale.min_replicas == 0;
  if (decision.active) {
    Condition("Active", "True", "ScalerActive", "Scaling is performed because triggers are active.");
  } else if (decision.any_error) {
    Condition("Active", "Unknown", "UnknownState", "A trigger cannot be read; see condition Ready.");
  } else if (may_rest && target_.replicas.spec_replicas > rest) {
    Condition("Active", "False", "ScalerCooldown", "No trigger is active; waiting for the cooldown.");
  } else {
    Condition("Active", "False", "ScalerNotActive", "No trigger is active.");
  }
  if (!history_.last_active_ms) return;
  bool ended = !decision.active && *history_.last_active_ms != written_active_ms_;
  bool old = !written_active_ms_ || *history_.last_active_ms - *written_active_ms_ >= kActiveTimeStepMs;
  if (!ended && !old) return;
  written_active_ms_ = *history_.last_active_ms;
  status_.Set("lastActiveTime", base::FormatTime(*history_.last_active_ms));
}

void ScaledWorkload::ReportPause() {
  const ScaleSpec& scale = spec_.scale;
  bool paused = spec_.paused || scale.pause_scale_in || scale.pause_scale_out;
  std::string message = "Scaling is not paused.";
  if (scale.pause_scale_in) message = "Scaling in is paused by annotation.";
  if (scale.pause_scale_out) message = "Scaling out is paused by annotation.";
  if (spec_.paused || (scale.pause_scale_in && scale.pause_scale_out)) message = "Scaling is paused by annotation.";
  bool changed =
      Condition("Paused", paused ? "True" : "False", paused ? "ScaledObjectPaused" : "ScaledObjectUnpaused", message);
  if (changed && paused) Event(EventType::kNormal, "ScaledObjectPaused", message);
}

// The last decision that changed something: a new number, or the begin or end of a hold.
void ScaledWorkload::ReportDecision(const Decision& decision) {
  const auto& shown = status_.decision();
  if (shown && shown->replicas == decision.replicas && shown->held == decision.hold) return;
  status_.SetDecision({decision.replicas, decision.hold}, decision.why, decision.steps, Now());
}

void ScaledWorkload::WriteStatus() {
  base::Status written =
      status_.Write(*context_.cluster.client, resource_, kube::NamespaceOf(*object_), kube::NameOf(*object_));
  if (written.ok() || written.code() == base::Code::kNotFound) return;
  base::LogWarn("scaler", "status not written, trying again at the next pass",
                {{"object", kube::KeyOf(*object_)}, {"error", written.ToString()}});
}

WorkloadStatus ScaledWorkload::BaseStatus() const {
  WorkloadStatus shown;
  shown.controller = "ScaledObject";
  shown.ns = kube::NamespaceOf(*object_);
  shown.name = kube::NameOf(*object_);
  shown.target_kind = base::FindString(*object_, {"spec", "scaleTargetRef", "kind"}, "Deployment");
  shown.target_name = base::FindString(*object_, {"spec", "scaleTargetRef", "name"});
  shown.current = shown.desired = shown.decided_from = target_.replicas.spec_replicas;
  shown.ready = target_.replicas.ready_replicas;
  shown.min = spec_.scale.min_replicas;
  shown.max = spec_.scale.max_replicas;
  shown.interval_ms = spec_.polling_interval_ms;
  return shown;
}

void ScaledWorkload::ShowOnBoard(WorkloadStatus status) {
  status.conditions = status_.conditions();
  if (status.decided_ms == 0) status.decided_ms = Now();
  context_.board->Update(std::move(status));
  if (scaled_) context_.board->RecordScale("ScaledObject", spec_.ns, spec_.name, *scaled_);
  scaled_.reset();
}

}  // namespace tidewright::scaler
