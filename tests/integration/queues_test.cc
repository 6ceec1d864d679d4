// Triggers of queues and stores against their real servers, one after the other through the same scenario.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/byte_stream.h"
#include "tests/integration/nginx_front.h"
#include "tests/integration/source_scenario.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using Metadata = ScaledSource::Metadata;

// With one user, as which every request has to log in.
class EtcdServer : public SourceServer {
 public:
  void Start() override {
    Launch(
        {"etcd", "--data-dir", folder_.path() + "/etcd", "--listen-client-urls", url_, "--advertise-client-urls", url_,
         "--listen-peer-urls", peer_, "--initial-advertise-peer-urls", peer_, "--initial-cluster", "default=" + peer_},
        [this] { return LogIn() || (AskForPasswords() && LogIn()); });
  }
  void Hold(int64_t value) override { Put(std::to_string(value)); }

  void Put(const std::string& value) {
    EXPECT_TRUE(Eventually([&] {
      return LogIn() &&
             Send("POST", url_ + "/v3/kv/put",
                  R"({"key":")" + base::Base64Encode("queue") + R"(","value":")" + base::Base64Encode(value) + R"("})",
                  token_) == 200;
    })) << answer_;
  }
  const std::string& url() const { return url_; }

 private:
  bool LogIn() {
    const base::Json login = {{"name", "root"}, {"password", kPassword}};
    if (Send("POST", url_ + "/v3/auth/authenticate", base::DumpJson(login)) != 200) return false;
    auto reply = base::ParseJson(answer_);
    token_ = reply.ok() ? base::FindString(*reply, {"token"}) : "";
    return !token_.empty();
  }
  bool AskForPasswords() {
    const base::Json user = {{"name", "root"}, {"password", kPassword}};
    Send("POST", url_ + "/v3/auth/user/add", base::DumpJson(user));
    Send("POST", url_ + "/v3/auth/role/add", R"({"name":"root"})");
    Send("POST", url_ + "/v3/auth/user/grant", R"({"user":"root","role":"root"})");
    return Send("POST", url_ + "/v3/auth/enable", "{}") == 200;
  }

  const std::string url_ = "http://127.0.0.1:" + NewPort();
  const std::string peer_ = "http://127.0.0.1:" + NewPort();
  std::string token_;
};

TEST(Queues, Etcd) {
  if (!base::HaveProgram("etcd")) GTEST_SKIP() << "etcd is not installed";
  EtcdServer server;
  server.Start();
  const Metadata metadata = {
      {"endpoints", "http://127.0.0.1:1," + server.url()}, {"username", "root"}, {"watchKey", "queue"}, {"value", "5"}};
  SourceScenario scenario({.type = "etcd",
                           .metadata = metadata,
                           .secrets = {{"password", kPassword}},
                           .refusal = "log in: the server refuses the user name or the password"});
  scenario.ExpectFollowed(server);

  server.Put("42.5");
  Metadata read = metadata;
  read["passwordFromEnv"] = "PW";
  const Metadata env = {{"PW", kPassword}};
  EXPECT_EQ(ReadOnce("etcd", read, env), "42500");
  server.Put("many");
  EXPECT_THAT(ReadOnce("etcd", read, env), HasSubstr("the value of \"queue\" is not a number"));
  read["watchKey"] = "none";
  EXPECT_THAT(ReadOnce("etcd", read, env), HasSubstr("\"none\" does not exist"));
  EXPECT_THAT(ReadOnce("etcd", {{"endpoints", server.url()}, {"watchKey", "queue"}, {"value", "5"}}),
              HasSubstr("400 Bad Request; give username and password if the server asks for them"));
}

// Streams in memory, and a user. The monitoring endpoint knows no users: whoever wants to protect it has a proxy.
class NatsServer : public SourceServer {
 public:
  void Start() override {
    held_ = 0;
    Launch({"nats-server", "-a", "127.0.0.1", "-p", port_, "-m", monitor_, "--user", "shop", "--pass", kPassword, "-js",
            "-sd", folder_.path() + "/nats"},
           [this] { return Publish(0); });
  }
  void Hold(int64_t value) override {
    EXPECT_TRUE(Publish(value - held_)) << Log();
    held_ = value;
  }
  const std::string& monitor() const { return monitor_; }

