// The rabbitmq trigger by AMQP, in the clear and by TLS, and the rates of its management API, against a real RabbitMQ.
// The length of a queue is asked of that API in queues_test.cc.
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
#include "tests/integration/scaled_source.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;
using Metadata = ScaledSource::Metadata;

constexpr char kProgram[] = "/usr/lib/rabbitmq/bin/rabbitmq-server";

// One server for all tests of this program, as it takes seconds to start. The TLS port wants a client certificate,
// whose common name may stand in for user and password.
class Broker {
 public:
  Broker() {
    const int64_t now_ms = base::SystemClock::Get().NowMs();
    const http::KeyPair ca = *http::GenerateCa("authority", now_ms);
    const http::KeyPair server = *http::IssueCertificate(
        ca, {.common_name = "rabbit", .dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}}, now_ms);
    client_ = *http::IssueCertificate(ca, {.common_name = "shop", .client = true}, now_ms);
    ca_pem_ = ca.certificate_pem;
    Write("ca.pem", ca.certificate_pem);
    Write("server.pem", server.certificate_pem);
    Write("server.key", server.private_key_pem);
    Write("client.key", client_.private_key_pem);
    Write("plugins", "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].");
    Write("rabbit.conf", "listeners.tcp.local = " + address() + "\nlisteners.ssl.1 = 127.0.0.1:" + tls_port_ +
                             "\nlisteners.ssl.2 = 127.0.0.2:" + tls_port_ +
                             "\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + management_port_ +
                             "\nssl_options.cacertfile = " + Path("ca.pem") + "\nssl_options.certfile = " +
                             Path("server.pem") + "\nssl_options.keyfile = " + Path("server.key") +
                             "\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
                             "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n"
                             "collect_statistics_interval = 1000\n"
                             "ssl_cert_login_from = common_name\ndefault_user = shop\ndefault_pass = pa55\n");
    // Ours, so that it ends with the test.
    names_ = std::make_unique<base::Subprocess>(
        *base::Subprocess::Start({"epmd", "-port", names_port_, "-address", "127.0.0.1"}));
    Start();
  }

  // Started again when it ends before it answers: what was killed may be in its way for a moment.
  void Start() {
    process_ = nullptr;
    auto answers = [this] {
      if (process_ == nullptr || !process_->Running()) Launch();
      return Put("/api/vhosts/eu%2Fshop") && Put("/api/permissions/eu%2Fshop/shop") && Put("/api/queues/%2F/orders") &&
             Put("/api/queues/eu%2Fshop/events") && Put("/api/queues/eu%2Fshop/rates") &&
             Put("/api/queues/eu%2Fshop/secure");
    };
    EXPECT_TRUE(Eventually(answers) || Eventually(answers)) << Log();
  }
  void Kill() {
    process_->Signal(9);
    process_->Wait();
  }

  // Messages that do not outlive the server.
  void Publish(const std::string& vhost, const std::string& queue, int count) {
    const base::Json message = {
        {"properties", base::Json::object()}, {"routing_key", queue}, {"payload", "x"}, {"payload_encoding", "string"}};
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(Sent("POST", "/api/exchanges/" + vhost + "/amq.default/publish", base::DumpJson(message))) << Log();
    }
  }

  void Consume(const std::string& vhost, const std::string& queue) {
    EXPECT_TRUE(Sent("POST", "/api/queues/" + vhost + "/" + queue + "/get",
                     R"({"count":1,"ackmode":"ack_requeue_false","encoding":"auto"})"))
        << Log();
  }

  // How many connections there were to be closed by the server.
  int CloseConnections() {
    auto response = Send("GET", "/api/connections", "");
    auto connections = base::ParseJson(response.ok() ? response->body : "");
    int closed = 0;
    for (const base::Json& connection : connections.ok() ? *connections : base::Json::array()) {
      const std::string name = base::FindString(connection, {"name"});
      if (Sent("DELETE", "/api/connections/" + http::PercentEncode(name), "")) ++closed;
    }
    return closed;
  }

  std::string address() const { return "127.0.0.1:" + port_; }
  std::string tls_port() const { return tls_port_; }
  std::string management() const { return "127.0.0.1:" + management_port_; }
  const std::string& ca_pem() const { return ca_pem_; }
  const http::KeyPair& client() const { return client_; }
  // The client's key, encrypted; "" when openssl is not installed.
  std::string EncryptedKey(const std::string& password) {
    if (!base::HaveProgram("openssl")) return "";
    auto done = base::Subprocess::Start({"openssl", "pkcs8", "-topk8", "-in", Path("client.key"), "-out",
                                         Path("encrypted.key"), "-passout", "pass:" + password});
    EXPECT_TRUE(done.ok() && done->Wait() == 0);
    return *base::ReadFile(Path("encrypted.key"));
  }

 private:
  void Launch() {
    auto started = base::Subprocess::Start({kProgram}, Path("log"),
                                           {{"HOME", folder_.path()},
                                            {"RABBITMQ_NODENAME", "tidewright" + port_ + "@localhost"},
                                            {"RABBITMQ_DIST_PORT", distribution_port_},
                                            {"ERL_EPMD_PORT", names_port_},
                                            {"RABBITMQ_ALLOW_INPUT", "1"},  // Stays one process,
                                            {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noshell -noinput +sbwt none"},
                                            {"RABBITMQ_MNESIA_BASE", Path("mnesia")},
                                            {"RABBITMQ_LOG_BASE", Path("logs")},
                                            {"RABBITMQ_PID_FILE", Path("pid")},
                                            {"RABBITMQ_CONFIG_FILE", Path("rabbit.conf")},
                                            {"RABBITMQ_ENABLED_PLUGINS_FILE", Path("plugins")}});
    if (started.ok()) process_ = std::make_unique<base::Subprocess>(std::move(*started));
  }

  bool Put(const std::string& path) { return Sent("PUT", path, R"({"configure":".*","write":".*","read":".*"})"); }
  bool Sent(const std::string& method, const std::string& path, const std::string& body) {
    auto response = Send(method, path, body);
    return response.ok() && response->status / 100 == 2;
  }
  base::Result<http::Response> Send(const std::string& method, const std::string& path, const std::string& body) {
    http::ClientRequest request;
    request.method = method;
    request.url = "http://" + management() + path;
    request.body = body;
    request.headers.Set("Content-Type", "application/json");
    request.headers.Set("Authorization", "Basic " + base::Base64Encode("shop:pa55"));
    request.total_timeout_ms = 60'000;  // On a busy machine.
    return http_->Send(request);
  }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(base::WriteFileAtomic(Path(name), text).ok());
  }
  std::string Log() {
    auto text = base::ReadFile(Path("log"));
    return text.ok() ? text->substr(text->size() - std::min<size_t>(text->size(), 4000)) : "";
  }
  static std::string NewPort() { return std::to_string(*base::FreePort()); }

  base::TempDir folder_ = *base::TempDir::Create("amqp");
  const std::string port_ = NewPort(), tls_port_ = NewPort(), management_port_ = NewPort();
  const std::string distribution_port_ = NewPort(), names_port_ = NewPort();
  std::string ca_pem_;
  http::KeyPair client_;
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  std::unique_ptr<base::Subprocess> names_, process_;
};

class AmqpTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::filesystem::exists(kProgram)) broker_ = new Broker;
  }
  static void TearDownTestSuite() {
    delete broker_;
    broker_ = nullptr;
  }
  void SetUp() override {
    if (broker_ == nullptr) GTEST_SKIP() << "rabbitmq-server is not installed";
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
      for (const char* secret : {"pa55", "s3cret", "PRIVATE KEY"}) EXPECT_THAT(seen, Not(HasSubstr(secret))) << name;
      return seen.find(expected) != std::string::npos;
    })) << name
        << ": " << seen << ", not " << expected;
  }

  trigger::AmqpAddress SecureAddress() const {
    trigger::AmqpAddress address;
    const std::string text = "amqps://shop:pa55@localhost:" + broker_->tls_port() + "/eu%2Fshop";
    EXPECT_TRUE(trigger::ParseAmqpAddress(text, &address).ok());
    address.ca_pem = broker_->ca_pem();
    address.certificate_pem = broker_->client().certificate_pem;
    address.private_key_pem = broker_->client().private_key_pem;
    return address;
  }

  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  TriggerContext context_{.http = http_.get()};
  inline static Broker* broker_ = nullptr;
};

TEST_F(AmqpTest, MessagesBecomeReplicasAndAnOutageChangesNothing) {
  const Metadata metadata = {{"queueName", "orders"}, {"value", "5"}};
  const Metadata secrets = {{"host", "amqp://shop:pa55@" + broker_->address()}};
  ScaledSource source, covered;
  source.Follow("rabbitmq", metadata, secrets);
  covered.Follow("rabbitmq", metadata, secrets, /*fallback=*/9);
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 0 && source.Ready(); })) << source.Readiness();
  broker_->Publish("%2F", "orders", 11);
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 3; })) << source.Readiness();
  EXPECT_TRUE(Eventually([&] { return covered.NextReplicas() == 3; })) << covered.Readiness();

  auto secure = trigger::AmqpServer::Get(SecureAddress());
  ASSERT_TRUE(secure.ok()) << secure.status().ToString();
  auto secure_works = [&] { return (*secure)->MessagesIn("secure", 3000).ok(); };
  EXPECT_TRUE(Eventually(secure_works));

  broker_->Kill();
  EXPECT_FALSE(secure_works());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(source.NextReplicas(), 3) << "without the server, pass " << i;
  EXPECT_THAT(source.Readiness(), HasSubstr("rabbitmq at " + broker_->address() + ": connect: the port is closed"));
  EXPECT_TRUE(Eventually([&] { return covered.NextReplicas() == 9; })) << covered.Readiness();
  broker_->Start();
  broker_->Publish("%2F", "orders", 21);
  EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == 5 && source.Ready(); })) << source.Readiness();
  EXPECT_TRUE(Eventually([&] { return covered.NextReplicas() == 5 && covered.Ready(); })) << covered.Readiness();
  EXPECT_TRUE(Eventually(secure_works)) << "a connection that was kept over the outage";

  ScaledSource refused;
  refused.Follow("rabbitmq", metadata, {{"host", "amqp://shop:s3cret@" + broker_->address()}});
  EXPECT_TRUE(Eventually([&] {
    return refused.NextReplicas() == 0 && refused.Readiness().find("ACCESS_REFUSED") != std::string::npos;
  })) << refused.Readiness();
  EXPECT_THAT(refused.Readiness(), Not(HasSubstr("s3cret")));
}

