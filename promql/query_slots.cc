#include "promql/query_slots.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace tidewright::promql {

namespace {

// How soon a waiting query notices that it was cancelled.
constexpr int64_t kCancelCheckMs = 50;

}  // namespace

base::Result<QuerySlots::Held> QuerySlots::Acquire(int64_t deadline_nanos, const std::atomic<bool>* cancelled) {
  base::MutexLock lock(mu_);
  uint64_t ticket = next_ticket_++;
  waiting_.push_back(ticket);
  base::Status status;
  while (free_ == 0 || waiting_.front() != ticket) {
    int64_t left_ms = (deadline_nanos - base::MonotonicNanos()) / 1'000'000;
    if (cancelled != nullptr && cancelled->load()) status = base::CancelledError("the query was cancelled");
    if (left_ms <= 0)
      status = base::DeadlineExceededError("the query waited too long for its turn; too many run at once");
    if (!status.ok()) break;
    changed_.WaitFor(mu_, std::chrono::milliseconds(std::min(left_ms, kCancelCheckMs)));
  }
  std::erase(waiting_, ticket);
  changed_.NotifyAll();
  if (!status.ok()) return status;
  --free_;
  return Held(*this);
}

void QuerySlots::Release() {
  base::MutexLock lock(mu_);
  ++free_;
  changed_.NotifyAll();
}

}  // namespace tidewright::promql
