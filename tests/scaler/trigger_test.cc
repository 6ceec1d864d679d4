#include "scaler/trigger.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "base/duration.h"
#include "http/server.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

class TriggerTest : public testing::Test {
 protected:
  TriggerTest() {
    context_.control = &control_;
    context_.calendar = &calendar_;
    context_.engine = &engine_;
    secrets_.env = [this](const std::string& name) -> base::Result<std::string> {
      auto it = env_.find(name);
      if (it == env_.end()) return base::NotFoundError("no variable " + name);
      return it->second;
    };
  }

  std::unique_ptr<Trigger> Make(const std::string& type, std::map<std::string, std::string> metadata) {
    TriggerSpec spec;
    spec.type = type;
    spec.metadata = std::move(metadata);
    auto made = NewTrigger(spec, secrets_, context_);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return made.ok() ? std::move(*made) : nullptr;
  }

  base::FakeClock control_{1'000'000};
  base::FakeClock calendar_;
  FakeEngine engine_;
  TriggerContext context_;
  TriggerSecrets secrets_;
  std::map<std::string, std::string> env_;
};

TEST_F(TriggerTest, CronFollowsTheCalendarClock) {
  auto cron =
      Make("cron",
           {{"timezone", "Europe/Rome"}, {"start", "0 8 * * 1-5"}, {"end", "0 18 * * 1-5"}, {"desiredReplicas", "3"}});
  EXPECT_EQ(cron->info().metric_name, "s0-cron-Europe-Rome-08xx1-5-018xx1-5");
  EXPECT_EQ(cron->info().name, "cron 0 8 * * 1-5");
  EXPECT_TRUE(cron->info().exact);
  calendar_.Set(*base::ParseTime("2026-11-23T08:00:00Z"));  // Monday, 09:00 in Rome.
  EXPECT_EQ(cron->Read()->value_milli, 3000);
  EXPECT_EQ(cron->Read()->detail, "window is open until Mon 2026-11-23 18:00 Europe/Rome");
  calendar_.Set(*base::ParseTime("2026-11-28T12:00:00Z"));  // Saturday.
  EXPECT_EQ(cron->Read()->value_milli, 0);
  EXPECT_EQ(cron->Read()->detail, "window is closed until Mon 2026-11-30 08:00 Europe/Rome");
}

TEST_F(TriggerTest, CronMetricNamesFollowKeda) {
  struct {
    const char* zone;
    const char* start;
    const char* end;
    const char* name;
  } rows[] = {{"Etc/UTC", "0 0 * * Thu", "59 23 * * Thu", "s0-cron-Etc-UTC-00xxThu-5923xxThu"},
              {"Etc/UTC", "0 */2 * * *", "0 1-23/2 * * *", "s0-cron-Etc-UTC-0xSl2xxx-01-23Sl2xxx"},
              {"Etc/UTC", "0,30 * * * *", "15,45 * * * *", "s0-cron-Etc-UTC-0Cm30xxxx-15Cm45xxxx"}};
  for (const auto& row : rows) {
    auto cron =
        Make("cron", {{"timezone", row.zone}, {"start", row.start}, {"end", row.end}, {"desiredReplicas", "1"}});
    EXPECT_EQ(cron->info().metric_name, row.name);
  }
}

struct VectorRow {
  std::vector<double> values;
  const char* ignore_null;
  int64_t milli;     // -1: an error.
  const char* text;  // Part of the detail or the error.
};

