#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace tidewright::base {
namespace {

TEST(ThreadPoolTest, RunsEverythingQueuedBeforeStop) {
  std::atomic<int> ran = 0;
  ThreadPool pool("test", 3);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(pool.Submit([&] { ++ran; }));
  pool.Stop();
  EXPECT_EQ(ran, 100);
  EXPECT_FALSE(pool.Submit([&] { ++ran; }));
  pool.Stop();
}

// Workers come when tasks find the others busy: each task here ends only once all of them run.
TEST(ThreadPoolTest, RunsAsManyAtATimeAsItHasThreads) {
  constexpr int kThreads = 4;
  ThreadPool pool("test", kThreads);
  for (int round = 0; round < 20; ++round) {
    auto all = std::make_shared<std::latch>(kThreads), ended = std::make_shared<std::latch>(kThreads);
    auto task = [all, ended] {
      all->arrive_and_wait();
      ended->count_down();
    };
    // The tasks that a task queues count as those of anybody else.
    ASSERT_TRUE(pool.Submit([&pool, task] {
      for (int i = 1; i < kThreads; ++i) pool.Submit(task);
      task();
    }));
    ended->wait();
  }
}

TEST(ThreadPoolTest, OneThreadRunsTasksOneByOne) {
  ThreadPool pool("test", 1);
  std::vector<int> order;
  std::set<std::thread::id> threads;
  for (int i = 0; i < 100; ++i) {
    pool.Submit([&, i] {
      order.push_back(i);
      threads.insert(std::this_thread::get_id());
    });
  }
  pool.Stop();
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(ThreadPoolTest, StopsWithoutHavingRunAnything) {
  ThreadPool pool("test", 3);
  pool.Stop();
  EXPECT_FALSE(pool.Submit([] {}));
}

TEST(SchedulerTest, RunsTasksInTheOrderOfTheirTimes) {
  FakeClock clock(0);
  ThreadPool pool("test", 1);
  Scheduler scheduler(clock, pool);
  std::vector<int> order;
  std::promise<void> done;
  scheduler.At(300, [&] {
    order.push_back(3);
    done.set_value();
  });
  scheduler.At(100, [&] { order.push_back(1); });
  scheduler.At(200, [&] { order.push_back(2); });
  clock.Advance(300);
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(SchedulerTest, BriefTasksNeedNoWorker) {
  FakeClock clock(0);
  ThreadPool pool("test", 1);
  Scheduler scheduler(clock, pool);
  std::promise<void> busy, go_on, early, late;
  scheduler.At(0, [&] {
    busy.set_value();
    go_on.get_future().wait();
  });
  busy.get_future().wait();  // The only worker is taken.
  scheduler.AtBriefly(0, [&] { early.set_value(); });
  early.get_future().wait();
  std::atomic<bool> cancelled_ran = false;
  scheduler.AtBriefly(100, [&] { late.set_value(); });
  EXPECT_TRUE(scheduler.Cancel(scheduler.AtBriefly(50, [&] { cancelled_ran = true; })));
  clock.Advance(100);
  late.get_future().wait();
  EXPECT_FALSE(cancelled_ran);
  go_on.set_value();
}

TEST(SchedulerTest, CancelledTaskDoesNotRun) {
  FakeClock clock(0);
  ThreadPool pool("test", 1);
  Scheduler scheduler(clock, pool);
  std::atomic<bool> ran = false;
  std::promise<void> later;
  auto id = scheduler.At(100, [&] { ran = true; });
  scheduler.At(200, [&] { later.set_value(); });
  EXPECT_TRUE(scheduler.Cancel(id));
  clock.Advance(500);
  later.get_future().wait();
  EXPECT_FALSE(ran);
  EXPECT_FALSE(scheduler.Cancel(id));
}

TEST(SchedulerTest, CancelWaitsForARunningTask) {
  FakeClock clock(0);
  ThreadPool pool("test", 1);
  Scheduler scheduler(clock, pool);
  std::promise<void> started;
  std::promise<void> go_on;
  std::atomic<bool> ended = false;
  auto id = scheduler.At(0, [&] {
    started.set_value();
    go_on.get_future().wait();
    ended = true;
  });
  started.get_future().wait();
  std::thread canceller([&] {
    EXPECT_FALSE(scheduler.Cancel(id));
    EXPECT_TRUE(ended);
  });
  go_on.set_value();
  canceller.join();
}

TEST(SchedulerTest, TasksMayScheduleThemselvesAgainUntilStop) {
  FakeClock clock(0);
  ThreadPool pool("test", 2);
  Scheduler scheduler(clock, pool);
  std::atomic<int> runs = 0;
  std::promise<void> thrice;
  std::function<void()> again = [&] {
    if (++runs == 3) thrice.set_value();
    scheduler.At(clock.NowMs(), again);
  };
  scheduler.At(0, again);
  thrice.get_future().wait();
  scheduler.Stop();
  int after_stop = runs;
  clock.Advance(1000);
  EXPECT_EQ(runs, after_stop);
}

TEST(SchedulerTest, StartsAndStopsManyTimes) {
  for (int i = 0; i < 100; ++i) {
    FakeClock clock(0);
    ThreadPool pool("test", 1);
    Scheduler scheduler(clock, pool);
    scheduler.At(0, [] {});
    scheduler.At(1'000, [] {});
    scheduler.Stop();
    scheduler.Stop();
  }
}

}  // namespace
}  // namespace tidewright::base
