// How many queries run at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::promql {

// A fixed number of slots, handed out in the order in which they are asked for. Thread-safe.
class QuerySlots {
 public:
  explicit QuerySlots(size_t count) : free_(count) {}
  QuerySlots(const QuerySlots&) = delete;
  QuerySlots& operator=(const QuerySlots&) = delete;

  // Holds a slot until it is destroyed. Must not outlive the QuerySlots.
  class Held {
   public:
    explicit Held(QuerySlots& slots) : slots_(&slots) {}
    Held(Held&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (slots_ != nullptr) slots_->Release();
    }

   private:
    QuerySlots* slots_;
  };

  // Waits for a slot until `deadline_nanos` on the monotonic clock (kDeadlineExceeded) or until `cancelled`, which may
  // be null, is set (kCancelled).
  base::Result<Held> Acquire(int64_t deadline_nanos, const std::atomic<bool>* cancelled);
  // How many wait at the moment.
  size_t waiting() const {
    base::MutexLock lock(mu_);
    return waiting_.size();
  }

 private:
  void Release();

  mutable base::Mutex mu_;
  base::CondVar changed_;
  size_t free_ GUARDED_BY(mu_);
  uint64_t next_ticket_ GUARDED_BY(mu_) = 0;
  std::deque<uint64_t> waiting_ GUARDED_BY(mu_);  // Tickets, first come first.
};

}  // namespace tidewright::promql
