#include "scaler/hpa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/document.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "kube/meta.h"
#include "scaler/hpa_workload.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kDeployments;
using kube::resources::kHorizontalPodAutoscalers;
using testing::Contains;
using testing::HasSubstr;

base::Json FromYaml(const std::string& yaml) {
  auto tree = base::ParseYaml(yaml, "test.yaml");
  EXPECT_TRUE(tree.ok()) << tree.status().ToString();
  return base::NodeToJson(*tree);
}

base::Json MakeHpa(const std::string& spec) {
  return FromYaml(
      "metadata: {name: web, namespace: shop, creationTimestamp: \"2026-01-08T10:00:00Z\"}\n"
      "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, " +
      spec + "}");
}

TEST(DecodeHpa, Defaults) {
  auto hpa = DecodeHpa(MakeHpa("maxReplicas: 5"), {});
  ASSERT_TRUE(hpa.ok()) << hpa.status().ToString();
  EXPECT_EQ(hpa->scale.min_replicas, 1);
  EXPECT_TRUE(hpa->scale.no_behavior);
  EXPECT_EQ(hpa->scale.scale_down.stabilization_s, 300);
  ASSERT_EQ(hpa->metrics.size(), 1u);
  EXPECT_EQ(hpa->metrics[0].name, "cpu");
  EXPECT_EQ(hpa->metrics[0].target_milli, 80'000);
}

TEST(DecodeHpa, TheExampleDecodes) {
  auto text = base::ReadFile(TIDEWRIGHT_SOURCE_DIR "/examples/web-shop/hpa.yaml");
  if (!text.ok()) GTEST_SKIP() << text.status().ToString();
  auto hpa = DecodeHpa(FromYaml(*text), {});
  ASSERT_TRUE(hpa.ok()) << hpa.status().ToString();
  EXPECT_EQ(hpa->metrics[0].Title(), "Pods http_requests_per_second");
  EXPECT_EQ(hpa->metrics[1].selector.ToString(), "ingress=web-shop");
  EXPECT_FALSE(hpa->scale.no_behavior);
  EXPECT_EQ(hpa->scale.scale_down.stabilization_s, 10);
}

TEST(DecodeHpa, Errors) {
  struct {
    const char* spec;
    const char* error;
  } rows[] = {
      {"minReplicas: 2", "spec.maxReplicas: is missing"},
      {"maxReplicas: 2, minReplicas: 3", "spec.maxReplicas: 2 is below minReplicas 3; raise it"},
      {"maxReplicas: 2, minReplicas: 0", "spec.minReplicas: 0 is too low"},
      {"maxReplicas: 2, metrics: [{type: Pod}]", "spec.metrics[0].type: \"Pod\" is not a metric type"},
      {"maxReplicas: 2, metrics: [{type: Pods, pods: {metric: {name: m}, target: {type: Value, value: 1}}}]",
       "spec.metrics[0].pods.target.type: \"Value\" does not go with this metric; use AverageValue"},
      {"maxReplicas: 2, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization}}}]",
       "averageUtilization: is missing"},
      {"maxReplicas: 2, metrics: [{type: External, external: {metric: {name: m}, target: {type: Value, value: '0'}}}]",
       "the target is not positive"},
  };
  for (const auto& row : rows) {
    auto hpa = DecodeHpa(MakeHpa(row.spec), {});
    ASSERT_FALSE(hpa.ok()) << row.spec;
    EXPECT_THAT(hpa.status().message(), HasSubstr(row.error));
    EXPECT_THAT(hpa.status().message(), HasSubstr("HorizontalPodAutoscaler shop/web"));
  }
}

class HpaWorkloadTest : public testing::Test {
 protected:
  HpaWorkloadTest() : board_(metrics_) {
    context_.cluster = ClusterOf(kube_, reader_);
    context_.clock = &clock_;
    context_.board = &board_;
    context_.targets = &targets_;
    context_.selectors = &selectors_;
    workload_ = std::make_unique<HpaWorkload>(context_);
    SetReplicas(3);
  }

  void SetReplicas(int replicas) {
    kube_.Put(kDeployments, MakeDeployment("web", replicas));
    for (int i = 0; i < 20; ++i) {
      std::string name = "web-" + std::to_string(i);
      if (i < replicas) {
        kube_.Put(kube::resources::kPods, MakePod(name));
      } else {
        kube_.Remove(kube::resources::kPods, "shop", name);
      }
    }
  }

  static base::Json MakePod(const std::string& name) {
    return {
        {"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", "x"}}}}},
        {"spec",
         {{"containers",
           {{{"name", "app"}, {"resources", {{"requests", {{"cpu", "500m"}, {"memory", "1Mi"}}}}}},
            {{"name", "sidecar"}, {"resources", {{"requests", {{"cpu", "500m"}}}}}}}}}},
        {"status",
         {{"phase", "Running"},
          {"startTime", "2026-01-08T10:00:00Z"},
          {"conditions", {{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", "2026-01-08T10:00:10Z"}}}}}}};
  }

  void SetCpu(const std::vector<int>& milli) {
    base::Json items = base::Json::array();
    for (size_t i = 0; i < milli.size(); ++i) {
      std::string half = std::to_string(milli[i] / 2) + "m";
      items.push_back(
          {{"metadata", {{"name", "web-" + std::to_string(i)}}},
           {"timestamp", "2026-01-08T12:00:00Z"},
           {"window", "15s"},
           {"containers",
            {{{"name", "app"}, {"usage", {{"cpu", half}}}}, {{"name", "sidecar"}, {"usage", {{"cpu", half}}}}}}});
    }
    kube_.SetRaw("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dx", {{"items", items}});
  }

  void SetPodsMetric(const std::vector<const char*>& values) {
    base::Json items = base::Json::array();
    for (size_t i = 0; i < values.size(); ++i) {
      items.push_back({{"describedObject", {{"kind", "Pod"}, {"name", "web-" + std::to_string(i)}}},
                       {"metric", {{"name", "rps"}}},
                       {"value", values[i]}});
    }
    kube_.SetRaw("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/rps?labelSelector=app%3Dx",
                 {{"items", items}});
  }

  void SetExternal(const std::vector<const char*>& values) {
    base::Json items = base::Json::array();
    for (const char* value : values) items.push_back({{"metricName", "queue"}, {"value", value}});
    kube_.SetRaw("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue?labelSelector=name%3Dorders",
                 {{"items", items}});
  }

  void Apply(const std::string& spec) { kube_.Put(kHorizontalPodAutoscalers, MakeHpa(spec)); }
  void Pass() {
    base::Json object = kube_.Read(kHorizontalPodAutoscalers, "shop", "web");
    workload_->Reconcile(object.is_null() ? nullptr : std::make_shared<const base::Json>(object));
  }
  std::string Condition(const std::string& type) {
    for (const ConditionStatus& condition : ConditionsOf(kube_.Read(kHorizontalPodAutoscalers, "shop", "web"))) {
      if (condition.type == type) return condition.status + " " + condition.reason;
    }
    return "";
  }
  base::Json Status(std::string_view key) {
    base::Json object = kube_.Read(kHorizontalPodAutoscalers, "shop", "web");
    const base::Json* found = base::Find(object, {"status", key});
    return found == nullptr ? base::Json() : *found;
  }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::MetricRegistry metrics_;
  StatusBoard board_;
  TargetRegistry targets_;
  SelectorRegistry selectors_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  HpaContext context_;
  std::unique_ptr<HpaWorkload> workload_;
};

const char kCpu[] = "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}";
const char kRps[] = "{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: \"10\"}}}";
const char kQueue[] =
    "{type: External, external: {metric: {name: queue, selector: {matchLabels: {name: orders}}}, target: {type: "
    "AverageValue, averageValue: \"30\"}}}";

TEST_F(HpaWorkloadTest, CpuUtilization) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kCpu + "]");
  SetCpu({600, 800, 1000});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
  EXPECT_EQ(Condition("AbleToScale"), "True SucceededRescale");
  EXPECT_EQ(Condition("ScalingActive"), "True ValidMetricFound");
  EXPECT_EQ(Condition("ScalingLimited"), "False DesiredWithinRange");
  EXPECT_EQ(Status("desiredReplicas"), 5);
  EXPECT_EQ(Status("currentReplicas"), 3);
  EXPECT_EQ(Status("lastScaleTime"), "2026-01-08T12:00:00Z");
  EXPECT_EQ(
      base::DumpJson(Status("currentMetrics")),
      R"([{"resource":{"current":{"averageUtilization":80,"averageValue":"800m"},"name":"cpu"},"type":"Resource"}])");
  EXPECT_THAT(kube_.Events(),
              Contains(HasSubstr("Normal SuccessfulRescale New size: 5; reason: cpu above target (cpu at 80% "
                                 "of requests over 3 pods, target 50% -> 5 replicas)")));
  EXPECT_EQ(board_.Get("HorizontalPodAutoscaler", "shop", "web")->scales.size(), 1u);
}

TEST_F(HpaWorkloadTest, MissingAndStartingPods) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kCpu + "]");
  SetReplicas(4);
  SetCpu({900, 900, 900});  // The fourth has no metric.
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6);

  SetReplicas(4);
  base::Json starting = MakePod("web-3");
  starting["status"]["startTime"] = "2026-01-08T11:59:00Z";
  starting["status"]["conditions"][0] = {
      {"type", "Ready"}, {"status", "False"}, {"lastTransitionTime", "2026-01-08T11:59:00Z"}};
  kube_.Put(kube::resources::kPods, starting);
  SetCpu({900, 900, 900, 4000});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6) << "a starting pod's CPU does not count";
}

