// WorkQueue: runs one function per key on a Scheduler, never twice at a time for the same key. Private to the
// controllers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/gate.h"
#include "base/mutex.h"
#include "base/thread_pool.h"

namespace tidewright::scaler {

// Thread-safe. Must be owned by a shared_ptr: scheduled tasks hold it weakly. Borrows the scheduler until Stop().
class WorkQueue : public std::enable_shared_from_this<WorkQueue> {
 public:
  // Runs for a key; returns in how many ms to run again, or none to wait for the next Add().
  using Work = std::function<std::optional<int64_t>(const std::string& key)>;

  // How late a run began, in ms.
  using Observe = std::function<void(int64_t late_ms)>;

  WorkQueue(base::Scheduler& scheduler, Work work, Observe observe = {})
      : scheduler_(scheduler), work_(std::move(work)), observe_(std::move(observe)) {}

  // Runs `key` after `delay_ms`, instead of when it was due before. While it runs, it runs again at once afterwards.
  void Add(const std::string& key, int64_t delay_ms = 0);
  // Runs `key` within `delay_ms` at the latest; what is due earlier stays. For keys that were added and wait or run.
  void Hasten(const std::string& key, int64_t delay_ms);
  // Waits for the work under way; later tasks do nothing. Idempotent.
  void Stop() { gate_.CloseAndWait(); }

 private:
  struct Slot {
    uint64_t ticket = 0;  // Of the task that may run; others are out of date.
    int64_t due_ms = 0;
    bool running = false;
    bool again = false;
    std::optional<int64_t> hastened_ms;  // While it runs: when it is to run again at the latest.
  };
  void Schedule(const std::string& key, Slot& slot, int64_t delay_ms) REQUIRES_LOCK(mu_);
  void Run(const std::string& key, uint64_t ticket);

  base::Scheduler& scheduler_;
  const Work work_;
  const Observe observe_;
  base::Gate gate_;
  base::Mutex mu_;
  std::map<std::string, Slot> slots_ GUARDED_BY(mu_);
  uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
};

// A number below `range` that depends on the key only: spreads first runs evenly and repeatably.
int64_t SpreadOf(const std::string& key, int64_t range);

}  // namespace tidewright::scaler
