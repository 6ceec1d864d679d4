// Triggers against the real servers: what is put into them is read, a server that is gone is an error without a value,
// and a wrong password is said without being shown.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "scaler/trigger.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr int64_t kPatienceMs = 90'000;

class QueuesTest : public testing::Test {
 protected:
  QueuesTest() : client_(*http::NewCurlClient({})) {
    context_.control = context_.calendar = &base::SystemClock::Get();
    context_.http = client_.get();
    secrets_.env = [this](const std::string& name) -> base::Result<std::string> {
      auto it = env_.find(name);
      if (it == env_.end()) return base::NotFoundError("no variable " + name);
      return it->second;
    };
  }

  void Run(const std::vector<std::string>& argv, const std::map<std::string, std::string>& env = {}) {
    auto process = base::Subprocess::Start(argv, folder_.path() + "/log", env);
    ASSERT_TRUE(process.ok()) << process.status().ToString();
    process_ = std::make_unique<base::Subprocess>(std::move(*process));
  }
  void Kill() {
    process_->Signal(9);
    process_->Wait();
  }

  bool Eventually(const std::function<bool()>& condition) {
    base::StopSignal never;
    const int64_t deadline = base::SystemClock::Get().NowMs() + kPatienceMs;
    while (base::SystemClock::Get().NowMs() < deadline) {
      if (condition()) return true;
      base::SystemClock::Get().SleepFor(100, never);
    }
    return condition();
  }

  // The value in milli-units, or the error's text.
  std::string Read(const std::string& type, const Metadata& metadata) {
    TriggerSpec spec;
    spec.type = type;
    spec.metadata = metadata;
    auto trigger = NewTrigger(spec, secrets_, context_);
    if (!trigger.ok()) return trigger.status().message();
    auto reading = (*trigger)->Read();
    return reading.ok() ? std::to_string(reading->value_milli) : reading.status().message();
  }

  base::Result<http::Response> Send(const std::string& method, const std::string& url, const std::string& body,
                                    const std::string& login = "") {
    http::ClientRequest request;
    request.method = method;
    request.url = url;
    request.body = body;
    request.headers.Set("Content-Type", "application/json");
    if (!login.empty()) request.headers.Set("Authorization", "Basic " + base::Base64Encode(login));
    return client_->Send(request);
  }
  bool Sent(const std::string& method, const std::string& url, const std::string& body, const std::string& login = "") {
    auto response = Send(method, url, body, login);
    return response.ok() && response->status / 100 == 2;
  }

  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/log");
    return text.ok() ? *text : text.status().ToString();
  }

  base::TempDir folder_ = *base::TempDir::Create("queues");
  std::unique_ptr<http::Client> client_;
  TriggerContext context_;
  TriggerSecrets secrets_;
  std::map<std::string, std::string> env_;
  std::unique_ptr<base::Subprocess> process_;
};

