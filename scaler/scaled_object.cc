#include "scaler/scaled_object.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scaler/manifest.h"

namespace tidewright::scaler {

namespace {

class Decoder {
 public:
  explicit Decoder(const base::Json& object)
      : object_(object), errors_("ScaledObject " + kube::KeyOf(object)), tree_(base::NodeFromJson(object)) {}

  base::Result<ScaledObject> Run() {
    ReadMetadata();
    base::ObjectReader top(tree_, "", errors_);
    for (const char* key : {"apiVersion", "kind", "metadata", "status"}) top.Ignore(key);
    if (!top.Object("spec", [this](base::ObjectReader& spec) { ReadSpec(spec); })) top.Missing("spec");
    top.Finish();
    TW_RETURN_IF_ERROR(errors_.ToStatus());
    return std::move(out_);
  }

 private:
  void ReadMetadata() {
    out_.ns = kube::NamespaceOf(object_);
    out_.name = kube::NameOf(object_);
    out_.api_version = base::FindString(object_, {"apiVersion"});
    out_.generation = base::FindInt(object_, {"metadata", "generation"});
    auto created = base::ParseTime(base::FindString(object_, {"metadata", "creationTimestamp"}));
    if (created.ok()) out_.created_ms = *created;
    const ScalingAnnotations annotations(object_);
    out_.paused = annotations.Flag("paused");
    out_.scale.pause_scale_in = annotations.Flag("paused-scale-in");
    out_.scale.pause_scale_out = annotations.Flag("paused-scale-out");
    out_.scale.force_activation = annotations.Flag("force-activation");
    out_.transfer_hpa = kube::AnnotationsOf(object_)["scaledobject.keda.sh/transfer-hpa-ownership"] == "true";
    std::string replicas = annotations.Text("paused-replicas");
    if (!replicas.empty()) ReadPausedReplicas(replicas);
  }

  void ReadPausedReplicas(const std::string& text) {
    int64_t replicas = 0;
    out_.paused = true;
    if (!base::ParseInt64(text, &replicas) || replicas < 0 || replicas > INT32_MAX) {
      errors_.Add({}, "metadata.annotations.paused-replicas",
                  base::Quoted(text) + " is not a number of replicas; use for example \"2\"");
      return;
    }
    out_.paused_replicas = static_cast<int32_t>(replicas);
  }

  void ReadSpec(base::ObjectReader& spec) {
    if (!spec.Object("scaleTargetRef", [this](base::ObjectReader& ref) { ReadTarget(ref); })) {
      spec.Missing("scaleTargetRef");
    }
    ReadMode(spec);
    ReadTimes(spec);
    ReadLimits(spec);
    spec.Object("fallback", [this](base::ObjectReader& fallback) { ReadFallback(fallback); });
    Behavior behavior;
    spec.Object("advanced", [&](base::ObjectReader& advanced) { ReadAdvanced(advanced, &behavior); });
    out_.scale.scale_up = behavior.up;
    out_.scale.scale_down = behavior.down;
    out_.has_down_window = behavior.has_down_window;
    ReadTriggers(spec, out_.ns, out_.scale.composite.has_value(), errors_, &out_.triggers);
    CheckFormula();
    CheckPodTriggers(spec);
    CheckHpa(spec);
    RelaxExactDownscale();
  }

  void ReadMode(base::ObjectReader& spec) {
    // Who takes over an HPA wants to keep one; manifests of KEDA cannot say so in any other way.
    std::string mode = out_.transfer_hpa ? "hpa" : "direct";
    spec.Optional("scalingMode", &mode);
    if (mode == "dryRun") out_.mode = ScalingMode::kDryRun;
    if (mode == "hpa") out_.mode = ScalingMode::kHpa;
    if (mode == "direct" || mode == "dryRun" || mode == "hpa") return;
    spec.Error("scalingMode", base::Quoted(mode) + " is unknown; use direct, hpa or dryRun");
  }

  // A calendar has no noise that a window would have to smooth: if only cron decides, the end of a window counts at
  // once.
  void RelaxExactDownscale() {
    bool only_cron = std::all_of(out_.triggers.begin(), out_.triggers.end(),
                                 [](const TriggerSpec& trigger) { return trigger.type == "cron"; });
    if (only_cron && !out_.has_down_window) out_.scale.scale_down.stabilization_s = 0;
  }

