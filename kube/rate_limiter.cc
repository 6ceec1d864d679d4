#include "kube/rate_limiter.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/strings.h"

namespace tidewright::kube {

namespace {

// Bounds one wait, so that the deadline of somebody who came later is noticed.
constexpr int64_t kMaxSleepMs = 1'000;

// The parts of an API path that say what it is about.
struct PathParts {
  std::string group;
  std::string plural;
  std::string subresource;
};

PathParts PartsOf(std::string_view path) {
  path = path.substr(0, path.find('?'));
  std::vector<std::string> segments = base::Split(path, '/');  // The first is empty.
  PathParts parts;
  size_t at = 3;  // Behind "", "api", "v1".
  if (segments.size() > 3 && segments[1] == "apis") {
    parts.group = segments[2];
    at = 4;
  }
  if (segments.size() > at + 2 && segments[at] == "namespaces") at += 2;
  if (segments.size() > at) parts.plural = segments[at];
  if (segments.size() > at + 2) parts.subresource = segments[at + 2];
  return parts;
}

}  // namespace

RequestPriority PriorityOf(std::string_view method, std::string_view path) {
  PathParts parts = PartsOf(path);
  if (parts.group == "coordination.k8s.io" && parts.plural == "leases") return RequestPriority::kExempt;
  bool write = method != "GET" && method != "HEAD";
  if (write && parts.subresource == "scale") return RequestPriority::kScale;
  if (write && parts.plural == "events") return RequestPriority::kEvents;
  return RequestPriority::kOrdinary;
}

struct RateLimiter::Ticket {
  enum class State { kWaiting, kGranted, kExpired, kStopped };
  int64_t deadline_ms = 0;
  State state = State::kWaiting;
};

RateLimiter::RateLimiter(base::Clock& clock, RateLimitOptions options)
    : clock_(clock),
      options_({options.qps, std::max(options.burst, 1)}),
      tokens_(options_.burst),
      refilled_ms_(clock.NowMs()) {}

RateLimiter::~RateLimiter() { Stop(); }

void RateLimiter::Stop() {
  stop_.Stop();
  base::MutexLock lock(mu_);
  changed_.NotifyAll();
}

size_t RateLimiter::waiting() const {
  base::MutexLock lock(mu_);
  size_t count = 0;
  for (const auto& [priority, queue] : queues_) count += queue.size();
  return count;
}

base::Status RateLimiter::Acquire(RequestPriority priority, int64_t deadline_ms) {
  if (priority == RequestPriority::kExempt || options_.qps <= 0) return base::Status::Ok();
  Ticket ticket{deadline_ms};
  {
    base::MutexLock lock(mu_);
    queues_[priority].push_back(&ticket);
    while (true) {
      Serve();
      if (ticket.state != Ticket::State::kWaiting) break;
      if (sleeping_) {
        changed_.Wait(mu_);
      } else {
        SleepForAll();
      }
    }
    changed_.NotifyAll();  // If this was the one that watched the clock, another has to.
  }
  switch (ticket.state) {
    case Ticket::State::kExpired:
      return base::ResourceExhaustedError("the client's own rate limit of " + base::FormatFixed(options_.qps) +
                                          " requests per second left no room in time");
    case Ticket::State::kStopped: return base::CancelledError("the client is stopping");
    default: return base::Status::Ok();
  }
}

void RateLimiter::SleepForAll() {
  sleeping_ = true;
  int64_t wake_ms = NextWakeMs();
  mu_.Unlock();
  clock_.SleepUntil(wake_ms, stop_);
  mu_.Lock();
  sleeping_ = false;
}

// Gives the tokens that there are to those who are first, and sends away who has waited long enough.
void RateLimiter::Serve() {
  const int64_t now_ms = clock_.NowMs();
  const double gathered = static_cast<double>(now_ms - refilled_ms_) / 1000 * options_.qps;
  tokens_ = std::min(tokens_ + std::max(gathered, 0.0), static_cast<double>(options_.burst));
  refilled_ms_ = now_ms;
  const bool stopped = stop_.stopped();
  bool news = false;
  for (auto& [priority, queue] : queues_) {
    for (Ticket* ticket : queue) {
      if (tokens_ >= 1) {
        tokens_ -= 1;
        ticket->state = Ticket::State::kGranted;
      } else if (stopped) {
        ticket->state = Ticket::State::kStopped;
      } else if (ticket->deadline_ms <= now_ms) {
        ticket->state = Ticket::State::kExpired;
      }
    }
    news |= std::erase_if(queue, [](const Ticket* ticket) { return ticket->state != Ticket::State::kWaiting; }) > 0;
  }
  if (news) changed_.NotifyAll();
}

// Counted from when the tokens were: by the clock, a caller that it moved on under would sleep too long.
int64_t RateLimiter::NextWakeMs() {
  const double missing = std::max(1 - tokens_, 0.0);
  const auto token_ms = static_cast<int64_t>(std::ceil(std::min(missing / options_.qps * 1000, 1e6)));
  int64_t wake_ms = refilled_ms_ + std::clamp<int64_t>(token_ms, 1, kMaxSleepMs);
  for (const auto& [priority, queue] : queues_) {
    for (const Ticket* ticket : queue) wake_ms = std::min(wake_ms, ticket->deadline_ms);
  }
  return wake_ms;
}

}  // namespace tidewright::kube
