#include "promql/query_slots.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>

#include "base/clock.h"

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

}  // namespace
}  // namespace tidewright::promql
