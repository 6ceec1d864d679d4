// The controllers with their threads: informers, scheduler, worker pool.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>

#include "base/duration.h"
#include "kube/meta.h"
#include "scaler/hpa_controller.h"
#include "scaler/scaled_object_controller.h"
#include "scaler/work_queue.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kDeployments;
using kube::resources::kHorizontalPodAutoscalers;
using kube::resources::kScaledObjects;

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() : pool_("test", 4), scheduler_(clock_, pool_), board_(metrics_) { engine_.SetVector({0}); }

  // Advances the fake clock in small steps until the condition holds; false after a generous deadline.
  bool Eventually(const std::function<bool()>& condition) {
    base::StopSignal never;
    for (int i = 0; i < 1'000; ++i) {
      if (condition()) return true;
      clock_.Advance(500);
      base::SystemClock::Get().SleepFor(10, never);
    }
    return false;
  }

  ScaledObjectControllerOptions Options() {
    ScaledObjectControllerOptions options;
    options.board = &board_;
    options.targets = &targets_;
    return options;
  }

  base::Json Object(const std::string& name, const std::string& target, const std::string& query = "up") {
    return {
        {"metadata", {{"name", name}, {"namespace", "shop"}, {"creationTimestamp", base::FormatTime(clock_.NowMs())}}},
        {"spec",
         {{"scaleTargetRef", {{"name", target}}},
          {"pollingInterval", 5},
          {"cooldownPeriod", 0},
          {"triggers", {{{"type", "prometheus"}, {"metadata", {{"query", query}, {"threshold", "10"}}}}}}}}};
  }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::ThreadPool pool_;
  base::Scheduler scheduler_;
  base::MetricRegistry metrics_;
  StatusBoard board_;
  TargetRegistry targets_;
  FakeKube kube_;
  kube::SharedCaches caches_{kube_, clock_};
  std::unique_ptr<kube::ObjectReader> objects_ = kube::NewCachedReader(caches_);
  Cluster cluster_ = ClusterOf(kube_, *objects_, &caches_);
  FakeEngine engine_;
};

TEST_F(ControllerTest, FollowsObjectsFromAppearanceToDeletion) {
  for (const char* name : {"a", "b", "c"}) kube_.Put(kDeployments, MakeDeployment(name, 0));
  kube_.Put(kScaledObjects, Object("a", "a"));
  kube_.Put(kScaledObjects, Object("broken", "c", "sum("));
  ScaledObjectController controller(cluster_, engine_, clock_, clock_, scheduler_, metrics_, Options());
  ASSERT_TRUE(controller.Start().ok());
  engine_.SetVector({25});
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 3; }));
  EXPECT_TRUE(Eventually([&] { return controller.HasSynced(); }));

  kube_.Put(kScaledObjects, Object("b", "b"));
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "b") == 3; }));
  EXPECT_EQ(kube_.Replicas("shop", "c"), 0);
  EXPECT_TRUE(Eventually([&] {
    auto broken = board_.Get("ScaledObject", "shop", "broken");
    return broken && broken->held;
  }));

  engine_.SetVector({0});
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 0 && kube_.Replicas("shop", "b") == 0; }));

  kube_.Remove(kScaledObjects, "shop", "a");
  EXPECT_TRUE(Eventually([&] { return !board_.Get("ScaledObject", "shop", "a"); }));
  controller.Stop();
  controller.Stop();
  engine_.SetVector({90});
  clock_.Advance(60'000);
  EXPECT_EQ(kube_.Replicas("shop", "b"), 0);
}

// At the start of a large cluster: no complaint, no condition that somebody waits for flips, and then it goes on.
TEST_F(ControllerTest, AListThatTakesItsTimeIsNoFault) {
  kube_.Put(kDeployments, MakeDeployment("a", 0));
  kube_.Put(kScaledObjects, Object("a", "a"));
  std::atomic<bool> slow{true};
  kube_.FailWith([&](const std::string& verb, const std::string& path) {
    base::StopSignal never;
    while (slow && verb == "list" && path.find("deployments") != std::string::npos) {
      base::SystemClock::Get().SleepFor(5, never);
    }
    return base::Status::Ok();
  });
  engine_.SetVector({25});
  ScaledObjectController controller(cluster_, engine_, clock_, clock_, scheduler_, metrics_, Options());
  ASSERT_TRUE(controller.Start().ok());
  EXPECT_TRUE(Eventually([&] { return controller.HasSynced(); }));
  for (int i = 0; i < 50; ++i) clock_.Advance(1'000);
  EXPECT_EQ(kube_.StatusWrites(), 0);
  slow = false;
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 3; }));
  EXPECT_TRUE(kube_.Events().empty() || kube_.Events()[0].starts_with("Normal")) << kube_.Events()[0];
  controller.Stop();
}

TEST_F(ControllerTest, WhatIsNotListedYetIsNoAbsence) {
  kube_.Put(kDeployments, MakeDeployment("a", 0));
  kube_.Put(kScaledObjects, Object("a", "a"));
  std::atomic<bool> forbidden{true};
  kube_.FailWith([&](const std::string& verb, const std::string& path) {
    bool refused = forbidden && verb == "list" && path.find("deployments") != std::string::npos;
    return refused ? base::PermissionDeniedError("cannot list deployments") : base::Status::Ok();
  });
  engine_.SetVector({25});
  ScaledObjectController controller(cluster_, engine_, clock_, clock_, scheduler_, metrics_, Options());
  ASSERT_TRUE(controller.Start().ok());
  EXPECT_TRUE(Eventually([&] {
    auto shown = board_.Get("ScaledObject", "shop", "a");
    return shown && shown->why.find("the deployments have not been listed yet: ") != std::string::npos &&
           shown->why.find("cannot list deployments") != std::string::npos;
  }));
  EXPECT_EQ(kube_.Replicas("shop", "a"), 0);
  forbidden = false;
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 3; }));
  controller.Stop();
}