 private:
  bool Publish(int64_t messages) {
    return Done({"python3", "-B", TIDEWRIGHT_SOURCE_DIR "/tests/integration/nats_publish.py", port_,
                 std::to_string(messages), "shop", kPassword});
  }

  const std::string port_ = NewPort();
  const std::string monitor_ = NewPort();
  int64_t held_ = 0;
};

TEST(Queues, NatsJetstream) {
  if (!base::HaveProgram("nats-server")) GTEST_SKIP() << "nats-server is not installed";
  if (!NginxFront::Available()) GTEST_SKIP() << "nginx is not installed";
  NatsServer server;
  server.Start();
  NginxFront front(server.monitor(), NginxFront::Asks::kLogin, NginxFront::Speaks::kHttps);
  const Metadata stream = {{"account", "$G"}, {"stream", "ORDERS"}, {"consumer", "work"}, {"lagThreshold", "5"}};
  Metadata metadata = stream;
  metadata["natsServerMonitoringEndpoint"] = front.address();
  metadata["useHttps"] = "true";
  metadata["username"] = "shop";
  SourceScenario scenario({.type = "nats-jetstream",
                           .metadata = metadata,
                           .secrets = {{"password", kPassword}, {"ca", front.ca_pem()}},
                           .refusal = "the server answered 401 Unauthorized; check the credentials"});
  scenario.ExpectFollowed(server);

  metadata = stream;
  metadata["natsServerMonitoringEndpoint"] = "127.0.0.1:" + server.monitor();
  EXPECT_EQ(ReadOnce("nats-jetstream", metadata), "21000");
  metadata["stream"] = "OTHER";
  EXPECT_THAT(ReadOnce("nats-jetstream", metadata), HasSubstr("there is no stream \"OTHER\""));
  metadata["account"] = "nobody";
  EXPECT_THAT(ReadOnce("nats-jetstream", metadata), HasSubstr("nats at 127.0.0.1"));
}

class RabbitServer : public SourceServer {
 public:
  static constexpr char kProgram[] = "/usr/lib/rabbitmq/bin/rabbitmq-server";

  RabbitServer() {
    Write("plugins", "[rabbitmq_management].");
    EXPECT_TRUE(base::WriteFileAtomic(
                    folder_.path() + "/rabbit.conf",
                    "listeners.tcp.local = 127.0.0.1:" + port_ +
                        "\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + management_ +
                        "\ncollect_statistics_interval = 1000\ndefault_user = shop\ndefault_pass = " + kPassword + "\n")
                    .ok());
    // Ours, so that it ends with the test.
    auto names = base::Subprocess::Start({"epmd", "-port", names_port_, "-address", "127.0.0.1"});
    EXPECT_TRUE(names.ok()) << names.status().ToString();
    if (names.ok()) names_ = std::make_unique<base::Subprocess>(std::move(*names));
  }

