// Events: which are written, which are folded into others, and that nobody ever waits for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/metrics.h"
#include "kube/event_correlator.h"
#include "kube/event_recorder.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(EventCorrelatorTest, TheSameAgainRaisesTheCount) {
  EventCorrelator correlator;
  EventVerdict first = correlator.Correlate({"web", "Normal", "Scaled", "to 3"}, 1'000);
  EXPECT_EQ(first.name, "");
  EXPECT_EQ(first.count, 1);
  correlator.Written(first, "web.1");
  EventVerdict again = correlator.Correlate({"web", "Normal", "Scaled", "to 3"}, 2'000);
  EXPECT_EQ(again.name, "web.1");
  EXPECT_EQ(again.count, 2);
  EXPECT_EQ(again.first_ms, 1'000);
  EXPECT_EQ(correlator.Correlate({"web", "Normal", "Scaled", "to 4"}, 2'000).name, "") << "another message";
  EXPECT_EQ(correlator.Correlate({"web", "Warning", "Scaled", "to 3"}, 2'000).name, "") << "another type";
  EXPECT_EQ(correlator.Correlate({"db", "Normal", "Scaled", "to 3"}, 2'000).name, "") << "another object";
}

TEST(EventCorrelatorTest, SimilarOnesAreCombinedFromTheTenthOn) {
  EventCorrelator correlator;
  std::string combined;
  for (int i = 1; i <= 12; ++i) {
    EventVerdict verdict = correlator.Correlate({"web", "Normal", "Scaled", "to " + std::to_string(i)}, i);
    EXPECT_FALSE(verdict.skip) << i;
    if (i < 10) {
      EXPECT_EQ(verdict.message, "to " + std::to_string(i));
      correlator.Written(verdict, "single");
      continue;
    }
    EXPECT_EQ(verdict.message, "(combined from similar events): to " + std::to_string(i));
    EXPECT_EQ(verdict.name, i == 10 ? "" : "combined");
    EXPECT_EQ(verdict.count, i - 9);
    correlator.Written(verdict, "combined");
  }
  // Ten quiet minutes later they are single again.
  EXPECT_EQ(correlator.Correlate({"web", "Normal", "Scaled", "to 99"}, 12 + 600'001).message, "to 99");
}

TEST(EventCorrelatorTest, AnObjectMayTalk25TimesAndThenOnceInFiveMinutes) {
  EventCorrelator correlator;
  int let_through = 0;
  for (int i = 0; i < 100; ++i) {
    let_through += !correlator.Correlate({"web", "Normal", "Reason" + std::to_string(i), "m"}, 1'000).skip;
  }
  EXPECT_EQ(let_through, 25);
  EXPECT_FALSE(correlator.Correlate({"db", "Normal", "R", "m"}, 1'000).skip) << "others may";
  EXPECT_TRUE(correlator.Correlate({"web", "Normal", "R", "m"}, 1'000 + 299'000).skip);
  EXPECT_FALSE(correlator.Correlate({"web", "Normal", "R", "m"}, 1'000 + 300'000).skip);
  EXPECT_TRUE(correlator.Correlate({"web", "Normal", "R", "m"}, 1'000 + 301'000).skip);
}

TEST(RecentlyUsedTest, ForgetsTheLeastRecentlyUsed) {
  RecentlyUsed<int> map(2);
  map.Use("a") = 1;
  map.Use("b") = 2;
  EXPECT_EQ(map.Use("a"), 1);
  map.Use("c") = 3;
  EXPECT_EQ(map.size(), 2U);
  EXPECT_EQ(map.Use("a"), 1);
  EXPECT_EQ(map.Use("b"), 0);
  map.Erase("b");
  map.Erase("nothing");
  EXPECT_EQ(map.size(), 1U);
}

base::Json Web() {
  return base::Json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment",
    "metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7"}})");
}

TEST(EventRecorderTest, WritesThenRaisesTheCount) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, "{}"}); });
  base::FakeClock clock(1'700'000'000'000);
  EventRecorder recorder(api.client(), clock, {.component = "scaler", .instance = "pod-1"});
  recorder.Record(Web(), "Normal", "Scaled", "to 3");  // Queued until the start.
  recorder.Start();
  ASSERT_TRUE(api.WaitForRequests(1));
  clock.Advance(5'000);
  recorder.Record(Web(), "Normal", "Scaled", "to 3");
  ASSERT_TRUE(api.WaitForRequests(2));
  recorder.Stop();
  recorder.Stop();
  recorder.Record(Web(), "Normal", "Scaled", "too late");

  auto requests = api.requests();
  ASSERT_EQ(requests.size(), 2U);
  base::Json created = base::Json::parse(requests[0].body);
  EXPECT_EQ(requests[0].path, "/api/v1/namespaces/shop/events");
  EXPECT_EQ(http::QueryValue(requests[0].query, "fieldManager"), "tidewright");
  const std::string name = created["metadata"]["name"];
  EXPECT_THAT(name, StartsWith("web.179"));
  EXPECT_EQ(created["involvedObject"]["kind"], "Deployment");
  EXPECT_EQ(created["involvedObject"]["uid"], "u1");
  EXPECT_EQ(created["type"], "Normal");
  EXPECT_EQ(created["count"], 1);
  EXPECT_EQ(created["source"]["component"], "scaler");
  EXPECT_EQ(created["reportingInstance"], "pod-1");
  EXPECT_EQ(created["firstTimestamp"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(requests[1].method, "PATCH");
  EXPECT_EQ(requests[1].path, "/api/v1/namespaces/shop/events/" + name);
  EXPECT_EQ(base::Json::parse(requests[1].body),
            base::Json::parse(R"({"count":2,"lastTimestamp":"2023-11-14T22:13:25Z","message":"to 3"})"));
}

TEST(EventRecorderTest, AnEventThatHasExpiredIsCreatedAgain) {
  ScriptedApi api;
  api.Answer(201, "{}");
  api.Answer(404, R"({"kind":"Status","reason":"NotFound","code":404,"message":"no event"})");
  api.Answer(201, "{}");
  api.Answer(200, "{}");
  base::FakeClock clock(1'000);
  EventRecorder recorder(api.client(), clock, {});
  recorder.Start();
  for (int i = 0; i < 3; ++i) recorder.Record(Web(), "Normal", "Scaled", "to 3");
  ASSERT_TRUE(api.WaitForRequests(4));
  recorder.Stop();
  auto requests = api.requests();
  EXPECT_EQ(requests[1].method, "PATCH");
  EXPECT_EQ(requests[2].method, "POST");
  EXPECT_EQ(base::Json::parse(requests[2].body)["count"], 1);
  EXPECT_EQ(base::Json::parse(requests[3].body)["count"], 2);
}

TEST(EventRecorderTest, ClusterWideObjectsAndLongMessages) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({201, {}, "{}"}); });
  base::FakeClock clock(1'000);
  EventRecorder recorder(api.client(), clock, {});
  recorder.Start();
  std::string message(1'023, 'x');
  message += "\xc3\xa4\xc3\xa4";  // Would be cut in its middle.
  base::Json node = base::Json::parse(R"({"apiVersion":"v1","kind":"Node","metadata":{}})");
  node["metadata"]["name"] = std::string(253, 'n');
  recorder.Record(node, "Warning", "Gone", message);
  ASSERT_TRUE(api.WaitForRequests(1));
  recorder.Stop();
  auto request = api.requests().at(0);
  EXPECT_EQ(request.path, "/api/v1/namespaces/default/events");
  base::Json event = base::Json::parse(request.body);
  EXPECT_EQ(event["message"], std::string(1'023, 'x'));
  EXPECT_LE(event["metadata"]["name"].get<std::string>().size(), 253U);
}

TEST(EventRecorderTest, NeverBlocksAndCountsWhatItDrops) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({403, {}, "{}"}); });
  base::FakeClock clock(1'000);
  base::MetricRegistry metrics;
  EventRecorder recorder(api.client(), clock, {.component = "c", .max_queued = 3}, &metrics);
  for (int i = 0; i < 10; ++i) recorder.Record(Web(), "Normal", "R" + std::to_string(i), "m");
  EXPECT_THAT(metrics.Render(), HasSubstr("tidewright_kube_events_dropped_total{reason=\"queue_full\"} 7"));
  recorder.Start();
  recorder.Stop();  // Writes what is queued.
  EXPECT_EQ(api.requests().size(), 3U);
  EXPECT_THAT(metrics.Render(), HasSubstr("tidewright_kube_events_dropped_total{reason=\"error\"} 3"));
}

TEST(EventRecorderTest, StopDoesNotWaitForAServerThatIsAway) {
  ClientConfig config;
  config.server = "http://127.0.0.1:1";
  auto client = *NewClient(config);
  base::FakeClock clock(1'000);
  EventRecorder recorder(*client, clock, {});
  for (int i = 0; i < 100; ++i) recorder.Record(Web(), "Normal", "R" + std::to_string(i), "m");
  recorder.Start();
  recorder.Stop();  // The waits between attempts are on a clock that stands still: only Stop() ends them.
}

}  // namespace
}  // namespace tidewright::kube
