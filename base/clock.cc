#include "base/clock.h"

#include <time.h>

#include <algorithm>
#include <chrono>

#include "base/boot_clock.h"

namespace tidewright::base {

namespace {
// Bounds one wait so that a step of the system clock (NTP, suspend) is noticed.
constexpr int64_t kMaxWaitMs = 1000;
}  // namespace

void StopSignal::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  cv_.NotifyAll();
}

bool StopSignal::stopped() const {
  MutexLock lock(mu_);
  return stopped_;
}

void StopSignal::Poke() {
  MutexLock lock(mu_);
  ++pokes_;
  cv_.NotifyAll();
}

SystemClock& SystemClock::Get() {
  static SystemClock clock;
  return clock;
}

int64_t SystemClock::NowMs() const {
  using std::chrono::duration_cast;
  return duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool SystemClock::SleepUntil(int64_t deadline_ms, StopSignal& stop) {
  MutexLock lock(stop.mu_);
  while (!stop.stopped_) {
    int64_t left = deadline_ms - NowMs();
    if (left <= 0) return true;
    stop.cv_.WaitFor(stop.mu_, std::chrono::milliseconds(std::min(left, kMaxWaitMs)));
  }
  return false;
}

BootClock& BootClock::Get() {
  static BootClock clock;
  return clock;
}

int64_t BootClock::NowMs() const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

bool BootClock::SleepUntil(int64_t deadline_ms, StopSignal& stop) {
  while (true) {
    int64_t left = deadline_ms - NowMs();
    if (left <= 0) return !stop.stopped();
    if (!SystemClock::Get().SleepFor(std::min(left, kMaxWaitMs), stop)) return false;
  }
}

int64_t FakeClock::NowMs() const {
  MutexLock lock(mu_);
  return now_ms_;
}

bool FakeClock::SleepUntil(int64_t deadline_ms, StopSignal& stop) {
  {
    MutexLock lock(mu_);
    sleepers_.push_back(&stop);
  }
  bool reached = false;
  while (true) {
    uint64_t seen = 0;
    {
      MutexLock lock(stop.mu_);
      if (stop.stopped_) break;
      seen = stop.pokes_;
    }
    if (NowMs() >= deadline_ms) {
      reached = true;
      break;
    }
    MutexLock lock(stop.mu_);
    while (!stop.stopped_ && stop.pokes_ == seen) stop.cv_.Wait(stop.mu_);
  }
  MutexLock lock(mu_);
  sleepers_.erase(std::find(sleepers_.begin(), sleepers_.end(), &stop));
  return reached;
}

void FakeClock::Advance(int64_t ms) { Set(NowMs() + ms); }

void FakeClock::Set(int64_t now_ms) {
  MutexLock lock(mu_);
  now_ms_ = now_ms;
  for (StopSignal* sleeper : sleepers_) sleeper->Poke();
}

int64_t MonotonicNanos() {
  using std::chrono::duration_cast;
  return duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace tidewright::base