  void Start() override {
    Launch({kProgram}, [this] { return Send("PUT", url() + "/api/queues/%2F/orders", "{}", login_) / 100 == 2; },
           {{"HOME", folder_.path()},
            {"RABBITMQ_NODENAME", "tidewright" + port_ + "@localhost"},
            {"RABBITMQ_DIST_PORT", distribution_port_},
            {"ERL_EPMD_PORT", names_port_},
            {"RABBITMQ_ALLOW_INPUT", "1"},                                 // Stays one process,
            {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noshell -noinput"},  // ... without a terminal.
            {"RABBITMQ_MNESIA_BASE", folder_.path() + "/mnesia"},
            {"RABBITMQ_LOG_BASE", folder_.path() + "/logs"},
            {"RABBITMQ_PID_FILE", folder_.path() + "/pid"},
            {"RABBITMQ_CONFIG_FILE", folder_.path() + "/rabbit.conf"},
            {"RABBITMQ_ENABLED_PLUGINS_FILE", folder_.path() + "/plugins"}});
  }
  void Hold(int64_t value) override {
    ASSERT_EQ(Send("DELETE", url() + "/api/queues/%2F/orders/contents", "", login_) / 100, 2) << answer_;
    for (int64_t i = 0; i < value; ++i) {
      ASSERT_EQ(Send("POST", url() + "/api/exchanges/%2F/amq.default/publish",
                     R"({"properties":{},"routing_key":"orders","payload":"x","payload_encoding":"string"})", login_),
                200)
          << answer_;
    }
  }

  std::string url() const { return "http://" + address(); }
  std::string address() const { return "127.0.0.1:" + management_; }
  std::string amqp_address() const { return "127.0.0.1:" + port_; }

 private:
  const std::string port_ = NewPort(), management_ = NewPort(), names_port_ = NewPort(), distribution_port_ = NewPort();
  const std::string login_ = BasicLogin("shop");
  std::unique_ptr<base::Subprocess> names_;
};

TEST(Queues, Rabbitmq) {
  if (!std::filesystem::exists(RabbitServer::kProgram)) GTEST_SKIP() << "rabbitmq-server is not installed";
  RabbitServer server;
  server.Start();
  const std::string refusal = "the server answered 401 Unauthorized; check the credentials";
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"host", server.url()}, {"username", "shop"}, {"queueName", "orders"}, {"value", "5"}},
                  .secrets = {{"password", kPassword}},
                  .refusal = refusal})
      .ExpectFollowed(server);
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"queueName", "^ord"}, {"useRegex", "true"}, {"value", "5"}},
                  .secrets = {{"host", std::string("http://shop:") + kPassword + "@" + server.address()}},
                  .refusal = refusal})
      .ExpectRefused(5);
  // More of it in amqp_test.cc.
  SourceScenario({.type = "rabbitmq",
                  .metadata = {{"queueName", "orders"}, {"value", "5"}},
                  .secrets = {{"host", std::string("amqp://shop:") + kPassword + "@" + server.amqp_address()}},
                  .refusal = "ACCESS_REFUSED"})
      .ExpectRefused(5);
}

// The list "orders", by TLS as well.
class RedisList : public SourceServer {
 public:
  void Start() override { server_.Start(); }
  void Kill() override { server_.Kill(); }
  void Hold(int64_t value) override {
    Words push = {"RPUSH", "orders"};
    push.resize(2 + static_cast<size_t>(value), "x");
    EXPECT_TRUE(Eventually([&] {
      return server_.Run({"DEL", "orders"}).ok() && (value == 0 || server_.Run(push).ok());
    }));
  }

  std::string address() const { return server_.address(); }
  std::string tls_address() const { return "127.0.0.1:" + tls_port_; }
  const Certificates& certificates() const { return certificates_; }

 private:
  const Certificates certificates_ = NewCertificates();
  const std::string tls_port_ = NewPort();
  RedisServer server_{
      kPassword,
      {"--tls-port", tls_port_, "--tls-cert-file", Write("server.pem", certificates_.server.certificate_pem),
       "--tls-key-file", Write("server.key", certificates_.server.private_key_pem), "--tls-ca-cert-file",
       Write("ca.pem", certificates_.ca_pem), "--tls-auth-clients", "yes"}};
};

