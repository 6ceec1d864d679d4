// The kafka trigger against Apache Kafka, which Maven fetches once into the build folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "scaler/trigger.h"
#include "tests/integration/fetched.h"
#include "tests/integration/scaled_source.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;

using Words = std::vector<std::string>;

// Small and soon there, rather than fast in the long run.
const Words kJava = {"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", TIDEWRIGHT_KAFKA "/*"};

// One broker for all tests of this program, as it takes seconds to start.
class Broker {
 public:
  // Why there is none, or "".
  static std::string Fetch() {
    for (const char* program : {"java", "kcat"}) {
      if (!base::HaveProgram(program)) return std::string(program) + " is not installed";
    }
    return FetchByMaven(TIDEWRIGHT_SOURCE_DIR "/tests/integration/kafka", TIDEWRIGHT_KAFKA);
  }

  Broker() {
    const std::string listeners = "PLAINTEXT://" + address() + ",SASL_PLAINTEXT://" + login_address();
    const std::string login = "listener.name.sasl_plaintext.";
    const std::string module = "org.apache.kafka.common.security.";
    const std::string settings =
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
        "controller.quorum.voters=1@127.0.0.1:" +
        controller_port_ +
        "\n"
        "listeners=" +
        listeners + ",CONTROLLER://127.0.0.1:" + controller_port_ +
        "\n"
        "advertised.listeners=" +
        listeners +
        "\ninter.broker.listener.name=PLAINTEXT\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n" +
        login + "plain.sasl.jaas.config=" + module + "plain.PlainLoginModule required user_shop=\"pa55\";\n" + login +
        "scram-sha-256.sasl.jaas.config=" + module + "scram.ScramLoginModule required;\n" + login +
        "scram-sha-512.sasl.jaas.config=" + module +
        "scram.ScramLoginModule required;\n"
        "log.dirs=" +
        folder_.path() +
        "/data\nnum.partitions=3\ngroup.initial.rebalance.delay.ms=0\n"
        "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n"
        "share.coordinator.state.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
        "transaction.state.log.min.isr=1\n";
    EXPECT_TRUE(base::WriteFileAtomic(settings_, settings).ok());
    EXPECT_TRUE(Done(
        Java({"kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", settings_, "--add-scram",
              "SCRAM-SHA-256=[name=shop,password=pa55]", "--add-scram", "SCRAM-SHA-512=[name=shop,password=pa55]"})))
        << Log();
    Start();
  }

  void Start() {
    process_ = std::make_unique<base::Subprocess>(
        *base::Subprocess::Start(Java({"kafka.Kafka", settings_}), folder_.path() + "/log"));
    EXPECT_TRUE(Eventually([this] { return Done({"kcat", "-b", address(), "-L", "-m", "2"}); })) << Log();
  }
  void Kill() {
    process_->Signal(9);
    process_->Wait();
  }

  std::string address() const { return "127.0.0.1:" + port_; }
  std::string login_address() const { return "127.0.0.1:" + login_port_; }

  // Writes messages to the first partition.
  void Produce(const std::string& topic, int count) {
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
  bool Done(const Words& argv) {
    auto process = base::Subprocess::Start(argv, folder_.path() + "/log");
    return process.ok() && process->Wait() == 0;
  }
  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/log");
    return text.ok() ? text->substr(text->size() - std::min<size_t>(text->size(), 4000)) : "";
  }

  base::TempDir folder_ = *base::TempDir::Create("kafka");
  const std::string settings_ = folder_.path() + "/server.properties";
  const std::string port_ = std::to_string(*base::FreePort());
  const std::string login_port_ = std::to_string(*base::FreePort());
  const std::string controller_port_ = std::to_string(*base::FreePort());
  std::unique_ptr<base::Subprocess> process_;
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

  // What a trigger reads in milli-units, or its error.
  std::string Read(ScaledSource::Metadata metadata) {
    metadata.try_emplace("bootstrapServers", broker_->address());
    metadata.try_emplace("consumerGroup", "work");
    TriggerSpec spec;
    spec.type = "kafka";
    spec.metadata = std::move(metadata);
    TriggerSecrets secrets;
    secrets.env = [](const std::string& name) -> base::Result<std::string> { return name; };
    auto trigger = NewTrigger(spec, secrets, context_);
    if (!trigger.ok()) return trigger.status().message();
    auto reading = (*trigger)->Read();
    return reading.ok() ? std::to_string(reading->value_milli) : reading.status().message();
  }

  // A busy machine may let a reading run into its timeout.
  void ExpectRead(const ScaledSource::Metadata& metadata, const std::string& expected) {
    EXPECT_TRUE(Eventually([&] { return Read(metadata) == expected; })) << Read(metadata) << ", not " << expected;
  }

  TriggerContext context_;
  inline static std::string missing_;
  inline static Broker* broker_ = nullptr;
};

TEST_F(KafkaTest, LagBecomesReplicasAndAnOutageChangesNothing) {
  const ScaledSource::Metadata metadata = {{"bootstrapServers", broker_->login_address()},
                                           {"sasl", "scram_sha256"},
                                           {"username", "shop"},
                                           {"consumerGroup", "work"},
                                           {"topic", "orders"},
                                           {"lagThreshold", "5"}};
  broker_->Produce("orders", 4);
  broker_->Consume("orders", "work");
  ScaledSource source;
  source.Follow("kafka", metadata, {{"password", "pa55"}});
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 1; }))
      << "two partitions without an offset count one each: " << source.Readiness();
  broker_->Produce("orders", 7);
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 2; })) << source.Readiness();

  broker_->Kill();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(source.NextReplicas(), 2);
  EXPECT_THAT(source.Readiness(), HasSubstr("cannot be read: kafka: "));
  broker_->Start();
  broker_->Produce("orders", 30);
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 3; })) << "one per partition; " << source.Readiness();
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  for (const char* mechanism : {"plaintext", "scram_sha256", "scram_sha512"}) {
    ScaledSource::Metadata other = metadata;
    other["sasl"] = mechanism;
    source.Follow("kafka", other, {{"password", "pa55"}});
    EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 3 && source.Ready(); }))
        << mechanism << ": " << source.Readiness();
    ScaledSource refused;
    refused.Follow("kafka", other, {{"password", "s3cret"}});
    EXPECT_TRUE(Eventually([&] {
      return refused.NextReplicas() == 0 && refused.Readiness().find("uthentication failed") != std::string::npos;
    })) << mechanism
        << ": " << refused.Readiness();
    EXPECT_THAT(refused.Readiness(), Not(HasSubstr("s3cret")));
  }
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

}  // namespace
}  // namespace tidewright::scaler
