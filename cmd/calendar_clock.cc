#include "cmd/calendar_clock.h"

#include <cmath>

namespace tidewright::cmd {

CalendarClock::CalendarClock(base::Clock& real, int64_t start_ms, double speed)
    : real_(real), real_start_ms_(real.NowMs()), start_ms_(start_ms), speed_(speed) {}

int64_t CalendarClock::NowMs() const {
  auto passed = static_cast<double>(real_.NowMs() - real_start_ms_);
  return start_ms_ + static_cast<int64_t>(std::floor(passed * speed_));
}

bool CalendarClock::SleepUntil(int64_t deadline_ms, base::StopSignal& stop) {
  auto wanted = static_cast<double>(deadline_ms - start_ms_);
  return real_.SleepUntil(real_start_ms_ + static_cast<int64_t>(std::ceil(wanted / speed_)), stop);
}

}  // namespace tidewright::cmd
