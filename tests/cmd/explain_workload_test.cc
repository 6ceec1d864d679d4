#include "cmd/explain_workload.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::cmd {
namespace {

TEST(ExplainWorkload, PrintsTheTrace) {
  auto workloads = base::ParseJson(R"({"workloads": [
      {"controller": "HorizontalPodAutoscaler", "namespace": "shop", "name": "orders"},
      {"controller": "ScaledObject", "namespace": "shop", "name": "orders", "target": "Deployment/worker",
       "minReplicas": 0, "maxReplicas": 20, "currentReplicas": 4, "desiredReplicas": 5, "readyReplicas": 3,
       "why": "redis orders = 22, target 5 per replica -> 5 replicas",
       "steps": [{"stage": "signal", "replicas": 5, "text": "redis orders = 22, target 5 per replica -> 5 replicas"},
                 {"stage": "combine", "replicas": 5, "text": "one signal asks for 5 replicas"}]}]})");
  auto history = base::ParseJson(R"({"data": [
      {"controller": "ScaledObject", "time": "2026-01-08T12:00:00Z", "from": 0, "to": 4, "why": "waking up"},
      {"controller": "ScaledObject", "time": "2026-01-08T11:00:00Z", "from": 2, "to": 0, "why": "idle"}]})");
  ASSERT_TRUE(workloads.ok() && history.ok());
  ExplainWorkloadFlags flags;
  flags.object = "so/orders";
  flags.ns = "shop";
  flags.history = 1;
  auto text = ExplainWorkload(flags, *workloads, *history);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_EQ(*text,
            "ScaledObject shop/orders scales Deployment/worker between 0 and 20\n"
            "replicas: 4 set, 3 ready, 5 decided\n"
            "why: redis orders = 22, target 5 per replica -> 5 replicas\n"
            "steps:\n"
            "  signal         5  redis orders = 22, target 5 per replica -> 5 replicas\n"
            "  combine        5  one signal asks for 5 replicas\n"
            "before:\n"
            "  2026-01-08T12:00:00Z  0 -> 4  waking up\n");
  flags.ns = "other";
  EXPECT_NE(ExplainWorkload(flags, *workloads, *history).status().message().find("no ScaledObject other/orders"),
            std::string::npos);
  for (const char* object : {"orders", "so/", "/orders", "deployment/orders"}) {
    flags.object = object;
    EXPECT_FALSE(ExplainWorkload(flags, *workloads, *history).ok()) << object;
  }
}

}  // namespace
}  // namespace tidewright::cmd