  void ReadTarget(base::ObjectReader& ref) {
    ref.Optional("apiVersion", &out_.target_api_version);
    ref.Optional("kind", &out_.target_kind);
    ref.Optional("envSourceContainerName", &out_.env_container);
    if (ref.Required("name", &out_.target_name) && out_.target_name.empty()) {
      ref.Error("name", "is empty; name the workload to scale");
    }
  }

  void ReadTimes(base::ObjectReader& spec) {
    out_.scale.cooldown_ms = 300'000;
    ReadPollingInterval(spec, &out_.polling_interval_ms);
    ReadSeconds(spec, "cooldownPeriod", 0, &out_.scale.cooldown_ms);
    ReadSeconds(spec, "initialCooldownPeriod", 0, &out_.scale.initial_cooldown_ms);
  }

  void ReadLimits(base::ObjectReader& spec) {
    ScaleSpec& scale = out_.scale;
    scale.min_replicas = 0;
    scale.max_replicas = 100;
    ReadCount(spec, "minReplicaCount", 0, &scale.min_replicas);
    ReadCount(spec, "maxReplicaCount", 1, &scale.max_replicas);
    int32_t idle = 0;
    if (ReadCount(spec, "idleReplicaCount", 0, &idle)) scale.idle_replicas = idle;
    if (scale.min_replicas > scale.max_replicas) {
      spec.Error("minReplicaCount", std::to_string(scale.min_replicas) + " is greater than maxReplicaCount " +
                                        std::to_string(scale.max_replicas) + "; lower it or raise maxReplicaCount");
    }
    if (scale.idle_replicas && *scale.idle_replicas >= scale.min_replicas) {
      spec.Error("idleReplicaCount", std::to_string(idle) + " is not less than minReplicaCount " +
                                         std::to_string(scale.min_replicas) + "; lower it or remove it");
    }
  }

  void ReadFallback(base::ObjectReader& reader) {
    Fallback fallback;
    for (const char* key : {"failureThreshold", "replicas"}) {
      if (!reader.Has(key)) reader.Missing(key);
    }
    ReadCount(reader, "failureThreshold", 0, &fallback.failure_threshold);
    ReadCount(reader, "replicas", 0, &fallback.replicas);
    std::string behavior = "static";
    reader.Optional("behavior", &behavior);
    constexpr std::pair<const char*, Fallback::Behavior> kBehaviors[] = {
        {"static", Fallback::Behavior::kStatic},
        {"currentReplicas", Fallback::Behavior::kCurrent},
        {"currentReplicasIfHigher", Fallback::Behavior::kCurrentIfHigher},
        {"currentReplicasIfLower", Fallback::Behavior::kCurrentIfLower},
        {"scalingModifiers", Fallback::Behavior::kFormula}};
    bool known = false;
    for (const auto& [name, value] : kBehaviors) {
      if (behavior == name) fallback.behavior = value;
      known = known || behavior == name;
    }
    if (!known) {
      reader.Error("behavior", base::Quoted(behavior) + " is not supported; use static, currentReplicas, " +
                                   "currentReplicasIfHigher, currentReplicasIfLower or scalingModifiers");
    }
    out_.fallback = fallback;
  }

  void ReadAdvanced(base::ObjectReader& advanced, Behavior* behavior) {
    advanced.Optional("restoreToOriginalReplicaCount", &out_.restore_on_delete);
    advanced.Object("horizontalPodAutoscalerConfig", [this, behavior](base::ObjectReader& config) {
      config.Optional("name", &out_.hpa_name);
      config.Object("behavior", [behavior](base::ObjectReader& reader) { ReadBehavior(reader, behavior); });
    });
    advanced.Object("scalingModifiers", [this](base::ObjectReader& reader) { ReadModifiers(reader); });
  }

  static int64_t ReadNumber(base::ObjectReader& reader, const char* key, bool positive) {
    std::string text;
    double number = 0;
    if (!reader.Optional(key, &text)) return 0;
    if (!base::ParseDouble(text, &number) || !(number < 1e12) || (positive ? !(number >= 0.001) : !(number >= 0))) {
      reader.Error(key,
                   base::Quoted(text) + " is not a " + (positive ? "positive " : "") + "number; use for example \"5\"");
      return 0;
    }
    return std::llround(number * 1000);
  }

