#include "scaler/object_status.h"

#include <utility>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

// What turns `before` into `now` as a merge patch: maps are merged, so members that are gone must be named.
base::Json MergeValue(const base::Json& before, const base::Json& now) {
  if (!before.is_object() || !now.is_object()) return now;
  base::Json patch = now;
  for (const auto& [key, value] : before.items()) {
    if (!now.contains(key)) patch[key] = nullptr;
  }
  return patch;
}

// A tenth of the memory that documents take.
std::map<std::string, std::string> TextsOf(const base::Json& status) {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : status.items()) texts[key] = base::DumpJson(value);
  return texts;
}

}  // namespace

ObjectStatus::ObjectStatus() : object_(std::make_unique<base::Json>(base::Json::object())) {
  Reset(base::Json::object());
}
ObjectStatus::~ObjectStatus() = default;

void ObjectStatus::Reset(const base::Json& object) {
  const base::Json* status = base::Find(object, {"status"});
  base::Json start = status != nullptr && status->is_object() ? *status : base::Json::object();
  written_ = TextsOf(start);
  *object_ = base::Json::object();
  (*object_)["status"] = std::move(start);
  changed_ = false;
}

void ObjectStatus::Set(const std::string& key, base::Json value) {
  const base::Json* before = Find(key);
  if (before == nullptr ? value.is_null() : *before == value) return;
  (*object_)["status"][key] = std::move(value);
  changed_ = true;
}

const base::Json* ObjectStatus::Find(const std::string& key) const { return base::Find(*object_, {"status", key}); }

bool ObjectStatus::SetCondition(const std::string& type, const std::string& status, const std::string& reason,
                                const std::string& message, int64_t generation, int64_t now_ms) {
  const base::Json* before = nullptr;
  const base::Json* conditions = Find("conditions");
  for (size_t i = 0; conditions != nullptr && conditions->is_array() && i < conditions->size(); ++i) {
    if (base::FindString((*conditions)[i], {"type"}) == type) before = &(*conditions)[i];
  }
  const bool same_state = before != nullptr && base::FindString(*before, {"status"}) == status &&
                          base::FindString(*before, {"reason"}) == reason;
  if (same_state && base::FindString(*before, {"message"}) == message &&
      base::FindInt(*before, {"observedGeneration"}) == generation) {
    return false;  // As nearly always.
  }
  changed_ = true;
  kube::SetCondition(*object_, type, status, reason, message, now_ms);
  for (base::Json& condition : (*object_)["status"]["conditions"]) {
    if (base::FindString(condition, {"type"}) == type && generation > 0) condition["observedGeneration"] = generation;
  }
  return !same_state;
}

base::Status ObjectStatus::Write(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                                 const std::string& name) {
  if (!changed_) return base::Status::Ok();
  const base::Json& now = (*object_)["status"];
  base::Json patch = base::Json::object();
  for (const auto& [key, value] : now.items()) {
    auto before = written_.find(key);
    if (before == written_.end() ? value.is_null() : before->second == base::DumpJson(value)) continue;
    auto document = before == written_.end() ? base::Result<base::Json>(base::Json()) : base::ParseJson(before->second);
    patch[key] = document.ok() ? MergeValue(*document, value) : value;
  }
  if (patch.empty()) {
    changed_ = false;
    return base::Status::Ok();
  }
  auto written = client.Patch(resource, ns, name, kube::PatchType::kMerge, {{"status", patch}}, "status");
  if (!written.ok()) return written.status();
  written_ = TextsOf(now);
  changed_ = false;
  return base::Status::Ok();
}

}  // namespace tidewright::scaler