TEST_F(AmqpTest, Addresses) {
  broker_->Publish("eu%2Fshop", "events", 3);
  const Metadata login = {{"username", "shop"}, {"password", "pa55"}};
  const std::string plain = "amqp://" + broker_->address();
  struct {
    const char* name;
    Metadata metadata;
    Metadata secrets;
    const char* expected;
  } rows[] = {
      {"virtual host in the path", {{"host", plain + "/eu%2Fshop"}}, login, "3000"},
      {"virtual host beside it", {{"host", plain + "/else"}, {"vhostName", "eu/shop"}}, login, "3000"},
      {"heartbeat", {{"host", plain + "/eu%2Fshop?heartbeat=5"}, {"protocol", "amqp"}}, login, "3000"},
      {"all in the address", {}, {{"host", "amqp://shop:pa55@" + broker_->address() + "/eu%2Fshop"}}, "3000"},
      {"login beside it counts", {{"host", "amqp://else@" + broker_->address() + "/eu%2Fshop"}}, login, "3000"},
      {"no such queue", {{"host", plain}}, login, "queue: the server answered: NOT_FOUND - no queue 'events'"},
      {"no such virtual host", {{"host", plain + "/none"}}, login, "log in: the server answered: NOT_ALLOWED - vhost"},
      {"wrong password", {{"host", plain}}, {{"username", "shop"}, {"password", "s3cret"}}, "ACCESS_REFUSED"},
      {"no user", {{"host", plain}}, {}, "ACCESS_REFUSED"},
      {"nobody there", {{"host", "amqp://127.0.0.1:1"}}, login, "rabbitmq at 127.0.0.1:1: connect: "},
      {"no AMQP", {{"host", "amqp://" + broker_->management()}}, login, "log in: "},
  };
  for (auto& row : rows) {
    row.metadata["queueName"] = "events";
    ExpectRead(row.name, row.metadata, row.secrets, row.expected);
  }
}