TEST_F(HpaWorkloadTest, MissingRequestsFailTheMetric) {
  base::Json pod = MakePod("web-0");
  pod["spec"]["containers"][1].erase("resources");
  kube_.Put(kube::resources::kPods, pod);
  Apply(std::string("maxReplicas: 10, metrics: [") + kCpu + "]");
  SetCpu({900, 900, 900});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("ScalingActive"), "False FailedGetResourceMetric");
  EXPECT_THAT(kube_.Events(),
              Contains("Warning FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first "
                       "error is: cpu cannot be read: missing request for cpu in container sidecar of Pod "
                       "web-0"));
}

TEST_F(HpaWorkloadTest, ContainerResource) {
  Apply(
      "maxReplicas: 10, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: app, target: "
      "{type: "
      "Utilization, averageUtilization: 50}}}]");
  SetCpu({600, 800, 1000});  // Half of it in the container app, which has half of the requests.
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
}

TEST_F(HpaWorkloadTest, PodsAndExternalTakeTheMaximum) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + ", " + kQueue + "]");
  SetPodsMetric({"12500m", "14", "15500m"});
  SetExternal({"60", "30"});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
  EXPECT_EQ(
      base::DumpJson(Status("currentMetrics")),
      R"([{"pods":{"current":{"averageValue":"14"},"metric":{"name":"rps"}},"type":"Pods"},)"
      R"({"external":{"current":{"averageValue":"30"},"metric":{"name":"queue","selector":{"matchLabels":{"name":)"
      R"("orders"}}}},"type":"External"}])");
  SetReplicas(5);
  SetPodsMetric({"1", "1", "1", "1", "1"});
  SetExternal({"270"});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 9);
}