TEST_F(TriggerTest, EmbeddedPrometheus) {
  const double kNan = std::numeric_limits<double>::quiet_NaN();
  const double kInf = std::numeric_limits<double>::infinity();
  const VectorRow rows[] = {
      {{42.5}, "true", 42'500, "query = 42.5"},
      {{}, "true", 0, "the query has no result, which counts as 0"},
      {{}, "false", -1, "the query has no result (ignoreNullValues is false)"},
      {{1, 2}, "true", -1, "the query gives 2 series; aggregate them"},
      {{kNan}, "true", -1, "the query gives NaN, which is not a number to scale by"},
      {{kInf}, "true", -1, "the query gives +Inf"},
      {{-3}, "true", 0, "query = -3"},
      {{0.0001}, "true", 1, "query = 0.0001"},
      {{20.000000001}, "true", 20'000, "query = 20.000000001"},
  };
  for (const VectorRow& row : rows) {
    auto trigger =
        Make("prometheus", {{"query", "sum(up)"}, {"threshold", "20"}, {"ignoreNullValues", row.ignore_null}});
    engine_.SetVector(row.values);
    auto reading = trigger->Read();
    EXPECT_EQ(reading.ok() ? reading->value_milli : -1, row.milli) << row.text;
    std::string text = reading.ok() ? reading->detail : reading.status().message();
    EXPECT_NE(text.find(row.text), std::string::npos) << text;
  }
  EXPECT_EQ(engine_.last_query(), "sum(up)");
  engine_.SetError(base::UnavailableError("storage is closed"));
  EXPECT_EQ(Make("prometheus", {{"query", "up"}, {"threshold", "1"}})->Read().status().message(), "storage is closed");
}

TEST_F(TriggerTest, RemotePrometheus) {
  std::string target;
  std::string past_target;
  std::string header;
  std::string answer;
  std::string past = R"({"data":{"resultType":"matrix","result":[]}})";
  int past_status = 200;
  int status = 200;
  auto server = http::Server::Create({}, [&](const http::ServerRequest& request, std::shared_ptr<http::Responder> out) {
    header = request.headers.Get("X-Tenant");
    if (request.target.starts_with("/api/v1/query_range")) {
      past_target = request.target;
      return out->Reply({past_status, {{"Content-Type", "application/json"}}, past});
    }
    target = request.target;
    out->Reply({status, {{"Content-Type", "application/json"}}, answer});
  });
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok());
  auto client = http::NewCurlClient({});
  ASSERT_TRUE(client.ok());
  context_.http = client->get();
  context_.resolve_host = [](const std::string& host) { return host == "p" ? "127.0.0.1" : host; };
  auto trigger = Make("prometheus", {{"serverAddress", "http://p:" + std::to_string(*port) + "/"},
                                     {"query", "sum(rate(x[1m]))"},
                                     {"threshold", "5"},
                                     {"namespace", "team"},
                                     {"queryParameters", "dedup=true"},
                                     {"customHeaders", "X-Tenant=a"}});
  struct {
    int status;
    const char* answer;
    int64_t milli;
    const char* text;
  } rows[] = {
      {200, R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"12.5"]}]}})",
       12'500, ""},
      {200, R"({"status":"success","data":{"resultType":"scalar","result":[1,"3"]}})", 3'000, ""},
      {200, R"({"status":"success","data":{"resultType":"vector","result":[]}})", -1,
       "has had no result since 1970-01-01T00:16:40Z"},
      {200, R"({"data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}})", -1, "gives 2 series"},
      {200, R"({"data":{"resultType":"vector","result":[{"value":[1,"NaN"]}]}})", -1, "gives NaN"},
      {200, R"({"data":{"resultType":"vector","result":[{"value":"x"}]}})", -1, "not what a Prometheus server sends"},
      {200, "<html>", -1, ""},
      {400, R"({"status":"error","errorType":"bad_data","error":"parse error"})", -1, "answered 400: parse error"},
      {503, "", -1, "answered 503"},
  };
  for (const auto& row : rows) {
    status = row.status;
    answer = row.answer;
    auto reading = trigger->Read();
    EXPECT_EQ(reading.ok() ? reading->value_milli : -1, row.milli) << row.answer;
    std::string text = reading.ok() ? reading->detail : reading.status().message();
    EXPECT_NE(text.find(row.text), std::string::npos) << text;
  }
  EXPECT_EQ(target,
            "/api/v1/query?query=sum%28rate%28x%5B1m%5D%29%29&time=1970-01-01T00%3A16%3A40Z&namespace=team&dedup=true");
  EXPECT_EQ(header, "a");
  status = 200;
  answer = R"({"status":"success","data":{"resultType":"vector","result":[]}})";
  control_.Advance(600'000);
  EXPECT_EQ(trigger->Read()->detail, "the query has no result, which counts as 0");
  EXPECT_EQ(past_target,
            "/api/v1/query_range?query=sum%28rate%28x%5B1m%5D%29%29&start=1970-01-01T00%3A21%3A30Z&"
            "end=1970-01-01T00%3A26%3A30Z&step=15&namespace=team&dedup=true");
  control_.Advance(3'600'000);
  past = R"({"data":{"resultType":"matrix","result":[{"metric":{},"values":[[4400,"1"],[5030,"2"]]}]}})";
  EXPECT_EQ(trigger->Read().status().message().substr(0, 55),
            "the query has had no result since 1970-01-01T01:23:50Z;");
  control_.Advance(3'600'000);
  past_status = 503;
  EXPECT_EQ(trigger->Read().status().message(), "what the query gave before: the server answered 503");
  past_status = 404;
  EXPECT_EQ(trigger->Read().status().code(), base::Code::kNotFound);
  for (int i = 0; i < 5; ++i) {
    control_.Advance(60'000);
    EXPECT_EQ(trigger->Read().ok(), i == 4) << i;
  }
  (*server)->Stop();
  EXPECT_EQ(trigger->Read().status().code(), base::Code::kUnavailable);
}

// What the source knows of the past and what was read before an empty result, and what that then stands for.
TEST_F(TriggerTest, AnEmptyResultIsZeroOnlyAfterAWindowWithoutAny) {
  constexpr int64_t kSecond = 1'000;
  constexpr int64_t kMinute = 60 * kSecond;
  const struct {
    const char* name;
    std::optional<int64_t> last_result_ago, scraped_since_ago;
    const char* window;  // nullValueWindow
    const char* text;    // "": it counts as 0.
  } rows[] = {
      {"never a result", {}, 60 * kMinute, "5m", ""},
      {"a result before the window", 6 * kMinute, 60 * kMinute, "5m", ""},
      {"a result within the window", 2 * kMinute, 60 * kMinute, "5m", "no result since 2026-01-08T11:58:00Z"},
      {"a result within a longer window", 6 * kMinute, 60 * kMinute, "10m", "no result since 2026-01-08T11:54:00Z"},
      {"a store that has just begun", {}, kMinute, "5m", "before 2026-01-08T11:59:00Z is not known"},
      {"a store that is empty", {}, {}, "5m", "before 2026-01-08T12:00:00Z is not known"},
      {"no window", kSecond, {}, "0s", ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    control_.Set(*base::ParseTime("2026-01-08T12:00:00Z"));
    auto ago = [this](std::optional<int64_t> ms) { return ms ? std::optional(control_.NowMs() - *ms) : ms; };
    engine_.SetPast(ago(row.last_result_ago), ago(row.scraped_since_ago));
    engine_.SetVector({});
    auto trigger = Make("prometheus", {{"query", "sum(x)"}, {"threshold", "1"}, {"nullValueWindow", row.window}});
    auto reading = trigger->Read();
    EXPECT_EQ(reading.ok(), *row.text == '\0') << reading.status().ToString();
    if (reading.ok()) continue;
    EXPECT_EQ(reading.status().code(), base::Code::kNotFound);
    EXPECT_NE(reading.status().message().find(row.text), std::string::npos) << reading.status().message();
  }
}

TEST_F(TriggerTest, AnEmptyResultIsJudgedByWhatWasReadBefore) {
  engine_.SetPast({}, {});
  auto trigger = Make("prometheus", {{"query", "sum(x)"}, {"threshold", "1"}});
  auto after = [&](int64_t ms) {
    control_.Advance(ms);
    return trigger->Read();
  };
  engine_.SetVector({7});
  EXPECT_EQ(after(0)->value_milli, 7'000);
  engine_.SetVector({});
  for (int i = 1; i < 10; ++i) EXPECT_EQ(after(30'000).status().code(), base::Code::kNotFound) << i;
  EXPECT_EQ(engine_.range_queries(), 0) << "all of it was read";
  EXPECT_EQ(after(30'000)->value_milli, 0);
  EXPECT_EQ(after(30'000)->value_milli, 0);
  engine_.SetVector({9});
  EXPECT_EQ(after(30'000)->value_milli, 9'000);
  engine_.SetVector({});
  EXPECT_FALSE(after(30'000).ok());
  engine_.SetPast(control_.NowMs() + 240'000, 0);
  EXPECT_FALSE(after(360'000).ok()) << "it had results while nobody read";
  EXPECT_GT(engine_.range_queries(), 0);
  engine_.SetError(base::UnavailableError("storage is closed"));
  EXPECT_EQ(after(360'000).status().message(), "storage is closed");
}

class RedisTest : public TriggerTest {
 protected:
  void SetUp() override {
    if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  }
};

TEST_F(RedisTest, ReadsEveryTypeThatHasALength) {
  RedisServer server;
  ASSERT_TRUE(server.Run({"RPUSH", "orders", "a", "b", "c"}).ok());
  ASSERT_TRUE(server.Run({"HSET", "hash", "k", "v"}).ok());
  ASSERT_TRUE(server.Run({"SADD", "set", "a", "b"}).ok());
  ASSERT_TRUE(server.Run({"ZADD", "zset", "1", "a"}).ok());
  ASSERT_TRUE(server.Run({"SET", "text", "x"}).ok());
  struct {
    const char* key;
    int64_t milli;
    const char* text;
  } rows[] = {{"orders", 3000, "list orders = 3"}, {"hash", 1000, "hash hash = 1"},
              {"set", 2000, "set set = 2"},        {"zset", 1000, "zset zset = 1"},
              {"none", 0, "does not exist"},       {"text", -1, "key \"text\" is a string; a list, hash, set"}};
  for (const auto& row : rows) {
    auto trigger = Make("redis", {{"address", server.address()}, {"listName", row.key}});
    auto reading = trigger->Read();
    EXPECT_EQ(reading.ok() ? reading->value_milli : -1, row.milli) << row.key;
    std::string text = reading.ok() ? reading->detail : reading.status().message();
    EXPECT_NE(text.find(row.text), std::string::npos) << text;
  }
}

TEST_F(RedisTest, SurvivesARestartOfTheServer) {
  RedisServer server;
  ASSERT_TRUE(server.Run({"RPUSH", "orders", "a"}).ok());
  auto trigger =
      Make("redis", {{"host", "127.0.0.1"}, {"port", std::to_string(server.port())}, {"listName", "orders"}});
  EXPECT_EQ(trigger->info().name, "redis orders");
  EXPECT_EQ(trigger->info().metric_name, "s0-redis-orders");
  EXPECT_EQ(trigger->info().target_milli, 5000);
  EXPECT_EQ(trigger->Read()->value_milli, 1000);
  server.Kill();
  auto broken = trigger->Read();
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.status().message(), "redis at " + server.address() + ": connection refused");
  server.Start();
  auto again = trigger->Read();
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->value_milli, 0) << "the server lost its data";
}

TEST_F(RedisTest, PasswordsWorkAndNeverShow) {
  RedisServer server("s3cret-right");
  env_ = {{"PW", "s3cret-right"}, {"WRONG", "s3cret-wrong"}};
  std::map<std::string, std::string> metadata = {
      {"address", server.address()}, {"listName", "orders"}, {"databaseIndex", "2"}, {"passwordFromEnv", "PW"}};
  EXPECT_TRUE(Make("redis", metadata)->Read().ok());
  metadata["passwordFromEnv"] = "WRONG";
  auto refused = Make("redis", metadata)->Read();
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("AUTH: WRONGPASS"), std::string::npos) << refused.status().ToString();
  EXPECT_EQ(refused.status().message().find("s3cret"), std::string::npos);
  metadata.erase("passwordFromEnv");
  EXPECT_NE(Make("redis", metadata)->Read().status().message().find("NOAUTH"), std::string::npos);
}

TEST_F(RedisTest, HostileServersAreBounded) {
  // Answers every request with a bulk string that never ends, as an HTTP server would not.
  RedisServer server;
  std::string big(200'000, 'x');
  ASSERT_TRUE(server.Run({"SET", "big", big}).ok());
  auto connection = trigger::RedisConnection::Open({"127.0.0.1", server.port(), "", "", 0, 2000});
  ASSERT_TRUE(connection.ok());
  EXPECT_EQ((*connection)->Command({"GET", "big"}).status().code(), base::Code::kResourceExhausted);
}

TEST_F(TriggerTest, MissingVariablesNameTheKey) {
  TriggerSpec spec;
  spec.type = "redis";
  spec.metadata = {{"addressFromEnv", "REDIS"}, {"listName", "l"}};
  auto made = NewTrigger(spec, secrets_, context_);
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.status().message().find("spec.triggers[0].metadata.addressFromEnv: no variable REDIS"),
            std::string::npos)
      << made.status().ToString();
  env_["REDIS"] = "somewhere";
  EXPECT_NE(NewTrigger(spec, secrets_, context_).status().message().find("address: (hidden) is not an address"),
            std::string::npos);
}

}  // namespace
}  // namespace tidewright::scaler
