// From a sample that is stored to replicas, without waiting for a pollingInterval: store, engine and controller.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "base/duration.h"
#include "kube/meta.h"
#include "promql/arrivals.h"
#include "promql/engine.h"
#include "scaler/scaled_object_controller.h"
#include "tests/eventually.h"
#include "tests/scaler/fake_kube.h"
#include "tsdb/db.h"

namespace tidewright::scaler {
namespace {

class SamplePushTest : public testing::Test {
 protected:
  // Lets the controller's time pass in small steps until the condition holds.
  bool InTime(const std::function<bool()>& condition) {
    return Eventually([&] {
      if (!condition()) clock_.Advance(100);
      return condition();
    });
  }

  void Follow(const std::string& name, const std::string& evaluate_on) {
    kube_.Put(kube::resources::kDeployments, MakeDeployment(name, 0));
    const base::Json metadata = {
        {"query", "sum(queued{app=\"" + name + "\"})"}, {"threshold", "10"}, {"evaluateOn", evaluate_on}};
    kube_.Put(
        kube::resources::kScaledObjects,
        {{"metadata", {{"name", name}, {"namespace", "shop"}, {"creationTimestamp", base::FormatTime(clock_.NowMs())}}},
         {"spec",
          {{"scaleTargetRef", {{"name", name}}},
           {"pollingInterval", 30 * 86'400},
           {"triggers", {{{"type", "prometheus"}, {"metadata", metadata}}}}}}});
  }

  // One scrape of both applications.
  void Store(double value) {
    auto appender = db_->NewAppender();
    for (const char* app : {"push", "poll"}) {
      ASSERT_TRUE(
          appender->Append(0, tsdb::Labels::FromPairs({{"__name__", "queued"}, {"app", app}}), clock_.NowMs(), value)
              .ok());
    }
    ASSERT_TRUE(appender->Commit().ok());
  }
  // Whether the controller has looked at it since `ms`.
  bool DecidedSince(const std::string& name, int64_t ms) {
    auto shown = board_.Get("ScaledObject", "shop", name);
    return shown && shown->decided_ms > ms;
  }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  promql::SampleArrivals arrivals_{db_->arrivals()};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  StatusBoard board_{metrics_};
  FakeKube kube_;
  kube::SharedCaches caches_{kube_, clock_};
  std::unique_ptr<kube::ObjectReader> objects_ = kube::NewCachedReader(caches_);
};

TEST_F(SamplePushTest, ASampleIsActedUponWithoutWaitingForTheInterval) {
  Follow("push", "samples");
  Follow("poll", "interval");
  Store(0);
  ScaledObjectControllerOptions options;
  options.board = &board_;
  options.arrivals = &arrivals_;
  ScaledObjectController controller(ClusterOf(kube_, *objects_, &caches_), *engine_, clock_, clock_, scheduler_,
                                    metrics_, options);
  ASSERT_TRUE(controller.Start().ok());
  ASSERT_TRUE(InTime([&] { return DecidedSince("push", 0) && DecidedSince("poll", 0); }));

  for (const int wanted : {3, 4, 5}) {
    SCOPED_TRACE(wanted);
    Store(wanted * 10);
    EXPECT_TRUE(InTime([&] { return kube_.Replicas("shop", "push") == wanted; }));
    clock_.Advance(1'000);
  }
  EXPECT_EQ(kube_.Replicas("shop", "poll"), 0) << "its turn is in days";

  const int64_t quiet_ms = clock_.NowMs();
  for (int i = 0; i < 100; ++i) clock_.Advance(100);
  EXPECT_FALSE(DecidedSince("push", quiet_ms)) << "nothing was stored";
  kube_.Remove(kube::resources::kScaledObjects, "shop", "push");
  EXPECT_TRUE(InTime([&] { return !db_->arrivals().watched(); })) << "and nobody watches for what is gone";
  controller.Stop();
}

}  // namespace
}  // namespace tidewright::scaler
