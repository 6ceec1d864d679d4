#include "rules/workers.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/mutex.h"

namespace tidewright::rules {

namespace {

// What helpers share with the caller. One that comes late finds nothing to do, after the caller has gone.
struct Round {
  Round(size_t c, std::function<void(size_t)> t) : count(c), task(std::move(t)) {}

  void Help() {
    for (size_t i = next++; i < count; i = next++) {
      task(i);
      base::MutexLock lock(mu);
      if (++ended == count) all_ended.NotifyAll();
    }
  }

  void Wait() {
    base::MutexLock lock(mu);
    while (ended < count) all_ended.Wait(mu);
  }

  const size_t count;
  const std::function<void(size_t)> task;  // Called only while the caller waits.
  std::atomic<size_t> next{0};
  base::Mutex mu;
  base::CondVar all_ended;
  size_t ended GUARDED_BY(mu) = 0;
};

}  // namespace

void Workers::ForEach(size_t count, const std::function<void(size_t)>& task) {
  if (count == 0) return;
  auto round = std::make_shared<Round>(count, task);
  for (size_t helper = 0; helper < std::min(threads_, count - 1); ++helper) {
    if (!pool_.Submit([round] { round->Help(); })) break;
  }
  round->Help();
  round->Wait();
}

}  // namespace tidewright::rules