TEST(Queues, Redis) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisList list;
  SourceCase source = {.type = "redis",
                       .metadata = {{"address", list.address()}, {"listName", "orders"}, {"listLength", "5"}},
                       .secrets = {{"password", kPassword}},
                       .refusal = "AUTH: WRONGPASS"};
  SourceScenario(source).ExpectFollowed(list);

  source.metadata["address"] = list.tls_address();
  source.metadata["enableTLS"] = "true";
  source.secrets.insert({{"ca", list.certificates().ca_pem},
                         {"cert", list.certificates().client.certificate_pem},
                         {"key", list.certificates().client.private_key_pem}});
  SourceScenario(source).ExpectFollowed(list);
  struct {
    const char* name;
    const char* without;
    std::pair<const char*, const char*> with;
    const char* expected;
  } rows[] = {
      {"unknown authority", "ca", {}, "SSL certificate problem"},
      {"any authority", "ca", {"unsafeSsl", "true"}, ""},
      {"a name that it has not", "", {"address", "localhost"}, "no alternative certificate subject name matches"},
      {"half a certificate", "key", {}, "client certificate"},
      {"no certificate", "cert key", {}, "redis at 127.0.0.1"},
      {"plain text", "", {"enableTLS", "false"}, "redis at 127.0.0.1"},
  };
  for (const auto& row : rows) {
    SourceCase changed = source;
    for (const std::string& parameter : base::Split(row.without, ' ')) changed.secrets.erase(parameter);
    std::string value = row.with.first == nullptr ? "" : row.with.second;
    if (value == "localhost") value += list.tls_address().substr(list.tls_address().find(':'));
    if (!value.empty()) changed.metadata[row.with.first] = value;
    ScaledSource read;
    read.Follow(changed.type, changed.metadata, changed.secrets);
    read.NextReplicas();
    EXPECT_EQ(read.Ready(), std::string(row.expected).empty()) << row.name << ": " << read.Readiness();
    EXPECT_THAT(read.Readiness(), HasSubstr(row.expected)) << row.name;
  }
}

TEST(Queues, RedisStreams) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer server;
  Metadata metadata = {{"address", server.address()}, {"stream", "orders"}};
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "0");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(server.Run({"XADD", "orders", "*", "order", "1"}).ok());
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "5000");
  metadata["consumerGroup"] = "work";
  EXPECT_THAT(ReadOnce("redis-streams", metadata), HasSubstr("NOGROUP"));
  metadata["lagCount"] = "5";
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "5000") << "a group that does not exist yet has all before it";
  ASSERT_TRUE(server.Run({"XGROUP", "CREATE", "orders", "work", "0"}).ok());
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "5000");
  // The reply of XREADGROUP is more than a RedisConnection takes; it has been done by then.
  (void)server.Run({"XREADGROUP", "GROUP", "work", "me", "COUNT", "2", "STREAMS", "orders", ">"});
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "3000");
  metadata.erase("lagCount");
  EXPECT_EQ(ReadOnce("redis-streams", metadata), "2000");
}

// Its jobs are in memory. It knows no passwords.
class BeanstalkServer : public SourceServer {
 public:
  void Start() override {
    held_ = 0;
    stream_ = nullptr;
    Launch({"beanstalkd", "-l", "127.0.0.1", "-p", port_}, [this] { return Says("use orders", "USING orders\r\n"); });
  }
  void Hold(int64_t value) override {
    for (; held_ < value; ++held_) Put("0 0 60 1");
  }
  // Priority, delay, seconds to run and size of a job.
  void Put(const std::string& job) { EXPECT_TRUE(Says("put " + job + "\r\nx", "INSERTED")) << answer_; }
  // The beginning of the answer to a command, on a connection that is kept.
  bool Says(const std::string& command, const std::string& expected) {
    if (stream_ == nullptr) {
      auto stream =
          http::ByteStream::Open("127.0.0.1", static_cast<uint16_t>(std::stoi(port_)), std::nullopt, kPatienceMs);
      if (!stream.ok()) return false;
      stream_ = std::move(*stream);
    }
    char buffer[200];
    auto size = stream_->Write(command + "\r\n", kPatienceMs).ok() ? stream_->Read(buffer, sizeof(buffer), kPatienceMs)
                                                                   : base::UnavailableError("not sent");
    answer_ = size.ok() ? std::string(buffer, *size) : size.status().ToString();
    return answer_.starts_with(expected);
  }
  std::string address() const { return "127.0.0.1:" + port_; }

 private:
  static constexpr int64_t kPatienceMs = 60'000;
  const std::string port_ = NewPort();
  int64_t held_ = 0;
  std::unique_ptr<http::ByteStream> stream_;
};

