#include "scaler/manifest.h"

#include <utility>

#include "base/json.h"
#include "kube/meta.h"
#include "scaler/scaled_object.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kMaxSeconds = 366 * 24 * 3600;
constexpr size_t kMaxTriggers = 100;

// Value by value, so that one of a wrong type does not make all the others look absent.
void ReadTriggerMetadata(base::ObjectReader& reader, TriggerSpec* trigger) {
  const base::Node* metadata = reader.Raw("metadata");
  if (metadata == nullptr) return;
  if (metadata->kind != base::Node::Kind::kMap) return reader.Error("metadata", "is not a mapping of texts");
  for (const auto& [key, value] : metadata->members) {
    trigger->metadata[key] = value.text;
    bool list = value.kind == base::Node::Kind::kList || value.kind == base::Node::Kind::kMap;
    if (list) reader.Error("metadata." + key, "is not a text");
    bool typed = value.kind == base::Node::Kind::kScalar && value.plain && value.at.line == 0;
    if (typed) reader.Error("metadata." + key, value.text + " is not a text; put it in quotes");
  }
}

void ReadHours(base::ObjectReader& reader, TriggerSpec* trigger) {
  TriggerHours hours;
  bool complete = reader.Required("timezone", &hours.timezone);
  complete = reader.Required("start", &hours.start) && complete;
  complete = reader.Required("end", &hours.end) && complete;
  reader.Optional("exclude", &hours.exclude);
  if (complete) trigger->when = std::move(hours);
}

void ReadMetricType(base::ObjectReader& reader, TriggerSpec* trigger) {
  const bool pods = MeasuresPods(trigger->type);
  std::string type = "AverageValue";
  if (!reader.Optional("metricType", &type) && pods) return reader.Missing("metricType");
  if (type == "Value") trigger->target_type = TargetType::kValue;
  if (type == "Utilization") trigger->target_type = TargetType::kUtilization;
  if (pods && (type == "AverageValue" || type == "Utilization")) return;
  if (pods) {
    return reader.Error(
        "metricType", base::Quoted(type) + " does not go with " + trigger->type + "; use Utilization or AverageValue");
  }
  if (type == "AverageValue" || type == "Value") return;
  reader.Error("metricType", base::Quoted(type) +
                                 (type == "Utilization" ? " is for cpu and memory only" : " is unknown") +
                                 "; use AverageValue or Value");
}

void ReadAuthentication(base::ObjectReader& ref, TriggerSpec* trigger) {
  ref.Required("name", &trigger->authentication);
  std::string kind = "TriggerAuthentication";
  ref.Optional("kind", &kind);
  trigger->cluster_authentication = kind == "ClusterTriggerAuthentication";
  if (kind == "ClusterTriggerAuthentication" || kind == "TriggerAuthentication") return;
  ref.Error("kind", base::Quoted(kind) + " is not a kind of authentication; use TriggerAuthentication or " +
                        "ClusterTriggerAuthentication");
}

void ReadTrigger(base::ObjectReader& reader, const std::string& ns, std::vector<TriggerSpec>* triggers) {
  TriggerSpec trigger;
  trigger.index = static_cast<int>(triggers->size());
  trigger.ns = ns;
  if (triggers->size() >= kMaxTriggers) {
    reader.IgnoreRest();
    return reader.Error("type", "is more than the " + std::to_string(kMaxTriggers) + "th trigger; split the object");
  }
  reader.Required("type", &trigger.type);
  reader.Optional("name", &trigger.name);
  if (!reader.Has("metadata")) reader.Missing("metadata");
  ReadTriggerMetadata(reader, &trigger);
  for (const TriggerSpec& other : *triggers) {
    if (trigger.name.empty() || other.name != trigger.name) continue;
    reader.Error("name", base::Quoted(trigger.name) + " is the name of another trigger; names must be unique");
  }
  ReadMetricType(reader, &trigger);
  bool cached = false;
  if (reader.Optional("useCachedMetrics", &cached) && cached && trigger.type == "cron") {
    reader.Error("useCachedMetrics", "makes no sense for cron; remove it");
  }
  int32_t most = 0;
  if (ReadCount(reader, "maxReplicaCount", 1, &most)) trigger.max_replicas = most;
  reader.Object("when", [&trigger](base::ObjectReader& when) { ReadHours(when, &trigger); });
  reader.Object("authenticationRef", [&trigger](base::ObjectReader& ref) { ReadAuthentication(ref, &trigger); });
  triggers->push_back(std::move(trigger));
}

}  // namespace

