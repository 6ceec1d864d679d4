#include <algorithm>
#include <iterator>

#include "base/secret_hash.h"
#include "base/strings.h"
#include "scaler/source_pool.h"
#include "scaler/trigger.h"
#include "scaler/trigger/hours.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler {

namespace trigger {

namespace {

struct Type {
  const char* name;
  Factory make;
  const char* summary;  // For the reference page.
};
constexpr char kKafka[] =
    "What a consumer group of Kafka has still to read. Needs librdkafka (package librdkafka1), which is loaded when it "
    "is used first; for SCRAM with brokers of version 4 it has to be 2.6.1 or newer. The names `kafka` and "
    "`apache-kafka` mean the same.";
constexpr Type kTypes[] = {
    {"apache-kafka", &MakeKafka, kKafka},
    {"beanstalkd", &MakeBeanstalkd, "The jobs in a tube of beanstalkd that are ready or reserved."},
    {"cpu", &MakeCpu,
     "What the target's pods use of their processors, by the arithmetic of HorizontalPodAutoscalers. Read from "
     "metrics.k8s.io."},
    {"cron", &MakeCron,
     "A number of replicas while a window is open. The window is open from each start to the next end; exactly the "
     "number is scaled to, without a tolerance. A window may also carry other limits for the whole object."},
    {"elasticsearch", &MakeElasticsearch,
     "A number in what Elasticsearch answers to a search or a search template. An answer that was cut short by a "
     "timeout, or for which a shard failed, is an error, because it counts too little. `hits.total.value` ends at "
     "10000, unless the search has `track_total_hits: true`."},
    {"etcd", &MakeEtcd, "The number that is the value of a key in etcd."},
    {"external", &MakeExternal,
     "What a scaler of your own says, by gRPC in KEDA's protocol: what it measures (GetMetricSpec, asked again each "
     "minute), the values (GetMetrics) and whether there is anything to do (IsActive). Of several metrics the one that "
     "asks for the most replicas counts. All other settings are passed on to it as they are; those that end with "
     "`FromEnv` with the variable's value."},
    {"external-push", &MakeExternal,
     "The same as `external`, and the scaler may say by itself that there is work (StreamIsActive): the object is "
     "looked at at once then. The stream is opened again after a failure; while there is none, readings go on every "
     "pollingInterval."},
    {"graphite", &MakeGraphite,
     "The latest value of a query to Graphite. No series and no points count as 0; several series are an error."},
    {"http", &MakeHttp,
     "Requests per second of an ingress or service, from what the ingress controller or the mesh says in the embedded "
     "store. A short form of `prometheus`: no query has to be written."},
    {"influxdb", &MakeInfluxdb,
     "The `_value` of the first record that a Flux query to InfluxDB gives, of version 2 or of 1.8 with Flux "
     "enabled. A query without a record, and a `_value` that is null or no number, is an error."},
    {"kafka", &MakeKafka, kKafka},
    {"kubernetes-workload", &MakeKubernetesWorkload, "How many pods of the object's namespace match a selector."},
    {"memory", &MakeMemory,
     "What the target's pods use of their memory, by the arithmetic of HorizontalPodAutoscalers. Read from "
     "metrics.k8s.io."},
    {"metrics-api", &MakeMetricsApi, "A number in the JSON or YAML that any HTTP API answers with."},
    {"mysql", &MakeMysql,
     "The number that a query to MySQL or MariaDB gives. Needs MariaDB's client library (package libmariadb3), which "
     "is loaded on first use."},
    {"nats-jetstream", &MakeNatsJetstream,
     "What a consumer of a JetStream stream has pending or not acknowledged, by the monitoring endpoint of NATS."},
    {"postgresql", &MakePostgresql,
     "The number that a query to PostgreSQL gives. Needs libpq (package libpq5), which is loaded on first use."},
    {"prometheus", &MakePrometheus, "The value of a PromQL query, of the embedded store or of another server."},
    {"rabbitmq", &MakeRabbitmq,
     "The length of a queue of RabbitMQ, by AMQP 0-9-1; or that and the rates of its messages, by the management "
     "API. AMQP counts the messages that are ready, the management API also those that consumers hold. AMQP needs "
     "rabbitmq-c (package librabbitmq4), which is loaded on first use. A queue that does not exist is an error."},
    {"redis", &MakeRedis,
     "The length of a list, hash, set or sorted set of Redis. A key that does not exist has length 0."},
    {"redis-cluster", &MakeRedisCluster,
     "The length of a list, hash, set or sorted set in a Redis cluster, of whichever server has it. A key that does "
     "not exist has length 0."},
    {"redis-cluster-streams", &MakeRedisClusterStreams,
     "The length of a stream in a Redis cluster, or what a consumer group has pending or has not been delivered yet."},
    {"redis-sentinel", &MakeRedisSentinel,
     "The length of a list, hash, set or sorted set of the Redis server that sentinels name as the master. A key that "
     "does not exist has length 0."},
    {"redis-sentinel-streams", &MakeRedisSentinelStreams,
     "The length of a stream of the Redis server that sentinels name as the master, or what a consumer group has "
     "pending or has not been delivered yet."},
    {"redis-streams", &MakeRedisStreams,
     "The length of a Redis stream, or what a consumer group has pending or has not been delivered yet."},
};

// Types that KEDA has and this build does not: a different remedy than for a typing mistake.
constexpr const char* kKedaTypes[] = {"activemq",
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
                                      "cassandra",
                                      "clickhouse",
                                      "couchdb",
                                      "datadog",
                                      "dynatrace",
                                      "elastic-forecast",
                                      "forgejo-runner",
                                      "gcp-cloudtasks",
                                      "gcp-pubsub",
                                      "gcp-spanner",
                                      "gcp-stackdriver",
                                      "gcp-storage",
                                      "github-runner",
                                      "huawei-cloudeye",
                                      "ibmmq",
                                      "kubernetes-resource",
                                      "liiklus",
                                      "loki",
                                      "mongodb",
                                      "mssql",
                                      "new-relic",
                                      "nsq",
                                      "opensearch",
                                      "openstack-metric",
                                      "openstack-swift",
                                      "predictkube",
                                      "pulsar",
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
  errors.Add({}, path + ".type", message);
}

// A trigger whose readings go by way of the pool.
class PooledTrigger : public Trigger {
 public:
  PooledTrigger(std::unique_ptr<Trigger> trigger, std::shared_ptr<SharedRead> read, int64_t max_age_ms)
      : Trigger(trigger->info()), trigger_(std::move(trigger)), read_(std::move(read)), max_age_ms_(max_age_ms) {}

