#include "cmd/calendar_clock.h"

#include <gtest/gtest.h>

#include <thread>

namespace tidewright::cmd {
namespace {

TEST(CalendarClockTest, RunsFasterFromItsOwnDate) {
  base::FakeClock real(500);
  CalendarClock calendar(real, 1'000'000, 1440);
  EXPECT_EQ(calendar.NowMs(), 1'000'000);
  real.Advance(1'000);
  EXPECT_EQ(calendar.NowMs(), 1'000'000 + 1'440'000);
}

TEST(CalendarClockTest, SleepsInRealTime) {
  base::FakeClock real(0);
  CalendarClock calendar(real, 0, 60);
  base::StopSignal stop;
  bool reached = false;
  std::thread sleeper([&] { reached = calendar.SleepUntil(60'000, stop); });
  real.Advance(1'000);
  sleeper.join();
  EXPECT_TRUE(reached);
  stop.Stop();
  EXPECT_FALSE(calendar.SleepUntil(600'000, stop));
}

}  // namespace
}  // namespace tidewright::cmd
