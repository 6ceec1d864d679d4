#include "web/autoscaling_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::web {
namespace {

scaler::WorkloadStatus Worker() {
  scaler::WorkloadStatus workload;
  workload.controller = "ScaledObject";
  workload.ns = "shop";
  workload.name = "worker";
  workload.target_kind = "Deployment";
  workload.target_name = "worker-v2";
  workload.current = 2;
  workload.desired = 5;
  workload.why = "redis orders = 42";
  workload.signals.push_back({"redis orders", "redis", 42'500, 10'000, 5, true, "", "list orders = 42"});
  workload.signals.push_back({"cron", "cron", std::nullopt, 1'000, std::nullopt, false, "no such zone", ""});
  workload.steps.push_back({"signal", "redis orders", 5, "redis orders asks for 5"});
  workload.scales.push_back({1'000, 0, 2, "woke up"});
  return workload;
}

TEST(AutoscalingReportTest, SaysEverythingThatTheBoardKnows) {
  base::Json report = AutoscalingReport({Worker()}, 2'000, 3'000);
  EXPECT_EQ(report["now"], "1970-01-01T00:00:02Z");
  EXPECT_EQ(report["calendar"], "1970-01-01T00:00:03Z");
  const base::Json& workload = report["workloads"][0];
  EXPECT_EQ(workload["target"], "Deployment/worker-v2");
  EXPECT_EQ(workload["signals"][0]["value"], 42.5);
  EXPECT_EQ(workload["signals"][0]["proposal"], 5);
  EXPECT_TRUE(workload["signals"][1]["value"].is_null());
  EXPECT_EQ(workload["signals"][1]["error"], "no such zone");
  EXPECT_EQ(workload["events"][0],
            base::Json::parse(R"({"time":"1970-01-01T00:00:01Z","from":0,"to":2,"why":"woke up"})"));
}

TEST(ProblemsTest, NamesWorkloadsThatAreNotScaledAsAsked) {
  auto with = [](const char* type, const char* status, const char* reason) {
    scaler::WorkloadStatus workload = Worker();
    workload.conditions = std::make_shared<const std::vector<scaler::ConditionStatus>>(
        std::vector<scaler::ConditionStatus>{{type, status, reason, "the message", ""}});
    return workload;
  };
  EXPECT_THAT(Problems({with("Ready", "False", "TriggerError")}),
              testing::ElementsAre("ScaledObject shop/worker: the message"));
  EXPECT_THAT(Problems({with("ScalingActive", "False", "FailedGetPodsMetric")}), testing::SizeIs(1));
  EXPECT_THAT(Problems({with("ScalingActive", "False", "ScalingDisabled")}), testing::IsEmpty());
  EXPECT_THAT(Problems({with("Ready", "True", "ScaledObjectReady")}), testing::IsEmpty());
  EXPECT_THAT(Problems({with("Active", "False", "ScalerNotActive")}), testing::IsEmpty());
}

}  // namespace
}  // namespace tidewright::web
