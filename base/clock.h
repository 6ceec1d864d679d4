// Time as a dependency: nothing but base/clock.cc reads the system's clock or sleeps.
#pragma once

#include <cstdint>
#include <vector>

#include "base/mutex.h"

namespace tidewright::base {

// A one-way flag that wakes sleepers: how Stop() reaches a loop that waits on a Clock.
// Thread-safe. Must outlive every SleepUntil that uses it.
class StopSignal {
 public:
  void Stop();
  bool stopped() const;

 private:
  friend class SystemClock;
  friend class FakeClock;
  void Poke();
  mutable Mutex mu_;
  CondVar cv_;
  bool stopped_ GUARDED_BY(mu_) = false;
  uint64_t pokes_ GUARDED_BY(mu_) = 0;  // Counts FakeClock advances, so that none is missed between check and wait.
};

// Source of the current time. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Milliseconds since the Unix epoch, UTC.
  virtual int64_t NowMs() const = 0;

  // Blocks until NowMs() >= deadline_ms or `stop` is stopped. Returns false iff stopped.
  virtual bool SleepUntil(int64_t deadline_ms, StopSignal& stop) = 0;

  bool SleepFor(int64_t ms, StopSignal& stop) { return SleepUntil(NowMs() + ms, stop); }
};

// The machine's clock.
class SystemClock : public Clock {
 public:
  static SystemClock& Get();
  int64_t NowMs() const override;
  bool SleepUntil(int64_t deadline_ms, StopSignal& stop) override;
};

// A clock that moves only when a test says so. Sleepers wake as soon as Advance() or Set() passes their deadline.
class FakeClock : public Clock {
 public:
  explicit FakeClock(int64_t now_ms = 0) : now_ms_(now_ms) {}
  int64_t NowMs() const override;
  bool SleepUntil(int64_t deadline_ms, StopSignal& stop) override;

  void Advance(int64_t ms);
  void Set(int64_t now_ms);

 private:
  mutable Mutex mu_;
  int64_t now_ms_ GUARDED_BY(mu_);
  std::vector<StopSignal*> sleepers_ GUARDED_BY(mu_);
};

// Nanoseconds of a monotonic clock with an arbitrary origin: for measuring how long something took, never for deciding.
int64_t MonotonicNanos();

}  // namespace tidewright::base
