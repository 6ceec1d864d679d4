#include "scaler/hpa_keeper.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/quantity.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

using kube::resources::kHorizontalPodAutoscalers;

constexpr char kExcludedLabels[] = "scaledobject.keda.sh/hpa-excluded-labels";
constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";

std::string QuantityText(int64_t milli) { return base::Quantity::FromMilli(milli).ToString(); }

base::Json TargetJson(TargetType type, int64_t target_milli) {
  switch (type) {
    case TargetType::kUtilization: return {{"type", "Utilization"}, {"averageUtilization", target_milli / 1000}};
    case TargetType::kValue: return {{"type", "Value"}, {"value", QuantityText(target_milli)}};
    default: return {{"type", "AverageValue"}, {"averageValue", QuantityText(target_milli)}};
  }
}

base::Json ExternalJson(const std::string& name, const std::string& object, base::Json target) {
  return {{"type", "External"},
          {"external",
           {{"metric", {{"name", name}, {"selector", {{"matchLabels", {{kScaledObjectLabel, object}}}}}}},
            {"target", std::move(target)}}}};
}

base::Json ResourceJson(const TriggerInfo& trigger) {
  base::Json source = {{"name", trigger.type}, {"target", TargetJson(trigger.target_type, trigger.target_milli)}};
  if (trigger.container.empty()) return {{"type", "Resource"}, {"resource", std::move(source)}};
  source["container"] = trigger.container;
  return {{"type", "ContainerResource"}, {"containerResource", std::move(source)}};
}

base::Json MetadataOf(const base::Json& owner, const ScaledObject& spec) {
  base::Json labels = base::Json::object();
  base::Json annotations = base::Json::object();
  std::map<std::string, std::string> of_owner = kube::AnnotationsOf(owner);
  std::set<std::string> excluded;
  for (const std::string& label : base::Split(of_owner[kExcludedLabels], ',')) {
    excluded.insert(std::string(base::TrimSpace(label)));
  }
  for (const auto& [key, value] : kube::LabelsOf(owner)) {
    if (excluded.count(key) == 0) labels[key] = value;
  }
  for (const auto& [key, value] : of_owner) {
    if (key != kLastApplied) annotations[key] = value;
  }
  labels["app.kubernetes.io/name"] = spec.hpa_name;
  labels["app.kubernetes.io/part-of"] = spec.name;
  labels["app.kubernetes.io/managed-by"] = "tidewright";
  labels[kScaledObjectLabel] = spec.name;
  return {{"name", spec.hpa_name},
          {"namespace", spec.ns},
          {"labels", std::move(labels)},
          {"annotations", std::move(annotations)},
          {"ownerReferences", base::Json::array({{{"apiVersion", base::FindString(owner, {"apiVersion"})},
                                                  {"kind", "ScaledObject"},
                                                  {"name", spec.name},
                                                  {"uid", kube::UidOf(owner)},
                                                  {"controller", true}}})}};
}

base::Json BehaviorOf(const base::Json& owner, const ScaledObject& spec) {
  const base::Json* written = base::Find(owner, {"spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"});
  base::Json behavior = written == nullptr ? base::Json::object() : *written;
  if (spec.scale.pause_scale_in) behavior["scaleDown"]["selectPolicy"] = "Disabled";
  if (spec.scale.pause_scale_out) behavior["scaleUp"]["selectPolicy"] = "Disabled";
  return behavior;
}

base::Json Wanted(const base::Json& owner, const ScaledObject& spec, const std::vector<TriggerInfo>& triggers) {
  base::Json hpa = {
      {"apiVersion", "autoscaling/v2"},
      {"kind", "HorizontalPodAutoscaler"},
      {"metadata", MetadataOf(owner, spec)},
      {"spec",
       {{"scaleTargetRef",
         {{"apiVersion", spec.target_api_version}, {"kind", spec.target_kind}, {"name", spec.target_name}}},
        {"minReplicas", std::max(spec.scale.min_replicas, 1)},
        {"maxReplicas", spec.scale.max_replicas},
        {"metrics", HpaMetricsOf(spec, triggers)}}}};
  base::Json behavior = BehaviorOf(owner, spec);
  if (!behavior.empty()) hpa["spec"]["behavior"] = std::move(behavior);
  return hpa;
}

