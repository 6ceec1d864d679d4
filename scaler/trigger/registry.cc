#include <algorithm>
#include <iterator>

#include "base/strings.h"
#include "scaler/trigger.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler {

namespace trigger {

namespace {

struct Type {
  const char* name;
  Factory make;
};
constexpr Type kTypes[] = {{"cron", &MakeCron}, {"prometheus", &MakePrometheus}, {"redis", &MakeRedis}};

// Types that KEDA has and this build does not: a different remedy than for a typing mistake.
constexpr const char* kKedaTypes[] = {"activemq",
                                      "apache-kafka",
                                      "arangodb",
                                      "artemis-queue",
                                      "aws-cloudwatch",
                                      "aws-dynamodb",
                                      "aws-dynamodb-streams",
                                      "aws-kinesis-stream",
                                      "aws-sqs-queue",
                                      "azure-app-insights",
                                      "azure-blob",
                                      "azure-data-explorer",
                                      "azure-eventhub",
                                      "azure-log-analytics",
                                      "azure-monitor",
                                      "azure-pipelines",
                                      "azure-queue",
                                      "azure-servicebus",
                                      "beanstalkd",
                                      "cassandra",
                                      "clickhouse",
                                      "couchdb",
                                      "cpu",
                                      "datadog",
                                      "dynatrace",
                                      "elastic-forecast",
                                      "elasticsearch",
                                      "etcd",
                                      "external",
                                      "external-push",
                                      "forgejo-runner",
                                      "gcp-cloudtasks",
                                      "gcp-pubsub",
                                      "gcp-spanner",
                                      "gcp-stackdriver",
                                      "gcp-storage",
                                      "github-runner",
                                      "graphite",
                                      "huawei-cloudeye",
                                      "ibmmq",
                                      "influxdb",
                                      "kafka",
                                      "kubernetes-resource",
                                      "kubernetes-workload",
                                      "liiklus",
                                      "loki",
                                      "memory",
                                      "metrics-api",
                                      "mongodb",
                                      "mssql",
                                      "mysql",
                                      "nats-jetstream",
                                      "new-relic",
                                      "nsq",
                                      "opensearch",
                                      "openstack-metric",
                                      "openstack-swift",
                                      "postgresql",
                                      "predictkube",
                                      "pulsar",
                                      "rabbitmq",
                                      "redis-cluster",
                                      "redis-cluster-streams",
                                      "redis-sentinel",
                                      "redis-sentinel-streams",
                                      "redis-streams",
                                      "selenium-grid",
                                      "solace-direct-messaging",
                                      "solace-event-queue",
                                      "solarwinds",
                                      "solr",
                                      "splunk",
                                      "splunk-observability",
                                      "sumologic",
                                      "temporal"};

const Type* Find(const std::string& name) {
  auto it = std::find_if(std::begin(kTypes), std::end(kTypes), [&name](const Type& type) { return name == type.name; });
  return it == std::end(kTypes) ? nullptr : it;
}

void ReportUnknown(const std::string& name, const std::string& path, base::ErrorList& errors) {
  std::vector<std::string> types = TriggerTypes();
  bool keda = std::find(std::begin(kKedaTypes), std::end(kKedaTypes), name) != std::end(kKedaTypes);
  std::string nearest = keda ? "" : base::NearestName(name, types);
  std::string message =
      base::Quoted(name) + (keda ? " is a trigger of KEDA that this version does not read" : " is not a trigger type");
  message += nearest.empty() ? "; use one of " + base::Join(types, ", ") : "; did you mean " + nearest + "?";
  if (name == "cpu" || name == "memory") message += ", or scale on it with a HorizontalPodAutoscaler";
  errors.Add({}, path + ".type", message);
}

}  // namespace

TriggerInfo InfoOf(const TriggerSpec& spec, const std::string& subject, const std::string& metric) {
  TriggerInfo info;
  info.type = spec.type;
  info.name = spec.name.empty() ? spec.type + " " + subject : spec.name;
  info.metric_name = MetricName(spec.index, metric);
  info.target_type = spec.target_type;
  return info;
}

}  // namespace trigger

void CheckTrigger(const TriggerSpec& spec, const std::string& path, base::ErrorList& errors) {
  const trigger::Type* type = trigger::Find(spec.type);
  if (type == nullptr) return trigger::ReportUnknown(spec.type, path, errors);
  trigger::MetadataReader reader(spec, nullptr, path, errors);
  type->make(spec, reader, nullptr);
  reader.Finish();
}

base::Result<std::unique_ptr<Trigger>> NewTrigger(const TriggerSpec& spec, const TriggerSecrets& secrets,
                                                  const TriggerContext& context) {
  const trigger::Type* type = trigger::Find(spec.type);
  if (type == nullptr) return base::InvalidArgumentError("unknown trigger type " + base::Quoted(spec.type));
  base::ErrorList errors("trigger " + std::to_string(spec.index) + " (" + spec.type + ")");
  trigger::MetadataReader reader(spec, &secrets, "spec.triggers[" + std::to_string(spec.index) + "]", errors);
  std::unique_ptr<Trigger> made = type->make(spec, reader, &context);
  TW_RETURN_IF_ERROR(errors.ToStatus());
  if (made == nullptr) return base::InternalError("trigger " + spec.type + " was not built");
  return made;
}

std::vector<std::string> TriggerTypes() {
  std::vector<std::string> names;
  for (const trigger::Type& type : trigger::kTypes) names.emplace_back(type.name);
  return names;
}

std::string MetricName(int index, const std::string& text) {
  std::string name = "s" + std::to_string(index) + "-" + text;
  for (char& c : name) {
    if (std::string_view("/.:%()").find(c) != std::string_view::npos) c = '-';
  }
  return name;
}

}  // namespace tidewright::scaler
