#include "kube/meta.h"

#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

std::map<std::string, std::string> TextMap(const base::Json& object, std::string_view member) {
  std::map<std::string, std::string> texts;
  const base::Json* found = base::Find(object, {"metadata", member});
  if (found == nullptr || !found->is_object()) return texts;
  for (const auto& [key, value] : found->items()) {
    if (value.is_string()) texts[key] = value.get<std::string>();
  }
  return texts;
}

base::Json* FindCondition(base::Json& conditions, const std::string& type) {
  for (base::Json& condition : conditions) {
    if (base::FindString(condition, {"type"}) == type) return &condition;
  }
  return nullptr;
}

}  // namespace

std::string NameOf(const base::Json& object) { return base::FindString(object, {"metadata", "name"}); }
std::string NamespaceOf(const base::Json& object) { return base::FindString(object, {"metadata", "namespace"}); }
std::string UidOf(const base::Json& object) { return base::FindString(object, {"metadata", "uid"}); }
std::string ResourceVersionOf(const base::Json& object) {
  return base::FindString(object, {"metadata", "resourceVersion"});
}
std::map<std::string, std::string> LabelsOf(const base::Json& object) { return TextMap(object, "labels"); }
std::map<std::string, std::string> AnnotationsOf(const base::Json& object) { return TextMap(object, "annotations"); }

std::string KeyOf(const base::Json& object) {
  std::string ns = NamespaceOf(object);
  return ns.empty() ? NameOf(object) : ns + "/" + NameOf(object);
}

bool IsBeingDeleted(const base::Json& object) {
  return base::Find(object, {"metadata", "deletionTimestamp"}) != nullptr;
}

bool IsPodReady(const base::Json& pod) {
  const base::Json* conditions = base::Find(pod, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return false;
  for (const base::Json& condition : *conditions) {
    if (base::FindString(condition, {"type"}) == "Ready") return base::FindString(condition, {"status"}) == "True";
  }
  return false;
}

bool SetCondition(base::Json& object, const std::string& type, const std::string& status, const std::string& reason,
                  const std::string& message, int64_t now_ms) {
  if (!object.is_object()) return false;
  base::Json& conditions = object["status"]["conditions"];
  if (!conditions.is_array()) conditions = base::Json::array();
  base::Json* condition = FindCondition(conditions, type);
  if (condition == nullptr) {
    conditions.push_back({{"type", type},
                          {"status", status},
                          {"reason", reason},
                          {"message", message},
                          {"lastTransitionTime", base::FormatTime(now_ms)}});
    return true;
  }
  bool flipped = base::FindString(*condition, {"status"}) != status;
  bool changed = flipped || base::FindString(*condition, {"reason"}) != reason ||
                 base::FindString(*condition, {"message"}) != message;
  (*condition)["status"] = status;
  (*condition)["reason"] = reason;
  (*condition)["message"] = message;
  if (flipped) (*condition)["lastTransitionTime"] = base::FormatTime(now_ms);
  return changed;
}

}  // namespace tidewright::kube
