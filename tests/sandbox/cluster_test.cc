#include "sandbox/cluster.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "kube/meta.h"
#include "sandbox/load.h"
#include "sandbox/workload.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

// Knows which pods run, and refuses addresses on demand.
class RecordingHost : public PodHost {
 public:
  base::Status PodStarted(const Json& pod) override {
    if (refusals > 0) {
      --refusals;
      return base::UnavailableError("address in use");
    }
    running[kube::UidOf(pod)] = base::FindString(pod, {"status", "podIP"});
    return base::Status::Ok();
  }
  void PodStopped(const std::string& uid) override { running.erase(uid); }
  std::map<std::string, std::string> running;
  int refusals = 0;
};

class ClusterTest : public testing::Test {
 protected:
  void SetUp() override {
    Create("", "namespaces", R"({"metadata":{"name":"shop"}})");
    ASSERT_TRUE(cluster_.Start().ok());
  }
  void Create(const char* group, const char* plural, const std::string& text) {
    Json object = *base::ParseJson(text);
    WriteContext context;
    auto created = rest_.Create({registry_.Find(group, "v1", plural), kube::NamespaceOf(object), kube::NameOf(object)},
                                object, context);
    ASSERT_TRUE(created.ok()) << created.status().ToString();
  }
  void Deploy(int replicas, const std::string& image = "i:1", const std::string& strategy = "{}") {
    Create("apps", "deployments",
           R"({"metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":)" + std::to_string(replicas) +
               R"(,"strategy":)" + strategy + R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{
               "labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":")" +
               image + R"(","ports":[{"name":"metrics","containerPort":8080}]}]}}}})");
  }
  void Patch(const Json& spec) {
    WriteContext context;
    ASSERT_TRUE(rest_
                    .Patch({registry_.Find("apps", "v1", "deployments"), "shop", "web"}, "", PatchKind::kStrategic,
                           {{"spec", spec}}, context)
                    .ok());
  }
  void Run(int64_t ms) {
    for (int64_t passed = 0; passed <= ms; passed += 100) {
      rest_.CollectGarbage();
      cluster_.Tick();
      if (passed < ms) clock_.Advance(100);
    }
  }
  Json Status() { return store_.Get("deployments.apps", "shop", "web")->json["status"]; }
  std::vector<ObjectPtr> Pods() { return store_.List("pods", "shop"); }

  base::FakeClock clock_{1'700'000'000'000};
  Store store_{clock_};
  ResourceRegistry registry_;
  Rest rest_{store_, registry_};
  RecordingHost host_;
  Cluster cluster_{rest_, ClusterOptions(), &host_};
};

TEST_F(ClusterTest, PodsBecomeReadyAfterTheStartupDelay) {
  Deploy(2);
  Run(0);
  ASSERT_EQ(Pods().size(), 2u);
  EXPECT_EQ(Pods()[0]->json["status"]["phase"], "Pending");
  EXPECT_EQ(Pods()[0]->json["spec"]["nodeName"], "sandbox-node");
  Run(1000);
  EXPECT_EQ(Pods()[0]->json["status"]["phase"], "Running");
  EXPECT_FALSE(kube::IsPodReady(Pods()[0]->json));
  EXPECT_TRUE(host_.running.empty());
  Run(1000);
  EXPECT_TRUE(kube::IsPodReady(Pods()[0]->json));
  EXPECT_EQ(host_.running.size(), 2u);
  EXPECT_EQ(Status()["readyReplicas"], 2);
  EXPECT_EQ(Status()["updatedReplicas"], 2);
  EXPECT_EQ(Status()["observedGeneration"], 1);
}

TEST_F(ClusterTest, ScalingDownEndsPodsGracefully) {
  Deploy(3);
  Run(2000);
  Patch({{"replicas", 1}});
  Run(0);
  EXPECT_EQ(Pods().size(), 3u) << "pods take a second to end";
  EXPECT_EQ(host_.running.size(), 1u) << "but take no more load";
  EXPECT_EQ(Status()["replicas"], 1);
  Run(1000);
  EXPECT_EQ(Pods().size(), 1u);
}

