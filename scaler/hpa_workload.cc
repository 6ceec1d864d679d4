#include "scaler/hpa_workload.h"

#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scaler/hpa_keeper.h"
#include "scaler/manifest.h"

namespace tidewright::scaler {

namespace {

int32_t CountReady(const Pods& pods) {
  int32_t ready = 0;
  for (const auto& pod : pods) {
    if (base::FindString(*pod, {"status", "phase"}) == "Running" && kube::IsPodReady(*pod)) ++ready;
  }
  return ready;
}

std::string FailureReason(const HpaMetric& metric) { return std::string("FailedGet") + metric.SourceName() + "Metric"; }

}  // namespace

void SelectorRegistry::Set(const std::string& owner, const std::string& ns, const kube::LabelSelector& selector) {
  base::MutexLock lock(mu_);
  entries_[owner] = {ns, selector};
}

void SelectorRegistry::Remove(const std::string& owner) {
  base::MutexLock lock(mu_);
  entries_.erase(owner);
}

std::vector<std::string> SelectorRegistry::Others(const std::string& owner, const std::string& ns,
                                                  const Pods& pods) const {
  base::MutexLock lock(mu_);
  std::vector<std::string> others;
  for (const auto& [name, entry] : entries_) {
    if (name == owner || entry.ns != ns) continue;
    bool shared = std::any_of(pods.begin(), pods.end(), [&entry = entry](const auto& pod) {
      return entry.selector.Matches(kube::LabelsOf(*pod));
    });
    if (shared) others.push_back(name);
  }
  return others;
}

std::optional<int64_t> HpaWorkload::Reconcile(const std::shared_ptr<const base::Json>& object) {
  if (object == nullptr || kube::IsBeingDeleted(*object)) {
    Forget();
    return std::nullopt;
  }
  Adopt(object);
  if (decoded_->ok()) {
    Sync();
  } else {
    Stop("ScalingActive", "InvalidMetricSourceType", decoded_->status().message());
  }
  WriteStatus();
  return context_.sync_period_ms;
}

void HpaWorkload::Adopt(const std::shared_ptr<const base::Json>& object) {
  const std::shared_ptr<const base::Json> before = std::exchange(object_, object);
  if (uid_ != kube::UidOf(*object)) {
    uid_ = kube::UidOf(*object);
    status_.Reset(*object);
    history_ = History();
    seeded_ = false;
    decoded_.reset();
  }
  if (decoded_ && before != nullptr && SameMember(*before, *object, {"spec"})) return;
  decoded_ = DecodeHpa(*object, context_.defaults);
  if (decoded_->ok()) spec_ = **decoded_;
  resource_.reset();
}

void HpaWorkload::Forget() {
  if (object_ == nullptr) return;
  context_.targets->Release(Owner());
  context_.selectors->Remove(Owner());
  context_.board->Remove("HorizontalPodAutoscaler", kube::NamespaceOf(*object_), kube::NameOf(*object_));
  object_.reset();
  uid_.reset();
}

void HpaWorkload::Sync() {
  base::Status claimed;
  // A ScaledObject that keeps this HPA has claimed the target for both.
  if (kube::LabelsOf(*object_).count(kScaledObjectLabel) == 0) {
    claimed = context_.targets->Claim(spec_.TargetKey(), Owner(), spec_.created_ms);
  }
  if (!claimed.ok()) return Stop("ScalingActive", "AmbiguousSelector", claimed.message());
  base::Status scale = ReadScale();
  if (!scale.ok()) {
    return Stop("AbleToScale", "FailedGetScale",
                "the HPA controller was unable to get the target's current scale: " + scale.message());
  }
  Condition("AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
  status_.Set("currentReplicas", scale_.status_replicas);
  if (spec_.generation > 0) status_.Set("observedGeneration", spec_.generation);
  if (IsDisabled()) return Disable();
  Pods pods;
  base::Status listed = ReadPods(&pods);
  bool unknown = listed.code() == base::Code::kUnavailable;
  if (!listed.ok()) return Stop("ScalingActive", unknown ? "FailedGetPods" : "InvalidSelector", listed.message());
  if (!CheckSelector(pods)) return;
  DecisionInput input = InputFor(ReadSignals(pods), pods);
  Decision decision = Decide(input);
  history_ = decision.history;
  ReportScalingActive(input, decision);
  ReportLimits(input, decision);
  ReportMetrics(input, decision);
  Act(input, decision);
  ReportZero(scale_.spec_replicas);
  Show(input.signals, decision);
}

base::Status HpaWorkload::ReadScale() {
  if (!resource_) {
    TW_ASSIGN_OR_RETURN(resource_,
                        kube::ResolveResource(*context_.cluster.client, spec_.target_api_version, spec_.target_kind));
  }
  TW_ASSIGN_OR_RETURN(scale_, kube::GetScale(*context_.cluster.client, *resource_, spec_.ns, spec_.target_name));
  return base::Status::Ok();
}

base::Status HpaWorkload::ReadPods(Pods* pods) {
  if (scale_.selector.empty()) {
    return base::FailedPreconditionError("the HPA target's scale is missing a selector");
  }
  auto selector = kube::LabelSelector::Parse(scale_.selector);
  if (!selector.ok()) {
    return selector.status().Annotate("couldn't convert selector into a corresponding internal selector object");
  }
  TW_ASSIGN_OR_RETURN(*pods, context_.cluster.objects->List(kube::resources::kPods, spec_.ns, *selector));
  ready_ = CountReady(*pods);
  return base::Status::Ok();
}

// Two autoscalers over one pod would read each other's work as load.
bool HpaWorkload::CheckSelector(const Pods& pods) {
  context_.selectors->Set(Owner(), spec_.ns, *kube::LabelSelector::Parse(scale_.selector));
  std::vector<std::string> others = context_.selectors->Others(Owner(), spec_.ns, pods);
  if (others.empty()) return true;
  Stop("ScalingActive", "AmbiguousSelector",
       "pods by selector " + scale_.selector + " are controlled by multiple HPAs: " + Owner() + ", " +
           base::Join(others, ", "));
  return false;
}

// Something other than a metric is wrong: hold, and say what.
void HpaWorkload::Stop(const char* condition, const std::string& reason, const std::string& message) {
  Condition(condition, false, reason, message);
  Warn(reason, message);
  ShowHeld("held: " + message);
}

// Zero replicas are this controller's own doing when the condition ScaledToZero says so; else somebody switched the
// workload off. Out of zero only a metric leads that does not come from the workload's own pods.
bool HpaWorkload::IsDisabled() const {
  if (scale_.spec_replicas > 0) return false;
  const ConditionStatus* zero = status_.FindCondition("ScaledToZero");
  const bool own = zero != nullptr && zero->status == "True";
  bool measurable = std::any_of(spec_.metrics.begin(), spec_.metrics.end(), [](const HpaMetric& metric) {
    return metric.source == HpaMetric::Source::kObject || metric.source == HpaMetric::Source::kExternal;
  });
  return !own || (spec_.scale.min_replicas == 0 && !measurable);
}

// Only for autoscalers that may go to zero, or did.
void HpaWorkload::ReportZero(int32_t replicas) {
  if (replicas == 0) {
    Condition("ScaledToZero", true, "ScaledToZero", "the HPA controller scaled the target to zero replicas");
    return;
  }
  if (status_.FindCondition("ScaledToZero") == nullptr && spec_.scale.min_replicas != 0) return;
  Condition("ScaledToZero", false, "NotScaledToZero", "the target has replicas");
}

void HpaWorkload::Disable() {
  std::string why = "scaling is disabled since the replica count of the target is zero";
  Condition("ScalingActive", false, "ScalingDisabled", why);
  status_.Set("desiredReplicas", 0);
  ShowHeld(why);
}

std::vector<Signal> HpaWorkload::ReadSignals(const Pods& pods) {
  HpaMetricReader reader(*context_.cluster.client, spec_.ns, scale_.selector, pods, Now(), context_.reading);
  std::vector<Signal> signals;
  for (const HpaMetric& metric : spec_.metrics) {
    signals.push_back(reader.Read(metric));
    bool needs_ready = metric.type == TargetType::kValue && scale_.spec_replicas > 0 && pods.empty();
    if (needs_ready && signals.back().error.empty()) {
      signals.back().error = "no pods returned by selector while calculating replica count";
    }
    if (signals.back().error.empty()) continue;
    context_.board->CountTriggerError(spec_.ns, spec_.name,
                                      {signals.back().name, metric.SourceName(), {}, 0, {}, false, "", ""});
  }
  return signals;
}

DecisionInput HpaWorkload::InputFor(std::vector<Signal> signals, const Pods& pods) {
  DecisionInput input;
  input.spec = spec_.scale;
  input.signals = std::move(signals);
  input.current = {scale_.spec_replicas, scale_.status_replicas, CountReady(pods)};
  input.now_ms = Now();
  // A new controller knows no recommendations: the present count stands for them, so that a restart is no scale-down.
  if (!seeded_) history_.recommendations.push_back({input.now_ms, scale_.spec_replicas});
  seeded_ = true;
  input.history = history_;
  return input;
}

std::string HpaWorkload::RescaleReason(const DecisionInput& input, const Decision& decision) const {
  if (input.current.spec_replicas > spec_.scale.max_replicas) {
    return "Current number of replicas above Spec.MaxReplicas";
  }
  if (input.current.spec_replicas < spec_.scale.min_replicas) {
    return "Current number of replicas below Spec.MinReplicas";
  }
  if (decision.replicas < input.current.spec_replicas) return "All metrics below target";
  return decision.deciding_signal + " above target";
}

void HpaWorkload::Act(const DecisionInput& input, const Decision& decision) {
  int32_t from = scale_.spec_replicas;
  status_.Set("desiredReplicas", decision.hold ? from : decision.replicas);
  if (decision.hold || decision.replicas == from) return;
  std::string news = "New size: " + std::to_string(decision.replicas) + "; reason: " + RescaleReason(input, decision);
  base::Status scaled = SetReplicas(*context_.cluster.client, *resource_, spec_.ns, spec_.target_name,
                                    {from, scale_.resource_version}, decision.replicas);
  if (!scaled.ok()) {
    Condition("AbleToScale", false, "FailedUpdateScale",
              "the HPA controller was unable to update the target scale: " + scaled.message());
    return Event("Warning", "FailedRescale", news + "; error: " + scaled.message());
  }
  Condition("AbleToScale", true, "SucceededRescale",
            "the HPA controller was able to update the target scale to " + std::to_string(decision.replicas));
  Event("Normal", "SuccessfulRescale", news + " (" + decision.why + ")");
  base::LogInfo("scaler", "scaled",
                {{"object", Owner()},
                 {"from", std::to_string(from)},
                 {"to", std::to_string(decision.replicas)},
                 {"why", decision.why}});
  history_.events.push_back({Now(), decision.replicas - from});
  scale_.spec_replicas = decision.replicas;
  status_.Set("lastScaleTime", base::FormatTime(Now()));
  scaled_ = ScaleRecord{Now(), from, decision.replicas, decision.why};
}

void HpaWorkload::ReportScalingActive(const DecisionInput& input, const Decision& decision) {
  std::string first_error;
  size_t failed = 0;
  const HpaMetric* metric = nullptr;
  for (size_t i = 0; i < decision.proposals.size(); ++i) {
    if (decision.proposals[i]) continue;
    if (failed++ > 0) continue;
    metric = &spec_.metrics[i];
    first_error = decision.steps[i].text;
  }
  if (failed > 0) {
    Warn("FailedComputeMetricsReplicas", "invalid metrics (" + std::to_string(failed) + " invalid out of " +
                                             std::to_string(input.signals.size()) +
                                             "), first error is: " + first_error);
  } else {
    warned_.clear();
  }
  bool corrected =
      input.current.spec_replicas > spec_.scale.max_replicas || input.current.spec_replicas < spec_.scale.min_replicas;
  if (corrected) return;  // The metrics had no say.
  if (decision.hold && metric != nullptr) {
    Condition("ScalingActive", false, FailureReason(*metric),
              "the HPA was unable to compute the replica count: " + first_error);
  } else {
    Condition("ScalingActive", true, "ValidMetricFound",
              "the HPA was able to successfully calculate a replica count from " + decision.deciding_signal);
  }
}

void HpaWorkload::ReportLimits(const DecisionInput& input, const Decision& decision) {
  if (decision.hold) return;
  bool up = decision.recommended >= input.current.spec_replicas && !spec_.scale.no_behavior;
  if (decision.stabilized) {
    Condition("AbleToScale", true, up ? "ScaleUpStabilized" : "ScaleDownStabilized",
              up ? "recent recommendations were lower than current one, applying the lowest recent recommendation"
                 : "recent recommendations were higher than current one, applying the highest recent recommendation");
  } else if (decision.replicas == input.current.spec_replicas) {
    Condition("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size");
  }
  struct {
    Limiting limiting;
    const char* reason;
    const char* message;
  } const kReasons[] = {
      {Limiting::kMin, "TooFewReplicas", "the desired replica count is less than the minimum replica count"},
      {Limiting::kMax, "TooManyReplicas", "the desired replica count is more than the maximum replica count"},
      {Limiting::kUpPolicy, "ScaleUpLimit",
       "the desired replica count is increasing faster than the maximum scale rate"},
      {Limiting::kDownPolicy, "ScaleDownLimit",
       "the desired replica count is decreasing faster than the maximum scale rate"},
  };
  for (const auto& row : kReasons) {
    if (row.limiting == decision.limiting) {
      Condition("ScalingLimited", true, row.reason, row.message);
      return;
    }
  }
  Condition("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range");
}

bool HpaWorkload::Condition(const char* type, bool status, const std::string& reason, const std::string& message) {
  return status_.SetCondition(type, status ? "True" : "False", reason, message, 0, Now());
}

void HpaWorkload::Warn(const std::string& reason, const std::string& message) {
  if (warned_ == message) return;
  warned_ = message;
  Event("Warning", reason, message);
}

void HpaWorkload::Event(const char* type, const std::string& reason, const std::string& message) {
  context_.cluster.record_event(*object_, type, reason, message);
}

}  // namespace tidewright::scaler
