// Time for deciding how long something has been, where a leap of the calendar or a suspended machine must not deceive.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace tidewright::base {

// Milliseconds since the machine booted, by CLOCK_BOOTTIME: never set back, never set forward, and it counts the time
// in which the machine, a virtual machine or this process was suspended. Leases and rate limits are kept by it.
// Thread-safe.
class BootClock : public Clock {
 public:
  static BootClock& Get();
  int64_t NowMs() const override;
  bool SleepUntil(int64_t deadline_ms, StopSignal& stop) override;
};

}  // namespace tidewright::base