TEST(Queues, Beanstalkd) {
  if (!base::HaveProgram("beanstalkd")) GTEST_SKIP() << "beanstalkd is not installed";
  BeanstalkServer server;
  server.Start();
  Metadata metadata = {{"server", server.address()}, {"tube", "orders"}, {"value", "5"}};
  SourceScenario({.type = "beanstalkd", .metadata = metadata}).ExpectFollowed(server);

  EXPECT_EQ(ReadOnce("beanstalkd", metadata), "21000");
  EXPECT_TRUE(server.Says("watch orders", "WATCHING 2"));
  EXPECT_TRUE(server.Says("reserve", "RESERVED"));
  EXPECT_EQ(ReadOnce("beanstalkd", metadata), "21000") << "one of them reserved";
  server.Put("0 3600 60 1");
  EXPECT_EQ(ReadOnce("beanstalkd", metadata), "21000");
  metadata["includeDelayed"] = "true";
  EXPECT_EQ(ReadOnce("beanstalkd", metadata), "22000");
  metadata["tube"] = "none";
  EXPECT_EQ(ReadOnce("beanstalkd", metadata), "0");
  if (!RedisServer::Available()) return;
  RedisServer another;
  metadata["server"] = another.address();
  EXPECT_THAT(ReadOnce("beanstalkd", metadata), HasSubstr("the server answered \"-ERR unknown command"));
}

// Whoever mistypes an address with a password in it is told so without seeing the password in a condition.
TEST(Queues, AMalformedAddressIsNotShown) {
  struct {
    const char* type;
    Metadata metadata;
    const char* parameter;
    const char* value;
    const char* expected;
  } rows[] = {
      {"redis", {{"listName", "l"}}, "address", "redis://:s3cret@db:6379/0", "address: (hidden) is not an address"},
      {"redis-cluster", {{"listName", "l"}}, "addresses", "a:1,:s3cret@b:x", "addresses: (hidden) is not an address"},
      {"kafka", {{"consumerGroup", "g"}}, "bootstrapServers", "shop:s3cret@b:x", "(hidden) is not an address"},
      {"rabbitmq", {{"queueName", "q"}}, "host", "amqp://shop:s3cret@mq:x/", "host: has no host, or a port"},
      {"rabbitmq", {{"queueName", "q"}}, "host", "http//shop:s3cret@mq", "host: is not an address; use amqp://"},
      {"etcd", {{"watchKey", "k"}, {"value", "5"}}, "endpoints", "http://u:s3cret@db:1", "must not have a user name"},
      {"prometheus",
       {{"serverAddress", "http://127.0.0.1:1"}, {"query", "up"}, {"threshold", "1"}},
       "customHeaders",
       "Authorization: Bearer s3cret",
       "customHeaders: (hidden) is not of the form name=value"},
      {"nats-jetstream",
       {{"account", "a"}, {"stream", "s"}, {"consumer", "c"}},
       "natsServerMonitoringEndpoint",
       "http://u:s3cret@nats:8222",
       "(hidden) is not an endpoint"},
      {"mysql",
       {{"query", "q"}, {"queryValue", "1"}},
       "connectionString",
       "shop:pa/s3?s3cret@tcp(db:3306)",
       "has the parameter (hidden)"},
      {"mysql", {{"query", "q"}, {"queryValue", "1"}}, "connectionString", "shop:s3cret@unix(/x)/d", "has no address"},
      {"postgresql",
       {{"query", "q"}, {"targetQueryValue", "1"}},
       "connection",
       "host=127.0.0.1 user=shop password=my s3cret",
       "connect: the connection string is malformed: missing \"=\" after (hidden)"},
      {"postgresql",
       {{"query", "q"}, {"targetQueryValue", "1"}},
       "connection",
       "postgres://shop:p@s3cret@127.0.0.1/shop",
       "connect: the connection string has an \"@\" in the host; write one in a password as %40"},
  };
  for (const auto& row : rows) {
    ScaledSource source;
    source.Follow(row.type, row.metadata, {{row.parameter, row.value}});
    EXPECT_EQ(source.NextReplicas(), 0);
    EXPECT_THAT(source.Readiness(), HasSubstr(row.expected)) << row.type << " " << row.value;
    EXPECT_THAT(source.Shown(), testing::Not(HasSubstr("s3cret"))) << row.type;
  }
}

}  // namespace
}  // namespace tidewright::scaler
