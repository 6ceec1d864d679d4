#include "web/notification_feed.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/duration.h"
#include "base/json.h"

namespace tidewright::web {

namespace {

base::Json ToJson(const std::string& text, int64_t since_ms, bool active) {
  return {{"text", text}, {"date", base::FormatTime(since_ms, /*millis=*/true)}, {"active", active}};
}

std::string Event(const std::string& text, int64_t since_ms, bool active) {
  return "data: " + base::DumpJson(ToJson(text, since_ms, active)) + "\n\n";
}

}  // namespace

base::Json NotificationFeed::Current() {
  Refresh();
  base::MutexLock lock(mu_);
  base::Json all = base::Json::array();
  for (const auto& [text, since_ms] : known_) all.push_back(ToJson(text, since_ms, true));
  return all;
}

void NotificationFeed::Refresh() {
  base::MutexLock lock(mu_);
  std::vector<std::string> events;
  Look(&events);
  Tell(events);
}

void NotificationFeed::Subscribe(http::Headers headers, http::Responder& responder) {
  base::MutexLock lock(mu_);
  std::vector<std::string> events;
  Look(&events);
  Tell(events);
  if (subscribers_.size() >= kMaxSubscribers) return responder.Reply({204, std::move(headers), ""});
  headers.Set("Content-Type", "text/event-stream");
  headers.Set("Cache-Control", "no-cache");
  auto stream = responder.StartStream(200, std::move(headers));
  bool open = true;
  for (const auto& [text, since_ms] : known_) open = open && stream->Write(Event(text, since_ms, true));
  if (open) subscribers_.push_back(std::move(stream));
}

void NotificationFeed::Close() {
  base::MutexLock lock(mu_);
  for (const auto& stream : subscribers_) stream->End();
  subscribers_.clear();
}

// Compares what is wrong now with what is known.
void NotificationFeed::Look(std::vector<std::string>* events) {
  std::set<std::string> now;
  if (problems_) {
    for (std::string& problem : problems_()) now.insert(std::move(problem));
  }
  for (auto it = known_.begin(); it != known_.end();) {
    if (now.contains(it->first)) {
      ++it;
      continue;
    }
    events->push_back(Event(it->first, it->second, false));
    it = known_.erase(it);
  }
  const int64_t now_ms = clock_.NowMs();
  for (const std::string& text : now) {
    if (known_.emplace(text, now_ms).second) events->push_back(Event(text, now_ms, true));
  }
}

// Also forgets the subscribers that have gone.
void NotificationFeed::Tell(const std::vector<std::string>& events) {
  std::erase_if(subscribers_, [&events](const std::shared_ptr<http::ResponseStream>& stream) {
    return stream->closed() ||
           !std::all_of(events.begin(), events.end(), [&](const std::string& event) { return stream->Write(event); });
  });
}

}  // namespace tidewright::web
