#include "kube/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace tidewright::kube {
namespace {

struct PriorityCase {
  const char* name;
  const char* method;
  const char* path;
  RequestPriority want;
};

TEST(PriorityTest, FollowsFromTheRequest) {
  using P = RequestPriority;
  for (const PriorityCase& row : {
           PriorityCase{"scale", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=x",
                        P::kScale},
           PriorityCase{"scale read", "GET", "/apis/apps/v1/namespaces/shop/deployments/web/scale", P::kOrdinary},
           PriorityCase{"scale of a custom resource", "PUT", "/apis/zoo.io/v1/namespaces/a/mice/m/scale", P::kScale},
           PriorityCase{"named scale", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/scale", P::kOrdinary},
           PriorityCase{"namespace named scale", "DELETE", "/api/v1/namespaces/scale", P::kOrdinary},
           PriorityCase{"lease", "PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", P::kExempt},
           PriorityCase{"lease read", "GET", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", P::kExempt},
           PriorityCase{"leases of another group", "PUT", "/apis/zoo.io/v1/namespaces/a/leases/b", P::kOrdinary},
           PriorityCase{"event", "POST", "/api/v1/namespaces/a/events?fieldManager=x", P::kEvents},
           PriorityCase{"event patch", "PATCH", "/api/v1/namespaces/a/events/b.17", P::kEvents},
           PriorityCase{"new event", "POST", "/apis/events.k8s.io/v1/namespaces/a/events", P::kEvents},
           PriorityCase{"event list", "GET", "/api/v1/namespaces/a/events", P::kOrdinary},
           PriorityCase{"pod named events", "DELETE", "/api/v1/namespaces/a/pods/events", P::kOrdinary},
           PriorityCase{"status", "PATCH", "/apis/tidewright.dev/v1alpha1/namespaces/a/scaledobjects/b/status",
                        P::kOrdinary},
           PriorityCase{"nothing", "GET", "", P::kOrdinary},
           PriorityCase{"root", "GET", "/", P::kOrdinary},
       }) {
    EXPECT_EQ(PriorityOf(row.method, row.path), row.want) << row.name;
  }
}

// Callers that wait for tokens, and the order in which they got them.
class Callers {
 public:
  explicit Callers(RateLimiter& limiter) : limiter_(limiter) {}
  ~Callers() {
    for (std::thread& thread : threads_) thread.join();
  }

  // Returns once the caller waits.
  void Add(const std::string& name, RequestPriority priority, int64_t deadline_ms = INT64_MAX) {
    const size_t before = limiter_.waiting();
    threads_.emplace_back([this, name, priority, deadline_ms] {
      base::Status status = limiter_.Acquire(priority, deadline_ms);
      base::MutexLock lock(mu_);
      order_.push_back(status.ok() ? name : name + " " + std::string(base::CodeName(status.code())));
      changed_.NotifyAll();
    });
    while (limiter_.waiting() == before) std::this_thread::yield();
  }
  std::vector<std::string> WaitFor(size_t count) {
    base::MutexLock lock(mu_);
    for (int i = 0; order_.size() < count && i < 200; ++i) changed_.WaitFor(mu_, std::chrono::milliseconds(100));
    return order_;
  }

 private:
  RateLimiter& limiter_;
  base::Mutex mu_;
  base::CondVar changed_;
  std::vector<std::string> order_ GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

TEST(RateLimiterTest, ScaleFirstEventsLastAndFairInBetween) {
  base::FakeClock clock(1'000);
  RateLimiter limiter(clock, {.qps = 1, .burst = 1});
  ASSERT_TRUE(limiter.Acquire(RequestPriority::kOrdinary, INT64_MAX).ok());
  Callers callers(limiter);
  callers.Add("event", RequestPriority::kEvents);
  callers.Add("first", RequestPriority::kOrdinary);
  callers.Add("second", RequestPriority::kOrdinary);
  callers.Add("scale", RequestPriority::kScale);
  EXPECT_TRUE(limiter.Acquire(RequestPriority::kExempt, 0).ok());
  std::vector<std::string> order;
  for (size_t served = 1; served <= 4; ++served) {
    clock.Advance(1'000);
    order = callers.WaitFor(served);
  }
  EXPECT_THAT(order, testing::ElementsAre("scale", "first", "second", "event"));
}

TEST(RateLimiterTest, DeadlinesAndStop) {
  base::FakeClock clock(1'000);
  RateLimiter limiter(clock, {.qps = 0.01, .burst = 1});
  ASSERT_TRUE(limiter.Acquire(RequestPriority::kOrdinary, INT64_MAX).ok());
  Callers callers(limiter);
  callers.Add("patient", RequestPriority::kOrdinary);
  callers.Add("hasty", RequestPriority::kOrdinary, 2'500);
  clock.Advance(1'000);
  EXPECT_EQ(limiter.waiting(), 2U);
  clock.Advance(1'000);
  EXPECT_THAT(callers.WaitFor(1), testing::ElementsAre("hasty RESOURCE_EXHAUSTED"));
  limiter.Stop();
  EXPECT_THAT(callers.WaitFor(2), testing::ElementsAre("hasty RESOURCE_EXHAUSTED", "patient CANCELLED"));
  EXPECT_EQ(limiter.Acquire(RequestPriority::kOrdinary, INT64_MAX).code(), base::Code::kCancelled);
}

TEST(RateLimiterTest, TokensGatherUpToTheBurst) {
  base::FakeClock clock(1'000);
  RateLimiter limiter(clock, {.qps = 10, .burst = 3});
  clock.Advance(3'600'000);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.Acquire(RequestPriority::kScale, clock.NowMs()).ok()) << i;
  EXPECT_EQ(limiter.Acquire(RequestPriority::kScale, clock.NowMs()).code(), base::Code::kResourceExhausted);
  clock.Advance(100);
  EXPECT_TRUE(limiter.Acquire(RequestPriority::kScale, clock.NowMs()).ok());
}

TEST(RateLimiterTest, ManyCallersGetExactlyTheTokensThereAre) {
  base::FakeClock clock(1'000);
  RateLimiter limiter(clock, {.qps = 100, .burst = 5});
  Callers callers(limiter);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(limiter.Acquire(RequestPriority::kOrdinary, INT64_MAX).ok());
  for (int i = 0; i < 20; ++i) callers.Add(std::to_string(i), RequestPriority::kOrdinary);
  clock.Advance(50);
  EXPECT_EQ(callers.WaitFor(5).size(), 5U);
  EXPECT_EQ(limiter.waiting(), 15U);
  for (int i = 0; i < 3; ++i) {
    clock.Advance(50);
    callers.WaitFor(static_cast<size_t>(10 + 5 * i));
  }
  EXPECT_EQ(callers.WaitFor(20).size(), 20U);
}

}  // namespace
}  // namespace tidewright::kube
