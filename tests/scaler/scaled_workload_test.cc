#include "scaler/scaled_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/duration.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kDeployments;
using kube::resources::kScaledObjects;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

base::Json MakeObject(base::Json spec, const std::string& name = "web") {
  spec["scaleTargetRef"] = {{"name", "web"}};
  return {{"metadata", {{"name", name}, {"namespace", "shop"}, {"creationTimestamp", "2026-01-08T10:00:00Z"}}},
          {"spec", std::move(spec)}};
}

base::Json PrometheusTrigger(const std::string& threshold = "10") {
  return {{"type", "prometheus"}, {"name", "rate"}, {"metadata", {{"query", "sum(up)"}, {"threshold", threshold}}}};
}

class ScaledWorkloadTest : public testing::Test {
 protected:
  ScaledWorkloadTest() : board_(metrics_) {
    context_.cluster = ClusterOf(kube_, reader_);
    context_.triggers.control = &clock_;
    context_.triggers.calendar = &clock_;
    context_.triggers.engine = &engine_;
    context_.board = &board_;
    context_.targets = &targets_;
    workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
    kube_.Put(kDeployments, MakeDeployment("web", 0));
    engine_.SetVector({0});
  }

  // One pass over the object as stored.
  std::optional<int64_t> Pass() {
    base::Json object = kube_.Read(kScaledObjects, "shop", "web");
    return workload_->Reconcile(object.is_null() ? nullptr : std::make_shared<const base::Json>(object));
  }
  std::optional<int64_t> PassAfter(int64_t ms) {
    clock_.Advance(ms);
    return Pass();
  }
  void Apply(base::Json spec, base::Json annotations = base::Json::object()) {
    base::Json object = MakeObject(std::move(spec));
    object["metadata"]["annotations"] = std::move(annotations);
    kube_.Put(kScaledObjects, object);
  }
  std::string Condition(const std::string& type, const std::string& member = "reason") {
    for (const ConditionStatus& condition : ConditionsOf(kube_.Read(kScaledObjects, "shop", "web"))) {
      if (condition.type != type) continue;
      if (member == "status") return condition.status;
      return member == "message" ? condition.message : condition.reason;
    }
    return "";
  }
  base::Json Status(std::initializer_list<std::string_view> path) {
    base::Json object = kube_.Read(kScaledObjects, "shop", "web");
    const base::Json* status = base::Find(object, {"status"});
    const base::Json* found = status == nullptr ? nullptr : base::Find(*status, path);
    return found == nullptr ? base::Json() : *found;
  }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::MetricRegistry metrics_;
  StatusBoard board_;
  TargetRegistry targets_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  FakeEngine engine_;
  WorkloadContext context_;
  std::unique_ptr<ScaledWorkload> workload_;
};

TEST_F(ScaledWorkloadTest, WakesUpScalesAndRests) {
  Apply({{"pollingInterval", 5}, {"cooldownPeriod", 60}, {"triggers", {PrometheusTrigger()}}});
  EXPECT_EQ(Pass(), 5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  EXPECT_EQ(Condition("Active"), "ScalerNotActive");
  EXPECT_EQ(Condition("Paused"), "ScaledObjectUnpaused");
  EXPECT_EQ(Condition("Fallback"), "NoFallbackFound");

  engine_.SetVector({42});
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
  EXPECT_EQ(Condition("Active"), "ScalerActive");
  EXPECT_THAT(kube_.Events(),
              Contains("Normal KEDAScaleTargetActivated Scaled Deployment shop/web from 0 to 5: rate = 42, "
                       "target 10 per replica -> 5 replicas; waking up from 0 replicas directly to 5 "
                       "replicas"));
  EXPECT_EQ(Status({"decision", "replicas"}), 5);
  EXPECT_EQ(Status({"lastActiveTime"}), "2026-01-08T12:00:05Z");
  EXPECT_EQ(Status({"originalReplicaCount"}), 0);
  EXPECT_EQ(Status({"scaleTargetKind"}), "apps/v1.Deployment");
  EXPECT_EQ(Status({"triggersTypes"}), "prometheus");
  EXPECT_EQ(Status({"externalMetricNames"}), base::Json({"s0-prometheus"}));
  EXPECT_EQ(Status({"triggersActivity", "s0-prometheus", "isActive"}), true);

  engine_.SetVector({95});
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 10);
  EXPECT_THAT(kube_.Events(), Contains(HasSubstr("Normal SuccessfulRescale Scaled Deployment shop/web from 5 to 10")));

  engine_.SetVector({0});
  PassAfter(60'000);
  EXPECT_EQ(Condition("Active"), "ScalerCooldown");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 10);
  PassAfter(1'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_THAT(kube_.Events(),
              Contains(HasSubstr("Normal KEDAScaleTargetDeactivated Scaled Deployment shop/web from 10 to 0")));
  EXPECT_EQ(Condition("Active"), "ScalerNotActive");

  auto shown = board_.Get("ScaledObject", "shop", "web");
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->scales.size(), 3u);
  EXPECT_EQ(shown->current, 0);
  EXPECT_THAT(metrics_.Render(),
              HasSubstr("tidewright_scale_total{namespace=\"shop\",workload=\"web\",direction=\"up\"} 2"));
  EXPECT_THAT(
      metrics_.Render(),
      HasSubstr("tidewright_trigger_value{namespace=\"shop\",name=\"web\",trigger=\"rate\",type=\"prometheus\"} 0"));
}

