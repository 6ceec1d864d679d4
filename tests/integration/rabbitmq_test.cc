// The rabbitmq trigger by its management API and by AMQP, in the clear and by TLS, against a real RabbitMQ.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/tls.h"
#include "scaler/trigger.h"
#include "scaler/trigger/librabbitmq.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;
using Metadata = ScaledSource::Metadata;

// The TLS port wants a certificate of the client, whose common name may stand in for user and password.
class RabbitServer : public SourceServer {
 public:
  static constexpr char kProgram[] = "/usr/lib/rabbitmq/bin/rabbitmq-server";

  RabbitServer() {
    const std::string settings =
        "listeners.tcp.local = " + address() + "\nlisteners.ssl.1 = 127.0.0.1:" + tls_port_ +
        "\nlisteners.ssl.2 = 127.0.0.2:" + tls_port_ +
        "\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + management_port_ +
        "\nssl_options.cacertfile = " + Write("ca.pem", certificates_.ca_pem) +
        "\nssl_options.certfile = " + Write("server.pem", certificates_.server.certificate_pem) +
        "\nssl_options.keyfile = " + Write("server.key", certificates_.server.private_key_pem) +
        "\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
        "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\nssl_cert_login_from = common_name\n"
        "collect_statistics_interval = 1000\ndefault_user = shop\ndefault_pass = " +
        kPassword + "\n";
    Write("rabbit.conf", settings);
    Write("plugins", "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].");
    // Ours, so that it ends with the test.
    auto names = base::Subprocess::Start({"epmd", "-port", names_port_, "-address", "127.0.0.1"});
    EXPECT_TRUE(names.ok()) << names.status().ToString();
    if (names.ok()) names_ = std::make_unique<base::Subprocess>(std::move(*names));
  }

  void Start() override {
    const std::string folder = folder_.path();
    Launch({kProgram}, [this] { return HasQueues(); },
           {{"HOME", folder},
            {"RABBITMQ_NODENAME", "tidewright" + port_ + "@localhost"},
            {"RABBITMQ_DIST_PORT", distribution_port_},
            {"ERL_EPMD_PORT", names_port_},
            {"RABBITMQ_ALLOW_INPUT", "1"},  // Stays one process,
            // ... without a terminal, and leaves the processors to others while it waits.
            {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noshell -noinput +sbwt none"},
            {"RABBITMQ_MNESIA_BASE", folder + "/mnesia"},
            {"RABBITMQ_LOG_BASE", folder + "/logs"},
            {"RABBITMQ_PID_FILE", folder + "/pid"},
            {"RABBITMQ_CONFIG_FILE", folder + "/rabbit.conf"},
            {"RABBITMQ_ENABLED_PLUGINS_FILE", folder + "/plugins"}});
  }
  void Hold(int64_t value) override {
    EXPECT_TRUE(Asked("DELETE", "queues/%2F/orders/contents")) << answer_;
    Publish("%2F", "orders", value);
  }

  // Messages that do not outlive the server.
  void Publish(const std::string& vhost, const std::string& queue, int64_t count) {
    const base::Json message = {
        {"properties", base::Json::object()}, {"routing_key", queue}, {"payload", "x"}, {"payload_encoding", "string"}};
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(Asked("POST", "exchanges/" + vhost + "/amq.default/publish", base::DumpJson(message))) << answer_;
    }
  }
  void Consume(const std::string& vhost, const std::string& queue) {
    EXPECT_TRUE(Asked("POST", "queues/" + vhost + "/" + queue + "/get",
                      R"({"count":1,"ackmode":"ack_requeue_false","encoding":"auto"})"))
        << answer_;
  }
  // How many connections there were to be closed by the server.
  int CloseConnections() {
    auto connections = base::ParseJson(Asked("GET", "connections") ? answer_ : "");
    int closed = 0;
    for (const base::Json& connection : connections.ok() ? *connections : base::Json::array()) {
      const std::string name = base::FindString(connection, {"name"});
      if (Asked("DELETE", "connections/" + http::PercentEncode(name))) ++closed;
    }
    return closed;
  }

  std::string address() const { return "127.0.0.1:" + port_; }
  const std::string& tls_port() const { return tls_port_; }
  std::string management() const { return "127.0.0.1:" + management_port_; }
  const Certificates& certificates() const { return certificates_; }
  // The client's key, encrypted; "" when openssl is not installed.
  std::string EncryptedKey(const std::string& password) {
    if (!base::HaveProgram("openssl")) return "";
    const std::string key = Write("client.key", certificates_.client.private_key_pem);
    EXPECT_TRUE(
        Done({"openssl", "pkcs8", "-topk8", "-in", key, "-out", key + ".locked", "-passout", "pass:" + password}));
    return *base::ReadFile(key + ".locked");
  }

