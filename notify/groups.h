// Groups: which alerts belong together, and when who is to be told about them. No I/O and no clock: times go in.
//
// As in Alertmanager, a group is what one route makes of alerts with the same values of its group_by labels. It is
// looked at group_wait after its first alert and every group_interval from then on. An integration is told when alerts
// fire that it does not know of, when all or (with send_resolved) some have been resolved, and again after
// repeat_interval. What failed is tried again with a growing pause, and with the next look.
//
// What was said when can be saved and restored, so that a restart neither repeats what was said nor forgets to say
// that something is over. Restored alerts count as firing for a while that the caller names: the rules need it to find
// out again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "notify/config.h"
#include "notify/message_template.h"
#include "rules/manager.h"

namespace tidewright::notify {

// A message that one integration is to get.
struct Notification {
  std::string group;                       // Identifies the group.
  std::string integration;                 // Its name within the receiver of the message.
  Message message;                         // Without external_url.
  std::set<std::string> firing, resolved;  // Fingerprints of the whole group, of which the message may tell a part.
};

// Not thread-safe.
class Groups {
 public:
  // Replaces routes and receivers; alerts move to where they belong now, and what their integrations know stays if
  // route, labels, receiver and integration are the same. Null: nobody is told anything.
  void SetConfig(std::shared_ptr<const Config> config, int64_t now_ms);

  void Add(const std::vector<rules::AlertNotice>& alerts, int64_t now_ms);

  // What is to be sent now. Until Done() was called for one, its integration gets no other about the same group.
  std::vector<Notification> TakeDue(int64_t now_ms);
  void Done(const Notification& notification, bool sent, int64_t now_ms);

  // When TakeDue() has something to look at, at the earliest; INT64_MAX: never.
  int64_t NextDueMs() const;

  base::Json Save() const;
  // Adds what Save() gave. Alerts that fired fire for at least `hold_ms` more. kInvalidArgument on anything else: then
  // what could be read has been taken.
  base::Status Restore(const base::Json& saved, int64_t now_ms, int64_t hold_ms);

  size_t size() const { return groups_.size(); }

 private:
  // What an integration has been told.
  struct Told {
    int64_t at_ms = 0;
    std::set<std::string> firing, resolved;
  };
  struct Outlet {
    bool sending = false;
    int failures = 0;
    int64_t retry_at_ms = 0;  // 0: there is nothing to be tried again.
  };
  struct Group {
    const Route* route = nullptr;
    std::string key;
    tsdb::Labels labels;
    std::map<tsdb::Labels, rules::AlertNotice> alerts;
    int64_t next_look_ms = 0;
    std::map<std::string, Outlet> outlets;  // By integration.
    std::map<std::string, Told> told;       // Likewise.
  };

  void Place(const rules::AlertNotice& alert, int64_t now_ms);
  Group NewGroup(const Route& route, const rules::AlertNotice& alert, int64_t now_ms);
  bool HasIntegration(const Group& group, const std::string& name) const;
  void Look(Group& group, int64_t now_ms, std::vector<Notification>* due);
  static bool Wants(const Group& group, const Integration& integration, const Notification& now);
  static Message MessageOf(const Group& group, bool resolved_too, int64_t now_ms);
  void Forget(Group& group, int64_t now_ms);

  std::shared_ptr<const Config> config_;
  std::map<std::string, Group> groups_;                       // By key.
  std::map<std::string, std::map<std::string, Told>> known_;  // Restored, of groups that have no alerts yet.
};

}  // namespace tidewright::notify
