#include "base/clock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/gate.h"

namespace tidewright::base {
namespace {

TEST(FakeClockTest, SleeperWakesWhenTimePasses) {
  FakeClock clock(1000);
  StopSignal stop;
  std::atomic<bool> done = false;
  std::thread sleeper([&] { done = clock.SleepUntil(2000, stop); });
  clock.Advance(500);
  EXPECT_FALSE(done);
  clock.Advance(500);
  sleeper.join();
  EXPECT_TRUE(done);
}

TEST(FakeClockTest, StopEndsASleep) {
  FakeClock clock;
  StopSignal stop;
  bool reached = true;
  std::thread sleeper([&] { reached = clock.SleepUntil(1'000'000, stop); });
  stop.Stop();
  sleeper.join();
  EXPECT_FALSE(reached);
}

TEST(SystemClockTest, StoppedSignalReturnsAtOnceAndPastDeadlinesDoNotWait) {
  StopSignal stop;
  EXPECT_TRUE(SystemClock::Get().SleepUntil(0, stop));
  stop.Stop();
  EXPECT_FALSE(SystemClock::Get().SleepFor(3'600'000, stop));
}

TEST(GateTest, CloseWaitsForThoseInside) {
  Gate gate;
  std::atomic<bool> closed = false;
  std::thread closer;
  {
    auto pass = gate.TryEnter();
    ASSERT_TRUE(pass.has_value());
    closer = std::thread([&] {
      gate.CloseAndWait();
      closed = true;
    });
    while (gate.TryEnter().has_value()) {  // Until the closer has closed the gate.
    }
    EXPECT_FALSE(closed);
  }
  closer.join();
  EXPECT_TRUE(closed);
  EXPECT_FALSE(gate.TryEnter().has_value());
  gate.CloseAndWait();
}

}  // namespace
}  // namespace tidewright::base