 private:
  bool HasQueues() {
    if (!Asked("PUT", "vhosts/eu%2Fshop") ||
        !Asked("PUT", "permissions/eu%2Fshop/shop", R"({"configure":".*","write":".*","read":".*"})")) {
      return false;
    }
    for (const char* queue : {"%2F/orders", "eu%2Fshop/events", "eu%2Fshop/rates", "eu%2Fshop/secure"}) {
      if (!Asked("PUT", std::string("queues/") + queue)) return false;
    }
    return true;
  }
  bool Asked(const std::string& method, const std::string& path, const std::string& body = "{}") {
    return Send(method, "http://" + management() + "/api/" + path, body, BasicLogin("shop")) / 100 == 2;
  }

  const Certificates certificates_ = NewCertificates({"localhost"});
  const std::string port_ = NewPort(), tls_port_ = NewPort(), management_port_ = NewPort();
  const std::string distribution_port_ = NewPort(), names_port_ = NewPort();
  std::unique_ptr<base::Subprocess> names_;
};

class RabbitmqTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!std::filesystem::exists(RabbitServer::kProgram)) return;
    server_ = new RabbitServer;
    server_->Start();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  void SetUp() override {
    if (server_ == nullptr) GTEST_SKIP() << "rabbitmq-server is not installed";
  }

  // What a trigger reads in milli-units, or its error. `secrets` are parameters of its authenticationRef.
  std::string Read(const Metadata& metadata, const Metadata& secrets) {
    TriggerSpec spec;
    spec.type = "rabbitmq";
    spec.authentication = "rabbit";
    spec.metadata = metadata;
    auto trigger = NewTrigger(spec, {{}, secrets}, context_);
    if (!trigger.ok()) return trigger.status().message();
    auto reading = (*trigger)->Read();
    return reading.ok() ? std::to_string(reading->value_milli) : reading.status().message();
  }

  // A busy machine may let a reading run into its timeout.
  void ExpectRead(const char* name, const Metadata& metadata, const Metadata& secrets, const std::string& expected) {
    std::string seen;
    EXPECT_TRUE(Eventually([&] {
      seen = Read(metadata, secrets);
      for (const char* secret : {kPassword, kWrongPassword, "PRIVATE KEY"})
        EXPECT_THAT(seen, Not(HasSubstr(secret))) << name;
      return seen.find(expected) != std::string::npos;
    })) << name
        << ": " << seen << ", not " << expected;
  }

  trigger::AmqpAddress SecureAddress() const {
    trigger::AmqpAddress address;
    const std::string text =
        std::string("amqps://shop:") + kPassword + "@localhost:" + server_->tls_port() + "/eu%2Fshop";
    EXPECT_TRUE(trigger::ParseAmqpAddress(text, &address).ok());
    address.ca_pem = server_->certificates().ca_pem;
    address.certificate_pem = server_->certificates().client.certificate_pem;
    address.private_key_pem = server_->certificates().client.private_key_pem;
    return address;
  }

  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  TriggerContext context_{.http = http_.get()};
  inline static RabbitServer* server_ = nullptr;
};

TEST_F(RabbitmqTest, ByManagement) {
  const std::string refusal = "the server answered 401 Unauthorized; check the credentials";
  const std::string url = "http://" + server_->management();
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"host", url}, {"username", "shop"}, {"queueName", "orders"}, {"value", "5"}},
                  .secrets = {{"password", kPassword}},
                  .refusal = refusal})
      .ExpectFollowed(*server_);
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"queueName", "^ord"}, {"useRegex", "true"}, {"value", "5"}},
                  .secrets = {{"host", std::string("http://shop:") + kPassword + "@" + server_->management()}},
                  .refusal = refusal})
      .ExpectRefused(5);
}

TEST_F(RabbitmqTest, ByAmqp) {
  auto secure = trigger::AmqpServer::Get(SecureAddress());
  ASSERT_TRUE(secure.ok()) << secure.status().ToString();
  auto secure_works = [&] { return (*secure)->MessagesIn("secure", 3000).ok(); };
  EXPECT_TRUE(Eventually(secure_works));
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"queueName", "orders"}, {"value", "5"}},
                  .secrets = {{"host", std::string("amqp://shop:") + kPassword + "@" + server_->address()}},
                  .refusal = "log in: the server answered: ACCESS_REFUSED"})
      .ExpectFollowed(*server_);
  EXPECT_TRUE(Eventually(secure_works)) << "a connection that was kept over the outage";
}

