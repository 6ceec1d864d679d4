// The sandbox's calendar: a clock that starts at a chosen date and runs faster than the machine's, so that a cron
// schedule can be watched for a minute instead of a day. Nothing but cron windows reads it.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace tidewright::cmd {

// Thread-safe. Borrows `real`, which must outlive it.
class CalendarClock : public base::Clock {
 public:
  // Shows `start_ms` now and then `speed` milliseconds for each one of `real`. speed > 0.
  CalendarClock(base::Clock& real, int64_t start_ms, double speed);

  int64_t NowMs() const override;
  bool SleepUntil(int64_t deadline_ms, base::StopSignal& stop) override;

 private:
  base::Clock& real_;
  const int64_t real_start_ms_;
  const int64_t start_ms_;
  const double speed_;
};

}  // namespace tidewright::cmd
