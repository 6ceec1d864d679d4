#include "promql/query_slots.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace tidewright::promql {
namespace {

int64_t In(int64_t ms) { return base::MonotonicNanos() + ms * 1'000'000; }

TEST(QuerySlots, AreGivenBack) {
  QuerySlots slots(1);
  for (int i = 0; i < 3; ++i) {
    auto held = slots.Acquire(In(10'000), nullptr);
    EXPECT_TRUE(held.ok());
  }
}

TEST(QuerySlots, WaitingEndsAtTheDeadline) {
  QuerySlots slots(1);
  auto held = slots.Acquire(In(10'000), nullptr);
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(slots.Acquire(In(1), nullptr).status().code(), base::Code::kDeadlineExceeded);
}

TEST(QuerySlots, WaitingEndsWhenCancelled) {
  QuerySlots slots(1);
  auto held = slots.Acquire(In(10'000), nullptr);
  std::atomic<bool> cancelled = true;
  EXPECT_EQ(slots.Acquire(In(10'000), &cancelled).status().code(), base::Code::kCancelled);
}

TEST(QuerySlots, AWaitingQueryGetsTheSlotThatIsReleased) {
  QuerySlots slots(1);
  std::optional<QuerySlots::Held> held;
  auto first = slots.Acquire(In(10'000), nullptr);
  ASSERT_TRUE(first.ok());
  held.emplace(*std::move(first));
  base::Status waited;
  std::thread waiting([&] { waited = slots.Acquire(In(10'000), nullptr).status(); });
  held.reset();
  waiting.join();
  EXPECT_TRUE(waited.ok()) << waited.message();
}

// Whoever came first runs first, however many slots are given back at once.
TEST(QuerySlots, AreGivenInTheOrderOfArrival) {
  constexpr size_t kWaiting = 8;
  QuerySlots slots(1);
  auto first = slots.Acquire(In(10'000), nullptr);
  ASSERT_TRUE(first.ok());
  std::optional<QuerySlots::Held> held(*std::move(first));
  base::Mutex mu;
  std::vector<size_t> order;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kWaiting; ++i) {
    threads.emplace_back([&, i] {
      auto slot = slots.Acquire(In(60'000), nullptr);
      base::MutexLock lock(mu);
      if (slot.ok()) order.push_back(i);
    });
    while (slots.waiting() < i + 1) std::this_thread::yield();
  }
  held.reset();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

}  // namespace
}  // namespace tidewright::promql
