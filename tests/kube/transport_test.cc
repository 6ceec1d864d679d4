// What the client does beyond its verbs: repeat, sign anew, keep to its limits, obey a guard, count.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/boot_clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "kube/client.h"
#include "kube/meta.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;

constexpr const char* kTooMany = R"({"kind":"Status","reason":"TooManyRequests","code":429,"message":"slow down"})";

struct RetryCase {
  const char* name;
  int status;
  http::Headers headers;
  std::function<base::Status(Client&)> call;
  size_t requests;  // With a 200 after the first reply.
};

base::Status Get(Client& client) { return client.Get(resources::kPods, "a", "b").status(); }
base::Status Create(Client& client) { return client.Create(resources::kPods, "a", base::Json::object()).status(); }
base::Status MergePatchPod(Client& client) {
  return client.Patch(resources::kPods, "a", "b", PatchType::kMerge, base::Json::object()).status();
}
base::Status JsonPatchPod(Client& client) {
  return client.Patch(resources::kPods, "a", "b", PatchType::kJson, base::Json::array()).status();
}

TEST(RetryTest, OnlyWhatTheServerAsksForAndDoesNoHarm) {
  const http::Headers soon{{"Retry-After", "0"}};
  for (const RetryCase& row : {
           RetryCase{"429 read", 429, soon, Get, 2},
           RetryCase{"429 create", 429, soon, Create, 2},
           RetryCase{"429 JSON patch", 429, soon, JsonPatchPod, 2},
           RetryCase{"503 read", 503, soon, Get, 2},
           RetryCase{"503 merge patch", 503, soon, MergePatchPod, 2},
           RetryCase{"503 create", 503, soon, Create, 1},
           RetryCase{"503 JSON patch", 503, soon, JsonPatchPod, 1},
           RetryCase{"429 without Retry-After", 429, {}, Get, 1},
           RetryCase{"429 with a date", 429, {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}}, Get, 1},
           RetryCase{"429 beyond the time of the call", 429, {{"Retry-After", "31"}}, Get, 1},
           RetryCase{"429 absurd", 429, {{"Retry-After", "9223372036854775807"}}, Get, 1},
           RetryCase{"429 negative", 429, {{"Retry-After", "-1"}}, Get, 1},
           RetryCase{"500", 500, soon, Get, 1},
       }) {
    ScriptedApi api;
    api.Answer(row.status, kTooMany, row.headers);
    api.Answer(200, "{}");
    base::Status status = row.call(api.client());
    EXPECT_EQ(api.requests().size(), row.requests) << row.name;
    EXPECT_EQ(status.ok(), row.requests == 2) << row.name << ": " << status.ToString();
  }
}

TEST(RetryTest, AStormIsAnsweredWithTenRequests) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, std::shared_ptr<http::Responder> responder) {
    responder->Reply({429, {{"Retry-After", "0"}}, kTooMany});
  });
  base::Status status = Get(api.client());
  EXPECT_EQ(status.code(), base::Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("slow down"));
  EXPECT_EQ(api.requests().size(), 10U);
}

// Moves to the end of each wait as soon as somebody waits, and keeps how long that was.
class WaitingClock : public base::FakeClock {
 public:
  using FakeClock::FakeClock;
  bool SleepUntil(int64_t deadline_ms, base::StopSignal& stop) override {
    waited_ms = deadline_ms - NowMs();
    Set(deadline_ms);
    return FakeClock::SleepUntil(deadline_ms, stop);
  }
  std::atomic<int64_t> waited_ms = 0;
};

