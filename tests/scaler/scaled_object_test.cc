#include "scaler/scaled_object.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/document.h"
#include "base/file.h"
#include "base/json.h"

namespace tidewright::scaler {
namespace {

base::Result<ScaledObject> DecodeYaml(const std::string& yaml) {
  auto tree = base::ParseYaml(yaml, "test.yaml");
  EXPECT_TRUE(tree.ok()) << tree.status().ToString();
  return DecodeScaledObject(base::NodeToJson(*tree));
}

const char kHead[] = R"(
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: orders, namespace: shop, creationTimestamp: "2026-01-08T10:00:00Z", generation: 3}
)";

const char kQueue[] = R"(
spec:
  scaleTargetRef: {name: worker}
  triggers:
    - type: redis
      metadata: {address: "redis:6379", listName: orders}
)";

TEST(DecodeScaledObject, DefaultsAreKedas) {
  auto object = DecodeYaml(std::string(kHead) + kQueue);
  ASSERT_TRUE(object.ok()) << object.status().ToString();
  EXPECT_EQ(object->TargetKey(), "Deployment.apps/v1 shop/worker");
  EXPECT_EQ(object->polling_interval_ms, 30'000);
  EXPECT_EQ(object->scale.cooldown_ms, 300'000);
  EXPECT_EQ(object->scale.initial_cooldown_ms, 0);
  EXPECT_EQ(object->scale.min_replicas, 0);
  EXPECT_EQ(object->scale.max_replicas, 100);
  EXPECT_FALSE(object->scale.idle_replicas);
  EXPECT_EQ(object->scale.scale_down.stabilization_s, 300);
  EXPECT_EQ(object->scale.scale_up.policies.size(), 2u);
  EXPECT_EQ(object->created_ms, 1'767'866'400'000);
  EXPECT_FALSE(object->paused);
}

TEST(DecodeScaledObject, EveryFieldArrives) {
  auto object = DecodeYaml(std::string(kHead) + R"yaml(
spec:
  scaleTargetRef: {apiVersion: example.com/v1, kind: Fleet, name: worker, envSourceContainerName: app}
  pollingInterval: 5
  cooldownPeriod: 60
  initialCooldownPeriod: 10
  minReplicaCount: 3
  idleReplicaCount: 1
  maxReplicaCount: 20
  fallback: {failureThreshold: 3, replicas: 6, behavior: currentReplicasIfHigher}
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      name: anything
      behavior:
        scaleUp: {stabilizationWindowSeconds: 30, selectPolicy: Min, policies: [{type: Pods, value: 2, periodSeconds: 60}]}
        scaleDown: {selectPolicy: Disabled, tolerance: "0.05"}
  triggers:
    - type: prometheus
      name: rate
      metricType: Value
      useCachedMetrics: true
      metadata: {serverAddress: "http://prom:9090", query: "sum(up)", threshold: "2.5"}
)yaml");
  ASSERT_TRUE(object.ok()) << object.status().ToString();
  EXPECT_EQ(object->TargetKey(), "Fleet.example.com/v1 shop/worker");
  EXPECT_EQ(object->env_container, "app");
  EXPECT_EQ(object->scale.idle_replicas, 1);
  EXPECT_EQ(object->fallback->behavior, Fallback::Behavior::kCurrentIfHigher);
  EXPECT_TRUE(object->restore_on_delete);
  EXPECT_EQ(object->scale.scale_up.select, SelectPolicy::kMin);
  EXPECT_EQ(object->scale.scale_up.policies.size(), 1u);
  EXPECT_EQ(object->scale.scale_down.select, SelectPolicy::kDisabled);
  EXPECT_DOUBLE_EQ(object->scale.scale_down.tolerance, 0.05);
  EXPECT_EQ(object->scale.scale_down.stabilization_s, 300);
  EXPECT_EQ(object->triggers[0].target_type, TargetType::kValue);
}

struct AnnotationRow {
  const char* annotations;
  bool paused, in, out, force;
};

TEST(DecodeScaledObject, Annotations) {
  const AnnotationRow rows[] = {
      {R"({autoscaling.keda.sh/paused: "true"})", true, false, false, false},
      {R"({autoscaling.keda.sh/paused: "false"})", false, false, false, false},
      {R"({autoscaling.keda.sh/paused: "please"})", true, false, false, false},
      {R"({autoscaling.keda.sh/paused: "false", autoscaling.keda.sh/paused-replicas: "2"})", true, false, false, false},
      {R"({autoscaling.keda.sh/paused-scale-in: "true"})", false, true, false, false},
      {R"({autoscaling.tidewright.dev/paused-scale-out: "true"})", false, false, true, false},
      {R"({autoscaling.keda.sh/force-activation: "true"})", false, false, false, true},
  };
  for (const AnnotationRow& row : rows) {
    auto object =
        DecodeYaml("metadata: {name: a, namespace: b, annotations: " + std::string(row.annotations) + "}" + kQueue);
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ(object->paused, row.paused) << row.annotations;
    EXPECT_EQ(object->scale.pause_scale_in, row.in) << row.annotations;
    EXPECT_EQ(object->scale.pause_scale_out, row.out) << row.annotations;
    EXPECT_EQ(object->scale.force_activation, row.force) << row.annotations;
  }
}

TEST(DecodeScaledObject, CronAloneNeedsNoDownscaleWindow) {
  const std::string cron = R"(
spec:
  scaleTargetRef: {name: worker}
  triggers:
    - {type: cron, metadata: {timezone: Europe/Rome, start: 0 8 * * *, end: 0 18 * * *, desiredReplicas: "3"}}
)";
  EXPECT_EQ(DecodeYaml(kHead + cron)->scale.scale_down.stabilization_s, 0);
  EXPECT_EQ(DecodeYaml(kHead + cron + "    - {type: redis, metadata: {address: \"r:1\", listName: l}}\n")
                ->scale.scale_down.stabilization_s,
            300);
  EXPECT_EQ(DecodeYaml(kHead + cron +
                       "  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: "
                       "{stabilizationWindowSeconds: 120}}}}\n")
                ->scale.scale_down.stabilization_s,
            120);
}

struct ErrorRow {
  const char* name;
  const char* spec;
  const char* error;
};

class DecodeErrors : public testing::TestWithParam<ErrorRow> {};

TEST_P(DecodeErrors, NameObjectFieldValueAndRemedy) {
  auto object = DecodeYaml(std::string(kHead) + "spec: " + GetParam().spec);
  ASSERT_FALSE(object.ok());
  EXPECT_EQ(object.status().code(), base::Code::kInvalidArgument);
  std::string text = object.status().message();
  EXPECT_NE(text.find(GetParam().error), std::string::npos) << text;
  EXPECT_NE(text.find("ScaledObject shop/orders"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << "one fault, one error: " << text;
}

#define TARGET "scaleTargetRef: {name: w}, "
#define REDIS "{type: redis, metadata: {address: 'r:1', listName: l}}"
const ErrorRow kErrors[] = {
    {"unknown_field", "{" TARGET "maxReplicaCounts: 3, triggers: [" REDIS "]}",
     "spec.maxReplicaCounts: is not a known field; did you mean \"maxReplicaCount\"?"},
    {"no_target", "{triggers: [" REDIS "]}", "spec.scaleTargetRef: is missing"},
    {"no_triggers", "{" TARGET "}", "spec.triggers: is empty"},
    {"wrong_type", "{" TARGET "maxReplicaCount: '3', triggers: [" REDIS "]}",
     "spec.maxReplicaCount: \"3\" is not a whole"},
    {"min_over_max", "{" TARGET "minReplicaCount: 9, maxReplicaCount: 3, triggers: [" REDIS "]}",
     "spec.minReplicaCount: 9 is greater than maxReplicaCount 3"},
    {"idle_over_min", "{" TARGET "minReplicaCount: 2, idleReplicaCount: 2, triggers: [" REDIS "]}",
     "spec.idleReplicaCount: 2 is not less than minReplicaCount 2"},
    {"polling_zero", "{" TARGET "pollingInterval: 0, triggers: [" REDIS "]}",
     "spec.pollingInterval: 0 is out of range"},
    {"modifiers_variable",
     "{" TARGET
     "advanced: {scalingModifiers: {formula: ordrs * 2, target: '5'}}, triggers: [{type: redis, name: orders, "
     "metadata: {address: 'r:1', listName: l}}]}",
     "spec.advanced.scalingModifiers.formula: \"ordrs\" is not the name of a trigger; did you mean \"orders\"?"},
    {"modifiers_syntax", "{" TARGET "advanced: {scalingModifiers: {formula: 1 +, target: '5'}}, triggers: [" REDIS "]}",
     "spec.advanced.scalingModifiers.formula: formula \"1 +\": character 4: the end stands where"},
    {"modifiers_target", "{" TARGET "advanced: {scalingModifiers: {formula: '1', target: '0'}}, triggers: [" REDIS "]}",
     "spec.advanced.scalingModifiers.target: \"0\" is not a positive number"},
    {"fallback_without_modifiers",
     "{" TARGET "fallback: {failureThreshold: 1, replicas: 1, behavior: scalingModifiers}, triggers: [" REDIS "]}",
     "spec.fallback.behavior: \"scalingModifiers\" needs advanced.scalingModifiers.formula"},
    {"mode", "{" TARGET "scalingMode: auto, triggers: [" REDIS "]}",
     "spec.scalingMode: \"auto\" is unknown; use direct, hpa or dryRun"},
    {"hours",
     "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l}, when: {timezone: Etc/UTC, "
     "start: 0 8 * * *, end: 0 25 * * *}}]}",
     "spec.triggers[0].when.end: cron expression \"0 25 * * *\": field hour"},
    {"hours_incomplete",
     "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l}, when: {timezone: Etc/UTC, "
     "start: 0 8 * * *}}]}",
     "spec.triggers[0].when.end: is missing"},
    {"cron_limits",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * *, end: 0 9 * * *, "
     "minReplicas: '5', maxReplicas: '3'}}]}",
     "spec.triggers[0].metadata.minReplicas: 5 is greater than maxReplicas 3; lower it"},
    {"cron_dates",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * *, end: 0 9 * * *, "
     "desiredReplicas: '5', exclude: Christmas}}]}",
     "spec.triggers[0].metadata.exclude: \"Christmas\" is not a date; use 2026-12-25"},
    {"bad_policy",
     "{" TARGET "advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleUp: {policies: [{type: Pod, "
     "value: 1, periodSeconds: 1}]}}}}, triggers: [" REDIS "]}",
     "scaleUp.policies[0].type: \"Pod\" is not a policy type; use Pods or Percent"},
    {"unknown_trigger", "{" TARGET "triggers: [{type: reddis, metadata: {}}]}",
     "spec.triggers[0].type: \"reddis\" is not a trigger type; did you mean redis?"},
    {"keda_trigger", "{" TARGET "triggers: [{type: pulsar, metadata: {}}]}",
     "spec.triggers[0].type: \"pulsar\" is a trigger of KEDA that this version does not read; use one of apache-kafka, "
     "beanstalkd, cpu, cron, "},
    {"duplicate_name",
     "{" TARGET "triggers: [{type: redis, name: q, metadata: {address: 'r:1', listName: l}}, {type: redis, "
     "name: q, metadata: {address: 'r:1', listName: m}}]}",
     "spec.triggers[1].name: \"q\" is the name of another trigger"},
    {"misspelt_key", "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l, listLenght: '3'}}]}",
     "spec.triggers[0].metadata.listLenght: is not a setting of the redis trigger; did you mean \"listLength\"?"},
    {"number_value", "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l, listLength: 3}}]}",
     "spec.triggers[0].metadata.listLength: 3 is not a text; put it in quotes"},
    {"missing_list", "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1'}}]}",
     "spec.triggers[0].metadata.listName: is missing"},
    {"missing_address", "{" TARGET "triggers: [{type: redis, metadata: {listName: l}}]}",
     "spec.triggers[0].metadata.address: is missing; give address (host:port)"},
    {"bad_address", "{" TARGET "triggers: [{type: redis, metadata: {address: redis, listName: l}}]}",
     "spec.triggers[0].metadata.address: \"redis\" is not an address; use host:port"},
    {"plain_password",
     "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l, password: hunter2}}]}",
     "spec.triggers[0].metadata.password: must not stand in the manifest; use passwordFromEnv"},
    {"redis_tls", "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l, enableTLS: 'yes'}}]}",
     "spec.triggers[0].metadata.enableTLS: \"yes\" is not a truth value"},
    {"bad_length", "{" TARGET "triggers: [{type: redis, metadata: {address: 'r:1', listName: l, listLength: five}}]}",
     "spec.triggers[0].metadata.listLength: \"five\" is not a number; use for example 5"},
    {"bad_cron",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * 8, end: 0 9 * * *, "
     "desiredReplicas: '1'}}]}",
     "spec.triggers[0].metadata.start: cron expression \"0 8 * * 8\": field day of week: \"8\" ends above 7"},
    {"bad_zone",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Europe/Roma, start: 0 8 * * *, end: 0 9 * * *, "
     "desiredReplicas: '1'}}]}",
     "spec.triggers[0].metadata.timezone: time zone \"Europe/Roma\" is not in the IANA database; did you mean "
     "Europe/Rome?"},
    {"zero_replicas",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * *, end: 0 9 * * *, "
     "desiredReplicas: '0'}}]}",
     "spec.triggers[0].metadata.desiredReplicas: \"0\" is not a whole number from 1"},
    {"same_window",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 * * *, end: 00 8 * * *, "
     "desiredReplicas: '1'}}]}",
     "spec.triggers[0].metadata.end: start \"0 8 * * *\" and end \"00 8 * * *\" are the same times"},
    {"impossible_date",
     "{" TARGET "triggers: [{type: cron, metadata: {timezone: Etc/UTC, start: 0 8 30 2 *, end: 0 9 * * "
     "*, desiredReplicas: '1'}}]}",
     "spec.triggers[0].metadata.end: start \"0 8 30 2 *\" never happens"},
    {"bad_query", "{" TARGET "triggers: [{type: prometheus, metadata: {query: 'sum(', threshold: '1'}}]}",
     "spec.triggers[0].metadata.query: \"sum(\": "},
    {"no_threshold", "{" TARGET "triggers: [{type: prometheus, metadata: {query: up}}]}",
     "spec.triggers[0].metadata.threshold: is missing"},
    {"tiny_threshold", "{" TARGET "triggers: [{type: prometheus, metadata: {query: up, threshold: '0.0001'}}]}",
     "spec.triggers[0].metadata.threshold: \"0.0001\" is smaller than 0.001"},
    {"negative_threshold", "{" TARGET "triggers: [{type: prometheus, metadata: {query: up, threshold: '-1'}}]}",
     "spec.triggers[0].metadata.threshold: \"-1\" is not positive"},
    {"unsupported_key",
     "{" TARGET "triggers: [{type: prometheus, metadata: {query: up, threshold: '1', awsRegion: eu}}]}",
     "spec.triggers[0].metadata.awsRegion: is not supported by this version"},
    {"utilization",
     "{" TARGET "triggers: [{type: redis, metricType: Utilization, metadata: {address: 'r:1', listName: l}}]}",
     "spec.triggers[0].metricType: \"Utilization\" is for cpu and memory only"},
    {"cpu_without_type", "{" TARGET "triggers: [{type: cpu, metadata: {value: '60'}}]}",
     "spec.triggers[0].metricType: "},
    {"cpu_by_value", "{" TARGET "triggers: [{type: cpu, metricType: Value, metadata: {value: '60'}}]}",
     "spec.triggers[0].metricType: \"Value\" does not go with cpu; use Utilization or AverageValue"},
    {"cpu_target", "{" TARGET "triggers: [{type: cpu, metricType: Utilization, metadata: {value: '0'}}]}",
     "spec.triggers[0].metadata.value: \"0\" is not a positive quantity"},
    {"cpu_part_of_a_percent", "{" TARGET "triggers: [{type: cpu, metricType: Utilization, metadata: {value: '60.5'}}]}",
     "spec.triggers[0].metadata.value: is not a whole number of percent"},
    {"memory_to_zero",
     "{" TARGET "minReplicaCount: 0, triggers: [{type: memory, metricType: AverageValue, metadata: {value: 1Gi}}]}",
     "spec.minReplicaCount: is 0, and nothing would wake the workload up again"},
    {"memory_fallback",
     "{" TARGET "fallback: {failureThreshold: 1, replicas: 2}, "
     "triggers: [{type: memory, metricType: AverageValue, metadata: {value: 1Gi}}]}",
     "spec.fallback: does not go with cpu and memory triggers alone"},
    {"both_intervals", "{" TARGET "pollingInterval: 1, pollingIntervalMilliseconds: 500, triggers: []}",
     "spec.pollingIntervalMilliseconds: stands beside pollingInterval; remove one of them"},
    {"short_interval", "{" TARGET "pollingIntervalMilliseconds: 20, triggers: []}",
     "spec.pollingIntervalMilliseconds: 20 is out of range; use 100 or more"},
    {"cluster_auth",
     "{" TARGET "triggers: [{type: redis, authenticationRef: {name: a, kind: Cluster}, metadata: {listName: l}}]}",
     "authenticationRef.kind: \"Cluster\" is not a kind of authentication; use TriggerAuthentication or"},
};
INSTANTIATE_TEST_SUITE_P(Rows, DecodeErrors, testing::ValuesIn(kErrors),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(DecodeScaledObject, FormulasHoursAndLimits) {
  auto object = DecodeYaml(std::string(kHead) + R"yaml(
spec:
  scaleTargetRef: {name: worker}
  scalingMode: dryRun
  fallback: {failureThreshold: 3, replicas: 1, behavior: scalingModifiers}
  advanced:
    scalingModifiers: {formula: "orders ?? 10", target: "2.5", activationTarget: "1", metricType: Value}
  triggers:
    - type: redis
      name: orders
      metadata: {address: "redis:6379", listName: orders}
      maxReplicaCount: 7
      when: {timezone: Europe/Rome, start: "@daily", end: 0 18 * * *, exclude: 12-25}
      authenticationRef: {name: redis, kind: ClusterTriggerAuthentication}
)yaml");
  ASSERT_TRUE(object.ok()) << object.status().ToString();
  EXPECT_EQ(object->mode, ScalingMode::kDryRun);
  EXPECT_EQ(object->fallback->behavior, Fallback::Behavior::kFormula);
  ASSERT_TRUE(object->scale.composite);
  EXPECT_EQ(object->scale.composite->formula->text(), "orders ?? 10");
  EXPECT_EQ(object->scale.composite->target_milli, 2500);
  EXPECT_EQ(object->scale.composite->activation_milli, 1000);
  EXPECT_EQ(object->scale.composite->type, TargetType::kValue);
  const TriggerSpec& trigger = object->triggers[0];
  EXPECT_EQ(trigger.ns, "shop");
  EXPECT_EQ(trigger.max_replicas, 7);
  EXPECT_TRUE(trigger.cluster_authentication);
  ASSERT_TRUE(trigger.when);
  EXPECT_EQ(trigger.when->exclude, "12-25");
}

TEST(DecodeScaledObject, AFormulaTakesValuesWithoutTargets) {
  for (const char* formula : {"", "advanced: {scalingModifiers: {formula: a + b, target: '2'}}, "}) {
    auto object = DecodeYaml(std::string(kHead) + "spec: {" TARGET + formula +
                             "triggers: [{type: prometheus, name: a, metadata: {query: up}}, "
                             "{type: kubernetes-workload, name: b, metadata: {podSelector: app=x}}]}");
    EXPECT_EQ(object.ok(), *formula != 0) << object.status().ToString();
  }
}

TEST(DecodeScaledObject, TakingOverAnHpaKeepsIt) {
  auto object = DecodeYaml(R"yaml(
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: w, namespace: shop, annotations: {scaledobject.keda.sh/transfer-hpa-ownership: "true"}}
spec:
  scaleTargetRef: {name: w}
  advanced: {horizontalPodAutoscalerConfig: {name: theirs}}
  triggers: [{type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: "2"}}]
)yaml");
  ASSERT_TRUE(object.ok()) << object.status().ToString();
  EXPECT_EQ(object->mode, ScalingMode::kHpa);
  EXPECT_EQ(object->hpa_name, "theirs");
}

TEST(DecodeScaledObject, SecretsMayComeLater) {
  for (const char* trigger : {"{type: redis, metadata: {addressFromEnv: REDIS, listName: l, passwordFromEnv: PW}}",
                              "{type: redis, authenticationRef: {name: a}, metadata: {listName: l}}"}) {
    auto object = DecodeYaml(std::string(kHead) + "spec: {" TARGET "triggers: [" + trigger + "]}");
    EXPECT_TRUE(object.ok()) << object.status().ToString();
  }
}

TEST(DecodeScaledObject, ExamplesDecode) {
  for (const char* path : {"/examples/office-hours/scaledobject.yaml", "/examples/queue-worker/scaledobject.yaml",
                           "/examples/web-shop/checkout-scaledobject.yaml"}) {
    auto text = base::ReadFile(std::string(TIDEWRIGHT_SOURCE_DIR) + path);
    if (!text.ok()) GTEST_SKIP() << text.status().ToString();
    auto object = DecodeYaml(*text);
    EXPECT_TRUE(object.ok()) << path << ": " << object.status().ToString();
  }
}

TEST(MetricName, FollowsKeda) {
  EXPECT_EQ(MetricName(0, "redis-orders"), "s0-redis-orders");
  EXPECT_EQ(MetricName(2, "cron-Etc/UTC-0Sl2"), "s2-cron-Etc-UTC-0Sl2");
}

}  // namespace
}  // namespace tidewright::scaler