TEST_F(HpaWorkloadTest, ObjectMetrics) {
  Apply(
      "maxReplicas: 20, metrics: [{type: Object, object: {metric: {name: rate}, describedObject: {apiVersion: "
      "networking.k8s.io/v1, kind: Ingress, name: main}, target: {type: Value, value: 12}}}]");
  kube_.SetRaw("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/ingresses.networking.k8s.io/main/rate",
               {{"items", {{{"value", "18"}}}}});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5) << "1.5 * 3 ready pods";
}

TEST_F(HpaWorkloadTest, FailuresHold) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + ", " + kQueue + "]");
  SetPodsMetric({"1", "1", "1"});
  Pass();  // External is not there.
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("ScalingActive"), "False FailedGetExternalMetric");
  SetExternal({});
  Pass();
  EXPECT_EQ(Condition("ScalingActive"), "False FailedGetExternalMetric");
  EXPECT_THAT(kube_.Events(), Contains(HasSubstr("no metrics returned from external metrics API")));
  SetExternal({"-5"});
  Pass();
  EXPECT_EQ(Condition("ScalingActive"), "False FailedGetExternalMetric");
  SetExternal({"240"});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6) << "the default limit without behavior is twice the count";
  EXPECT_EQ(Condition("ScalingActive"), "True ValidMetricFound");
  EXPECT_EQ(Condition("ScalingLimited"), "True ScaleUpLimit");
}

