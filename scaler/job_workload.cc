#include "scaler/job_workload.h"

#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"
#include "scaler/manifest.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kLookAgainMs = 500;
// As for ScaledObjects: status.lastActiveTime moves at most this often while the object stays active.
constexpr int64_t kActiveTimeStepMs = 300'000;

bool SameSpec(const base::Json& before, const base::Json& now) {
  return SameMember(before, now, {"spec"}) && SameMember(before, now, {"metadata", "annotations"}) &&
         SameMember(before, now, {"metadata", "labels"});
}

}  // namespace

JobWorkload::JobWorkload(const WorkloadContext& context, const kube::Resource& resource)
    : context_(context),
      resource_(resource),
      reader_(context_.cluster, context_.triggers, *context_.board),
      jobs_(context_.cluster) {}

std::optional<int64_t> JobWorkload::Reconcile(const std::shared_ptr<const base::Json>& object) {
  if (object == nullptr || kube::IsBeingDeleted(*object)) {  // Its Jobs go with it.
    Forget();
    return std::nullopt;
  }
  Adopt(object);
  if (!decoded_->ok()) return Refuse("ScaledJobCheckFailed", decoded_->message(), std::nullopt);
  base::Status seen = jobs_.Refresh(*object_, spec_);
  // Nothing is wrong with the object: the caches are being filled, or somebody else leads by now.
  if (seen.code() == base::Code::kFailedPrecondition) return kLookAgainMs;
  if (!seen.ok()) return Refuse("ErrorGettingJobs", seen.message(), spec_.polling_interval_ms);
  base::Status tidy = jobs_.TidyUp(spec_);
  if (!tidy.ok()) Event("Warning", "KEDAJobDeleteFailed", "Could not delete Jobs: " + tidy.message());
  return spec_.paused ? KeepPaused() : Follow();
}

void JobWorkload::Adopt(const std::shared_ptr<const base::Json>& object) {
  if (object == object_ && decoded_) return;
  const std::shared_ptr<const base::Json> before = std::exchange(object_, object);
  if (uid_ != kube::UidOf(*object)) {
    uid_ = kube::UidOf(*object);
    status_.Reset(*object);
    jobs_.Reset();
    decoded_.reset();
    reported_problem_.clear();
    auto active = base::ParseTime(base::FindString(*object, {"status", "lastActiveTime"}));
    written_active_ms_ = active.ok() ? std::optional(*active) : std::nullopt;
  }
  if (decoded_ && before != nullptr && SameSpec(*before, *object)) return;
  auto decoded = DecodeScaledJob(*object);
  decoded_ = decoded.status();
  if (!decoded.ok()) return;
  spec_ = *std::move(decoded);
  template_.object =
      std::make_shared<const base::Json>(base::Json{{"spec", {{"template", (*spec_.job_spec)["template"]}}}});
  // No older value: what Jobs have taken since would be counted again.
  reader_.Follow({spec_.ns, spec_.name, resource_.group, spec_.env_container, 0}, spec_.triggers);
}

void JobWorkload::Forget() {
  if (object_ == nullptr) return;
  context_.board->Remove("ScaledJob", kube::NamespaceOf(*object_), kube::NameOf(*object_));
  object_.reset();
  uid_.reset();
}

JobWorkload::Delay JobWorkload::Refuse(const std::string& reason, const std::string& message, Delay retry) {
  Condition("Ready", "False", reason, message);
  Condition("Active", "Unknown", "UnknownState", "The object is not followed; see condition Ready.");
  if (reported_problem_ != message) Event("Warning", reason, message);
  reported_problem_ = message;
  WriteStatus();
  ShowIdle("held: " + message, true);
  return retry;
}

JobWorkload::Delay JobWorkload::KeepPaused() {
  Condition("Ready", "True", "ScaledJobReady", "The object is valid.");
  Condition("Active", "Unknown", "UnknownState", "The triggers are not read while the object is paused.");
  if (Condition("Paused", "True", "ScaledJobPaused", "No Job is started, by annotation.")) {
    Event("Normal", "ScaledJobPaused", "No Job is started, by annotation");
  }
  WriteStatus();
  ShowIdle("paused by annotation", false);
  return spec_.polling_interval_ms;
}

JobWorkload::Delay JobWorkload::Follow() {
  std::vector<Signal> signals;
  for (size_t i = 0; i < reader_.size(); ++i) signals.push_back(reader_.Read(i, template_));
  JobDecision decision = DecideJobs(spec_.scaling, signals, jobs_.counts());
  Start(decision);
  Report(signals, decision);
  return spec_.polling_interval_ms;
}