TEST_F(RabbitmqTest, Addresses) {
  server_->Publish("eu%2Fshop", "events", 3);
  const Metadata login = {{"username", "shop"}, {"password", kPassword}};
  const std::string plain = "amqp://" + server_->address();
  struct {
    const char* name;
    Metadata metadata;
    Metadata secrets;
    const char* expected;
  } rows[] = {
      {"virtual host in the path", {{"host", plain + "/eu%2Fshop"}}, login, "3000"},
      {"virtual host beside it", {{"host", plain + "/else"}, {"vhostName", "eu/shop"}}, login, "3000"},
      {"heartbeat", {{"host", plain + "/eu%2Fshop?heartbeat=5"}, {"protocol", "amqp"}}, login, "3000"},
      {"all in the address",
       {},
       {{"host", std::string("amqp://shop:") + kPassword + "@" + server_->address() + "/eu%2Fshop"}},
       "3000"},
      {"login beside it counts", {{"host", "amqp://else@" + server_->address() + "/eu%2Fshop"}}, login, "3000"},
      {"no such queue", {{"host", plain}}, login, "queue: the server answered: NOT_FOUND - no queue 'events'"},
      {"no such virtual host", {{"host", plain + "/none"}}, login, "log in: the server answered: NOT_ALLOWED - vhost"},
      {"wrong password", {{"host", plain}}, {{"username", "shop"}, {"password", kWrongPassword}}, "ACCESS_REFUSED"},
      {"no user", {{"host", plain}}, {}, "ACCESS_REFUSED"},
      {"nobody there", {{"host", "amqp://127.0.0.1:1"}}, login, "rabbitmq at 127.0.0.1:1: connect: "},
      {"no AMQP", {{"host", "amqp://" + server_->management()}}, login, "log in: "},
  };
  for (auto& row : rows) {
    row.metadata["queueName"] = "events";
    ExpectRead(row.name, row.metadata, row.secrets, row.expected);
  }
}

TEST_F(RabbitmqTest, Tls) {
  server_->Publish("eu%2Fshop", "secure", 4);
  const std::string host = "amqps://localhost:" + server_->tls_port() + "/eu%2Fshop";
  // Not in its certificate.
  const std::string other_host = "amqps://127.0.0.2:" + server_->tls_port() + "/eu%2Fshop";
  const std::string by_number = "amqps://127.0.0.1:" + server_->tls_port() + "/eu%2Fshop";
  const Metadata certificate = {{"cert", server_->certificates().client.certificate_pem},
                                {"key", server_->certificates().client.private_key_pem}};
  const std::string other_ca = http::GenerateCa("other", base::SystemClock::Get().NowMs())->certificate_pem;
  const std::string encrypted = server_->EncryptedKey("l0cked");
  struct {
    const char* name;
    Metadata metadata;
    Metadata secrets;
    bool certificate;
    const char* expected;
  } rows[] = {
      {"user and certificate", {{"host", host}}, {{"username", "shop"}, {"password", kPassword}}, true, "4000"},
      {"by the certificate alone", {{"host", host}}, {{"tls", "enable"}}, true, "4000"},
      {"wrong password",
       {{"host", host}},
       {{"username", "shop"}, {"password", kWrongPassword}},
       true,
       "ACCESS_REFUSED"},
      {"no certificate",
       {{"host", host}},
       {{"username", "shop"}, {"password", kPassword}},
       false,
       "the server may want a certificate of the client"},
      {"unknown authority", {{"host", host}}, {{"ca", other_ca}}, true, "connect: the certificate"},
      {"authorities of the system", {{"host", host}}, {{"ca", ""}}, true, "connect: the certificate"},
      {"any authority", {{"host", host}, {"unsafeSsl", "true"}}, {{"ca", other_ca}}, true, "4000"},
      {"another host", {{"host", other_host}}, {}, true, "connect: the certificate is not of this host"},
      {"any host", {{"host", other_host}, {"unsafeSsl", "true"}}, {}, true, "4000"},
      {"by its number", {{"host", by_number}}, {}, true, "4000"},
      {"no authority", {{"host", host}}, {{"ca", "none"}}, true, "ca has no certificate in PEM"},
      {"no key", {{"host", host}}, {{"key", "none"}}, true, "cert and key are not a certificate and its private key"},
      {"encrypted", {{"host", host}}, {{"key", encrypted}, {"keyPassword", "l0cked"}}, true, "4000"},
      {"wrong password of the key",
       {{"host", host}},
       {{"key", encrypted}, {"keyPassword", kWrongPassword}},
       true,
       "keyPassword is not the key's"},
      {"no password of the key", {{"host", host}}, {{"key", encrypted}}, true, "keyPassword is not the key's"},
      {"not TLS", {{"host", "amqps://" + server_->address()}}, {}, true, "connect: TLS: wrong version number"},
  };
  for (auto& row : rows) {
    if (encrypted.empty() && row.secrets.count("keyPassword") > 0) continue;
    row.metadata["queueName"] = "secure";
    if (row.certificate) row.secrets.insert(certificate.begin(), certificate.end());
    row.secrets.insert({"ca", server_->certificates().ca_pem});
    ExpectRead(row.name, row.metadata, row.secrets, row.expected);
  }
}