TEST_F(ClusterTest, ScaledToZeroHasEmptyStatus) {
  Deploy(1);
  Run(2000);
  Patch({{"replicas", 0}});
  Run(1500);
  EXPECT_TRUE(Pods().empty());
  EXPECT_FALSE(Status().contains("replicas"));
  EXPECT_FALSE(Status().contains("availableReplicas"));
}

TEST_F(ClusterTest, RollingUpdateKeepsEnoughAvailable) {
  Deploy(4);
  Run(2000);
  Patch(Json::parse(R"({"template":{"spec":{"containers":[{"name":"c","image":"i:2"}]}}})"));
  for (int step = 0; step < 150; ++step) {
    Run(100);
    int available = 0;
    for (const ObjectPtr& pod : Pods()) available += kube::IsPodReady(pod->json) ? 1 : 0;
    EXPECT_GE(available, 3) << "maxUnavailable is 25 % of 4";
  }
  EXPECT_EQ(Status()["updatedReplicas"], 4);
  EXPECT_EQ(Status()["replicas"], 4);
  for (const ObjectPtr& pod : Pods()) EXPECT_EQ(pod->json["spec"]["containers"][0]["image"], "i:2");
  EXPECT_EQ(store_.List("replicasets.apps", "shop").size(), 2u);
}

TEST_F(ClusterTest, RecreateStopsTheOldPodsFirst) {
  Deploy(2, "i:1", R"({"type":"Recreate"})");
  Run(2000);
  Patch(Json::parse(R"({"template":{"spec":{"containers":[{"name":"c","image":"i:2"}]}}})"));
  Run(6000);
  ASSERT_EQ(Pods().size(), 2u);
  for (const ObjectPtr& pod : Pods()) EXPECT_EQ(pod->json["spec"]["containers"][0]["image"], "i:2");
}

TEST_F(ClusterTest, DeletedPodsAreReplacedAndDeletedDeploymentsTakeTheirPods) {
  Deploy(1);
  Run(2000);
  WriteContext context;
  ASSERT_TRUE(
      rest_.Delete({registry_.Find("", "v1", "pods"), "shop", kube::NameOf(Pods()[0]->json)}, DeleteOptions(), context)
          .ok());
  Run(3500);
  ASSERT_EQ(Pods().size(), 1u);
  EXPECT_TRUE(kube::IsPodReady(Pods()[0]->json));
  ASSERT_TRUE(
      rest_.Delete({registry_.Find("apps", "v1", "deployments"), "shop", "web"}, DeleteOptions(), context).ok());
  Run(1500);
  EXPECT_TRUE(Pods().empty());
  EXPECT_TRUE(store_.List("replicasets.apps", "shop").empty());
  EXPECT_TRUE(host_.running.empty());
}

TEST_F(ClusterTest, TakesAnotherAddressWhenOneIsInUse) {
  host_.refusals = 2;
  Deploy(1);
  Run(2000);
  EXPECT_EQ(Pods()[0]->json["status"]["podIP"], "127.10.0.3");
}

TEST_F(ClusterTest, ServicesGetEndpointsOfReadyPods) {
  Create("", "services",
         R"({"metadata":{"name":"web","namespace":"shop"},"spec":{"selector":{"app":"web"},
             "ports":[{"name":"http","port":80,"targetPort":"metrics"}]}})");
  Deploy(2);
  Run(1000);
  ObjectPtr endpoints = store_.Get("endpoints", "shop", "web");
  ASSERT_NE(endpoints, nullptr);
  EXPECT_EQ(endpoints->json["subsets"][0]["notReadyAddresses"].size(), 2u);
  Run(1000);
  endpoints = store_.Get("endpoints", "shop", "web");
  EXPECT_EQ(endpoints->json["subsets"][0]["addresses"].size(), 2u);
  EXPECT_EQ(endpoints->json["subsets"][0]["ports"][0]["port"], 8080);
}