void JobWorkload::Start(const JobDecision& decision) {
  if (decision.create == 0) return;
  base::Status error;
  const int32_t created = jobs_.Create(*object_, spec_, decision.create, &error);
  if (created > 0) {
    const int32_t before = jobs_.counts().running;
    Event("Normal", "KEDAJobsCreated",
          "Created " + std::to_string(created) + (created == 1 ? " Job: " : " Jobs: ") + decision.why);
    base::LogInfo("scaler", "started Jobs",
                  {{"object", kube::KeyOf(*object_)}, {"jobs", std::to_string(created)}, {"why", decision.why}});
    started_ = ScaleRecord{Now(), before, before + created, decision.why};
  }
  if (error.ok()) return;
  Event("Warning", "KEDAJobCreateFailed", "Could not create a Job: " + error.message());
  base::LogWarn("scaler", "could not create a Job", {{"object", kube::KeyOf(*object_)}, {"error", error.ToString()}});
}

void JobWorkload::Report(const std::vector<Signal>& signals, const JobDecision& decision) {
  reader_.Report(signals, 1, &status_);
  ReportConditions(signals, decision);
  ReportDecision(decision);
  if (decision.active && (!written_active_ms_ || Now() - *written_active_ms_ >= kActiveTimeStepMs)) {
    written_active_ms_ = Now();
    status_.Set("lastActiveTime", base::FormatTime(Now()));
  }
  WriteStatus();
  Show(signals, decision);
}

void JobWorkload::ReportConditions(const std::vector<Signal>& signals, const JobDecision& decision) {
  const std::string errors = ErrorsOf(signals);
  bool changed = false;
  if (decision.all_failed) {
    changed = Condition("Ready", "False", "TriggerError", errors);
  } else if (decision.any_error) {
    changed = Condition("Ready", "Unknown", "PartialTriggerError", errors);
  } else {
    changed = Condition("Ready", "True", "ScaledJobReady", "The object is valid and its triggers can be read.");
  }
  if (changed && errors.empty()) Event("Normal", "ScaledJobReady", "ScaledJob is ready for scaling");
  if (changed && !errors.empty()) Event("Warning", "KEDAScalerFailed", errors);
  reported_problem_.clear();
  if (decision.active) {
    Condition("Active", "True", "ScalerActive", "Scaling is performed because triggers are active.");
  } else if (decision.any_error) {
    Condition("Active", "Unknown", "UnknownState", "A trigger cannot be read; see condition Ready.");
  } else {
    Condition("Active", "False", "ScalerNotActive", "No trigger is active.");
  }
  Condition("Paused", "False", "ScaledJobUnpaused", "Scaling is not paused.");
}

// The last decision that started something, or the begin or end of a hold.
void JobWorkload::ReportDecision(const JobDecision& decision) {
  const auto& shown = status_.decision();
  if (shown && decision.create == 0 && shown->held == decision.held) return;
  status_.SetDecision({decision.create, decision.held}, decision.why, decision.steps, Now());
}

WorkloadStatus JobWorkload::BaseStatus() const {
  WorkloadStatus shown;
  shown.controller = "ScaledJob";
  shown.ns = kube::NamespaceOf(*object_);
  shown.name = kube::NameOf(*object_);
  shown.target_kind = "Job";
  shown.target_name = shown.name;
  shown.current = shown.desired = shown.decided_from = jobs_.counts().running;
  shown.ready = jobs_.counts().running - jobs_.counts().pending;
  shown.min = spec_.scaling.min_jobs;
  shown.max = spec_.scaling.max_jobs;
  shown.conditions = status_.conditions();
  shown.decided_ms = Now();
  return shown;
}

void JobWorkload::Show(const std::vector<Signal>& signals, const JobDecision& decision) {
  WorkloadStatus shown = BaseStatus();
  shown.desired += decision.create;
  shown.held = decision.held;
  shown.why = decision.why;
  shown.steps = decision.steps;
  Decision proposals;
  proposals.proposals = decision.proposals;
  proposals.measured.resize(proposals.proposals.size());
  shown.signals = SignalStatuses(signals, reader_.Types(), proposals);
  context_.board->Update(std::move(shown));
  if (started_) context_.board->RecordScale("ScaledJob", spec_.ns, spec_.name, *started_);
  started_.reset();
}

void JobWorkload::ShowIdle(const std::string& why, bool held) {
  WorkloadStatus shown = BaseStatus();
  shown.why = why;
  shown.held = held;
  shown.paused = !held;
  context_.board->Update(std::move(shown));
}

void JobWorkload::WriteStatus() {
  base::Status written =
      status_.Write(*context_.cluster.client, resource_, kube::NamespaceOf(*object_), kube::NameOf(*object_));
  if (written.ok() || written.code() == base::Code::kNotFound) return;
  base::LogWarn("scaler", "status not written, trying again at the next pass",
                {{"object", kube::KeyOf(*object_)}, {"error", written.ToString()}});
}

bool JobWorkload::Condition(const char* type, const char* status, const std::string& reason,
                            const std::string& message) {
  return status_.SetCondition(type, status, reason, CutText(message),
                              base::FindInt(*object_, {"metadata", "generation"}), Now());
}

void JobWorkload::Event(const char* type, const std::string& reason, const std::string& message) {
  context_.cluster.record_event(*object_, type, reason, CutText(message));
}

}  // namespace tidewright::scaler
