// What is wrong with the configuration: a list, and a stream of what changes in it, as /api/v1/notifications and its
// /live have them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "http/server.h"

namespace tidewright::web {

// Thread-safe. Borrows the clock; the problems may be empty.
class NotificationFeed {
 public:
  using Problems = std::function<std::vector<std::string>()>;
  static constexpr size_t kMaxSubscribers = 16;

  NotificationFeed(Problems problems, base::Clock& clock) : problems_(std::move(problems)), clock_(clock) {}

  // [{"text", "date", "active"}]; the date is when it was first noticed.
  base::Json Current();
  // Looks what has changed, and tells the subscribers.
  void Refresh();
  // Answers with server-sent events: what there is, then what comes ("active": true) and goes (false). 204 once there
  // are too many subscribers.
  void Subscribe(http::Headers headers, http::Responder& responder);
  // Ends all streams.
  void Close();

 private:
  void Look(std::vector<std::string>* events) REQUIRES_LOCK(mu_);
  void Tell(const std::vector<std::string>& events) REQUIRES_LOCK(mu_);

  const Problems problems_;
  base::Clock& clock_;
  base::Mutex mu_;
  std::map<std::string, int64_t> known_ GUARDED_BY(mu_);  // When each was noticed, by its text.
  std::vector<std::shared_ptr<http::ResponseStream>> subscribers_ GUARDED_BY(mu_);
};

}  // namespace tidewright::web