  base::Result<Reading> Read() override {
    base::Result<Reading> reading = read_->Read(trigger_, max_age_ms_);
    // Others may be reading by this trigger now, unless it reads for itself alone.
    if (info().own_reading && reading.ok()) SetInfo(trigger_->info());
    return reading;
  }
  void Push(Hasten hasten) override { trigger_->Push(std::move(hasten)); }

 private:
  const std::shared_ptr<Trigger> trigger_;
  const std::shared_ptr<SharedRead> read_;
  const int64_t max_age_ms_;
};

std::unique_ptr<Trigger> Pooled(const TriggerSpec& spec, const MetadataReader& reader, std::unique_ptr<Trigger> made,
                                const TriggerContext& context) {
  const TriggerInfo& info = made->info();
  if (context.sources == nullptr || info.source.empty()) return made;
  const std::string source = spec.type + " " + info.source + " " + std::to_string(reader.login_id());
  std::string question = source + " " + std::to_string(reader.question_id());
  if (info.own_reading) question += " " + spec.ns + "/" + spec.object + " " + std::to_string(spec.index);
  auto read = context.sources->ReadOf({spec.type, info.source, base::SecretHash(source), base::SecretHash(question)},
                                      *context.control);
  // What nobody else reads is read whenever it is asked for: the source may have said that it is worthwhile.
  const int64_t max_age_ms = info.own_reading ? 0 : spec.max_age_ms;
  return std::make_unique<PooledTrigger>(std::move(made), std::move(read), max_age_ms);
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
  if (spec.when) trigger::PlanHours(*spec.when, path + ".when", errors);
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
  made = trigger::Pooled(spec, reader, std::move(made), context);
  if (!spec.when) return made;
  auto hours = trigger::PlanHours(*spec.when, "spec.triggers[" + std::to_string(spec.index) + "].when", errors);
  if (!hours) return errors.ToStatus();
  return trigger::During(std::move(*hours), std::move(made), *context.calendar);
}

bool MeasuresPods(const std::string& type) { return type == "cpu" || type == "memory"; }

std::vector<std::string> TriggerTypes() {
  std::vector<std::string> names;
  for (const trigger::Type& type : trigger::kTypes) names.emplace_back(type.name);
  return names;
}

std::string TriggerReference(const std::string& name) {
  const trigger::Type* type = trigger::Find(name);
  if (type == nullptr) return "";
  TriggerSpec spec;
  spec.type = name;
  base::ErrorList errors("reference");
  trigger::MetadataReader reader(spec, nullptr, "", errors);
  std::vector<trigger::FieldHelp> fields;
  reader.DescribeTo(&fields);
  type->make(spec, reader, nullptr);
  std::string page = "<!-- Made from the table of settings in scaler/trigger by a test; do not edit. -->\n\n# " + name +
                     "\n\n" + type->summary +
                     "\n\n| setting | required | may come from | meaning |\n|---|---|---|---|\n";
  std::string missing;
  for (const trigger::FieldHelp& field : fields) {
    if (!field.supported) {
      missing += (missing.empty() ? "" : ", ") + ("`" + field.key + "`");
      continue;
    }
    const char* from = "metadata";
    if (field.from == trigger::From::kAny) from = "metadata, FromEnv, authentication";
    if (field.from == trigger::From::kSecret) from = "FromEnv, authentication";
    const char* required = field.need == trigger::Need::kRequired ? "yes" : "no";
    if (field.need == trigger::Need::kTarget) required = "yes, unless in a formula";
    page += "| `" + field.key + "` | " + required + " | " + from + " | " + field.help + " |\n";
  }
  if (!missing.empty()) page += "\nSettings of KEDA that are errors here: " + missing + ".\n";
  return page;
}

std::string MetricName(int index, const std::string& text) {
  std::string name = "s" + std::to_string(index) + "-" + text;
  for (char& c : name) {
    if (std::string_view("/.:%()").find(c) != std::string_view::npos) c = '-';
  }
  return name;
}

}  // namespace tidewright::scaler
