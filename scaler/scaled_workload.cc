#include "scaler/scaled_workload.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scaler/manifest.h"
#include "scaler/proposal.h"

namespace tidewright::scaler {

namespace {

constexpr char kFinalizer[] = "tidewright.dev/scaledobject";
constexpr int64_t kRetryMs = 10'000;
constexpr int64_t kLookAgainMs = 500;
constexpr int64_t kSettlingMs = 60'000;

// What a change of the object must touch to matter here: not the status, which is our own.
bool SameSpec(const base::Json& before, const base::Json& now) {
  return SameMember(before, now, {"spec"}) && SameMember(before, now, {"apiVersion"}) &&
         SameMember(before, now, {"metadata", "annotations"});
}

}  // namespace

ScaledWorkload::ScaledWorkload(const WorkloadContext& context, const kube::Resource& resource)
    : context_(context),
      resource_(resource),
      reader_(context_.cluster, context_.triggers, *context_.board),
      hpa_(context_.cluster) {}
ScaledWorkload::~ScaledWorkload() = default;

std::string ScaledWorkload::Owner() const { return "ScaledObject." + resource_.group + " " + kube::KeyOf(*object_); }

std::optional<int64_t> ScaledWorkload::Reconcile(const std::shared_ptr<const base::Json>& object) {
  if (object == nullptr) {
    Forget();
    return std::nullopt;
  }
  Adopt(object);
  if (kube::IsBeingDeleted(*object_)) return Finalize();
  if (!decoded_->ok()) {
    context_.targets->Release(Owner());
    return Refuse("ScaledObjectCheckFailed", decoded_->message(), std::nullopt);
  }
  base::Status prepared = ClaimTarget();
  bool conflict = prepared.code() == base::Code::kAlreadyExists;
  if (prepared.ok()) prepared = Prepare();
  // Nothing is wrong with the object: the caches are being filled, or somebody else leads by now.
  if (prepared.code() == base::Code::kFailedPrecondition) return kLookAgainMs;
  const char* reason = conflict ? "ScaleTargetConflict" : "ErrorGettingCurrentReplicas";
  if (!prepared.ok()) return Refuse(reason, prepared.message(), spec_.polling_interval_ms);
  return spec_.paused ? KeepPaused() : Follow();
}

void ScaledWorkload::Adopt(const std::shared_ptr<const base::Json>& object) {
  if (object == object_ && decoded_) return;
  const std::shared_ptr<const base::Json> before = std::exchange(object_, object);
  if (uid_ != kube::UidOf(*object)) {
    uid_ = kube::UidOf(*object);
    status_.Reset(*object);
    StartOver();
  }
  if (decoded_ && before != nullptr && SameSpec(*before, *object)) return;
  auto decoded = DecodeScaledObject(*object);
  decoded_ = decoded.status();
  if (!decoded.ok()) return;
  spec_ = *std::move(decoded);
  target_resource_.reset();
  // Half an interval: the reading that another object made lately is as good as one's own.
  reader_.Follow({spec_.ns, spec_.name, resource_.group, spec_.env_container, spec_.polling_interval_ms / 2},
                 spec_.triggers);
  in_fallback_ = 0;
}

// A new object, or a new process: what is not in the object's status is unknown.
void ScaledWorkload::StartOver() {
  history_ = History();
  auto created = base::ParseTime(base::FindString(*object_, {"metadata", "creationTimestamp"}));
  history_.created_ms = created.ok() ? *created : Now();
  decoded_.reset();
  written_active_ms_.reset();
  reported_problem_.clear();
  auto active = base::ParseTime(base::FindString(*object_, {"status", "lastActiveTime"}));
  if (active.ok()) {
    history_.last_active_ms = *active;
    written_active_ms_ = *active;
    history_.last_unknown_ms = Now();
  }
  first_pass_ = true;
  followed_since_ms_ = Now();
}

void ScaledWorkload::Forget() {
  if (object_ == nullptr) return;
  context_.targets->Release(Owner());
  if (context_.values != nullptr) {
    context_.values->Remove(kube::NamespaceOf(*object_), kube::NameOf(*object_));
  }
  context_.board->Remove("ScaledObject", kube::NamespaceOf(*object_), kube::NameOf(*object_));
  object_.reset();
  uid_.reset();
}

// The object cannot be acted upon: say so and leave the target alone.
ScaledWorkload::Delay ScaledWorkload::Refuse(const std::string& reason, const std::string& message, Delay retry) {
  Condition("Ready", "False", reason, message);
  Condition("Active", "Unknown", "UnknownState", "The object is not followed; see condition Ready.");
  if (reported_problem_ != message) Event(EventType::kWarning, reason, message);
  reported_problem_ = message;
  history_.last_unknown_ms = Now();
  WriteStatus();
  WorkloadStatus shown = BaseStatus();
  shown.held = true;
  shown.why = "held: " + message;
  ShowOnBoard(std::move(shown));
  return retry;
}

base::Status ScaledWorkload::ClaimTarget() {
  if (spec_.mode == ScalingMode::kDryRun) {  // Changes nothing, so it is in nobody's way.
    context_.targets->Release(Owner());
    return base::Status::Ok();
  }
  TW_RETURN_IF_ERROR(context_.targets->Claim(spec_.TargetKey(), Owner(), spec_.created_ms));
  if (target_resource_) return base::Status::Ok();
  TW_RETURN_IF_ERROR(RefuseOtherAutoscalers());
  return spec_.mode == ScalingMode::kHpa ? base::Status::Ok() : hpa_.Remove(*object_);  // Of another mode before.
}

// Looked at whenever the spec changes, as an admission check would.
base::Status ScaledWorkload::RefuseOtherAutoscalers() {
  auto hpas = context_.cluster.objects->List(kube::resources::kHorizontalPodAutoscalers, spec_.ns, {});
  if (hpas.status().code() == base::Code::kPermissionDenied)
    return base::Status::Ok();  // Then there is nothing to find.
  if (!hpas.ok()) return hpas.status();
  for (const auto& hpa : *hpas) {
    bool same = base::FindString(*hpa, {"spec", "scaleTargetRef", "kind"}) == spec_.target_kind &&
                base::FindString(*hpa, {"spec", "scaleTargetRef", "name"}) == spec_.target_name;
    if (!same || kube::IsBeingDeleted(*hpa)) continue;
    if (HpaKeeper::IsOwnedBy(*hpa, *object_)) continue;
    if (spec_.transfer_hpa && kube::NameOf(*hpa) == spec_.hpa_name) continue;
    return base::AlreadyExistsError(spec_.TargetKey() + " is already scaled by HorizontalPodAutoscaler " +
                                    kube::KeyOf(*hpa) + "; delete one of the two or give it another target");
  }
  return base::Status::Ok();
}

base::Status ScaledWorkload::Prepare() {
  const std::string what = spec_.target_kind + " " + spec_.ns + "/" + spec_.target_name;
  if (!target_resource_) {
    auto resource = kube::ResolveResource(*context_.cluster.client, spec_.target_api_version, spec_.target_kind);
    if (!resource.ok()) return resource.status().Annotate("spec.scaleTargetRef");
    target_resource_ = *resource;
    status_.Set("scaleTargetKind", target_resource_->ApiVersion() + "." + target_resource_->kind);
    status_.Set("scaleTargetGVKR", {{"group", target_resource_->group},
                                    {"version", target_resource_->version},
                                    {"kind", target_resource_->kind},
                                    {"resource", target_resource_->plural}});
  }
  auto target = ReadTarget(context_.cluster, *target_resource_, spec_.ns, spec_.target_name);
  if (!target.ok()) return target.status().Annotate("read " + what);
  raised_ = !first_pass_ && target->replicas.spec_replicas > target_.replicas.spec_replicas;
  target_ = std::move(*target);
  if (!status_.Has("originalReplicaCount")) {
    status_.Set("originalReplicaCount", target_.replicas.spec_replicas);
  }
  if (spec_.restore_on_delete) return PatchFinalizers(true);
  return base::Status::Ok();
}

base::Status ScaledWorkload::PatchFinalizers(bool present) {
  base::Json finalizers = base::Json::array();
  const base::Json* before = base::Find(*object_, {"metadata", "finalizers"});
  bool found = false;
  for (const base::Json& finalizer : before != nullptr && before->is_array() ? *before : base::Json::array()) {
    bool ours = finalizer == kFinalizer;
    found = found || ours;
    if (!ours) finalizers.push_back(finalizer);
  }
  if (found == present) return base::Status::Ok();
  if (present) finalizers.push_back(kFinalizer);
  base::Json patch = {
      {"metadata", {{"finalizers", finalizers}, {"resourceVersion", kube::ResourceVersionOf(*object_)}}}};
  auto patched = context_.cluster.client->Patch(resource_, kube::NamespaceOf(*object_), kube::NameOf(*object_),
                                                kube::PatchType::kMerge, patch);
  // The informer's copy may be a moment old; the next pass sees the newer one.
  if (patched.ok() || patched.status().code() == base::Code::kAborted ||
      patched.status().code() == base::Code::kNotFound) {
    return base::Status::Ok();
  }
  return patched.status().Annotate("finalizer");
}

ScaledWorkload::Delay ScaledWorkload::Finalize() {
  context_.targets->Release(Owner());
  const std::optional<int64_t> original = status_.FindInt("originalReplicaCount");
  bool restore =
      decoded_->ok() && spec_.restore_on_delete && spec_.mode != ScalingMode::kDryRun && original.has_value();
  base::Status done;
  if (restore && spec_.mode == ScalingMode::kHpa) done = hpa_.Remove(*object_);  // It would scale on.
  if (restore && done.ok()) done = Restore(static_cast<int32_t>(*original));
  if (done.ok()) done = PatchFinalizers(false);
  if (done.ok()) return std::nullopt;
  base::LogWarn("scaler", "cannot finish a deleted ScaledObject, trying again",
                {{"object", kube::KeyOf(*object_)}, {"error", done.ToString()}});
  return kRetryMs;
}

base::Status ScaledWorkload::Restore(int32_t replicas) {
  TW_ASSIGN_OR_RETURN(kube::Resource resource,
                      kube::ResolveResource(*context_.cluster.client, spec_.target_api_version, spec_.target_kind));
  auto target = ReadTarget(context_.cluster, resource, spec_.ns, spec_.target_name);
  base::Status done = target.status();
  if (target.ok()) {
    done = SetReplicas(*context_.cluster.client, resource, spec_.ns, spec_.target_name,
                       {target->replicas.spec_replicas, target->resource_version}, replicas);
  }
  bool gone = done.code() == base::Code::kNotFound;  // Nothing is left to restore.
  return gone ? base::Status::Ok() : done;
}

ScaledWorkload::Delay ScaledWorkload::KeepPaused() {
  history_.last_unknown_ms = Now();
  base::Status removed = spec_.mode == ScalingMode::kHpa ? hpa_.Remove(*object_) : base::Status::Ok();
  if (!removed.ok()) return Refuse("ErrorRemovingHPA", removed.message(), spec_.polling_interval_ms);
  std::string why = "paused by annotation";
  if (spec_.paused_replicas) {
    bool reached = status_.Is("pausedReplicaCount", *spec_.paused_replicas);
    why += " at " + FormatReplicas(*spec_.paused_replicas);
    if (!reached && spec_.mode != ScalingMode::kDryRun &&
        ScaleTo(*spec_.paused_replicas, why, "ScaledObjectPaused").ok()) {
      status_.Set("pausedReplicaCount", *spec_.paused_replicas);
    }
  }
  Condition("Ready", "True", "ScaledObjectReady", "The object is valid and its target was found.");
  Condition("Active", "Unknown", "UnknownState", "The triggers are not read while the object is paused.");
  ReportPause();
  WriteStatus();
  WorkloadStatus shown = BaseStatus();
  shown.why = why;
  shown.paused = true;
  ShowOnBoard(std::move(shown));
  return spec_.polling_interval_ms;
}

ScaledWorkload::Delay ScaledWorkload::Follow() {
  if (status_.Has("pausedReplicaCount")) status_.Set("pausedReplicaCount", nullptr);
  DecisionInput input = InputFor(ReadTriggers());
  if (spec_.mode == ScalingMode::kHpa) {
    base::Status kept = KeepHpa();
    bool conflict = kept.code() == base::Code::kAlreadyExists;
    if (!kept.ok()) {
      return Refuse(conflict ? "ScaleTargetConflict" : "ErrorKeepingHPA", kept.message(), spec_.polling_interval_ms);
    }
    PublishValues(input.signals);
  }
  Decision decision = Decide(input);
  history_ = decision.history;
  first_pass_ = false;
  Act(decision);
  Report(input, decision);
  return std::exchange(overtaken_, false) ? kLookAgainMs : spec_.polling_interval_ms;
}

// A trigger that could never be built has no metric yet: the HPA waits for it.
base::Status ScaledWorkload::KeepHpa() {
  std::vector<TriggerInfo> triggers;
  for (size_t i = 0; i < reader_.size(); ++i) {
    if (reader_.info(i).type.empty()) return base::Status::Ok();
    triggers.push_back(reader_.info(i));
  }
  TW_RETURN_IF_ERROR(hpa_.Keep(*object_, spec_, triggers));
  if (status_.Is("hpaName", spec_.hpa_name)) return base::Status::Ok();
  status_.Set("hpaName", spec_.hpa_name);
  return hpa_.Remove(*object_, spec_.hpa_name);
}

// What the HPA multiplies and divides again. A fallback's number of replicas becomes the value that leads to it.
void ScaledWorkload::PublishValues(const std::vector<Signal>& signals) {
  if (context_.values == nullptr) return;
  constexpr int64_t kGraceMs = 5'000;  // Until the next reading is there.
  const int64_t until_ms = Now() + spec_.polling_interval_ms + kGraceMs;
  std::map<std::string, SignalValue> values;
  auto publish = [&](const std::string& metric, const Signal& signal, int64_t value_milli) {
    SignalValue value{value_milli, Now(), until_ms};
    if (!signal.error.empty()) value.value_milli = base::UnavailableError(signal.name + ": " + signal.error);
    values.emplace(metric, std::move(value));
  };
  for (size_t i = 0; i < signals.size(); ++i) {
    const TriggerInfo& info = reader_.info(i);
    int64_t value_milli = signals[i].value_milli;
    if (signals[i].in_fallback) {
      value_milli = value_milli / 1000 * info.target_milli;
      if (info.target_type == TargetType::kValue) value_milli /= std::max(target_.replicas.ready_replicas, 1);
    }
    if (!MeasuresPods(info.type)) publish(info.metric_name, signals[i], value_milli);
  }
  if (spec_.scale.composite && in_fallback_ == 0) {
    Signal composite = EvaluateFormula(*spec_.scale.composite, signals);
    for (const Signal& signal : signals) {
      if (composite.error.empty()) composite.error = signal.error;
    }
    publish(kCompositeMetric, composite, composite.value_milli);
  }
  context_.values->Set(spec_.ns, spec_.name, std::move(values));
}

// Between one replica and the maximum the HPA decides; to and from rest we do.
bool ScaledWorkload::LeavesToHpa(const Decision& decision) const {
  if (spec_.mode != ScalingMode::kHpa || decision.woke_up) return false;
  const bool may_rest = spec_.scale.idle_replicas || spec_.scale.min_replicas == 0;
  return decision.active || !may_rest || decision.replicas > spec_.scale.idle_replicas.value_or(0);
}

// After too many failures in a row the trigger asks for the fallback's number, whatever its own target type is.
void ScaledWorkload::ApplyFallback(size_t index, Signal* signal) {
  if (signal->error.empty() || !spec_.fallback || MeasuresPods(spec_.triggers[index].type)) return;
  if (reader_.failures(index) <= spec_.fallback->failure_threshold) return;
  ++in_fallback_;
  const Fallback& fallback = *spec_.fallback;
  signal->absent = fallback.behavior == Fallback::Behavior::kFormula;
  if (signal->absent) {
    signal->detail =
        "absent after " + std::to_string(fallback.failure_threshold + 1) + " failures (" + signal->error + ")";
    signal->target_milli = 1000;
    return signal->error.clear();
  }
  signal->in_fallback = true;
  int32_t current = target_.replicas.spec_replicas;
  int32_t replicas = fallback.replicas;
  if (fallback.behavior == Fallback::Behavior::kCurrent) replicas = current;
  if (fallback.behavior == Fallback::Behavior::kCurrentIfHigher) replicas = std::max(current, replicas);
  if (fallback.behavior == Fallback::Behavior::kCurrentIfLower) replicas = std::min(current, replicas);
  signal->detail =
      "fallback after " + std::to_string(fallback.failure_threshold + 1) + " failures (" + signal->error + ")";
  signal->error.clear();
  signal->type = TargetType::kAverageValue;
  signal->exact = true;
  signal->target_milli = 1000;
  signal->value_milli = int64_t{replicas} * 1000;
  signal->activation_milli = 0;
}

std::vector<Signal> ScaledWorkload::ReadTriggers() {
  std::vector<Signal> signals;
  in_fallback_ = 0;
  for (size_t i = 0; i < reader_.size(); ++i) {
    signals.push_back(reader_.Read(i, target_));
    ApplyFallback(i, &signals.back());
  }
  return signals;
}

DecisionInput ScaledWorkload::InputFor(std::vector<Signal> signals) {
  DecisionInput input;
  input.spec = spec_.scale;
  input.signals = std::move(signals);
  input.current = target_.replicas;
  input.now_ms = Now();
  // A new controller knows no recommendations: the present count stands for them, so that a restart is no scale-down.
  if (first_pass_ && history_.recommendations.empty() && target_.replicas.spec_replicas > 0) {
    history_.recommendations.push_back({input.now_ms, target_.replicas.spec_replicas});
  }
  // Whose caches are still catching up, as after an outage, may see the count that another controller has set before it
  // sees why.
  if (raised_ && input.now_ms < followed_since_ms_ + kSettlingMs) {
    history_.recommendations.push_back({input.now_ms, target_.replicas.spec_replicas});
  }
  input.history = history_;
  return input;
}

base::Status ScaledWorkload::ScaleTo(int32_t replicas, const std::string& why, const char* reason) {
  int32_t from = target_.replicas.spec_replicas;
  if (replicas == from) return base::Status::Ok();
  base::Status status = SetReplicas(*context_.cluster.client, *target_resource_, spec_.ns, spec_.target_name,
                                    {from, target_.resource_version}, replicas);
  std::string change = "Scaled " + spec_.target_kind + " " + spec_.ns + "/" + spec_.target_name + " from " +
                       std::to_string(from) + " to " + std::to_string(replicas);
  overtaken_ = status.code() == base::Code::kAborted;
  if (overtaken_) return status;  // No failure: the next pass looks again.
  if (!status.ok()) {
    Event(EventType::kWarning, from == 0 ? "KEDAScaleTargetActivationFailed" : "FailedRescale",
          "Could not set " + FormatReplicas(replicas) + ": " + status.message());
    return status;
  }
  target_.replicas.spec_replicas = replicas;
  Event(EventType::kNormal, reason, change + ": " + why);
  base::LogInfo("scaler", "scaled",
                {{"object", kube::KeyOf(*object_)},
                 {"from", std::to_string(from)},
                 {"to", std::to_string(replicas)},
                 {"why", why}});
  scaled_ = ScaleRecord{Now(), from, replicas, why};
  return status;
}

void ScaledWorkload::Act(const Decision& decision) {
  int32_t from = target_.replicas.spec_replicas;
  if (decision.hold || decision.replicas == from || spec_.mode == ScalingMode::kDryRun) return;
  if (LeavesToHpa(decision)) return;
  int32_t rest = spec_.scale.idle_replicas.value_or(0);
  const char* reason = "SuccessfulRescale";
  if (from <= rest && decision.replicas > from) reason = "KEDAScaleTargetActivated";
  if (decision.replicas < from && decision.replicas <= rest) reason = "KEDAScaleTargetDeactivated";
  base::Status scaled = ScaleTo(decision.replicas, decision.why, reason);
  if (!scaled.ok()) {
    base::LogWarn("scaler", "could not scale", {{"object", kube::KeyOf(*object_)}, {"error", scaled.ToString()}});
  } else if (!decision.woke_up) {
    history_.events.push_back({Now(), decision.replicas - from});
  }
}

bool ScaledWorkload::Condition(const char* type, const char* status, const std::string& reason,
                               const std::string& message) {
  return status_.SetCondition(type, status, reason, CutText(message),
                              base::FindInt(*object_, {"metadata", "generation"}), Now());
}

void ScaledWorkload::Event(EventType type, const std::string& reason, const std::string& message) {
  context_.cluster.record_event(*object_, type == EventType::kNormal ? "Normal" : "Warning", reason, CutText(message));
}

}  // namespace tidewright::scaler