TEST(RetryTest, WaitsAsLongAsTheServerSays) {
  WaitingClock clock(1'000'000);
  ClientOptions options;
  options.clock = &clock;
  ScriptedApi api(options);
  api.Answer(429, kTooMany, {{"Retry-After", "5"}});
  api.Answer(200, "{}");
  base::Status status = Get(api.client());
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(clock.waited_ms, 5'000);
}

TEST(RetryTest, AWaitThatIsTooLongForOneCallBindsTheNext) {
  WaitingClock clock(1'000'000);
  ClientOptions options;
  options.clock = &clock;
  options.call_timeout_ms = 2'000;
  ScriptedApi api(options);
  api.Answer(429, kTooMany, {{"Retry-After", "3"}});
  EXPECT_EQ(MergePatchPod(api.client()).code(), base::Code::kResourceExhausted);
  base::Status early = MergePatchPod(api.client());
  EXPECT_EQ(early.code(), base::Code::kResourceExhausted) << early.ToString();
  EXPECT_THAT(early.message(), HasSubstr("asked not to repeat this request so soon"));
  EXPECT_EQ(api.requests().size(), 1u) << "the second call asked nobody";
  api.Answer(200, "{}");
  EXPECT_TRUE(Get(api.client()).ok()) << "other requests go on";
  api.Answer(200, "{}");
  clock.Advance(1'500);
  EXPECT_TRUE(MergePatchPod(api.client()).ok()) << "the rest fits into the call";
  EXPECT_EQ(clock.waited_ms, 1'500);
}

TEST(StopTest, EndsTheWaitAtOnceAndLeavesTimeForTheRest) {
  ScriptedApi api;
  api.Answer(429, kTooMany, {{"Retry-After", "25"}});
  base::Status status;
  std::thread caller([&] { status = Get(api.client()); });
  ASSERT_TRUE(api.WaitForRequests(1));
  api.client().BeginStop();
  caller.join();
  EXPECT_EQ(status.code(), base::Code::kCancelled) << status.ToString();
  api.Answer(200, "{}");
  EXPECT_TRUE(Get(api.client()).ok());
}

TEST(StopTest, AServerThatDoesNotAnswerHoldsUpNothing) {
  base::FakeClock clock(1'000'000);
  ClientOptions options;
  options.clock = &clock;
  ScriptedApi api(options);
  api.Hang();
  base::Status status;
  std::thread caller([&] { status = Get(api.client()); });
  ASSERT_TRUE(api.WaitForRequests(1));
  api.client().BeginStop();
  api.client().BeginStop();
  std::atomic<bool> ended = false;
  std::thread time([&] {  // Until the client has begun to count.
    while (!ended) clock.Advance(kStopGraceMs);
  });
  caller.join();
  ended = true;
  time.join();
  EXPECT_EQ(status.code(), base::Code::kCancelled) << status.ToString();
  EXPECT_EQ(Get(api.client()).code(), base::Code::kCancelled);
  EXPECT_EQ(api.requests().size(), 1U);
  api.Answer(200, "{}");
  EXPECT_TRUE(api.client().Get(resources::kLeases, "a", "b").ok()) << "a lease can still be given away";
}

TEST(RateLimitTest, BurstsThenWaitsForTokens) {
  base::FakeClock clock(1'000'000);
  ClientOptions options;
  options.clock = &clock;
  options.rate_limit = {.qps = 1, .burst = 2};
  ScriptedApi api(options);
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, "{}"}); });
  EXPECT_TRUE(Get(api.client()).ok());
  EXPECT_TRUE(Get(api.client()).ok());
  // Leases do not wait.
  EXPECT_TRUE(api.client().Get(resources::kLeases, "a", "b").ok());
  std::thread third([&] { EXPECT_TRUE(Get(api.client()).ok()); });
  EXPECT_EQ(api.requests().size(), 3U);
  clock.Advance(1'000);
  third.join();
  EXPECT_EQ(api.requests().size(), 4U);
}

// Lets through what it is told to.
class ScriptedGuard : public RequestGuard {
 public:
  explicit ScriptedGuard(base::Result<int64_t> answer) : answer_(std::move(answer)) {}
  base::Result<int64_t> Admit(bool write) override { return write ? answer_ : INT64_MAX; }