ScalingAnnotations::ScalingAnnotations(const base::Json& object) : annotations_(kube::AnnotationsOf(object)) {}

std::string ScalingAnnotations::Text(const std::string& name) const {
  for (const char* prefix : kAnnotationPrefixes) {
    auto it = annotations_.find(prefix + name);
    if (it != annotations_.end()) return it->second;
  }
  return "";
}

bool ScalingAnnotations::Flag(const std::string& name) const {
  std::string value = Text(name);
  for (const char* no : {"", "false", "False", "FALSE", "f", "F", "0"}) {
    if (value == no) return false;
  }
  return true;
}

bool SameMember(const base::Json& a, const base::Json& b, std::initializer_list<std::string_view> path) {
  const base::Json* of_a = base::Find(a, path);
  const base::Json* of_b = base::Find(b, path);
  if (of_a == nullptr || of_b == nullptr) return of_a == of_b;
  return *of_a == *of_b;
}

bool ReadCount(base::ObjectReader& reader, const char* key, int32_t min, int32_t* out) {
  int32_t value = 0;
  if (!reader.Optional(key, &value)) return false;
  if (value < min) {
    reader.Error(
        key, std::to_string(value) + " is below " + std::to_string(min) + "; use " + std::to_string(min) + " or more");
    return false;
  }
  *out = value;
  return true;
}

void ReadSeconds(base::ObjectReader& spec, const char* key, int64_t min, int64_t* ms) {
  int64_t seconds = 0;
  if (!spec.Optional(key, &seconds)) return;
  if (seconds < min || seconds > kMaxSeconds) {
    spec.Error(key, std::to_string(seconds) + " is out of range; use " + std::to_string(min) + " to " +
                        std::to_string(kMaxSeconds) + " seconds");
    return;
  }
  *ms = seconds * 1000;
}

void ReadPollingInterval(base::ObjectReader& spec, int64_t* ms) {
  constexpr char kMilliseconds[] = "pollingIntervalMilliseconds";
  constexpr int64_t kShortestMs = 100;
  ReadSeconds(spec, "pollingInterval", 1, ms);
  int64_t interval_ms = 0;
  if (!spec.Optional(kMilliseconds, &interval_ms)) return;
  if (spec.Has("pollingInterval"))
    return spec.Error(kMilliseconds, "stands beside pollingInterval; remove one of them");
  if (interval_ms < kShortestMs || interval_ms > kMaxSeconds * 1000) {
    return spec.Error(kMilliseconds, std::to_string(interval_ms) + " is out of range; use 100 or more");
  }
  *ms = interval_ms;
}

void ReadTriggers(base::ObjectReader& spec, const std::string& ns, bool in_formula, base::ErrorList& errors,
                  std::vector<TriggerSpec>* triggers) {
  spec.Objects("triggers", [&](base::ObjectReader& trigger) { ReadTrigger(trigger, ns, triggers); });
  if (triggers->empty() && errors.empty()) {
    spec.Error("triggers", "is empty; name at least one trigger, for example {type: cron, metadata: {...}}");
  }
  for (size_t i = 0; i < triggers->size(); ++i) {
    (*triggers)[i].in_formula = in_formula;
    CheckTrigger((*triggers)[i], spec.PathOf("triggers") + "[" + std::to_string(i) + "]", errors);
  }
}

}  // namespace tidewright::scaler
