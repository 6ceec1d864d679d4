// The built-in alerts about scaling: their unit tests, and that the series which they read are in the store although
// nothing is scraped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "cmd/rules_command.h"
#include "cmd/self_metrics.h"
#include "promql/engine.h"
#include "scaler/status_board.h"
#include "tsdb/db.h"

namespace tidewright::cmd {
namespace {

TEST(ScalingAlerts, PassTheirUnitTests) {
  EXPECT_EQ(RunTestRules({.files = {TIDEWRIGHT_SOURCE_DIR "/tests/cmd/scaling_alerts_test.yml"}}), 0);
  EXPECT_EQ(RunCheckRules({.files = {TIDEWRIGHT_SOURCE_DIR "/cmd/scaling_alerts.yml"}, .lint_fatal = true}), 0);
}

class SelfMetricsTest : public testing::Test {
 protected:
  ~SelfMetricsTest() override { scheduler_.Stop(); }

  size_t Count(const std::string& expr) {
    auto result = engine_->Instant(expr, clock_.NowMs());
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? std::get<promql::Vector>(result->value).size() : 0;
  }
  bool Eventually(const std::string& expr, size_t count) {
    const int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
    while (Count(expr) != count) {
      if (base::MonotonicNanos() > deadline) return false;
      base::SystemClock::Get().SleepFor(2, never_);
    }
    return true;
  }

  base::StopSignal never_;
  base::FakeClock clock_{1'700'000'000'000};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  base::ThreadPool pool_{"test", 1};
  base::Scheduler scheduler_{clock_, pool_};
};

TEST_F(SelfMetricsTest, StoresWhatTheAlertsRead) {
  scaler::StatusBoard board(metrics_);
  scaler::WorkloadStatus workload{.controller = "ScaledObject", .ns = "shop", .name = "web", .target_name = "web"};
  workload.desired = workload.current = workload.max = 5;
  workload.min = 1;
  workload.decided_ms = clock_.NowMs();
  workload.interval_ms = 30'000;
  workload.signals.push_back({.name = "queue", .type = "redis", .value_milli = 1000, .target_milli = 5000});
  board.Update(workload);
  board.RecordScale("ScaledObject", "shop", "web", {.from = 1, .to = 5});
  metrics_.GetCounter("rest_client_requests_total", "", {{"code", "500"}, {"method", "PATCH"}}).Add();
  metrics_.GetCounter("something_else_total", "").Add();
  SelfMetrics self(metrics_, *db_, clock_, scheduler_, "pod:9090",
                   [this] { metrics_.GetGauge("tidewright_leader_known", "").Set(1); });
  ASSERT_TRUE(self.Start().ok());
  for (const char* name :
       {"tidewright_workload_desired_replicas", "tidewright_workload_max_replicas", "tidewright_workload_min_replicas",
        "tidewright_workload_last_decision_timestamp_seconds", "tidewright_workload_decision_interval_seconds",
        "tidewright_trigger_target", "tidewright_trigger_value", "tidewright_scale_total", "tidewright_leader_known",
        "rest_client_requests_total"}) {
    EXPECT_TRUE(Eventually(std::string(name) + "{job=\"tidewright-self\", instance=\"pod:9090\"}", 1)) << name;
  }
  EXPECT_EQ(Count("something_else_total"), 0u);
  // The very expressions of the rules find them.
  EXPECT_EQ(Count("tidewright_workload_desired_replicas >= on (namespace, name) tidewright_workload_max_replicas"), 1u);
  clock_.Advance(15'000);
  EXPECT_TRUE(Eventually("count_over_time(tidewright_leader_known[1m]) == 2", 1)) << "every 15 seconds";
  clock_.Advance(1'000);
  self.Stop();
  self.Stop();
  EXPECT_EQ(Count("tidewright_leader_known"), 0u) << "the series have ended";
}

}  // namespace
}  // namespace tidewright::cmd