 private:
  const base::Result<int64_t> answer_;
};

TEST(GuardTest, RefusedWritesAreNotSentAndReadsPass) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, "{}"}); });
  ScriptedGuard guard(base::FailedPreconditionError("not the leader: lease a/b: it is held by \"other\""));
  auto guarded = api.client().Guarded(guard);
  base::Status refused = SetScale(*guarded, resources::kDeployments, "shop", "web", 3, "7");
  EXPECT_EQ(refused.code(), base::Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("not the leader"));
  EXPECT_EQ(Create(*guarded).code(), base::Code::kFailedPrecondition);
  EXPECT_EQ(guarded->Delete(resources::kPods, "a", "b").code(), base::Code::kFailedPrecondition);
  EXPECT_TRUE(api.requests().empty());
  EXPECT_TRUE(Get(*guarded).ok());
  EXPECT_TRUE(Create(api.client()).ok());
}

TEST(GuardTest, WritesTakeNoLongerThanAdmitted) {
  ScriptedApi api;
  api.Hang();
  ScriptedGuard guard(int64_t{200});
  base::Status late = Create(*api.client().Guarded(guard));
  EXPECT_EQ(late.code(), base::Code::kDeadlineExceeded) << late.ToString();
}

TEST(GuardTest, IsAskedBeforeEachAttempt) {
  ScriptedApi api;
  // Deposed while the server made it wait.
  class OnceGuard : public RequestGuard {
   public:
    base::Result<int64_t> Admit(bool) override {
      if (++asked_ <= 2) return 30'000;  // Before the first attempt, and before the wait.
      return base::FailedPreconditionError("not the leader");
    }
    int asked_ = 0;
  } guard;
  api.Answer(429, kTooMany, {{"Retry-After", "0"}});
  api.Answer(200, "{}");
  EXPECT_EQ(Create(*api.client().Guarded(guard)).code(), base::Code::kFailedPrecondition);
  EXPECT_EQ(api.requests().size(), 1U);
}

class TokenFileTest : public testing::Test {
 protected:
  ClientConfig Config() {
    ClientConfig config;
    config.bearer_token_file = folder_.path() + "/token";
    return config;
  }
  void WriteToken(const std::string& token) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/token", token).ok());
  }
  static std::vector<std::string> Tokens(ScriptedApi& api) {
    std::vector<std::string> tokens;
    for (const auto& request : api.requests()) tokens.push_back(request.headers.Get("Authorization"));
    return tokens;
  }
  base::TempDir folder_ = *base::TempDir::Create("tidewright-token");
};

constexpr const char* kUnauthorized = R"({"kind":"Status","reason":"Unauthorized","code":401,"message":"who?"})";