// Whether everything of `wanted` is in `actual`, where the API server has added its defaults. Numbers in texts are
// those of quantities, whose spelling it may change.
bool Covers(const base::Json& actual, const base::Json& wanted) {
  if (wanted.is_object()) {
    return actual.is_object() && std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& member) {
             auto found = actual.find(member.key());
             return found != actual.end() && Covers(*found, member.value());
           });
  }
  if (wanted.is_array()) {
    return actual.is_array() && actual.size() == wanted.size() &&
           std::all_of(wanted.begin(), wanted.end(), [&](const base::Json& element) {
             return std::any_of(actual.begin(), actual.end(),
                                [&](const base::Json& one) { return Covers(one, element); });
           });
  }
  if (actual == wanted) return true;
  if (!actual.is_string() || !wanted.is_string()) return false;
  auto left = base::Quantity::Parse(actual.get_ref<const std::string&>());
  auto right = base::Quantity::Parse(wanted.get_ref<const std::string&>());
  return left.ok() && right.ok() && left->MilliValue() == right->MilliValue();
}

}  // namespace

base::Json HpaMetricsOf(const ScaledObject& spec, const std::vector<TriggerInfo>& triggers) {
  base::Json metrics = base::Json::array();
  if (spec.scale.composite) {
    const Composite& composite = *spec.scale.composite;
    metrics.push_back(ExternalJson(kCompositeMetric, spec.name, TargetJson(composite.type, composite.target_milli)));
    return metrics;
  }
  for (const TriggerInfo& trigger : triggers) {
    metrics.push_back(MeasuresPods(trigger.type) ? ResourceJson(trigger)
                                                 : ExternalJson(trigger.metric_name, spec.name,
                                                                TargetJson(trigger.target_type, trigger.target_milli)));
  }
  return metrics;
}

bool HpaKeeper::IsOwnedBy(const base::Json& hpa, const base::Json& owner) {
  const base::Json* owners = base::Find(hpa, {"metadata", "ownerReferences"});
  if (owners == nullptr || !owners->is_array()) return false;
  return std::any_of(owners->begin(), owners->end(), [&](const base::Json& reference) {
    return base::FindString(reference, {"uid"}) == kube::UidOf(owner);
  });
}

base::Status HpaKeeper::Keep(const base::Json& owner, const ScaledObject& spec,
                             const std::vector<TriggerInfo>& triggers) {
  const base::Json wanted = Wanted(owner, spec, triggers);
  auto found = cluster_.objects->Get(kHorizontalPodAutoscalers, spec.ns, spec.hpa_name);
  if (found.status().code() == base::Code::kNotFound) {
    base::Status created = cluster_.client->Create(kHorizontalPodAutoscalers, spec.ns, wanted).status();
    // The cache may be a moment old; the next pass sees the newer one.
    return created.code() == base::Code::kAlreadyExists ? base::Status::Ok() : created;
  }
  if (!found.ok()) return found.status();
  const base::Json& actual = **found;
  if (!IsOwnedBy(actual, owner) && !spec.transfer_hpa) {
    return base::AlreadyExistsError("HorizontalPodAutoscaler " + spec.ns + "/" + spec.hpa_name +
                                    " belongs to somebody else; delete it, or set the annotation "
                                    "scaledobject.keda.sh/transfer-hpa-ownership: \"true\" to take it over");
  }
  if (Covers(actual, wanted)) return base::Status::Ok();
  base::Json patch = {{"metadata", wanted["metadata"]}, {"spec", wanted["spec"]}};
  patch["metadata"]["resourceVersion"] = kube::ResourceVersionOf(actual);
  if (!wanted["spec"].contains("behavior")) patch["spec"]["behavior"] = nullptr;
  base::Status patched =
      cluster_.client->Patch(kHorizontalPodAutoscalers, spec.ns, spec.hpa_name, kube::PatchType::kMerge, patch)
          .status();
  return patched.code() == base::Code::kAborted ? base::Status::Ok() : patched;
}

base::Status HpaKeeper::Remove(const base::Json& owner, const std::string& except) {
  const std::string ns = kube::NamespaceOf(owner);
  auto all = cluster_.objects->List(kHorizontalPodAutoscalers, ns, {});
  if (!all.ok()) return all.status();
  for (const auto& hpa : *all) {
    if (kube::NameOf(*hpa) == except || kube::IsBeingDeleted(*hpa) || !IsOwnedBy(*hpa, owner)) continue;
    base::Status gone = cluster_.client->Delete(kHorizontalPodAutoscalers, ns, kube::NameOf(*hpa));
    if (!gone.ok() && gone.code() != base::Code::kNotFound) return gone;
  }
  return base::Status::Ok();
}

}  // namespace tidewright::scaler
