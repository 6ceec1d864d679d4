// The kafka trigger against Apache Kafka, which Maven fetches once into the build folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/integration/fetched.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

using Words = std::vector<std::string>;

// Small and soon there, rather than fast in the long run.
const Words kJava = {"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", TIDEWRIGHT_KAFKA "/*"};

// One broker for all tests of this program, as it takes seconds to start.
class Broker : public SourceServer {
 public:
  // Why there is none, or "".
  static std::string Fetch() {
    for (const char* program : {"java", "kcat"}) {
      if (!base::HaveProgram(program)) return std::string(program) + " is not installed";
    }
    return FetchByMaven(TIDEWRIGHT_SOURCE_DIR "/tests/integration/kafka", TIDEWRIGHT_KAFKA);
  }

  Broker() {
    Write("ca.pem", certificates_.ca_pem);
    Write("server.pem", certificates_.server.private_key_pem + certificates_.server.certificate_pem);
    Write("server.properties", Settings());
    const std::string scram = std::string("=[name=shop,password=") + kPassword + "]";
    EXPECT_TRUE(Done(Java({"kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", settings_,
                           "--add-scram", "SCRAM-SHA-256" + scram, "--add-scram", "SCRAM-SHA-512" + scram})))
        << Log();
    Start();
  }

  void Start() override {
    Launch(Java({"kafka.Kafka", settings_}), [this] { return Done({"kcat", "-b", address(), "-L", "-m", "2"}); });
  }
  // Of the topic "orders".
  void Hold(int64_t value) override {
    Produce("orders", static_cast<int>(value - held_));
    held_ = value;
  }

  std::string address() const { return "127.0.0.1:" + port_; }
  std::string login_address() const { return "127.0.0.1:" + login_port_; }
  // Where clients show a certificate, too.
  std::string tls_address() const { return "127.0.0.1:" + tls_port_; }
  const Certificates& certificates() const { return certificates_; }

  // Writes messages to the first partition.
  void Produce(const std::string& topic, int count) {
    if (count == 0) {  // To ask for a topic makes it.
      EXPECT_TRUE(Done({"kcat", "-L", "-b", address(), "-t", topic})) << Log();
      return;
    }
    std::string lines;
    for (int i = 0; i < count; ++i) lines += "message\n";
    EXPECT_TRUE(base::WriteFileAtomic(folder_.path() + "/messages", lines).ok());
    EXPECT_TRUE(Eventually([&] {
      return Done({"kcat", "-P", "-b", address(), "-t", topic, "-p", "0", "-l", folder_.path() + "/messages"});
    })) << Log();
  }
  // Lets a member of the group read everything and commit where it has got to.
  void Consume(const std::string& topic, const std::string& group) {
    EXPECT_TRUE(Done({"kcat", "-b", address(), "-G", group, "-X", "auto.offset.reset=earliest", "-e", topic})) << Log();
  }

 private:
  static Words Java(const Words& arguments) {
    Words argv = kJava;
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return argv;
  }
  // server.properties
  std::string Settings() const {
    const std::string listeners =
        "PLAINTEXT://" + address() + ",SASL_PLAINTEXT://" + login_address() + ",SASL_SSL://" + tls_address();
    std::string text =
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
        "controller.quorum.voters=1@127.0.0.1:" +
        controller_port_ + "\nlisteners=" + listeners + ",CONTROLLER://127.0.0.1:" + controller_port_ +
        "\nadvertised.listeners=" + listeners +
        "\ninter.broker.listener.name=PLAINTEXT\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,"
        "CONTROLLER:PLAINTEXT\n"
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n"
        "log.dirs=" +
        folder_.path() +
        "/data\nnum.partitions=3\ngroup.initial.rebalance.delay.ms=0\n"
        "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n"
        "share.coordinator.state.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
        "transaction.state.log.min.isr=1\n";
    for (const char* listener : {"sasl_plaintext", "sasl_ssl"}) {
      const std::string login = std::string("listener.name.") + listener + ".";
      const std::string module = ".sasl.jaas.config=org.apache.kafka.common.security.";
      text += login + "plain" + module + "plain.PlainLoginModule required user_shop=\"" + kPassword + "\";\n";
      for (const char* scram : {"scram-sha-256", "scram-sha-512"}) {
        text += login + scram + module + "scram.ScramLoginModule required;\n";
      }
    }
    const std::string tls = "listener.name.sasl_ssl.ssl.";
    return text + tls + "keystore.type=PEM\n" + tls + "keystore.location=" + folder_.path() + "/server.pem\n" + tls +
           "truststore.type=PEM\n" + tls + "truststore.location=" + folder_.path() + "/ca.pem\n" + tls +
           "client.auth=required\n";
  }

  const std::string settings_ = folder_.path() + "/server.properties";
  const std::string port_ = NewPort();
  const std::string login_port_ = NewPort();
  const std::string tls_port_ = NewPort();
  const std::string controller_port_ = NewPort();
  const Certificates certificates_ = NewCertificates();
  int64_t held_ = 0;
};

class KafkaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    missing_ = Broker::Fetch();
    if (missing_.empty()) broker_ = new Broker;
  }
  static void TearDownTestSuite() {
    delete broker_;
    broker_ = nullptr;
  }
  void SetUp() override {
    if (!missing_.empty()) GTEST_SKIP() << missing_;
  }

  static std::string Read(ScaledSource::Metadata metadata) {
    metadata.try_emplace("bootstrapServers", broker_->address());
    metadata.try_emplace("consumerGroup", "work");
    return ReadOnce("kafka", metadata);
  }

  // A busy machine may let a reading run into its timeout.
  void ExpectRead(const ScaledSource::Metadata& metadata, const std::string& expected) {
    EXPECT_TRUE(Eventually([&] { return Read(metadata) == expected; })) << Read(metadata) << ", not " << expected;
  }

  inline static std::string missing_;
  inline static Broker* broker_ = nullptr;
};

TEST_F(KafkaTest, LagBecomesReplicas) {
  SourceCase source = {.type = "kafka",
                       .metadata = {{"bootstrapServers", broker_->login_address()},
                                    {"sasl", "scram_sha256"},
                                    {"username", "shop"},
                                    {"consumerGroup", "none"},
                                    {"topic", "orders"},
                                    {"offsetResetPolicy", "earliest"},
                                    {"allowIdleConsumers", "true"},
                                    {"lagThreshold", "5"}},
                       .secrets = {{"password", kPassword}},
                       .refusal = "uthentication failed"};
  SourceScenario(source).ExpectFollowed(*broker_);
  for (const char* mechanism : {"scram_sha512", "plaintext"}) {
    source.metadata["sasl"] = mechanism;
    SourceScenario(source).ExpectRefused(5);
  }
  source.metadata["bootstrapServers"] = broker_->tls_address();
  source.metadata["tls"] = "enable";
  source.secrets.insert({{"ca", broker_->certificates().ca_pem},
                         {"cert", broker_->certificates().client.certificate_pem},
                         {"key", broker_->certificates().client.private_key_pem}});
  SourceScenario(source).ExpectRefused(5);
  source.secrets.erase("ca");
  ScaledSource distrustful;
  distrustful.Follow(source.type, source.metadata, source.secrets);
  EXPECT_TRUE(Eventually([&] {
    return distrustful.NextReplicas() == 0 && distrustful.Readiness().find("certificate verify") != std::string::npos;
  })) << distrustful.Readiness();
}

TEST_F(KafkaTest, Settings) {
  broker_->Produce("events", 12);
  // No partition has an offset.
  ExpectRead({{"topic", "events"}}, "3000");
  ExpectRead({{"topic", "events"}, {"scaleToZeroOnInvalidOffset", "true"}}, "0");
  ExpectRead({{"topic", "events"}, {"offsetResetPolicy", "earliest"}}, "12000");
  ExpectRead({{"topic", "events"}, {"offsetResetPolicy", "earliest"}, {"lagThreshold", "1"}}, "3000");
  ExpectRead({{"topic", "events"},
              {"offsetResetPolicy", "earliest"},
              {"lagThreshold", "1"},
              {"limitToPartitionsWithLag", "true"}},
             "1000");
  ExpectRead({{"topic", "events"}, {"offsetResetPolicy", "earliest"}, {"partitionLimitation", "1-2"}}, "0");
  ExpectRead({{"topic", "events"}, {"partitionLimitation", "7"}}, "kafka: the topic has none of these partitions");
  ExpectRead({{"topic", "none"}}, "kafka: topic \"none\": Broker: Unknown topic or partition");
  ExpectRead({{"consumerGroup", "idle"}}, "kafka: group \"idle\" has committed no offset yet; name a topic");
  broker_->Consume("events", "readers");
  broker_->Produce("events", 9);
  // Of whatever it has read.
  ExpectRead({{"consumerGroup", "readers"}}, "9000");
  EXPECT_EQ(Read({{"topic", "events"}, {"tls", "enable"}, {"ca", "not a certificate"}}).substr(0, 7), "kafka: ");
}

// By brokers that librdkafka only plays, as a real one moves a coordinator when it likes.
TEST(KafkaCoordinatorTest, OneThatMovesIsAskedAgain) {
  constexpr int16_t kOffsetFetch = 9;
  char text[512] = "";
  std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> host(
      rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text)), &rd_kafka_destroy);
  ASSERT_NE(host, nullptr) << text;
  std::unique_ptr<rd_kafka_mock_cluster_t, void (*)(rd_kafka_mock_cluster_t*)> brokers(
      rd_kafka_mock_cluster_new(host.get(), 1), &rd_kafka_mock_cluster_destroy);
  ASSERT_NE(brokers, nullptr);
  ASSERT_EQ(rd_kafka_mock_topic_create(brokers.get(), "orders", 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_mock_push_request_errors(brokers.get(), kOffsetFetch, 2, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                                    RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
  std::string seen;
  EXPECT_TRUE(Eventually([&] {
    seen = ReadOnce("kafka", {{"bootstrapServers", rd_kafka_mock_cluster_bootstraps(brokers.get())},
                              {"consumerGroup", "work"},
                              {"topic", "orders"}});
    return seen == "3000";
  })) << seen;
}

}  // namespace
}  // namespace tidewright::scaler
