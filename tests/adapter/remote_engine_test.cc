#include "adapter/remote_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/mutex.h"
#include "http/server.h"
#include "promql/engine.h"

namespace tidewright::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'795'251'600'500;

// A server that gives one reply to everything and keeps what it was asked last.
class Peer {
 public:
  Peer() {
    http::ServerOptions options;
    options.worker_threads = 1;
    server_ = *http::Server::Create(
        options, [this](const http::ServerRequest& request, std::shared_ptr<http::Responder> responder) {
          http::Response response;
          {
            base::MutexLock lock(mu_);
            last_ = request;
            ++count_;
            response.status = status_;
            response.body = body_;
          }
          responder->Reply(std::move(response));
        });
    port_ = *server_->Listen("127.0.0.1", 0);
  }
  ~Peer() { server_->Stop(); }
  void Answer(int status, std::string body) {
    base::MutexLock lock(mu_);
    status_ = status;
    body_ = std::move(body);
  }
  http::ServerRequest last() {
    base::MutexLock lock(mu_);
    return last_;
  }
  int count() {
    base::MutexLock lock(mu_);
    return count_;
  }
  std::string url(const std::string& user = "") const {
    return "http://" + user + "127.0.0.1:" + std::to_string(port_);
  }

 private:
  base::Mutex mu_;
  int status_ GUARDED_BY(mu_) = 200;
  std::string body_ GUARDED_BY(mu_) =
      R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1.5,"2.5"]}]}})";
  http::ServerRequest last_ GUARDED_BY(mu_);
  int count_ GUARDED_BY(mu_) = 0;
  std::unique_ptr<http::Server> server_;
  uint16_t port_ = 0;
};

class RemoteEngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<promql::QueryEngine> Engine(std::vector<std::string> urls, RemoteEngineOptions options = {}) {
    options.urls = std::move(urls);
    auto engine = NewRemoteEngine(std::move(options), clock_, metrics_);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return *std::move(engine);
  }
  base::FakeClock clock_{kNow};
  base::MetricRegistry metrics_;
  Peer one_, two_;
};

TEST_F(RemoteEngineTest, AsksAsPrometheusIsAsked) {
  RemoteEngineOptions options;
  options.headers.Add("X-Scope-OrgID", "team-a");
  auto engine = Engine({one_.url("me:s%40cret@") + "/prom/"}, options);
  auto result = engine->Instant("up{a=\"ü+&\"}", kNow);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const auto& vector = std::get<promql::Vector>(result->value);
  ASSERT_EQ(vector.size(), 1u);
  EXPECT_EQ(vector[0].labels.Get("pod"), "a");
  EXPECT_EQ(vector[0].point.v, 2.5);
  EXPECT_EQ(vector[0].point.t, 1500);
  http::ServerRequest asked = one_.last();
  EXPECT_EQ(asked.method, "POST");
  EXPECT_EQ(asked.path, "/prom/api/v1/query");
  EXPECT_EQ(asked.body, "query=up%7Ba%3D%22%C3%BC%2B%26%22%7D&time=1795251600.500");
  EXPECT_EQ(asked.headers.Get("Authorization"), "Basic bWU6c0BjcmV0");
  EXPECT_EQ(asked.headers.Get("X-Scope-OrgID"), "team-a");
  one_.Answer(200, R"({"status":"success","data":["b","a"]})");
  auto matchers = *promql::ParseSelector("{__name__=~\"a|b\",ns!=\"\"}");
  EXPECT_THAT(*engine->LabelValues("__name__", matchers, 1000, 2000), ElementsAre("a", "b"));
  asked = one_.last();
  EXPECT_EQ(asked.method, "GET");
  EXPECT_EQ(asked.path, "/prom/api/v1/label/__name__/values");
  EXPECT_EQ(http::QueryValue(asked.query, "match[]"), R"({__name__=~"a|b",ns!=""})");
  EXPECT_EQ(engine->LabelNames(matchers, 1000, 2000)->size(), 2u);
  one_.Answer(200, R"({"status":"success","data":[{"__name__":"a","ns":"n"}]})");
  EXPECT_EQ(engine->Series({matchers}, 1000, 2000)->front().Get("ns"), "n");
}

