#include "scaler/scaled_job.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scaler/manifest.h"

namespace tidewright::scaler {

namespace {

// Jobs and their pods carry the name in labels.
constexpr size_t kLongestName = 63;

class JobDecoder {
 public:
  explicit JobDecoder(const base::Json& object)
      : object_(object), errors_("ScaledJob " + kube::KeyOf(object)), tree_(base::NodeFromJson(object)) {}

  base::Result<ScaledJob> Run() {
    out_.ns = kube::NamespaceOf(object_);
    out_.name = kube::NameOf(object_);
    out_.generation = base::FindInt(object_, {"metadata", "generation"});
    out_.paused = ScalingAnnotations(object_).Flag("paused");
    if (out_.name.size() > kLongestName) {
      errors_.Add({}, "metadata.name",
                  base::Quoted(out_.name) + " is longer than 63 characters, which a label may have");
    }
    base::ObjectReader top(tree_, "", errors_);
    for (const char* key : {"apiVersion", "kind", "metadata", "status"}) top.Ignore(key);
    if (!top.Object("spec", [this](base::ObjectReader& spec) { ReadSpec(spec); })) top.Missing("spec");
    top.Finish();
    TW_RETURN_IF_ERROR(errors_.ToStatus());
    return std::move(out_);
  }

 private:
  void ReadSpec(base::ObjectReader& spec) {
    ReadTemplate(spec);
    spec.Optional("envSourceContainerName", &out_.env_container);
    ReadPollingInterval(spec, &out_.polling_interval_ms);
    ReadCount(spec, "successfulJobsHistoryLimit", 0, &out_.successful_history);
    ReadCount(spec, "failedJobsHistoryLimit", 0, &out_.failed_history);
    ReadCount(spec, "minReplicaCount", 0, &out_.scaling.min_jobs);
    ReadCount(spec, "maxReplicaCount", 1, &out_.scaling.max_jobs);
    if (out_.scaling.min_jobs > out_.scaling.max_jobs) {
      spec.Error("minReplicaCount", std::to_string(out_.scaling.min_jobs) + " is greater than maxReplicaCount " +
                                        std::to_string(out_.scaling.max_jobs) + "; lower it or raise maxReplicaCount");
    }
    std::string strategy = "immediate";
    spec.Optional("rolloutStrategy", &strategy);  // Of old manifests.
    spec.Object("rollout", [&](base::ObjectReader& rollout) { ReadRollout(rollout, &strategy); });
    if (strategy != "gradual" && strategy != "immediate" && strategy != "default") {
      spec.Error("rollout", base::Quoted(strategy) + " is not a strategy; use immediate or gradual");
    }
    out_.keep_old_jobs = strategy == "gradual";
    spec.Object("scalingStrategy", [this](base::ObjectReader& reader) { ReadStrategy(reader); });
    ReadTriggers(spec, out_.ns, false, errors_, &out_.triggers);
    for (const TriggerSpec& trigger : out_.triggers) {
      if (MeasuresPods(trigger.type)) {
        spec.Error("triggers[" + std::to_string(trigger.index) + "].type",
                   base::Quoted(trigger.type) + " says nothing about the Jobs that are needed; use another trigger");
        continue;
      }
      if (trigger.target_type == TargetType::kAverageValue) continue;
      spec.Error("triggers[" + std::to_string(trigger.index) + "].metricType",
                 "has no meaning for Jobs, which are started for a total; remove it");
    }
  }

  void ReadTemplate(base::ObjectReader& spec) {
    if (spec.Raw("jobTargetRef") == nullptr) return spec.Missing("jobTargetRef");
    const base::Json& job = *base::Find(object_, {"spec", "jobTargetRef"});
    const base::Json* containers = base::Find(job, {"template", "spec", "containers"});
    if (containers == nullptr || !containers->is_array() || containers->empty()) {
      return spec.Error("jobTargetRef", "has no template.spec.containers; write the spec of a Job");
    }
    out_.job_spec = std::make_shared<const base::Json>(job);
  }

  void ReadRollout(base::ObjectReader& rollout, std::string* strategy) {
    rollout.Optional("strategy", strategy);
    constexpr std::pair<const char*, bool> kPolicies[] = {{"background", false}, {"foreground", true}};
    ReadWord(rollout, "propagationPolicy", kPolicies, &out_.wait_for_old_jobs);
  }

  template <typename Value, size_t kCount>
  static void ReadWord(base::ObjectReader& reader, const char* key,
                       const std::pair<const char*, Value> (&words)[kCount], Value* out) {
    std::string word;
    if (!reader.Optional(key, &word)) return;
    std::vector<std::string> known;
    for (const auto& [name, value] : words) {
      if (word == name) {
        *out = value;
        return;
      }
      known.emplace_back(name);
    }
    reader.Error(key, base::Quoted(word) + " is unknown; use one of " + base::Join(known, ", "));
  }

  void ReadStrategy(base::ObjectReader& reader) {
    constexpr std::pair<const char*, JobStrategy> kStrategies[] = {{"default", JobStrategy::kDefault},
                                                                   {"custom", JobStrategy::kCustom},
                                                                   {"accurate", JobStrategy::kAccurate},
                                                                   {"eager", JobStrategy::kEager}};
    constexpr std::pair<const char*, JobCombination> kCombinations[] = {{"max", JobCombination::kMax},
                                                                        {"min", JobCombination::kMin},
                                                                        {"avg", JobCombination::kAverage},
                                                                        {"sum", JobCombination::kSum}};
    ReadWord(reader, "strategy", kStrategies, &out_.scaling.strategy);
    ReadWord(reader, "multipleScalersCalculation", kCombinations, &out_.scaling.combination);
    ReadCount(reader, "customScalingQueueLengthDeduction", 0, &out_.scaling.deduction);
    reader.Optional("pendingPodConditions", &out_.pending_conditions);
    std::string share;
    if (!reader.Optional("customScalingRunningJobPercentage", &share)) return;
    if (base::ParseDouble(share, &out_.scaling.running_share) && out_.scaling.running_share >= 0 &&
        out_.scaling.running_share <= 100) {
      return;
    }
    out_.scaling.running_share = 0;
    reader.Error("customScalingRunningJobPercentage",
                 base::Quoted(share) + " is not a share; use for example \"0.5\" for one half");
  }

  const base::Json& object_;
  base::ErrorList errors_;
  const base::Node tree_;
  ScaledJob out_;
};

}  // namespace

base::Result<ScaledJob> DecodeScaledJob(const base::Json& object) { return JobDecoder(object).Run(); }

}  // namespace tidewright::scaler