TEST_F(ScaledWorkloadTest, WritesStatusOnlyOnChange) {
  Apply({{"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({42});
  Pass();
  PassAfter(30'000);
  int writes = kube_.StatusWrites();
  int scales = kube_.ScaleWrites();
  for (int i = 0; i < 8; ++i) PassAfter(30'000);
  EXPECT_EQ(kube_.StatusWrites(), writes) << "four minutes of the same are no news";
  EXPECT_EQ(kube_.ScaleWrites(), scales);
}

// scalingMode hpa: an HPA scales, we keep it, and wake the workload up and lay it to rest.
class HpaModeTest : public ScaledWorkloadTest {
 protected:
  HpaModeTest() {
    context_.values = &values_;
    workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
  }
  static base::Json Spec() {
    return {
        {"scalingMode", "hpa"},
        {"cooldownPeriod", 10},
        {"maxReplicaCount", 7},
        {"advanced",
         {{"horizontalPodAutoscalerConfig", {{"behavior", {{"scaleDown", {{"stabilizationWindowSeconds", 30}}}}}}}}},
        {"triggers", base::Json::array({PrometheusTrigger("2.5")})}};
  }
  base::Json ReadHpa(const std::string& name = "keda-hpa-web") {
    return kube_.Read(kube::resources::kHorizontalPodAutoscalers, "shop", name);
  }
  void PutHpa(const std::string& name, const std::string& target = "web") {
    kube_.Put(kube::resources::kHorizontalPodAutoscalers,
              {{"metadata", {{"name", name}, {"namespace", "shop"}}},
               {"spec", {{"scaleTargetRef", {{"kind", "Deployment"}, {"name", target}}}, {"maxReplicas", 3}}}});
  }

  SignalValues values_;
};

TEST_F(HpaModeTest, KeepsAnHpaAndScalesOnlyToAndFromRest) {
  Apply(Spec());
  Pass();
  base::Json hpa = ReadHpa();
  ASSERT_TRUE(hpa.is_object());
  EXPECT_EQ(hpa["spec"]["minReplicas"], 1);
  EXPECT_EQ(hpa["spec"]["maxReplicas"], 7);
  EXPECT_EQ(hpa["spec"]["scaleTargetRef"],
            (base::Json{{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", "web"}}));
  EXPECT_EQ(hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 30);
  EXPECT_EQ(
      hpa["spec"]["metrics"],
      base::Json::array(
          {{{"type", "External"},
            {"external",
             {{"metric",
               {{"name", "s0-prometheus"}, {"selector", {{"matchLabels", {{"scaledobject.keda.sh/name", "web"}}}}}}},
              {"target", {{"type", "AverageValue"}, {"averageValue", "2500m"}}}}}}}));
  EXPECT_EQ(hpa["metadata"]["ownerReferences"][0]["kind"], "ScaledObject");
  EXPECT_EQ(Status({"hpaName"}), "keda-hpa-web");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);

  engine_.SetVector({5});
  PassAfter(1'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2) << "waking up is ours";
  engine_.SetVector({12});
  PassAfter(1'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2) << "the rest is the HPA's";
  auto value = values_.Get("shop", "web", "s0-prometheus", clock_.NowMs());
  ASSERT_TRUE(value);
  EXPECT_EQ(*value->value_milli, 12'000);
  EXPECT_FALSE(values_.Get("shop", "web", "s0-prometheus", clock_.NowMs() + 60'000)) << "old values are none";

  engine_.SetError(base::UnavailableError("connection refused"));
  PassAfter(1'000);
  EXPECT_FALSE(values_.Get("shop", "web", "s0-prometheus", clock_.NowMs())->value_milli.ok());
  engine_.SetVector({0});
  PassAfter(9'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
  PassAfter(11'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0) << "so is going to rest";

  const std::string version = kube::ResourceVersionOf(ReadHpa());
  PassAfter(1'000);
  EXPECT_EQ(kube::ResourceVersionOf(ReadHpa()), version) << "nothing differs, so nothing is written";
  base::Json drifted = ReadHpa();
  drifted["spec"]["maxReplicas"] = 99;
  kube_.Put(kube::resources::kHorizontalPodAutoscalers, drifted);
  PassAfter(1'000);
  EXPECT_EQ(ReadHpa()["spec"]["maxReplicas"], 7);

  base::Json direct = Spec();
  direct["scalingMode"] = "direct";
  Apply(direct);
  Pass();
  EXPECT_TRUE(ReadHpa().is_null()) << "in direct mode nobody else scales";
}

TEST_F(HpaModeTest, PausesWithoutAnHpaAndRenamesIt) {
  Apply(Spec());
  Pass();
  Apply(Spec(), {{"autoscaling.keda.sh/paused", "true"}});
  Pass();
  EXPECT_TRUE(ReadHpa().is_null());
  base::Json renamed = Spec();
  renamed["advanced"]["horizontalPodAutoscalerConfig"]["name"] = "other";
  Apply(renamed, {{"autoscaling.keda.sh/paused-scale-in", "true"}});
  Pass();
  EXPECT_EQ(ReadHpa("other")["spec"]["behavior"]["scaleDown"]["selectPolicy"], "Disabled");
  Apply(Spec());
  Pass();
  EXPECT_TRUE(ReadHpa("other").is_null());
  EXPECT_FALSE(ReadHpa().is_null());
}

TEST_F(HpaModeTest, OtherHpasAreInTheWayUnlessTheyAreTakenOver) {
  PutHpa("theirs");
  Apply(Spec());
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaleTargetConflict");
  EXPECT_THAT(Condition("Ready", "message"), HasSubstr("HorizontalPodAutoscaler shop/theirs"));
  EXPECT_TRUE(ReadHpa().is_null());

  base::Json named = Spec();
  named["advanced"]["horizontalPodAutoscalerConfig"]["name"] = "theirs";
  Apply(named);
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaleTargetConflict");
  EXPECT_EQ(ReadHpa("theirs")["spec"]["maxReplicas"], 3);

  Apply(named, {{"scaledobject.keda.sh/transfer-hpa-ownership", "true"}});
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady") << Condition("Ready", "message");
  EXPECT_EQ(ReadHpa("theirs")["spec"]["maxReplicas"], 7);
  EXPECT_EQ(ReadHpa("theirs")["metadata"]["ownerReferences"][0]["kind"], "ScaledObject");

  // Without a mode the annotation asks for this one, as it does in KEDA.
  base::Json unsaid = named;
  unsaid.erase("scalingMode");
  Apply(unsaid, {{"scaledobject.keda.sh/transfer-hpa-ownership", "true"}});
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady") << Condition("Ready", "message");

  base::Json direct = named;
  direct["scalingMode"] = "direct";
  Apply(direct, {{"scaledobject.keda.sh/transfer-hpa-ownership", "true"}});
  Pass();
  EXPECT_THAT(Condition("Ready", "message"), HasSubstr("transfer-hpa-ownership: needs scalingMode: hpa"));
}

// What pods use, as metrics.k8s.io has it, and what follows for the number of them.
class PodTriggerTest : public ScaledWorkloadTest {
 protected:
  PodTriggerTest() {
    context_.triggers.client = &kube_;
    context_.triggers.objects = &reader_;
    workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
  }

  // Ready pods that have requested one core and 1000 MiB, of which they use so much; the other container uses nothing.
  void UsePercent(const std::vector<int>& percents, size_t with_metrics = 100) {
    base::Json items = base::Json::array();
    for (size_t i = 0; i < percents.size(); ++i) {
      const std::string name = "web-" + std::to_string(i);
      base::Json request = {{"resources", {{"requests", {{"cpu", "500m"}, {"memory", "500Mi"}}}}}};
      base::Json main = request, side = request;
      main["name"] = "main";
      side["name"] = "side";
      kube_.Put(kube::resources::kPods,
                {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", "web"}}}}},
                 {"spec", {{"containers", base::Json::array({main, side})}}},
                 {"status",
                  {{"phase", "Running"},
                   {"startTime", "2026-01-08T10:00:00Z"},
                   {"conditions", base::Json::array({{{"type", "Ready"}, {"status", "True"}}})}}}});
      if (i >= with_metrics) continue;
      const std::string cores = std::to_string(percents[i] * 10) + "m";
      const std::string bytes = std::to_string(percents[i] * 10) + "Mi";
      items.push_back(
          {{"metadata", {{"name", name}}},
           {"timestamp", "2026-01-08T12:00:00Z"},
           {"window", "30s"},
           {"containers", base::Json::array({{{"name", "main"}, {"usage", {{"cpu", cores}, {"memory", bytes}}}},
                                             {{"name", "side"}, {"usage", {{"cpu", "0"}, {"memory", "0"}}}}})}});
    }
    kube_.SetRaw("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb", {{"items", items}});
  }
};

base::Json PodTrigger(const std::string& type, const std::string& metric_type, base::Json metadata) {
  return {{"type", type}, {"metricType", metric_type}, {"metadata", std::move(metadata)}};
}

TEST_F(PodTriggerTest, FollowsTheArithmeticOfAutoscalers) {
  const struct {
    const char* name;
    base::Json trigger;
    std::vector<int> percents;
    size_t with_metrics;
    int wanted;
  } rows[] = {
      {"utilization", PodTrigger("cpu", "Utilization", {{"value", "50"}}), {60, 80, 100}, 3, 5},
      {"within the tolerance", PodTrigger("cpu", "Utilization", {{"value", "50"}}), {55, 55, 55}, 3, 3},
      {"one container",
       PodTrigger("cpu", "Utilization", {{"value", "50"}, {"containerName", "main"}}),
       {30, 30, 30},
       3,
       4},
      {"average value", PodTrigger("memory", "AverageValue", {{"value", "400Mi"}}), {60, 60, 60}, 3, 5},
      {"a pod without metrics counts as idle on the way up",
       PodTrigger("cpu", "Utilization", {{"value", "50"}}),
       {100, 100, 100},
       2,
       4},
      {"and as loaded on the way down", PodTrigger("cpu", "Utilization", {{"value", "50"}}), {40, 10, 10}, 1, 3},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
    kube_.Put(kDeployments, MakeDeployment("web", 3));
    Apply({{"triggers", base::Json::array({row.trigger})}});
    UsePercent(row.percents, row.with_metrics);
    Pass();
    EXPECT_EQ(kube_.Replicas("shop", "web"), row.wanted) << Status({"decision", "why"});
    EXPECT_EQ(Condition("Ready"), "ScaledObjectReady") << Condition("Ready", "message");
  }
}

TEST_F(PodTriggerTest, HoldsWithoutMetricsAndDoesNotWakeUp) {
  kube_.Put(kDeployments, MakeDeployment("web", 3));
  const base::Json cpu = PodTrigger("cpu", "Utilization", {{"value", "50"}});
  Apply({{"triggers", base::Json::array({cpu})}});
  Pass();
  EXPECT_EQ(Condition("Ready"), "TriggerError");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);

  UsePercent({90, 90, 90});
  Apply({{"cooldownPeriod", 10}, {"triggers", base::Json::array({cpu, PrometheusTrigger()})}});
  engine_.SetVector({20});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6) << "the processors ask for more than the query";
  engine_.SetVector({0});
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6);
  PassAfter(10'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0) << "only the query says whether there is work";
  UsePercent({});
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
}

TEST_F(ScaledWorkloadTest, ABrokenObjectSaysSoAndTouchesNothing) {
  kube_.Put(kDeployments, MakeDeployment("web", 4));
  Apply({{"minReplicaCount", 9}, {"maxReplicaCount", 3}, {"triggers", {PrometheusTrigger()}}});
  EXPECT_EQ(Pass(), std::nullopt);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 4);
  EXPECT_EQ(kube_.ScaleWrites(), 0);
  EXPECT_EQ(Condition("Ready"), "ScaledObjectCheckFailed");
  EXPECT_EQ(Condition("Ready", "message"),
            "ScaledObject shop/web: spec.minReplicaCount: 9 is greater than maxReplicaCount 3; lower it or raise "
            "maxReplicaCount");
  EXPECT_THAT(kube_.Events(), testing::ElementsAre(HasSubstr("Warning ScaledObjectCheckFailed ScaledObject shop/web")));
  Pass();
  EXPECT_EQ(kube_.Events().size(), 1u) << "the same problem is told once";

  Apply({{"minReplicaCount", 2}, {"maxReplicaCount", 3}, {"triggers", {PrometheusTrigger()}}});
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
}

TEST_F(ScaledWorkloadTest, FailingTriggersHoldAndRecover) {
  kube_.Put(kDeployments, MakeDeployment("web", 4));
  Apply({{"cooldownPeriod", 30}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({40});
  Pass();
  engine_.SetError(base::UnavailableError("connection refused"));
  for (int i = 0; i < 20; ++i) PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 4);
  EXPECT_EQ(Condition("Ready"), "TriggerError");
  EXPECT_EQ(Condition("Ready", "message"), "rate cannot be read: connection refused");
  EXPECT_EQ(Condition("Active"), "UnknownState");
  EXPECT_EQ(Status({"decision", "why"}), "held: rate cannot be read: connection refused");
  EXPECT_EQ(Status({"health", "s0-prometheus", "status"}), "Failing");
  EXPECT_THAT(
      metrics_.Render(),
      HasSubstr(
          "tidewright_trigger_errors_total{namespace=\"shop\",name=\"web\",trigger=\"rate\",type=\"prometheus\"} 20"));
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("tidewright_trigger_value{")));
  EXPECT_TRUE(board_.Get("ScaledObject", "shop", "web")->held);

  engine_.SetVector({0});
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 1) << "the cooldown starts anew after blind time";
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  PassAfter(31'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
}

TEST_F(ScaledWorkloadTest, PartialFailure) {
  kube_.Put(kDeployments, MakeDeployment("web", 4));
  base::Json second = {
      {"type", "cron"},
      {"metadata", {{"timezone", "Etc/UTC"}, {"start", "0 8 * * *"}, {"end", "0 20 * * *"}, {"desiredReplicas", "2"}}}};
  Apply({{"triggers", {PrometheusTrigger(), second}}});
  engine_.SetError(base::UnavailableError("connection refused"));
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 4);
  EXPECT_EQ(Condition("Ready", "status"), "Unknown");
  EXPECT_EQ(Condition("Ready"), "PartialTriggerError");
  EXPECT_EQ(Condition("Active"), "ScalerActive");
}

TEST_F(ScaledWorkloadTest, FallbackActsAfterTheThreshold) {
  kube_.Put(kDeployments, MakeDeployment("web", 2));
  Apply({{"minReplicaCount", 1},
         {"fallback", {{"failureThreshold", 2}, {"replicas", 6}}},
         {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({20});
  Pass();
  engine_.SetError(base::UnavailableError("gone"));
  PassAfter(30'000);
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
  EXPECT_EQ(Condition("Fallback"), "NoFallbackFound");
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6);
  EXPECT_EQ(Condition("Fallback"), "FallbackExists");
  EXPECT_EQ(Status({"decision", "why"}), "rate: fallback after 3 failures (gone) -> 6 replicas");
  engine_.SetVector({20});
  PassAfter(30'000);
  EXPECT_EQ(Condition("Fallback"), "NoFallbackFound");
}

TEST_F(ScaledWorkloadTest, AFormulaSaysWhatCountsForAFailedTrigger) {
  kube_.Put(kDeployments, MakeDeployment("web", 2));
  Apply({{"fallback", {{"failureThreshold", 0}, {"replicas", 1}, {"behavior", "scalingModifiers"}}},
         {"advanced", {{"scalingModifiers", {{"formula", "rate ?? 70"}, {"target", "10"}}}}},
         {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({40});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 4);
  EXPECT_EQ(Status({"decision", "why"}), "formula = 40, target 10 per replica -> 4 replicas");
  engine_.SetError(base::UnavailableError("gone"));
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 7);
}

TEST_F(ScaledWorkloadTest, ADryRunDecidesAndChangesNothing) {
  Apply({{"scalingMode", "dryRun"}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({42});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Status({"decision", "replicas"}), 5);
  EXPECT_THAT(Condition("Ready", "message"), HasSubstr("It is a dry run"));
  EXPECT_EQ(board_.Get("ScaledObject", "shop", "web")->desired, 5);
  // Nor is it in the way of whoever does scale.
  EXPECT_TRUE(targets_.Claim("Deployment.apps/v1 shop/web", "somebody", 0).ok());
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
}

TEST_F(ScaledWorkloadTest, DecisionsAreRemembered) {
  Apply({{"cooldownPeriod", 60}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({42});
  Pass();
  PassAfter(5'000);
  engine_.SetError(base::UnavailableError("gone"));
  PassAfter(5'000);
  std::vector<DecisionRecord> decisions = board_.Decisions("shop", "web", 10);
  ASSERT_EQ(decisions.size(), 2u) << "one that changes nothing is none";
  EXPECT_TRUE(decisions[0].held);
  EXPECT_EQ(decisions[1].from, 0);
  EXPECT_EQ(decisions[1].to, 5);
  EXPECT_THAT(decisions[1].why, HasSubstr("rate = 42"));
  EXPECT_FALSE(decisions[1].steps.empty());
  EXPECT_TRUE(board_.Decisions("other", "", 10).empty());
  EXPECT_EQ(board_.Decisions("", "", 1).size(), 1u);
}

TEST_F(ScaledWorkloadTest, ClusterAuthenticationReadsSecretsOfOurNamespace) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer server("pa55");
  ASSERT_TRUE(server.Run({"RPUSH", "orders", "1", "2", "3", "4", "5", "6"}).ok());
  kube_.Put(kube::resources::kSecrets,
            {{"metadata", {{"name", "redis"}, {"namespace", "tidewright"}}}, {"data", {{"password", "cGE1NQ=="}}}});
  kube_.Put(kClusterTriggerAuthentications,
            {{"metadata", {{"name", "auth"}}},
             {"spec", {{"secretTargetRef", {{{"parameter", "password"}, {"name", "redis"}, {"key", "password"}}}}}}});
  Apply({{"triggers",
          {{{"type", "redis"},
            {"authenticationRef", {{"name", "auth"}, {"kind", "ClusterTriggerAuthentication"}}},
            {"metadata", {{"address", server.address()}, {"listName", "orders"}}}}}}});
  Pass();
  EXPECT_EQ(Condition("Ready", "message"), "The object is valid and its triggers can be read.");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
}

TEST_F(ScaledWorkloadTest, Pauses) {
  Apply({{"triggers", {PrometheusTrigger()}}}, {{"autoscaling.keda.sh/paused-replicas", "2"}});
  engine_.SetVector({90});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
  EXPECT_EQ(Condition("Paused"), "ScaledObjectPaused");
  EXPECT_EQ(Status({"pausedReplicaCount"}), 2);
  kube_.Put(kDeployments, MakeDeployment("web", 5));
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5) << "paused means hands off, once the number was reached";
  Apply({{"triggers", {PrometheusTrigger()}}});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 9);
  EXPECT_EQ(Condition("Paused"), "ScaledObjectUnpaused");
  EXPECT_TRUE(Status({"pausedReplicaCount"}).is_null());
}

TEST_F(ScaledWorkloadTest, OneTargetHasOneMaster) {
  Apply({{"triggers", {PrometheusTrigger()}}});
  ASSERT_TRUE(targets_.Claim("Deployment.apps/v1 shop/web", "ScaledObject.tidewright.dev shop/older", 0).ok());
  engine_.SetVector({90});
  EXPECT_EQ(Pass(), 30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("Ready"), "ScaleTargetConflict");
  EXPECT_THAT(Condition("Ready", "message"), HasSubstr("is already scaled by ScaledObject.tidewright.dev shop/older"));
  targets_.Release("ScaledObject.tidewright.dev shop/older");
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 9);
}

TEST_F(ScaledWorkloadTest, RefusesBesideAnHpa) {
  kube_.Put(kube::resources::kHorizontalPodAutoscalers,
            {{"metadata", {{"name", "web"}, {"namespace", "shop"}}},
             {"spec", {{"scaleTargetRef", {{"kind", "Deployment"}, {"name", "web"}}}}}});
  Apply({{"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({90});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
  EXPECT_EQ(Condition("Ready"), "ScaleTargetConflict");
}

TEST_F(ScaledWorkloadTest, MissingTargetAndDeadServer) {
  kube_.Remove(kDeployments, "shop", "web");
  Apply({{"triggers", {PrometheusTrigger()}}});
  EXPECT_EQ(Pass(), 30'000);
  EXPECT_EQ(Condition("Ready"), "ErrorGettingCurrentReplicas");
  kube_.Put(kDeployments, MakeDeployment("web", 3));
  engine_.SetVector({30});
  Pass();
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  kube_.FailWith([](const std::string&, const std::string&) { return base::UnavailableError("connection refused"); });
  engine_.SetVector({0});
  for (int i = 0; i < 30; ++i) PassAfter(30'000);
  kube_.FailWith(nullptr);
  PassAfter(1'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 1) << "time without the API server is no cooldown";
}

TEST_F(ScaledWorkloadTest, FailedScaleIsToldAndTriedAgain) {
  Apply({{"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({20});
  kube_.FailWith([](const std::string&, const std::string& path) {
    return path.ends_with("/scale") ? base::PermissionDeniedError("forbidden") : base::Status::Ok();
  });
  Pass();
  EXPECT_THAT(kube_.Events(), Contains("Warning KEDAScaleTargetActivationFailed Could not set 2 replicas: forbidden"));
  kube_.FailWith(nullptr);
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
}

TEST_F(ScaledWorkloadTest, RestoresOnDelete) {
  kube_.Put(kDeployments, MakeDeployment("web", 3));
  Apply({{"advanced", {{"restoreToOriginalReplicaCount", true}}}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({90});
  Pass();
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 7) << "4 pods in 15 s";
  kube_.Remove(kScaledObjects, "shop", "web");
  ASSERT_FALSE(kube_.Read(kScaledObjects, "shop", "web").is_null()) << "held by the finalizer";
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_TRUE(kube_.Read(kScaledObjects, "shop", "web").is_null());
  Pass();
  EXPECT_EQ(board_.Snapshot().size(), 0u);
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("tidewright_workload_replicas{")));
}

// Between the decision and its write the workload changes: its status, or the number that was decided about.
TEST_F(ScaledWorkloadTest, AWriteGoesOutOnlyIfTheReplicasAreStillThoseThatWereSeen) {
  Apply({{"pollingInterval", 30}, {"triggers", {PrometheusTrigger()}}});
  kube_.Put(kDeployments, MakeDeployment("web", 1));
  auto change_before_write = [&](int replicas) {
    auto done = std::make_shared<bool>(false);
    kube_.FailWith([this, replicas, done](const std::string& verb, const std::string& path) {
      if (*done || verb != "patch" || !path.ends_with("/scale")) return base::Status::Ok();
      *done = true;
      kube_.Put(kDeployments, MakeDeployment("web", replicas));
      return base::Status::Ok();
    });
  };
  engine_.SetVector({42});
  change_before_write(1);
  EXPECT_EQ(Pass(), 30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);

  engine_.SetVector({90});
  change_before_write(12);
  EXPECT_EQ(PassAfter(30'000), 500) << "it looks again soon";
  EXPECT_EQ(kube_.Replicas("shop", "web"), 12);
  EXPECT_THAT(kube_.Events(), Not(Contains(HasSubstr("FailedRescale"))));
}

TEST_F(ScaledWorkloadTest, ARestartOfTheControllerIsNoScaleDown) {
  kube_.Put(kDeployments, MakeDeployment("web", 6));
  Apply({{"cooldownPeriod", 60}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({60});
  Pass();
  clock_.Advance(3'600'000);
  workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
  engine_.SetVector({0});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 6);
  PassAfter(61'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0);
}

TEST_F(ScaledWorkloadTest, WhoTakesOverWithAnOldObjectTakesNothingBack) {
  Apply({{"pollingInterval", 5}, {"triggers", {PrometheusTrigger()}}});
  engine_.SetVector({30});
  kube_.Put(kDeployments, MakeDeployment("web", 3));
  Pass();
  kube_.Put(kDeployments, MakeDeployment("web", 5));  // By the one before, who has seen a newer object.
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
  PassAfter(290'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 5);
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3) << "the stabilization window is over";
  kube_.Put(kDeployments, MakeDeployment("web", 5));
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3) << "later, what somebody else has raised is corrected at once";
}

TEST_F(ScaledWorkloadTest, EnvironmentSecretsAndAuthentication) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer server("pa55");
  ASSERT_TRUE(server.Run({"RPUSH", "orders", "1", "2", "3", "4", "5", "6"}).ok());
  base::Json deployment = MakeDeployment("web", 0);
  deployment["spec"]["template"]["spec"]["containers"][0]["env"] = {
      {{"name", "PORT"}, {"value", std::to_string(server.port())}},
      {{"name", "REDIS"}, {"value", "redis.shop:$(PORT)"}},
      {{"name", "PW"}, {"valueFrom", {{"secretKeyRef", {{"name", "redis"}, {"key", "password"}}}}}}};
  kube_.Put(kDeployments, deployment);
  kube_.Put(kube::resources::kSecrets,
            {{"metadata", {{"name", "redis"}, {"namespace", "shop"}}}, {"data", {{"password", "cGE1NQ=="}}}});
  kube_.Put(kube::resources::kTriggerAuthentications,
            {{"metadata", {{"name", "auth"}, {"namespace", "shop"}}},
             {"spec", {{"secretTargetRef", {{{"parameter", "password"}, {"name", "redis"}, {"key", "password"}}}}}}});
  context_.triggers.resolve_host = [](const std::string& host) { return host == "redis.shop" ? "127.0.0.1" : host; };
  workload_ = std::make_unique<ScaledWorkload>(context_, kScaledObjects);
  base::Json by_env = {{"type", "redis"},
                       {"metadata", {{"addressFromEnv", "REDIS"}, {"listName", "orders"}, {"passwordFromEnv", "PW"}}}};
  base::Json by_ref = {{"type", "redis"},
                       {"authenticationRef", {{"name", "auth"}}},
                       {"metadata", {{"addressFromEnv", "REDIS"}, {"listName", "orders"}}}};
  Apply({{"triggers", {by_env, by_ref}}});
  Pass();
  EXPECT_EQ(Condition("Ready", "message"), "The object is valid and its triggers can be read.");
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
}

// The secret names another server while the old one still answers; a secret that is gone changes nothing.
TEST_F(ScaledWorkloadTest, AChangedSecretCountsWithinAMinuteWithoutAFailure) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer before, after;
  ASSERT_TRUE(before.Run({"RPUSH", "orders", "1", "2", "3", "4", "5", "6"}).ok());
  ASSERT_TRUE(after.Run({"RPUSH", "orders", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}).ok());
  auto put = [this](const std::string& address) {
    kube_.Put(kube::resources::kSecrets, {{"metadata", {{"name", "redis"}, {"namespace", "shop"}}},
                                          {"data", {{"address", base::Base64Encode(address)}}}});
  };
  put(before.address());
  kube_.Put(kube::resources::kTriggerAuthentications,
            {{"metadata", {{"name", "auth"}, {"namespace", "shop"}}},
             {"spec", {{"secretTargetRef", {{{"parameter", "address"}, {"name", "redis"}, {"key", "address"}}}}}}});
  Apply({{"triggers",
          {{{"type", "redis"}, {"authenticationRef", {{"name", "auth"}}}, {"metadata", {{"listName", "orders"}}}}}}});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2);
  kube_.Remove(kube::resources::kSecrets, "shop", "redis");
  PassAfter(61'000);
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  put(after.address());
  PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 2) << "secrets are not asked for all the time";
  PassAfter(31'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
}

// The server dies while the workload is busy: nothing scales down, the error shows, and it recovers by itself.
TEST_F(ScaledWorkloadTest, RedisOutage) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer server;
  ASSERT_TRUE(server.Run({"RPUSH", "orders", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}).ok());
  Apply({{"cooldownPeriod", 10},
         {"triggers", {{{"type", "redis"}, {"metadata", {{"address", server.address()}, {"listName", "orders"}}}}}}});
  Pass();
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  server.Kill();
  for (int i = 0; i < 5; ++i) PassAfter(30'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("Ready", "message"),
            "redis orders cannot be read: redis at " + server.address() + ": connection refused");
  server.Start();
  PassAfter(5'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 3);
  EXPECT_EQ(Condition("Ready"), "ScaledObjectReady");
  PassAfter(11'000);
  EXPECT_EQ(kube_.Replicas("shop", "web"), 0) << "the restarted server has an empty list";
}

}  // namespace
}  // namespace tidewright::scaler