TEST_F(HpaWorkloadTest, ScaleDownWaitsForTheWindow) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + "]");
  SetPodsMetric({"2", "2", "2"});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("AbleToScale"), "True ScaleDownStabilized");
  clock_.Advance(301'000);
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 1);
  EXPECT_THAT(kube_.Events(), Contains(HasSubstr("New size: 1; reason: All metrics below target")));
}

TEST_F(HpaWorkloadTest, ZeroReplicasDisable) {
  SetReplicas(0);
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + "]");
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("ScalingActive"), "False ScalingDisabled");
}

TEST_F(HpaWorkloadTest, ZeroReplicasOfItsOwnMakingAreLeftAgain) {
  SetReplicas(3);
  SetExternal({"0"});
  Apply(std::string("minReplicas: 0, maxReplicas: 10, metrics: [") + kQueue +
        "], behavior: {scaleDown: {stabilizationWindowSeconds: 0}}");
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("ScaledToZero"), "True ScaledToZero");
  SetReplicas(0);  // The pods are gone.
  SetExternal({"50"});
  clock_.Advance(15'000);
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
  EXPECT_EQ(Condition("ScalingActive"), "True ValidMetricFound");
  EXPECT_EQ(Condition("ScaledToZero"), "False NotScaledToZero");

  SetReplicas(0);  // By hand, this time.
  clock_.Advance(15'000);
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("ScalingActive"), "False ScalingDisabled");
}

TEST_F(HpaWorkloadTest, ATakeoverIsNoScaleDown) {
  SetReplicas(8);
  SetExternal({"30"});
  Apply(std::string("maxReplicas: 10, metrics: [") + kQueue + "]");
  Pass();
  for (int i = 0; i < 19; ++i) {
    clock_.Advance(15'000);
    Pass();
    EXPECT_EQ(kube_.Replicas("shop", "web"), 8) << "the window of 300 s begins with the replicas that are there";
  }
  clock_.Advance(30'000);
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 1);
}

TEST_F(HpaWorkloadTest, OutOfRangeNeedsNoMetrics) {
  Apply(std::string("minReplicas: 4, maxReplicas: 10, metrics: [") + kRps + "]");
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 4);
  EXPECT_THAT(kube_.Events(), Contains(HasSubstr("reason: Current number of replicas below Spec.MinReplicas")));
}

TEST_F(HpaWorkloadTest, ProblemsBesideMetrics) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + "]");
  kube_.Remove(kDeployments, "shop", "web");
  Pass();
  EXPECT_EQ(Condition("AbleToScale"), "False FailedGetScale");
  SetReplicas(3);
  selectors_.Set("HorizontalPodAutoscaler shop/other", "shop", *kube::LabelSelector::Parse("app=x"));
  Pass();
  EXPECT_EQ(Condition("ScalingActive"), "False AmbiguousSelector");
  selectors_.Remove("HorizontalPodAutoscaler shop/other");
  ASSERT_TRUE(targets_.Claim("Deployment.apps/v1 shop/web", "ScaledObject.tidewright.dev shop/web", 0).code() ==
              base::Code::kOk);
  Pass();
  EXPECT_EQ(Condition("ScalingActive"), "False AmbiguousSelector");
  EXPECT_EQ(kube_.ScaleWrites(), 0);
}

TEST_F(HpaWorkloadTest, StatusIsWrittenOnChangeOnly) {
  Apply(std::string("maxReplicas: 10, metrics: [") + kRps + "]");
  SetPodsMetric({"10", "10", "10"});
  Pass();
  int writes = kube_.StatusWrites();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(15'000);
    Pass();
  }
  EXPECT_EQ(kube_.StatusWrites(), writes);
}

}  // namespace
}  // namespace tidewright::scaler