TEST_F(QueuesTest, Etcd) {
  if (!base::HaveProgram("etcd")) GTEST_SKIP() << "etcd is not installed";
  const std::string url = "http://127.0.0.1:" + std::to_string(*base::FreePort());
  const std::string peer = "http://127.0.0.1:" + std::to_string(*base::FreePort());
  Run({"etcd", "--data-dir", folder_.path() + "/etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
       "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer});
  auto put = [&](const std::string& value) {
    return Sent("POST", url + "/v3/kv/put",
                R"({"key":")" + base::Base64Encode("queue") + R"(","value":")" + base::Base64Encode(value) + R"("})");
  };
  ASSERT_TRUE(Eventually([&] { return put("42.5"); })) << Log();
  const Metadata metadata = {{"endpoints", url}, {"watchKey", "queue"}, {"value", "5"}};
  EXPECT_EQ(Read("etcd", metadata), "42500");
  EXPECT_EQ(Read("etcd", {{"endpoints", "http://127.0.0.1:1," + url}, {"watchKey", "queue"}, {"value", "5"}}), "42500");
  EXPECT_NE(Read("etcd", {{"endpoints", url}, {"watchKey", "none"}, {"value", "5"}}).find("\"none\" does not exist"),
            std::string::npos);
  ASSERT_TRUE(put("many"));
  EXPECT_NE(Read("etcd", metadata).find("the value of \"queue\" is not a number"), std::string::npos);
  Kill();
  EXPECT_NE(Read("etcd", metadata).find("etcd at " + url), std::string::npos);
}

TEST_F(QueuesTest, NatsJetstream) {
  if (!base::HaveProgram("nats-server")) GTEST_SKIP() << "nats-server is not installed";
  const std::string port = std::to_string(*base::FreePort());
  const std::string monitor = std::to_string(*base::FreePort());
  Run({"nats-server", "-a", "127.0.0.1", "-p", port, "-m", monitor, "-js", "-sd", folder_.path() + "/nats"});
  auto publish = [&](int messages) {
    auto script = base::Subprocess::Start(
        {"python3", "-B", TIDEWRIGHT_SOURCE_DIR "/tests/integration/nats_publish.py", port, std::to_string(messages)},
        folder_.path() + "/log");
    return script.ok() && script->Wait() == 0;
  };
  ASSERT_TRUE(Eventually([&] { return publish(7); })) << Log();
  Metadata metadata = {{"natsServerMonitoringEndpoint", "127.0.0.1:" + monitor},
                       {"account", "$G"},
                       {"stream", "ORDERS"},
                       {"consumer", "work"}};
  EXPECT_TRUE(Eventually([&] { return Read("nats-jetstream", metadata) == "7000"; }))
      << Read("nats-jetstream", metadata);
  metadata["stream"] = "OTHER";
  EXPECT_NE(Read("nats-jetstream", metadata).find("there is no stream \"OTHER\""), std::string::npos);
  metadata["account"] = "nobody";
  EXPECT_NE(Read("nats-jetstream", metadata).find("nats at 127.0.0.1"), std::string::npos);
  Kill();
  EXPECT_NE(Read("nats-jetstream", metadata).find("nats at 127.0.0.1"), std::string::npos);
}

TEST_F(QueuesTest, RedisStreams) {
  if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  RedisServer server;
  Metadata metadata = {{"address", server.address()}, {"stream", "orders"}};
  EXPECT_EQ(Read("redis-streams", metadata), "0");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(server.Run({"XADD", "orders", "*", "order", "1"}).ok());
  EXPECT_EQ(Read("redis-streams", metadata), "5000");
  metadata["consumerGroup"] = "work";
  EXPECT_NE(Read("redis-streams", metadata).find("NOGROUP"), std::string::npos);
  metadata["lagCount"] = "5";
  EXPECT_EQ(Read("redis-streams", metadata), "5000") << "a group that does not exist yet has all before it";
  ASSERT_TRUE(server.Run({"XGROUP", "CREATE", "orders", "work", "0"}).ok());
  EXPECT_EQ(Read("redis-streams", metadata), "5000");
  // The reply of XREADGROUP is more than a RedisConnection takes; it has been done by then.
  (void)server.Run({"XREADGROUP", "GROUP", "work", "me", "COUNT", "2", "STREAMS", "orders", ">"});
  EXPECT_EQ(Read("redis-streams", metadata), "3000");
  metadata.erase("lagCount");
  EXPECT_EQ(Read("redis-streams", metadata), "2000");
}

TEST_F(QueuesTest, Rabbitmq) {
  const std::string program = "/usr/lib/rabbitmq/bin/rabbitmq-server";
  if (!std::filesystem::exists(program)) GTEST_SKIP() << "rabbitmq-server is not installed";
  const std::string port = std::to_string(*base::FreePort());
  const std::string management = std::to_string(*base::FreePort());
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/plugins", "[rabbitmq_management].").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/rabbit.conf", "listeners.tcp.local = 127.0.0.1:" + port +
                                                                         "\nmanagement.tcp.ip = 127.0.0.1\n" +
                                                                         "management.tcp.port = " + management + "\n")
                  .ok());
  // Ours, so that it ends with the test.
  const std::string names = std::to_string(*base::FreePort());
  auto name_server = base::Subprocess::Start({"epmd", "-port", names, "-address", "127.0.0.1"});
  ASSERT_TRUE(name_server.ok()) << name_server.status().ToString();
  Run({program}, {{"HOME", folder_.path()},
                  {"RABBITMQ_NODENAME", "tidewright" + port + "@localhost"},
                  {"RABBITMQ_DIST_PORT", std::to_string(*base::FreePort())},
                  {"ERL_EPMD_PORT", names},
                  {"RABBITMQ_ALLOW_INPUT", "1"},                                 // Stays one process,
                  {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noshell -noinput"},  // ... without a terminal.
                  {"RABBITMQ_MNESIA_BASE", folder_.path() + "/mnesia"},
                  {"RABBITMQ_LOG_BASE", folder_.path() + "/logs"},
                  {"RABBITMQ_PID_FILE", folder_.path() + "/pid"},
                  {"RABBITMQ_CONFIG_FILE", folder_.path() + "/rabbit.conf"},
                  {"RABBITMQ_ENABLED_PLUGINS_FILE", folder_.path() + "/plugins"}});
  const std::string url = "http://127.0.0.1:" + management;
  const std::string login = "guest:guest";
  ASSERT_TRUE(Eventually([&] { return Sent("PUT", url + "/api/queues/%2F/orders", "{}", login); })) << Log();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(Sent("POST", url + "/api/exchanges/%2F/amq.default/publish",
                     R"({"properties":{},"routing_key":"orders","payload":"x","payload_encoding":"string"})", login));
  }
  env_ = {{"RABBIT", "http://guest:guest@127.0.0.1:" + management},
          {"WRONG", "http://guest:s3cret@127.0.0.1:" + management}};
  Metadata metadata = {{"hostFromEnv", "RABBIT"}, {"queueName", "orders"}};
  EXPECT_TRUE(Eventually([&] { return Read("rabbitmq", metadata) == "6000"; })) << Read("rabbitmq", metadata);
  metadata["useRegex"] = "true";
  metadata["queueName"] = "^ord";
  EXPECT_EQ(Read("rabbitmq", metadata), "6000");
  metadata["hostFromEnv"] = "WRONG";
  std::string refused = Read("rabbitmq", metadata);
  EXPECT_NE(refused.find("401"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("s3cret"), std::string::npos) << refused;
}

TEST_F(QueuesTest, Postgresql) {
  const std::string programs = "/usr/lib/postgresql/15/bin/";
  if (!std::filesystem::exists(programs + "postgres")) GTEST_SKIP() << "postgresql-15 is not installed";
  // The server refuses to run as root.
  const std::string user = geteuid() == 0 ? "nobody" : "";
  auto as_user = [&](std::vector<std::string> argv) {
    if (!user.empty()) argv.insert(argv.begin(), {"setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups"});
    return argv;
  };
  const std::string data = folder_.path() + "/pg";
  std::filesystem::create_directory(data);
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/password", "pa55").ok());
  if (!user.empty()) {
    auto owned = base::Subprocess::Start({"chown", "-R", user, folder_.path()});
    ASSERT_TRUE(owned.ok() && owned->Wait() == 0);
  }
  auto made = base::Subprocess::Start(as_user({programs + "initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256",
                                               "--pwfile", folder_.path() + "/password", "--no-sync"}),
                                      "");
  ASSERT_TRUE(made.ok() && made->Wait() == 0);
  const std::string port = std::to_string(*base::FreePort());
  Run(as_user({programs + "postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", data, "-F"}));
  env_ = {{"PW", "pa55"},
          {"WRONG", "s3cret"},
          {"ALL", "host=127.0.0.1 port=" + port + " user=shop password=pa55 dbname=postgres"}};
  Metadata metadata = {
      {"host", "127.0.0.1"},     {"port", port},           {"userName", "shop"},     {"dbName", "postgres"},
      {"passwordFromEnv", "PW"}, {"query", "select 12.5"}, {"targetQueryValue", "5"}};
  EXPECT_TRUE(Eventually([&] { return Read("postgresql", metadata) == "12500"; })) << Read("postgresql", metadata);
  EXPECT_EQ(Read("postgresql", {{"connectionFromEnv", "ALL"},
                                {"query", "select count(*) from generate_series(1, 9)"},
                                {"targetQueryValue", "5"}}),
            "9000");
  metadata["query"] = "select null";
  EXPECT_EQ(Read("postgresql", metadata), "postgresql: the query gives NULL; use coalesce()");
  metadata["query"] = "select 1 where false";
  EXPECT_EQ(Read("postgresql", metadata), "postgresql: the query gives no row");
  metadata["query"] = "select nonsense";
  EXPECT_NE(Read("postgresql", metadata).find("column \"nonsense\" does not exist"), std::string::npos);
  metadata["passwordFromEnv"] = "WRONG";
  std::string refused = Read("postgresql", metadata);
  EXPECT_NE(refused.find("password authentication failed"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("s3cret"), std::string::npos) << refused;
  Kill();
  EXPECT_NE(Read("postgresql", metadata).find("postgresql: connect"), std::string::npos);
}

}  // namespace
}  // namespace tidewright::scaler