// The controller of the next leader, over the caches of the standby that it was.
TEST_F(ControllerTest, AnotherControllerTakesOverWithoutTakingReplicasBack) {
  kube_.Put(kDeployments, MakeDeployment("a", 0));
  base::Json object = Object("a", "a");
  object["spec"]["advanced"] = {
      {"horizontalPodAutoscalerConfig", {{"behavior", {{"scaleDown", {{"stabilizationWindowSeconds", 3600}}}}}}}};
  kube_.Put(kScaledObjects, object);
  engine_.SetVector({85});
  {
    ScaledObjectController first(cluster_, engine_, clock_, clock_, scheduler_, metrics_, Options());
    ASSERT_TRUE(first.Start().ok());
    EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 9; }));
  }
  board_.Clear();
  EXPECT_TRUE(board_.Snapshot().empty());
  EXPECT_EQ(metrics_.Render().find("tidewright_workload_replicas{"), std::string::npos);
  engine_.SetVector({12});
  TargetRegistry none;
  ScaledObjectControllerOptions options = Options();
  options.targets = &none;
  ScaledObjectController second(cluster_, engine_, clock_, clock_, scheduler_, metrics_, options);
  ASSERT_TRUE(second.Start().ok());
  int writes = kube_.ScaleWrites();
  EXPECT_TRUE(Eventually([&] {
    auto shown = board_.Get("ScaledObject", "shop", "a");
    return shown && !shown->signals.empty() && shown->signals[0].value_milli == 12'000;
  }));
  clock_.Advance(60'000);
  EXPECT_EQ(kube_.Replicas("shop", "a"), 9);
  EXPECT_EQ(kube_.ScaleWrites(), writes);
  second.Stop();
}

TEST_F(ControllerTest, WatchesKedaObjectsOnRequest) {
  kube::Resource keda = kScaledObjects;
  keda.group = "keda.sh";
  kube_.Put(kDeployments, MakeDeployment("a", 0));
  kube_.Put(keda, Object("a", "a"));
  engine_.SetVector({25});
  ScaledObjectControllerOptions options = Options();
  options.watch_keda = true;
  ScaledObjectController controller(cluster_, engine_, clock_, clock_, scheduler_, metrics_, options);
  ASSERT_TRUE(controller.Start().ok());
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 3; }));
  EXPECT_TRUE(Eventually([&] { return !ConditionsOf(kube_.Read(keda, "shop", "a")).empty(); }));
}

TEST_F(ControllerTest, HpaController) {
  kube_.Put(kDeployments, MakeDeployment("a", 2));
  kube_.Put(kube::resources::kPods,
            {{"metadata", {{"name", "a-1"}, {"namespace", "shop"}, {"labels", {{"app", "x"}}}}}});
  kube_.SetRaw("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue", {{"items", {{{"value", "80"}}}}});
  kube_.Put(
      kHorizontalPodAutoscalers,
      {{"metadata", {{"name", "a"}, {"namespace", "shop"}}},
       {"spec",
        {{"scaleTargetRef", {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", "a"}}},
         {"maxReplicas", 10},
         {"metrics",
          {{{"type", "External"},
            {"external",
             {{"metric", {{"name", "queue"}}}, {"target", {{"type", "AverageValue"}, {"averageValue", "10"}}}}}}}}}}});
  HpaControllerOptions options;
  options.board = &board_;
  HpaController controller(cluster_, clock_, scheduler_, metrics_, options);
  controller.Start();
  EXPECT_TRUE(Eventually([&] { return kube_.Replicas("shop", "a") == 8; }));
  EXPECT_EQ(board_.Get("HorizontalPodAutoscaler", "shop", "a")->max, 10);
  controller.Stop();
}

TEST_F(ControllerTest, WorkQueueNeverRunsAKeyTwiceAtATime) {
  std::atomic<int> inside{0};
  std::atomic<int> runs{0};
  std::atomic<bool> overlapped{false};
  auto queue = std::make_shared<WorkQueue>(scheduler_, [&](const std::string&) -> std::optional<int64_t> {
    if (++inside > 1) overlapped = true;
    ++runs;
    --inside;
    return runs < 500 ? std::optional<int64_t>(0) : std::nullopt;
  });
  for (int i = 0; i < 50; ++i) queue->Add("key");
  EXPECT_TRUE(Eventually([&] { return runs >= 500; }));
  EXPECT_FALSE(overlapped);
  queue->Stop();
  int before = runs;
  queue->Add("key");
  clock_.Advance(10'000);
  EXPECT_EQ(runs, before);
}

TEST(SpreadOf, IsEven) {
  int64_t low = 0;
  for (int i = 0; i < 1'000; ++i) low += SpreadOf("shop/object-" + std::to_string(i), 2'000) < 1'000;
  EXPECT_NEAR(low, 500, 60);
}

}  // namespace
}  // namespace tidewright::scaler
