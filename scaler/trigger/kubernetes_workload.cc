// The kubernetes-workload trigger: how many pods match a selector in the object's namespace.
#include <set>
#include <utility>

#include "base/json.h"
#include "kube/meta.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct WorkloadConfig {
  kube::LabelSelector selector;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
  bool by_node = false;
};

constexpr Field<WorkloadConfig> kFields[] = {
    {"podSelector", Need::kRequired, From::kMetadata,
     [](const std::string& value, WorkloadConfig& config) {
       auto selector = kube::LabelSelector::Parse(value);
       if (selector.ok()) config.selector = *selector;
       return selector.status();
     },
     "Labels of the pods to count: `app=frontend,tier in (a,b)`. Pods that have ended do not count."},
    {"value", Need::kTarget, From::kDecision,
     [](const std::string& value, WorkloadConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Pods per replica."},
    {"activationValue", Need::kOptional, From::kMetadata,
     [](const std::string& value, WorkloadConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this number. Default 0."},
    {"groupByNode", Need::kOptional, From::kMetadata,
     [](const std::string& value, WorkloadConfig& config) { return ParseFlag(value, &config.by_node); },
     "Count the nodes that the pods run on instead. Default false."},
};

class WorkloadTrigger : public Trigger {
 public:
  WorkloadTrigger(TriggerInfo info, WorkloadConfig config, std::string ns, kube::ObjectReader& objects)
      : Trigger(std::move(info)), config_(std::move(config)), ns_(std::move(ns)), objects_(objects) {}

  base::Result<Reading> Read() override {
    TW_ASSIGN_OR_RETURN(auto pods, objects_.List(kube::resources::kPods, ns_, config_.selector));
    int64_t count = 0;
    std::set<std::string> nodes;
    for (const auto& pod : pods) {
      std::string phase = base::FindString(*pod, {"status", "phase"});
      if (phase == "Succeeded" || phase == "Failed") continue;
      ++count;
      std::string node = base::FindString(*pod, {"spec", "nodeName"});
      if (!node.empty()) nodes.insert(std::move(node));
    }
    if (config_.by_node) count = static_cast<int64_t>(nodes.size());
    return Reading{count * 1000, (config_.by_node ? "nodes with pods " : "pods ") + config_.selector.ToString() +
                                     " = " + std::to_string(count)};
  }

 private:
  const WorkloadConfig config_;
  const std::string ns_;
  kube::ObjectReader& objects_;
};

}  // namespace

std::unique_ptr<Trigger> MakeKubernetesWorkload(const TriggerSpec& spec, MetadataReader& reader,
                                                const TriggerContext* context) {
  WorkloadConfig config = ReadMetadata(kFields, reader);
  if (context == nullptr || context->objects == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.selector.ToString(), "workload-" + spec.ns);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<WorkloadTrigger>(std::move(info), std::move(config), spec.ns, *context->objects);
}

}  // namespace tidewright::scaler::trigger