TEST_F(ClusterTest, IdleTicksWriteNothing) {
  Deploy(3);
  Run(3000);
  const uint64_t version = store_.resource_version();
  Run(5000);
  EXPECT_EQ(store_.resource_version(), version);
}

TEST(LoadCurveTest, TotalsAreTheIntegralOfTheRate) {
  LoadCurve curve({{0, 10}, {10, 10}, {20, 30}});
  EXPECT_DOUBLE_EQ(curve.RateAt(5), 10);
  EXPECT_DOUBLE_EQ(curve.RateAt(15), 20);
  EXPECT_DOUBLE_EQ(curve.RateAt(99), 30);
  EXPECT_DOUBLE_EQ(curve.TotalAt(10), 100);
  EXPECT_DOUBLE_EQ(curve.TotalAt(20), 300);
  EXPECT_DOUBLE_EQ(curve.TotalAt(21), 330);
  LoadCurve repeating({{0, 0}, {10, 20}}, true);
  EXPECT_DOUBLE_EQ(repeating.RateAt(15), 10);
  EXPECT_DOUBLE_EQ(repeating.TotalAt(25), 225);
  EXPECT_DOUBLE_EQ(LoadCurve().TotalAt(5), 0);
}

TEST(LoadCurveTest, TheScriptIsBackAtLowBeforeSecond55) {
  LoadCurve curve = ScriptedRequests(30, 200);
  EXPECT_DOUBLE_EQ(curve.RateAt(0), 30);
  EXPECT_DOUBLE_EQ(curve.RateAt(30), 200);
  EXPECT_DOUBLE_EQ(curve.RateAt(55), 30);
  EXPECT_DOUBLE_EQ(ScriptedBurst(20).TotalAt(90), 300);
}

Json SimulatedPod(const std::string& uid, const std::string& simulate) {
  return {{"metadata",
           {{"uid", uid},
            {"name", uid},
            {"namespace", "shop"},
            {"annotations", {{kSimulateAnnotation, simulate}, {kLoadAnnotation, "web"}}}}},
          {"spec", {{"containers", Json::array({{{"name", "c"}, {"ports", Json::array({{{"containerPort", 80}}})}}})}}},
          {"status", {{"podIP", uid}}}};
}

TEST(WorkloadsTest, SharesLoadAmongReadyPodsAndStartsAtZero) {
  base::FakeClock clock(0);
  LoadSources sources;
  sources.Set({"web", "shop", "web", "web.example.com", LoadCurve({{0, 100}})});
  Workloads workloads(clock, sources, nullptr);
  ASSERT_TRUE(workloads.PodStarted(SimulatedPod("a", "http")).ok());
  ASSERT_TRUE(workloads.PodStarted(SimulatedPod("i", "ingress")).ok());
  clock.Advance(10'000);
  workloads.Tick();
  ASSERT_TRUE(workloads.PodStarted(SimulatedPod("b", "http")).ok());
  EXPECT_NE(workloads.PodMetrics("b:80")->find("http_requests_total{code=\"200\",method=\"GET\"} 0\n"),
            std::string::npos);
  clock.Advance(10'000);
  workloads.Tick();
  EXPECT_NE(workloads.PodMetrics("a:80")->find("http_requests_total{code=\"200\",method=\"GET\"} 1500\n"),
            std::string::npos);
  EXPECT_NE(workloads.PodMetrics("b:80")->find("http_requests_total{code=\"200\",method=\"GET\"} 500\n"),
            std::string::npos);
  EXPECT_NE(workloads.PodMetrics("i:80")->find("ingress=\"web\",method=\"GET\",namespace=\"shop\""), std::string::npos);
  workloads.PodStopped("a");
  EXPECT_EQ(workloads.PodMetrics("a:80").status().code(), base::Code::kNotFound);
  // 1500 requests at 4 ms, and 20 s at 5 millicores.
  EXPECT_NE(workloads.KubeletMetrics().find(
                "container_cpu_usage_seconds_total{container=\"c\",namespace=\"shop\",pod=\"b\"} 2.05"),
            std::string::npos)
      << workloads.KubeletMetrics();
}

}  // namespace
}  // namespace tidewright::sandbox
