#include "scaler/object_status.h"

#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "base/json.h"

namespace tidewright::scaler {

namespace {

constexpr char kConditions[] = "conditions";
constexpr char kDecision[] = "decision";

// What turns `before` into `now` as a merge patch: maps are merged, so members that are gone must be named.
base::Json MergeValue(const base::Json& before, const base::Json& now) {
  if (!before.is_object() || !now.is_object()) return now;
  base::Json patch = now;
  for (const auto& [key, value] : before.items()) {
    if (!now.contains(key)) patch[key] = nullptr;
  }
  return patch;
}

// Null for an empty text: there is no such member.
base::Json DocumentOf(const std::string& text) {
  auto document = base::ParseJson(text);
  return document.ok() ? *std::move(document) : base::Json();
}

base::Json ConditionJson(const ConditionStatus& condition) {
  base::Json json = {{"type", condition.type},
                     {"status", condition.status},
                     {"reason", condition.reason},
                     {"message", condition.message}};
  if (!condition.since.empty()) json["lastTransitionTime"] = condition.since;
  if (condition.generation > 0) json["observedGeneration"] = condition.generation;
  return json;
}

base::Json StepsJson(const std::vector<Step>& steps) {
  base::Json list = base::Json::array();
  for (const Step& step : steps) {
    list.push_back({{"stage", step.stage}, {"replicas", step.replicas}, {"text", step.text}});
    if (!step.signal.empty()) list.back()["signal"] = step.signal;
  }
  return list;
}

std::optional<ObjectStatus::ShownDecision> DecisionOf(const base::Json& object) {
  const base::Json* decision = base::Find(object, {"status", kDecision});
  if (decision == nullptr || !decision->is_object()) return std::nullopt;
  return ObjectStatus::ShownDecision{static_cast<int32_t>(base::FindInt(*decision, {"replicas"}, -1)),
                                     base::FindString(*decision, {"why"}).starts_with("held: ")};
}

}  // namespace

void ObjectStatus::Reset(const base::Json& object) {
  members_.clear();
  unwritten_.clear();
  written_conditions_.reset();
  auto conditions = ConditionsOf(object);
  conditions_ =
      conditions.empty() ? nullptr : std::make_shared<const std::vector<ConditionStatus>>(std::move(conditions));
  decision_ = DecisionOf(object);
  const base::Json* status = base::Find(object, {"status"});
  if (status == nullptr || !status->is_object()) return;
  for (const auto& [key, value] : status->items()) {
    if (key != kConditions) members_[key] = base::DumpJson(value);
  }
}

void ObjectStatus::Set(const std::string& key, const base::Json& value) {
  std::string text = value.is_null() ? "" : base::DumpJson(value);
  auto member = members_.find(key);
  std::string before = member == members_.end() ? "" : member->second;
  if (text == before) return;
  auto written = unwritten_.try_emplace(key, std::move(before)).first;
  if (written->second == text) unwritten_.erase(written);
  if (text.empty()) {
    members_.erase(key);
  } else {
    members_[key] = std::move(text);
  }
}

bool ObjectStatus::Is(const std::string& key, const base::Json& value) const {
  auto member = members_.find(key);
  return member != members_.end() && member->second == base::DumpJson(value);
}

std::optional<int64_t> ObjectStatus::FindInt(const std::string& key) const {
  auto member = members_.find(key);
  if (member == members_.end()) return std::nullopt;
  const base::Json value = DocumentOf(member->second);
  return value.is_number_integer() ? std::optional(value.get<int64_t>()) : std::nullopt;
}

const ConditionStatus* ObjectStatus::FindCondition(const std::string& type) const {
  if (conditions_ == nullptr) return nullptr;
  auto found = std::find_if(conditions_->begin(), conditions_->end(),
                            [&](const ConditionStatus& condition) { return condition.type == type; });
  return found == conditions_->end() ? nullptr : &*found;
}

bool ObjectStatus::SetCondition(const std::string& type, const std::string& status, const std::string& reason,
                                const std::string& message, int64_t generation, int64_t now_ms) {
  const ConditionStatus* before = FindCondition(type);
  const bool flipped = before == nullptr || before->status != status;
  const bool same_state = !flipped && before->reason == reason;
  const int64_t seen = generation > 0 || before == nullptr ? generation : before->generation;
  if (same_state && before->message == message && before->generation == seen) return false;  // As nearly always.
  std::vector<ConditionStatus> list;
  if (conditions_ != nullptr) list = *conditions_;
  ConditionStatus& condition = ConditionToChange(list, type);
  condition.status = status;
  condition.reason = reason;
  condition.message = message;
  condition.generation = seen;
  if (flipped) condition.since = base::FormatTime(now_ms);
  if (!written_conditions_) written_conditions_ = conditions_;
  conditions_ = std::make_shared<const std::vector<ConditionStatus>>(std::move(list));
  return !same_state;
}

ConditionStatus& ObjectStatus::ConditionToChange(std::vector<ConditionStatus>& list, const std::string& type) {
  for (ConditionStatus& condition : list) {
    if (condition.type == type) return condition;
  }
  list.reserve(list.size() + 1);  // No room to grow: these lists live as long as their objects.
  list.push_back({type, "", "", "", ""});
  return list.back();
}

void ObjectStatus::SetDecision(ShownDecision shown, const std::string& why, const std::vector<Step>& steps,
                               int64_t now_ms) {
  decision_ = shown;
  Set(kDecision,
      {{"replicas", shown.replicas}, {"why", why}, {"time", base::FormatTime(now_ms)}, {"steps", StepsJson(steps)}});
}

// Within a pass a condition may change and change back.
bool ObjectStatus::ConditionsChanged() const {
  return written_conditions_ && (*written_conditions_ == nullptr || **written_conditions_ != *conditions_);
}

base::Json ObjectStatus::Patch() const {
  base::Json patch = base::Json::object();
  for (const auto& [key, before] : unwritten_) {
    auto member = members_.find(key);
    patch[key] = member == members_.end() ? base::Json() : MergeValue(DocumentOf(before), DocumentOf(member->second));
  }
  if (!ConditionsChanged()) return patch;
  patch[kConditions] = base::Json::array();
  for (const ConditionStatus& condition : *conditions_) patch[kConditions].push_back(ConditionJson(condition));
  return patch;
}

base::Status ObjectStatus::Write(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                                 const std::string& name) {
  if (!ConditionsChanged()) written_conditions_.reset();
  if (unwritten_.empty() && !written_conditions_) return base::Status::Ok();
  auto written = client.Patch(resource, ns, name, kube::PatchType::kMerge, {{"status", Patch()}}, "status");
  if (!written.ok()) return written.status();
  unwritten_.clear();
  written_conditions_.reset();
  return base::Status::Ok();
}

}  // namespace tidewright::scaler