  void ReadModifiers(base::ObjectReader& reader) {
    Composite composite;
    std::string formula;
    std::string type = "AverageValue";
    if (!reader.Has("target")) reader.Missing("target");
    composite.target_milli = ReadNumber(reader, "target", true);
    composite.activation_milli = ReadNumber(reader, "activationTarget", false);
    reader.Optional("metricType", &type);
    if (type == "Value") composite.type = TargetType::kValue;
    if (type != "Value" && type != "AverageValue") {
      reader.Error("metricType", base::Quoted(type) + " does not go with a formula; use AverageValue or Value");
    }
    if (!reader.Required("formula", &formula)) return;
    auto parsed = Formula::Parse(formula);
    if (!parsed.ok()) return reader.Error("formula", parsed.status().message());
    composite.formula = *parsed;
    out_.scale.composite = std::move(composite);
  }

  void CheckHpa(base::ObjectReader& spec) {
    constexpr size_t kLongestName = 63;
    const bool named = !out_.hpa_name.empty();
    if (!named) out_.hpa_name = "keda-hpa-" + out_.name;
    if (out_.transfer_hpa && (out_.mode != ScalingMode::kHpa || !named)) {
      errors_.Add(
          {}, "metadata.annotations.transfer-hpa-ownership",
          "needs scalingMode: hpa and advanced.horizontalPodAutoscalerConfig.name, the name of the HPA to take over");
    }
    if (out_.mode != ScalingMode::kHpa) return;
    if (out_.hpa_name.size() > kLongestName) {
      spec.Error("advanced.horizontalPodAutoscalerConfig.name",
                 base::Quoted(out_.hpa_name) + " is longer than 63 characters; write a shorter one");
    }
    for (const TriggerSpec& trigger : out_.triggers) {
      if (!trigger.max_replicas) continue;
      spec.Error("triggers[" + std::to_string(trigger.index) + "].maxReplicaCount",
                 "is not known to a HorizontalPodAutoscaler; remove it, or use scalingMode: direct");
    }
  }

  // What measures the target's pods cannot wake it up.
  void CheckPodTriggers(base::ObjectReader& spec) {
    auto pods = [](const TriggerSpec& trigger) { return MeasuresPods(trigger.type); };
    const bool any = std::any_of(out_.triggers.begin(), out_.triggers.end(), pods);
    const bool all = std::all_of(out_.triggers.begin(), out_.triggers.end(), pods);
    if (any && out_.scale.composite) {
      spec.Error("advanced.scalingModifiers",
                 "does not go with cpu and memory triggers; scale on them in an own object");
    }
    if (!all || out_.triggers.empty()) return;
    if (out_.fallback) {
      spec.Error("fallback", "does not go with cpu and memory triggers alone; the workload holds while they fail");
    }
    if (!spec.Has("minReplicaCount")) out_.scale.min_replicas = 1;
    if (out_.scale.min_replicas > 0) return;
    spec.Error("minReplicaCount",
               "is 0, and nothing would wake the workload up again: cpu and memory are those of its "
               "pods; use 1, or add another trigger");
  }

  // Every name of a formula is a trigger's, and what only a formula can do has one.
  void CheckFormula() {
    constexpr char kPath[] = "spec.advanced.scalingModifiers.formula";
    bool by_formula = out_.fallback && out_.fallback->behavior == Fallback::Behavior::kFormula;
    if (by_formula && !out_.scale.composite) {
      errors_.Add({}, "spec.fallback.behavior",
                  "\"scalingModifiers\" needs advanced.scalingModifiers.formula; write one");
    }
    if (!out_.scale.composite) return;
    std::vector<std::string> names;
    for (const TriggerSpec& trigger : out_.triggers) {
      if (!trigger.name.empty()) names.push_back(trigger.name);
    }
    for (const std::string& variable : out_.scale.composite->formula->variables()) {
      if (std::find(names.begin(), names.end(), variable) != names.end()) continue;
      std::string nearest = base::NearestName(variable, names);
      errors_.Add({}, kPath,
                  base::Quoted(variable) + " is not the name of a trigger; " +
                      (nearest.empty() ? "give one this name" : "did you mean " + base::Quoted(nearest) + "?"));
    }
  }

  const base::Json& object_;
  base::ErrorList errors_;
  const base::Node tree_;
  ScaledObject out_;
};

}  // namespace

base::Result<ScaledObject> DecodeScaledObject(const base::Json& object) { return Decoder(object).Run(); }

}  // namespace tidewright::scaler