TEST_F(TokenFileTest, IsReadAgainEachMinute) {
  base::FakeClock clock(1'000'000);
  ClientOptions options;
  options.clock = &clock;
  WriteToken("one\n");
  ScriptedApi api(options, Config());
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, "{}"}); });
  EXPECT_TRUE(Get(api.client()).ok());
  WriteToken("two\n");
  EXPECT_TRUE(Get(api.client()).ok());
  clock.Advance(60'000);
  EXPECT_TRUE(Get(api.client()).ok());
  WriteToken("");  // Half-written: the one before still counts.
  clock.Advance(60'000);
  EXPECT_TRUE(Get(api.client()).ok());
  EXPECT_THAT(Tokens(api), testing::ElementsAre("Bearer one", "Bearer one", "Bearer two", "Bearer two"));
}

TEST_F(TokenFileTest, IsReadAgainAtOnceWhenTheServerRefusesIt) {
  WriteToken("expired");
  ScriptedApi api({}, Config());
  WriteToken("fresh");
  api.Answer(200, "{}");
  EXPECT_TRUE(Get(api.client()).ok()) << "the token read at the start is good for a minute";
  api.Answer(401, kUnauthorized);
  api.Answer(200, "{}");
  EXPECT_TRUE(Get(api.client()).ok());
  EXPECT_THAT(Tokens(api), testing::ElementsAre("Bearer expired", "Bearer expired", "Bearer fresh"));
}

TEST_F(TokenFileTest, IsTriedOnceOnlyAndNotAtAllWhenItHasNotChanged) {
  WriteToken("same");
  ScriptedApi api({}, Config());
  api.Answer(401, kUnauthorized);
  EXPECT_EQ(Get(api.client()).code(), base::Code::kUnauthenticated);
  EXPECT_EQ(api.requests().size(), 1U);
  api.Answer(401, kUnauthorized);
  api.Answer(401, kUnauthorized);
  WriteToken("other");
  EXPECT_EQ(Get(api.client()).code(), base::Code::kUnauthenticated);
  EXPECT_EQ(api.requests().size(), 3U);
}

TEST_F(TokenFileTest, WatchesAreSignedAnewToo) {
  WriteToken("expired");
  ScriptedApi api({}, Config());
  WriteToken("fresh");
  api.Answer(401, kUnauthorized);
  api.Answer(200, "{\"type\":\"ADDED\",\"object\":{}}\n");
  int events = 0;
  base::Status ended = api.client().Watch(
      resources::kPods, "", {},
      [&](std::string_view, const base::Json&) {
        ++events;
        return base::Status::Ok();
      },
      nullptr);
  EXPECT_TRUE(ended.ok()) << ended.ToString();
  EXPECT_EQ(events, 1);
  api.Answer(401, kUnauthorized);
  ended = api.client().Watch(resources::kPods, "", {}, nullptr, nullptr);
  EXPECT_EQ(ended.code(), base::Code::kUnauthenticated);
  EXPECT_THAT(ended.message(), HasSubstr("who?"));
}

TEST_F(TokenFileTest, MissingIsAnErrorThatNamesTheFile) {
  ClientConfig config = Config();
  config.server = "http://127.0.0.1:1";
  auto client = NewClient(config);
  ASSERT_FALSE(client.ok());
  EXPECT_THAT(client.status().message(), testing::AllOf(HasSubstr("bearer token"), HasSubstr(folder_.path())));
}

TEST(BasicAuthTest, UserAndPassword) {
  ClientConfig config;
  config.username = "ann";
  config.password = "p:w";
  ScriptedApi api({}, config);
  api.Answer(200, "{}");
  EXPECT_TRUE(Get(api.client()).ok());
  EXPECT_EQ(api.requests().at(0).headers.Get("Authorization"), "Basic YW5uOnA6dw==");
}

TEST(ClientMetricsTest, HaveTheNamesOfClientGo) {
  base::MetricRegistry metrics;
  ClientOptions options;
  options.metrics = &metrics;
  ScriptedApi api(options);
  api.Answer(200, "{}");
  api.Answer(404, "{}");
  EXPECT_TRUE(Get(api.client()).ok());
  EXPECT_FALSE(Create(api.client()).ok());
  const std::string host = api.url().substr(7, api.url().size() - 8);
  const std::string text = metrics.Render();
  EXPECT_THAT(text, HasSubstr("rest_client_requests_total{code=\"200\",method=\"GET\",host=\"" + host + "\"} 1"));
  EXPECT_THAT(text, HasSubstr("rest_client_requests_total{code=\"404\",method=\"POST\",host=\"" + host + "\"} 1"));
  EXPECT_THAT(text, HasSubstr("rest_client_request_duration_seconds_count{verb=\"GET\",host=\"" + host + "\"} 1"));
  EXPECT_THAT(text,
              HasSubstr("rest_client_rate_limiter_duration_seconds_count{verb=\"POST\",host=\"" + host + "\"} 1"));
}

}  // namespace
}  // namespace tidewright::kube