TEST_F(RemoteEngineTest, OtherServersStandIn) {
  auto engine = Engine({one_.url(), two_.url()});
  one_.Answer(503, "starting");
  EXPECT_TRUE(engine->Instant("up", kNow).ok());
  EXPECT_EQ(one_.count(), 1);
  EXPECT_EQ(two_.count(), 1);
  EXPECT_TRUE(engine->Instant("up", kNow).ok());
  EXPECT_EQ(one_.count(), 1) << "left alone for a while";
  two_.Answer(500, "broken");
  auto none = engine->Instant("up", kNow);
  EXPECT_EQ(none.status().code(), base::Code::kUnavailable);
  EXPECT_THAT(none.status().message(), HasSubstr("status 503"));
  EXPECT_THAT(none.status().message(), HasSubstr("status 500"));
  one_.Answer(200, R"({"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}})");
  clock_.Advance(31'000);
  auto scalar = engine->Instant("scalar(up)", kNow);
  ASSERT_TRUE(scalar.ok());
  EXPECT_TRUE(std::isnan(std::get<promql::Scalar>(scalar->value).point.v));
}

TEST_F(RemoteEngineTest, WhatIsWrongWithTheQueryIsTheAnswer) {
  auto engine = Engine({one_.url(), two_.url()});
  one_.Answer(422, R"({"status":"error","errorType":"execution","error":"many-to-many matching"})");
  auto result = engine->Instant("a/b", kNow);
  EXPECT_EQ(result.status().code(), base::Code::kInvalidArgument);
  EXPECT_THAT(result.status().message(), HasSubstr("many-to-many"));
  EXPECT_EQ(two_.count(), 0);
}

TEST_F(RemoteEngineTest, NonsenseIsAnErrorAndNeverAValue) {
  auto engine = Engine({one_.url()});
  for (const char* body :
       {"", "<html>", "[]", "{}", R"({"status":"success"})", R"({"status":"success","data":[]})",
        R"({"status":"success","data":{"resultType":"vector","result":{}}})",
        R"({"status":"success","data":{"resultType":"vector","result":[5]}})",
        R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}})",
        R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,1]}]}})",
        R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e300,"1"]}]}})",
        R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"one"]}]}})",
        R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}})",
        R"({"status":"success","data":{"resultType":"surprise","result":[]}})"}) {
    one_.Answer(200, body);
    auto result = engine->Instant("up", kNow);
    EXPECT_FALSE(result.ok()) << body;
    EXPECT_EQ(result.status().code(), base::Code::kUnavailable) << body;
  }
}

TEST_F(RemoteEngineTest, ReadsItsTokenAgain) {
  std::string path = ::testing::TempDir() + "/remote_engine_token_" + std::to_string(::getpid());
  std::ofstream(path) << "first\n";
  RemoteEngineOptions options;
  options.token_file = path;
  auto engine = Engine({one_.url()}, options);
  ASSERT_TRUE(engine->Instant("up", kNow).ok());
  EXPECT_EQ(one_.last().headers.Get("Authorization"), "Bearer first");
  std::ofstream(path, std::ios::trunc) << "second\n";
  clock_.Advance(61'000);
  ASSERT_TRUE(engine->Instant("up", kNow).ok());
  EXPECT_EQ(one_.last().headers.Get("Authorization"), "Bearer second");
  std::filesystem::remove(path);
  clock_.Advance(61'000);
  EXPECT_TRUE(engine->Instant("up", kNow).ok()) << "the last token stays";
  options.urls = {"http://me:secret@127.0.0.1:1"};
  EXPECT_EQ(NewRemoteEngine(options, clock_, metrics_).status().code(), base::Code::kInvalidArgument);
  EXPECT_EQ(NewRemoteEngine({}, clock_, metrics_).status().code(), base::Code::kInvalidArgument);
}

}  // namespace
}  // namespace tidewright::adapter
