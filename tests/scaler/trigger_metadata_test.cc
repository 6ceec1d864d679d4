// What the checks of a manifest say about the settings of triggers that need a server to be tested further.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/document.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {
namespace {

struct MetadataRow {
  const char* name;
  const char* type;
  std::map<std::string, std::string> metadata;
  std::string error;  // Empty: the manifest is right.
};

const MetadataRow kRows[] = {
    {"mysql", "mysql", {{"host", "db"}, {"username", "u"}, {"dbName", "d"}, {"query", "q"}, {"queryValue", "1"}}, ""},
    {"mysql_metric_name",  // Of KEDA before version 2.10.
     "mysql",
     {{"host", "db"}, {"username", "u"}, {"dbName", "d"}, {"query", "q"}, {"queryValue", "1"}, {"metricName", "m"}},
     ""},
    {"mysql_no_target", "mysql", {{"connectionStringFromEnv", "DSN"}, {"query", "q"}}, "queryValue: is missing"},
    {"mysql_by_string", "mysql", {{"connectionStringFromEnv", "DSN"}, {"query", "q"}, {"queryValue", "1"}}, ""},
    {"mysql_no_host",
     "mysql",
     {{"query", "q"}, {"queryValue", "1"}},
     "host: is missing; give host, username and dbName"},
    {"mysql_misspelt",
     "mysql",
     {{"host", "db"}, {"userName", "u"}, {"query", "q"}, {"queryValue", "1"}},
     "userName: is not a setting of the mysql trigger; did you mean \"username\"?"},
    {"mysql_port", "mysql", {{"host", "db"}, {"port", "0"}, {"query", "q"}, {"queryValue", "1"}}, "port: \"0\" is not"},
    {"mysql_tls",
     "mysql",
     {{"host", "db"}, {"tls", "preferred"}, {"query", "q"}, {"queryValue", "1"}},
     "tls: \"preferred\" is not a mode of TLS; use false, true or skip-verify"},
    {"mysql_plain_password",
     "mysql",
     {{"host", "db"}, {"password", "x"}, {"query", "q"}, {"queryValue", "1"}},
     "password: must not stand in the manifest; use passwordFromEnv"},
    {"beanstalkd", "beanstalkd", {{"server", "jobs"}, {"tube", "a.b"}, {"value", "5"}, {"timeout", "30"}}, ""},
    {"beanstalkd_tube",
     "beanstalkd",
     {{"server", "jobs"}, {"tube", "a b"}, {"value", "5"}},
     "tube: \"a b\" is not the name of a tube"},
    {"beanstalkd_server",
     "beanstalkd",
     {{"server", "jobs:x"}, {"tube", "a"}, {"value", "5"}},
     "server: \"jobs:x\" is not an address"},
    {"nats_scheme",
     "nats-jetstream",
     {{"natsServerMonitoringEndpoint", "http://n:1"}, {"account", "a"}, {"stream", "s"}, {"consumer", "c"}},
     "natsServerMonitoringEndpoint: \"http://n:1\" is not an endpoint; use host:port without a scheme"},
    {"redis_cluster", "redis-cluster", {{"addresses", "a:1, b:2"}, {"listName", "l"}}, ""},
    {"redis_cluster_hosts", "redis-cluster", {{"hosts", "a,b"}, {"ports", "1,2"}, {"listName", "l"}}, ""},
    {"redis_cluster_ports",
     "redis-cluster",
     {{"hosts", "a,b"}, {"ports", "1"}, {"listName", "l"}},
     "addresses: has 2 hosts for 1 ports; give one port for each host"},
    {"redis_cluster_address",
     "redis-cluster",
     {{"addresses", "a:1,b"}, {"listName", "l"}},
     "addresses: \"b\" is not an address; use host:port"},
    {"redis_cluster_nothing", "redis-cluster", {{"listName", "l"}}, "addresses: is missing; give addresses"},
    {"redis_cluster_database",
     "redis-cluster",
     {{"addresses", "a:1"}, {"listName", "l"}, {"databaseIndex", "1"}},
     "databaseIndex: is not a setting of the redis-cluster trigger"},
    {"redis_sentinel",
     "redis-sentinel-streams",
     {{"addressesFromEnv", "A"}, {"sentinelMaster", "m"}, {"stream", "s"}},
     ""},
    {"redis_sentinel_master",
     "redis-sentinel",
     {{"addresses", "a:1"}, {"listName", "l"}},
     "sentinelMaster: is missing; it is required"},
    {"redis_sentinel_password",
     "redis-sentinel",
     {{"addresses", "a:1"}, {"listName", "l"}, {"sentinelMaster", "m"}, {"sentinelPassword", "x"}},
     "sentinelPassword: must not stand in the manifest"},
    {"kafka", "kafka", {{"bootstrapServers", "a:9092, b"}, {"consumerGroup", "g"}, {"version", "2.8.0"}}, ""},
    {"apache_kafka", "apache-kafka", {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"topic", "a,b"}}, ""},
    {"kafka_broker",
     "kafka",
     {{"bootstrapServers", "a:x"}, {"consumerGroup", "g"}},
     "bootstrapServers: \"a:x\" is not an address"},
    {"kafka_group", "kafka", {{"bootstrapServers", "a:1"}}, "consumerGroup: is missing"},
    {"kafka_misspelt",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"lagThreshhold", "1"}},
     "lagThreshhold: is not a setting of the kafka trigger; did you mean \"lagThreshold\"?"},
    {"kafka_policy",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"offsetResetPolicy", "none"}},
     "offsetResetPolicy: \"none\" is not a policy; use latest or earliest"},
    {"kafka_partitions",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"topic", "t"}, {"partitionLimitation", "1,6-4"}},
     "partitionLimitation: \"6-4\" is not a partition or a range of them"},
    {"kafka_no_topic",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"limitToPartitionsWithLag", "true"}},
     "limitToPartitionsWithLag: needs a topic"},
    {"kafka_idle_and_limit",
     "kafka",
     {{"bootstrapServers", "a:1"},
      {"consumerGroup", "g"},
      {"topic", "t"},
      {"allowIdleConsumers", "true"},
      {"limitToPartitionsWithLag", "true"}},
     "limitToPartitionsWithLag: contradicts allowIdleConsumers"},
    {"kafka_sasl",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"sasl", "gssapi"}},
     "sasl: \"gssapi\" is not supported; use none, plaintext, scram_sha256 or scram_sha512"},
    {"kafka_oauth",
     "kafka",
     {{"bootstrapServers", "a:1"}, {"consumerGroup", "g"}, {"scopes", "x"}},
     "scopes: is not supported by this version"},
};

class TriggerMetadataTest : public testing::TestWithParam<MetadataRow> {};

TEST_P(TriggerMetadataTest, IsChecked) {
  TriggerSpec spec;
  spec.type = GetParam().type;
  spec.metadata = GetParam().metadata;
  base::ErrorList errors("test");
  CheckTrigger(spec, "spec.triggers[0]", errors);
  const std::string text = errors.ToStatus().ok() ? "" : errors.ToStatus().message();
  if (GetParam().error.empty()) {
    EXPECT_EQ(text, "");
  } else {
    EXPECT_NE(text.find("spec.triggers[0].metadata." + GetParam().error), std::string::npos) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TriggerMetadataTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace tidewright::scaler
