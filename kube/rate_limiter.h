// RateLimiter: how often this process may call the API server, and who goes first when it may not.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::kube {

// Who goes first. The order of the values is the order of service.
enum class RequestPriority {
  kExempt,    // Leases: whoever cannot renew in time loses the leadership. Never waits, takes no token.
  kScale,     // Writes to a scale subresource: what an autoscaler is there for.
  kOrdinary,  // Everything else.
  kEvents,    // Writes of events: the first that may come late.
};

// The priority follows from the request alone, so no caller has to think of it. `path` may have a query.
RequestPriority PriorityOf(std::string_view method, std::string_view path);

struct RateLimitOptions {
  double qps = 50;  // Tokens per second; 0: no limit at all.
  int burst = 100;  // Tokens that gather while nothing is sent; at least 1.
};

// A token bucket. Whoever finds no token waits in a queue per priority, first in, first out; a token goes to the head
// of the first queue that is not empty. Thread-safe. Borrows `clock`.
class RateLimiter {
 public:
  RateLimiter(base::Clock& clock, RateLimitOptions options);
  ~RateLimiter();  // Nobody may be waiting: Stop(), then join the callers.
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  // Waits for a token until `deadline_ms` of the clock. kResourceExhausted: the deadline came first; kCancelled: Stop()
  // did. An error has taken no token.
  base::Status Acquire(RequestPriority priority, int64_t deadline_ms);

  // Ends all waiting, now and later: who would have to wait gets kCancelled. Idempotent.
  void Stop();

  // How many wait at present.
  size_t waiting() const;

 private:
  struct Ticket;
  void Serve() REQUIRES_LOCK(mu_);
  void SleepForAll() REQUIRES_LOCK(mu_);
  int64_t NextWakeMs() REQUIRES_LOCK(mu_);

  base::Clock& clock_;
  const RateLimitOptions options_;
  base::StopSignal stop_;
  mutable base::Mutex mu_;
  base::CondVar changed_;
  double tokens_ GUARDED_BY(mu_);
  int64_t refilled_ms_ GUARDED_BY(mu_);
  std::map<RequestPriority, std::deque<Ticket*>> queues_ GUARDED_BY(mu_);
  bool sleeping_ GUARDED_BY(mu_) = false;  // One of the waiting watches the clock for all.
};

}  // namespace tidewright::kube