TEST_F(AmqpTest, Tls) {
  broker_->Publish("eu%2Fshop", "secure", 4);
  const std::string host = "amqps://localhost:" + broker_->tls_port() + "/eu%2Fshop";
  // Not in its certificate.
  const std::string other_host = "amqps://127.0.0.2:" + broker_->tls_port() + "/eu%2Fshop";
  const std::string by_number = "amqps://127.0.0.1:" + broker_->tls_port() + "/eu%2Fshop";
  const Metadata certificate = {{"cert", broker_->client().certificate_pem},
                                {"key", broker_->client().private_key_pem}};
  const std::string other_ca = http::GenerateCa("other", base::SystemClock::Get().NowMs())->certificate_pem;
  const std::string encrypted = broker_->EncryptedKey("l0cked");
  struct {
    const char* name;
    Metadata metadata;
    Metadata secrets;
    bool certificate;
    const char* expected;
  } rows[] = {
      {"user and certificate", {{"host", host}}, {{"username", "shop"}, {"password", "pa55"}}, true, "4000"},
      {"by the certificate alone", {{"host", host}}, {{"tls", "enable"}}, true, "4000"},
      {"wrong password", {{"host", host}}, {{"username", "shop"}, {"password", "s3cret"}}, true, "ACCESS_REFUSED"},
      {"no certificate",
       {{"host", host}},
       {{"username", "shop"}, {"password", "pa55"}},
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
       {{"key", encrypted}, {"keyPassword", "s3cret"}},
       true,
       "keyPassword is not the key's"},
      {"no password of the key", {{"host", host}}, {{"key", encrypted}}, true, "keyPassword is not the key's"},
      {"not TLS", {{"host", "amqps://" + broker_->address()}}, {}, true, "connect: TLS: wrong version number"},
  };
  for (auto& row : rows) {
    if (encrypted.empty() && row.secrets.count("keyPassword") > 0) continue;
    row.metadata["queueName"] = "secure";
    if (row.certificate) row.secrets.insert(certificate.begin(), certificate.end());
    row.secrets.insert({"ca", broker_->ca_pem()});
    ExpectRead(row.name, row.metadata, row.secrets, row.expected);
  }
}

// The server closes the channel then.
TEST_F(AmqpTest, AMissingQueueLeavesTheConnection) {
  trigger::AmqpAddress address;
  ASSERT_TRUE(trigger::ParseAmqpAddress("amqp://shop:pa55@" + broker_->address() + "/eu%2Fshop", &address).ok());
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

TEST_F(AmqpTest, AConnectionThatTheServerClosedIsRenewed) {
  auto server = trigger::AmqpServer::Get(SecureAddress());
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  auto first = (*server)->MessagesIn("secure", 60'000);
  EXPECT_TRUE(first.ok()) << first.status().ToString();
  EXPECT_TRUE(Eventually([&] { return broker_->CloseConnections() > 0; }));
  auto second = (*server)->MessagesIn("secure", 60'000);
  EXPECT_TRUE(second.ok()) << second.status().ToString();
}

TEST_F(AmqpTest, ManyMayAskAtATime) {
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
TEST_F(AmqpTest, RatesOfTheManagementApi) {
  const Metadata login = {{"username", "shop"}, {"password", "pa55"}};
  std::string seen;
  EXPECT_TRUE(Eventually([&] {
    broker_->Publish("eu%2Fshop", "rates", 2);
    broker_->Consume("eu%2Fshop", "rates");
    seen.clear();
    bool all = true;
    for (const char* mode :
         {"MessageRate", "DeliverGetRate", "PublishedToDeliveredRatio", "ExpectedQueueConsumptionTime"}) {
      const std::string value = Read(
          {{"host", "http://" + broker_->management() + "/eu%2Fshop"}, {"queueName", "rates"}, {"mode", mode}}, login);
      int64_t milli = 0;
      all = base::ParseInt64(value, &milli) && milli > 0 && all;
      seen += std::string(mode) + " " + value + "\n";
    }
    return all;
  })) << seen;
}

// A port that takes connections and never says a word.
TEST_F(AmqpTest, SilenceEndsWithTheTimeout) {
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
