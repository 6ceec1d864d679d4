#include "sandbox/conversion.h"

#include <utility>

#include "base/json.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

bool IsHpaV1(const ResourceType& type) { return type.group == "autoscaling" && type.version == "v1"; }
bool IsNewEvent(const ResourceType& type) { return type.group == "events.k8s.io"; }

void Rename(Json& object, const char* from, const char* to) {
  auto it = object.find(from);
  if (it == object.end()) return;
  Json value = std::move(*it);
  object.erase(from);
  object[to] = std::move(value);
}

bool IsCpuUtilization(const Json& metric) {
  return base::FindString(metric, {"type"}) == "Resource" && base::FindString(metric, {"resource", "name"}) == "cpu";
}

Json HpaToV2(Json hpa) {
  Json& spec = hpa["spec"];
  if (!spec.is_object()) return hpa;
  const Json* target = base::Find(spec, {"targetCPUUtilizationPercentage"});
  if (target != nullptr) {
    Json metric = {
        {"type", "Resource"},
        {"resource", {{"name", "cpu"}, {"target", {{"type", "Utilization"}, {"averageUtilization", *target}}}}}};
    spec["metrics"] = Json::array({metric});
    spec.erase("targetCPUUtilizationPercentage");
  }
  return hpa;
}

Json HpaToV1(Json hpa) {
  if (!hpa["spec"].is_object()) return hpa;
  const Json* metrics = base::Find(hpa, {"spec", "metrics"});
  Json target;
  if (metrics != nullptr && metrics->is_array()) {
    for (const Json& metric : *metrics) {
      const Json* value = base::Find(metric, {"resource", "target", "averageUtilization"});
      if (IsCpuUtilization(metric) && value != nullptr) target = *value;
    }
  }
  hpa["spec"].erase("metrics");
  hpa["spec"].erase("behavior");
  if (!target.is_null()) hpa["spec"]["targetCPUUtilizationPercentage"] = target;
  const Json* current = base::Find(hpa, {"status", "currentMetrics"});
  Json utilization;
  if (current != nullptr && current->is_array()) {
    for (const Json& metric : *current) {
      const Json* value = base::Find(metric, {"resource", "current", "averageUtilization"});
      if (IsCpuUtilization(metric) && value != nullptr) utilization = *value;
    }
  }
  if (hpa.contains("status") && hpa["status"].is_object()) {
    hpa["status"].erase("currentMetrics");
    hpa["status"].erase("conditions");
    if (!utilization.is_null()) hpa["status"]["currentCPUUtilizationPercentage"] = utilization;
  }
  return hpa;
}

constexpr std::pair<const char*, const char*> kEventFields[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"source", "deprecatedSource"},
    {"reportingComponent", "reportingController"},
};

}  // namespace

std::string StorageOf(const ResourceType& type) { return IsNewEvent(type) ? "events" : type.QualifiedName(); }

bool IsInVersion(const ResourceType& type, const Json& object) {
  return base::FindString(object, {"apiVersion"}) == type.ApiVersion();
}

Json ToStorage(const ResourceType& type, Json object) {
  object["kind"] = type.kind;
  if (IsHpaV1(type)) {
    object = HpaToV2(std::move(object));
    object["apiVersion"] = "autoscaling/v2";
  } else if (IsNewEvent(type)) {
    for (const auto& [core, current] : kEventFields) Rename(object, current, core);
    object["apiVersion"] = "v1";
  } else if (type.custom) {
    object["apiVersion"] = type.group + "/" + type.storage_version;
  } else {
    object["apiVersion"] = type.ApiVersion();
  }
  return object;
}

Json FromStorage(const ResourceType& type, Json object) {
  if (IsInVersion(type, object)) return object;
  if (IsHpaV1(type)) object = HpaToV1(std::move(object));
  if (IsNewEvent(type)) {
    for (const auto& [core, current] : kEventFields) Rename(object, core, current);
  }
  object["apiVersion"] = type.ApiVersion();
  return object;
}

}  // namespace tidewright::sandbox
