// Waiting for another thread, process or server in a test.
#pragma once

#include <cstdint>
#include <functional>

#include "base/clock.h"

namespace tidewright {

// Asks every 20 ms of real time whether `condition` holds, until it does; false after two minutes, a deadline that only
// ends a test which fails anyway.
inline bool Eventually(const std::function<bool()>& condition) {
  base::StopSignal never;
  const int64_t deadline = base::MonotonicNanos() + 120'000'000'000;
  while (!condition()) {
    if (base::MonotonicNanos() > deadline) return false;
    base::SystemClock::Get().SleepFor(20, never);
  }
  return true;
}

}  // namespace tidewright
