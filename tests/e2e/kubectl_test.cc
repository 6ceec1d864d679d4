// The kubectl session of README.md against the running sandbox.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/sandbox_process.h"

namespace tidewright::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(KubectlTest, TheSessionOfTheReadmeWorks) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  if (!base::HaveProgram("kubectl")) GTEST_SKIP() << "kubectl is not installed";
  SandboxProcess sandbox("300s");
  ASSERT_FALSE(HasFailure());
  ASSERT_TRUE(sandbox.WaitFor("web-shop", 60,
                              [](const base::Json& w) { return Condition(w, "ScalingActive", "status") == "True"; }));

  auto list = sandbox.Kubectl({"get", "scaledobjects,hpa", "-n", "shop"});
  EXPECT_THAT(list.output, AllOf(HasSubstr("SCALETARGETKIND"), HasSubstr("queue-worker"), HasSubstr("MINPODS"),
                                 HasSubstr("Deployment/web-shop")));
  auto describe = sandbox.Kubectl({"describe", "hpa", "web-shop", "-n", "shop"});
  EXPECT_THAT(describe.output, AllOf(HasSubstr("\"http_requests_per_second\" on pods:"),
                                     HasSubstr("ScalingActive   True    ValidMetricFound")));
  auto top = sandbox.Kubectl({"top", "pods", "-n", "shop"});
  EXPECT_EQ(top.exit_code, 0) << top.output;
  EXPECT_THAT(top.output, AllOf(HasSubstr("CPU(cores)"), HasSubstr("web-shop-")));
  auto raw = sandbox.Kubectl({"get", "--raw",
                              "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/ingress_requests_per_second"
                              "?labelSelector=ingress%3Dweb-shop"});
  EXPECT_THAT(raw.output, AllOf(HasSubstr("ExternalMetricValueList"), HasSubstr("\"ingress\":\"web-shop\"")));
  auto scale = sandbox.Kubectl({"scale", "deployment", "redis", "-n", "shop", "--replicas", "2"});
  EXPECT_THAT(scale.output, HasSubstr("deployment.apps/redis scaled"));
  auto patch = sandbox.Kubectl({"patch", "scaledobject", "queue-worker", "-n", "shop", "--type", "merge", "-p",
                                "{\"spec\":{\"maxReplicaCount\":5}}"});
  EXPECT_THAT(patch.output, HasSubstr("scaledobject.tidewright.dev/queue-worker patched"));
  EXPECT_TRUE(sandbox.WaitFor("queue-worker", 30, [](const base::Json& w) { return w["maxReplicas"] == 5; }));
  auto wait =
      sandbox.Kubectl({"wait", "--for=condition=Ready", "scaledobject/web-checkout", "-n", "shop", "--timeout=20s"});
  EXPECT_EQ(wait.exit_code, 0) << wait.output;
  auto removed = sandbox.Kubectl({"delete", "scaledobject", "back-office", "-n", "shop"});
  EXPECT_EQ(removed.exit_code, 0) << removed.output;
}

}  // namespace
}  // namespace tidewright::e2e
