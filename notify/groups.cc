#include "notify/groups.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/json.h"

namespace tidewright::notify {

namespace {

using rules::AlertNotice;

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int64_t kFirstPauseMs = 1'000;
constexpr int64_t kLongestPauseMs = 60'000;
constexpr int kMostDoublings = 6;

bool IsSubset(const std::set<std::string>& part, const std::set<std::string>& whole) {
  return std::includes(whole.begin(), whole.end(), part.begin(), part.end());
}

tsdb::Labels GroupLabels(const Route& route, const tsdb::Labels& labels) {
  if (route.group_by_all) return labels;
  tsdb::LabelsBuilder builder;
  for (const std::string& name : route.group_by) builder.Set(name, labels.Get(name));
  return builder.Build();
}

std::string KeyOf(const Route& route, const tsdb::Labels& labels) {
  return "{}/" + route.id + "/" + route.receiver + ":" + GroupLabels(route, labels).ToString();
}

base::Json ToJson(const tsdb::Labels& labels) {
  base::Json object = base::Json::object();
  for (const tsdb::Label& label : labels) object[label.name] = label.value;
  return object;
}

std::map<std::string, std::string> Strings(const base::Json& parent, const char* key) {
  std::map<std::string, std::string> strings;
  const base::Json* object = base::Find(parent, {key});
  if (object == nullptr || !object->is_object()) return strings;
  for (const auto& [name, value] : object->items()) {
    if (value.is_string()) strings.emplace(name, value.get<std::string>());
  }
  return strings;
}

std::set<std::string> Set(const base::Json& parent, const char* key) {
  std::set<std::string> set;
  const base::Json* list = base::Find(parent, {key});
  if (list == nullptr || !list->is_array()) return set;
  for (const base::Json& value : *list) {
    if (value.is_string()) set.insert(value.get<std::string>());
  }
  return set;
}

base::Json ToJson(const AlertNotice& alert) {
  return {{"labels", ToJson(alert.labels)},
          {"annotations", alert.annotations},
          {"startsAtMs", alert.starts_at_ms},
          {"endsAtMs", alert.ends_at_ms},
          {"generatorURL", alert.generator_url}};
}

AlertNotice AlertFrom(const base::Json& saved) {
  AlertNotice alert;
  tsdb::LabelsBuilder labels;
  for (const auto& [name, value] : Strings(saved, "labels")) labels.Set(name, value);
  alert.labels = labels.Build();
  alert.annotations = Strings(saved, "annotations");
  alert.starts_at_ms = base::FindInt(saved, {"startsAtMs"});
  alert.ends_at_ms = base::FindInt(saved, {"endsAtMs"});
  alert.generator_url = base::FindString(saved, {"generatorURL"});
  return alert;
}

// One alert heard of twice: it began when it was first heard of, unless it had ended in between.
void Merge(AlertNotice* known, const AlertNotice& news) {
  const bool goes_on = known->ends_at_ms >= news.starts_at_ms;
  const int64_t start = goes_on ? std::min(known->starts_at_ms, news.starts_at_ms) : news.starts_at_ms;
  *known = news;
  known->starts_at_ms = start;
}

}  // namespace

void Groups::SetConfig(std::shared_ptr<const Config> config, int64_t now_ms) {
  std::map<std::string, Group> before = std::exchange(groups_, {});
  config_ = std::move(config);
  for (auto& [key, group] : before) known_[key] = std::move(group.told);
  for (const auto& [key, group] : before) {
    for (const auto& [labels, alert] : group.alerts) Place(alert, alert.ends_at_ms - 1);
  }
  for (auto& [key, group] : groups_) {
    auto same = before.find(key);
    if (same == before.end()) continue;
    group.next_look_ms = std::min(same->second.next_look_ms, now_ms + group.route->group_interval_ms);
    group.outlets = std::move(same->second.outlets);
    std::erase_if(group.outlets, [&](const auto& outlet) { return !HasIntegration(group, outlet.first); });
  }
  known_.clear();
}

bool Groups::HasIntegration(const Group& group, const std::string& name) const {
  const auto& integrations = config_->receivers.at(group.route->receiver);
  return std::any_of(integrations.begin(), integrations.end(), [&](const Integration& i) { return i.name == name; });
}

void Groups::Add(const std::vector<AlertNotice>& alerts, int64_t now_ms) {
  for (const AlertNotice& alert : alerts) Place(alert, now_ms);
}

void Groups::Place(const AlertNotice& alert, int64_t now_ms) {
  if (config_ == nullptr) return;
  for (const Route* route : RoutesOf(config_->route, alert.labels)) {
    const std::string key = KeyOf(*route, alert.labels);
    auto group = groups_.find(key);
    if (group != groups_.end()) {
      auto known = group->second.alerts.find(alert.labels);
      if (known != group->second.alerts.end()) {
        Merge(&known->second, alert);
        continue;
      }
    }
    if (alert.ends_at_ms <= now_ms) continue;  // Everybody who knew of it has been told.
    if (group == groups_.end()) group = groups_.emplace(key, NewGroup(*route, alert, now_ms)).first;
    group->second.alerts.emplace(alert.labels, alert);
  }
}

Groups::Group Groups::NewGroup(const Route& route, const AlertNotice& alert, int64_t now_ms) {
  Group group;
  group.route = &route;
  group.key = KeyOf(route, alert.labels);
  group.labels = GroupLabels(route, alert.labels);
  // An alert that has waited elsewhere for long enough needs not wait here.
  group.next_look_ms = std::max(now_ms, std::min(now_ms, alert.starts_at_ms) + route.group_wait_ms);
  if (auto known = known_.find(group.key); known != known_.end()) group.told = known->second;
  std::erase_if(group.told, [&](const auto& told) { return !HasIntegration(group, told.first); });
  return group;
}

std::vector<Notification> Groups::TakeDue(int64_t now_ms) {
  std::vector<Notification> due;
  for (auto it = groups_.begin(); it != groups_.end();) {
    Group& group = it->second;
    Look(group, now_ms, &due);
    it = group.alerts.empty() ? groups_.erase(it) : std::next(it);
  }
  return due;
}

void Groups::Look(Group& group, int64_t now_ms, std::vector<Notification>* due) {
  const bool look = group.next_look_ms <= now_ms;
  if (look) group.next_look_ms = now_ms + group.route->group_interval_ms;
  Notification now{.group = group.key};
  for (const auto& [labels, alert] : group.alerts) {
    (alert.ends_at_ms > now_ms ? now.firing : now.resolved).insert(Fingerprint(labels));
  }
  for (const Integration& integration : config_->receivers.at(group.route->receiver)) {
    Outlet& outlet = group.outlets[integration.name];
    const bool again = outlet.retry_at_ms != 0 && outlet.retry_at_ms <= now_ms;
    if (outlet.sending || (!look && !again)) continue;
    outlet.retry_at_ms = 0;
    now.integration = integration.name;
    now.message.at_ms = now_ms;
    if (!Wants(group, integration, now)) continue;
    if (now.firing.empty() && !integration.send_resolved) {  // Nothing is said about that.
      group.told[integration.name] = {now_ms, {}, now.resolved};
      continue;
    }
    now.message = MessageOf(group, integration.send_resolved, now_ms);
    outlet.sending = true;
    due->push_back(now);
  }
  if (look) Forget(group, now_ms);
}

// Whether the integration is to hear of the group as it is now.
bool Groups::Wants(const Group& group, const Integration& integration, const Notification& now) {
  auto told = group.told.find(integration.name);
  if (told == group.told.end()) return !now.firing.empty();
  const Told& before = told->second;
  if (!IsSubset(now.firing, before.firing)) return true;
  if (now.firing.empty()) return !before.firing.empty();
  if (integration.send_resolved && !IsSubset(now.resolved, before.resolved)) return true;
  return before.at_ms <= now.message.at_ms - group.route->repeat_interval_ms;
}

Message Groups::MessageOf(const Group& group, bool resolved_too, int64_t now_ms) {
  Message message{
      .receiver = group.route->receiver, .group_key = group.key, .group_labels = group.labels, .at_ms = now_ms};
  for (const auto& [labels, alert] : group.alerts) {
    if (alert.ends_at_ms > now_ms || resolved_too) message.alerts.push_back(alert);
  }
  std::stable_partition(message.alerts.begin(), message.alerts.end(),
                        [now_ms](const AlertNotice& alert) { return alert.ends_at_ms > now_ms; });
  return message;
}

void Groups::Done(const Notification& notification, bool sent, int64_t now_ms) {
  auto found = groups_.find(notification.group);
  if (found == groups_.end()) return;
  Group& group = found->second;
  if (!HasIntegration(group, notification.integration)) return;
  Outlet& outlet = group.outlets[notification.integration];
  outlet.sending = false;
  if (!sent) {
    const int64_t pause = std::min(kFirstPauseMs << std::min(outlet.failures, kMostDoublings), kLongestPauseMs);
    ++outlet.failures;
    outlet.retry_at_ms = now_ms + pause;
    return;
  }
  outlet.failures = 0;
  group.told[notification.integration] = {notification.message.at_ms, notification.firing, notification.resolved};
  Forget(group, now_ms);
  if (group.alerts.empty()) groups_.erase(found);
}

// Drops what has been resolved, unless somebody has heard, or is just hearing, that it fires.
void Groups::Forget(Group& group, int64_t now_ms) {
  for (const auto& [name, outlet] : group.outlets) {
    if (outlet.sending) return;
  }
  std::erase_if(group.alerts, [&](const auto& member) {
    if (member.second.ends_at_ms > now_ms) return false;
    const std::string fingerprint = Fingerprint(member.first);
    return std::none_of(group.told.begin(), group.told.end(),
                        [&](const auto& told) { return told.second.firing.contains(fingerprint); });
  });
}

int64_t Groups::NextDueMs() const {
  int64_t next = kNever;
  for (const auto& [key, group] : groups_) {
    next = std::min(next, group.next_look_ms);
    for (const auto& [name, outlet] : group.outlets) {
      if (outlet.retry_at_ms != 0) next = std::min(next, outlet.retry_at_ms);
    }
  }
  return next;
}

base::Json Groups::Save() const {
  base::Json groups = base::Json::object();
  for (const auto& [key, group] : groups_) {
    base::Json alerts = base::Json::array(), told = base::Json::object();
    for (const auto& [labels, alert] : group.alerts) alerts.push_back(ToJson(alert));
    for (const auto& [name, what] : group.told) {
      told[name] = {{"atMs", what.at_ms}, {"firing", what.firing}, {"resolved", what.resolved}};
    }
    groups[key] = {{"alerts", std::move(alerts)}, {"told", std::move(told)}};
  }
  return {{"version", 1}, {"groups", std::move(groups)}};
}

base::Status Groups::Restore(const base::Json& saved, int64_t now_ms, int64_t hold_ms) {
  const base::Json* groups = base::Find(saved, {"groups"});
  if (base::FindInt(saved, {"version"}) != 1 || groups == nullptr || !groups->is_object()) {
    return base::InvalidArgumentError("it is no record of notifications of version 1; remove it to begin anew");
  }
  for (const auto& [key, group] : groups->items()) {
    const base::Json* told = base::Find(group, {"told"});
    if (told == nullptr || !told->is_object()) continue;
    for (const auto& [name, what] : told->items()) {
      known_[key][name] = {base::FindInt(what, {"atMs"}), Set(what, "firing"), Set(what, "resolved")};
    }
  }
  // An alert is placed once for every group that it was in, where it finds itself again.
  for (const auto& [key, group] : groups->items()) {
    const base::Json* alerts = base::Find(group, {"alerts"});
    if (alerts == nullptr || !alerts->is_array()) continue;
    const auto& known = known_[key];
    for (const base::Json& record : *alerts) {
      AlertNotice alert = AlertFrom(record);
      const std::string fingerprint = Fingerprint(alert.labels);
      const bool fired = std::any_of(known.begin(), known.end(),
                                     [&](const auto& member) { return member.second.firing.contains(fingerprint); });
      if (!fired) continue;  // Nobody knows of it: the rules will say again whether it fires.
      alert.ends_at_ms = std::max(alert.ends_at_ms, now_ms + hold_ms);
      Place(alert, now_ms);
    }
  }
  known_.clear();
  return base::Status::Ok();
}

}  // namespace tidewright::notify
