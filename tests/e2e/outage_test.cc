// What goes wrong must scale nothing down and must be said where people look.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/strings.h"
#include "tests/e2e/sandbox_process.h"

namespace tidewright::e2e {
namespace {

using base::Json;
using testing::HasSubstr;

constexpr const char* kWorker = "queue-worker";

// The lowest count that the worker's changes since `first_event` went to.
int LowestSince(const Json& workload, size_t first_event) {
  int lowest = workload["currentReplicas"];
  for (size_t i = first_event; i < workload["events"].size(); ++i) {
    lowest = std::min(lowest, workload["events"][i]["to"].get<int>());
  }
  return lowest;
}

TEST(OutageTest, ADeadRedisScalesNothingDownAndIsShownAndRecovers) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  SandboxProcess sandbox("300s");
  ASSERT_FALSE(HasFailure());
  ASSERT_TRUE(sandbox.WaitFor(kWorker, 60, [](const Json& w) { return w["currentReplicas"] >= 2; }));
  ASSERT_EQ(::kill(sandbox.RedisPid(), SIGKILL), 0);

  ASSERT_TRUE(sandbox.WaitFor(kWorker, 20, [](const Json& w) { return Condition(w, "Ready", "status") == "False"; }));
  Json broken = sandbox.Workload(kWorker);
  int before = broken["currentReplicas"];
  size_t events = broken["events"].size();
  EXPECT_GE(before, 1);
  EXPECT_THAT(Condition(broken, "Ready", "message"), HasSubstr("redis"));
  EXPECT_NE(broken["signals"][0]["error"], "");
  EXPECT_TRUE(broken["signals"][0]["value"].is_null());
  // The page's list of problems names it, too.
  EXPECT_THAT(base::DumpJson(sandbox.Get("/api/v1/autoscaling/workloads")["problems"]), HasSubstr(kWorker));
  // Nobody else minds.
  EXPECT_EQ(Condition(sandbox.Workload("web-checkout"), "Ready", "status"), "True");
  if (base::HaveProgram("kubectl")) {
    auto shown = sandbox.Kubectl({"get", "scaledobject", kWorker, "-n", "shop", "-o",
                                  "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"});
    EXPECT_EQ(shown.output, "False");
  }

  // Until the sandbox has started redis again the count never goes down.
  int lowest = before;
  EXPECT_TRUE(sandbox.WaitFor(kWorker, 60, [&](const Json& w) {
    if (Condition(w, "Ready", "status") == "True") return true;
    lowest = std::min(lowest, LowestSince(w, events));
    return false;
  }));
  EXPECT_EQ(lowest, before);
  // The queue survived; once it is empty the worker goes to zero, for that reason.
  EXPECT_TRUE(sandbox.WaitFor(kWorker, 120, [](const Json& w) { return w["currentReplicas"] == 0; }));
  EXPECT_EQ(sandbox.Workload(kWorker)["signals"][0]["error"], "");
}

TEST(OutageTest, ABrokenScaledObjectSaysWhyAndDisturbsNobody) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  if (!base::HaveProgram("kubectl")) GTEST_SKIP() << "kubectl is not installed";
  SandboxProcess sandbox("300s");
  ASSERT_FALSE(HasFailure());
  ASSERT_TRUE(base::WriteFileAtomic(sandbox.folder() + "/broken.yaml",
                                    "apiVersion: apps/v1\n"
                                    "kind: Deployment\n"
                                    "metadata: {name: steady, namespace: shop}\n"
                                    "spec:\n"
                                    "  replicas: 3\n"
                                    "  selector: {matchLabels: {app: steady}}\n"
                                    "  template:\n"
                                    "    metadata: {labels: {app: steady}}\n"
                                    "    spec: {containers: [{name: a, image: b}]}\n"
                                    "---\n"
                                    "apiVersion: tidewright.dev/v1alpha1\n"
                                    "kind: ScaledObject\n"
                                    "metadata: {name: steady, namespace: shop}\n"
                                    "spec:\n"
                                    "  scaleTargetRef: {name: steady}\n"
                                    "  triggers:\n"
                                    "  - type: cron\n"
                                    "    metadata: {timezone: Europe/Rom, start: '0 8 * * *', end: '0 18 * * *', "
                                    "desiredReplicas: '1'}\n")
                  .ok());
  auto applied = sandbox.Kubectl({"apply", "-f", sandbox.folder() + "/broken.yaml"});
  ASSERT_EQ(applied.exit_code, 0) << applied.output;
  ASSERT_TRUE(sandbox.WaitFor("steady", 30, [](const Json& w) { return Condition(w, "Ready", "status") == "False"; }));
  Json broken = sandbox.Workload("steady");
  EXPECT_THAT(Condition(broken, "Ready", "message"),
              testing::AllOf(HasSubstr("spec.triggers[0].metadata.timezone"), HasSubstr("Europe/Rom")));
  auto events = sandbox.Kubectl({"describe", "scaledobject", "steady", "-n", "shop"});
  EXPECT_THAT(events.output, HasSubstr("Europe/Rom"));
  auto replicas = sandbox.Kubectl({"get", "deployment", "steady", "-n", "shop", "-o", "jsonpath={.spec.replicas}"});
  EXPECT_EQ(replicas.output, "3");
  EXPECT_TRUE(sandbox.WaitFor(kWorker, 60, [](const Json& w) { return w["currentReplicas"] >= 1; }));
}

}  // namespace
}  // namespace tidewright::e2e