// The server closes the channel then.
TEST_F(RabbitmqTest, AMissingQueueLeavesTheConnection) {
  trigger::AmqpAddress address;
  ASSERT_TRUE(trigger::ParseAmqpAddress(
                  std::string("amqp://shop:") + kPassword + "@" + server_->address() + "/eu%2Fshop", &address)
                  .ok());
  auto server = trigger::AmqpServer::Get(address);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  EXPECT_EQ(*trigger::AmqpServer::Get(address), *server) << "equal addresses share their connections";
  auto connection = trigger::AmqpConnection::Open(address, 60'000);
  ASSERT_TRUE(connection.ok()) << connection.status().ToString();
  for (int i = 0; i < 3; ++i) {
    auto missing = (*connection)->MessagesIn("none", 60'000);
    EXPECT_EQ(missing.status().code(), base::Code::kFailedPrecondition) << missing.status().ToString();
    ASSERT_TRUE((*connection)->usable());
    auto found = (*connection)->MessagesIn("events", 60'000);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
  }
}

TEST_F(RabbitmqTest, AConnectionThatTheServerClosedIsRenewed) {
  auto server = trigger::AmqpServer::Get(SecureAddress());
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  auto first = (*server)->MessagesIn("secure", 60'000);
  EXPECT_TRUE(first.ok()) << first.status().ToString();
  EXPECT_TRUE(Eventually([&] { return server_->CloseConnections() > 0; }));
  auto second = (*server)->MessagesIn("secure", 60'000);
  EXPECT_TRUE(second.ok()) << second.status().ToString();
}

TEST_F(RabbitmqTest, ManyMayAskAtATime) {
  auto server = trigger::AmqpServer::Get(SecureAddress());
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  std::atomic<int> found = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int reading = 0; reading < 10; ++reading) {
        if ((*server)->MessagesIn("secure", 60'000).ok()) ++found;
        if ((*server)->MessagesIn("none", 60'000).status().code() == base::Code::kFailedPrecondition) ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(found, 40);
  EXPECT_EQ(refused, 40);
}

// Two messages go in for each that goes out: rates are there a second later.
TEST_F(RabbitmqTest, RatesOfTheManagementApi) {
  const Metadata login = {{"username", "shop"}, {"password", kPassword}};
  std::string seen;
  EXPECT_TRUE(Eventually([&] {
    server_->Publish("eu%2Fshop", "rates", 2);
    server_->Consume("eu%2Fshop", "rates");
    seen.clear();
    bool all = true;
    for (const char* mode :
         {"MessageRate", "DeliverGetRate", "PublishedToDeliveredRatio", "ExpectedQueueConsumptionTime"}) {
      const std::string value = Read(
          {{"host", "http://" + server_->management() + "/eu%2Fshop"}, {"queueName", "rates"}, {"mode", mode}}, login);
      int64_t milli = 0;
      all = base::ParseInt64(value, &milli) && milli > 0 && all;
      seen += std::string(mode) + " " + value + "\n";
    }
    return all;
  })) << seen;
}

// A port that takes connections and never says a word.
TEST_F(RabbitmqTest, SilenceEndsWithTheTimeout) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(where);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&where), size), 0);
  ASSERT_EQ(listen(listener, 16), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size), 0);
  const std::string address = "127.0.0.1:" + std::to_string(ntohs(where.sin_port));
  for (const char* scheme : {"amqp://", "amqps://"}) {
    EXPECT_THAT(Read({{"host", scheme + address}, {"queueName", "q"}, {"timeout", "200"}}, {}),
                HasSubstr(": no answer within the timeout"));
  }
  close(listener);
}

}  // namespace
}  // namespace tidewright::scaler
