#include "sandbox/redis.h"

#include <gtest/gtest.h>

#include <csignal>
#include <functional>

#include "base/file.h"
#include "tests/eventually.h"

namespace tidewright::sandbox {
namespace {

TEST(RedisTest, KeepsItsQueueOverADeathAndRestartsAfterTheDelay) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  base::FakeClock clock(1'000'000);
  RedisOptions options;
  options.port = *base::FreePort();
  Redis redis(options, clock);
  ASSERT_TRUE(redis.Start().ok());
  ASSERT_TRUE(Eventually([&] { return redis.Push("orders", 7).ok(); }));
  EXPECT_TRUE(redis.healthy());
  EXPECT_EQ(*redis.Pop("orders", 2), 2);
  EXPECT_EQ(*redis.Length("orders"), 5);

  const int first = redis.pid();
  ASSERT_GT(first, 0);
  kill(first, SIGKILL);
  ASSERT_TRUE(Eventually([&] {
    redis.Tick();
    return redis.pid() == -1;
  }));
  EXPECT_FALSE(redis.healthy());
  EXPECT_EQ(redis.Push("orders", 1).code(), base::Code::kUnavailable);
  clock.Advance(14'000);
  redis.Tick();
  EXPECT_EQ(redis.pid(), -1) << "too early";
  clock.Advance(1'000);
  redis.Tick();
  EXPECT_NE(redis.pid(), first);
  ASSERT_TRUE(Eventually([&] { return redis.Length("orders").ok(); }));
  EXPECT_EQ(*redis.Length("orders"), 5);
  EXPECT_EQ(*redis.Pop("orders", 100), 5);
  EXPECT_EQ(*redis.Pop("orders", 100), 0);
  redis.Stop();
  redis.Stop();
  EXPECT_EQ(redis.pid(), -1);
}

}  // namespace
}  // namespace tidewright::sandbox
