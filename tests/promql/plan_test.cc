// What queries keep from one evaluation to the next must never show, but in what they cost.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "promql/plan_cache.h"
#include "promql/value_json.h"
#include "tsdb/db.h"

namespace tidewright::promql {
namespace {

constexpr int64_t kHour = 3'600'000;
constexpr int64_t kNow = 400'000 * kHour;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() : clock_(kNow), db_(*tsdb::Db::Open("", {}, clock_, nullptr)) {
    for (int pod = 0; pod < 4; ++pod) Scrape(pod, kNow - 60'000, pod);
    for (int pod = 0; pod < 4; ++pod) Scrape(pod, kNow, 10 * pod);
  }

  void Scrape(int pod, int64_t t, double value) {
    auto appender = db_->NewAppender();
    auto labels = Labels::Of({{"__name__", "requests_total"},
                              {"app", pod % 2 == 0 ? "even" : "odd"},
                              {"pod", "pod-" + std::to_string(pod)}});
    ASSERT_TRUE(appender->Append(0, labels, t, value).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  // What an engine that knows nothing answers.
  std::string Fresh(const std::string& expr, int64_t t) {
    return Text(NewEmbeddedEngine(*db_, {}, nullptr)->Instant(expr, t));
  }
  static std::string Text(const base::Result<QueryResult>& result) {
    if (!result.ok()) return result.status().message();
    std::string text;
    AppendJson(result->value, &text);
    return text;
  }

  base::FakeClock clock_;
  std::unique_ptr<tsdb::Db> db_;
};

const char* const kQueries[] = {
    "sum by (app) (requests_total)",
    "sum without (pod) (rate(requests_total[2m]))",
    "count by (__name__) (requests_total or label_replace(requests_total, \"app\", \"none\", \"\", \"\"))",
    "sum by (app) (sum by (app, pod) (requests_total))",
    "topk by (app) (1, requests_total)",
    "quantile by (app) (0.5, requests_total)",
    "requests_total / on (pod) group_left () requests_total{app=~\"o.*\"}",
    "-requests_total{app=\"even\"}",
    "sum(requests_total{app=\"odd\"}) / sum(requests_total)",
};

TEST_F(PlanTest, AnswersFollowTheSeries) {
  auto engine = NewEmbeddedEngine(*db_, {}, nullptr);
  std::vector<std::unique_ptr<PreparedQuery>> prepared;
  for (const char* query : kQueries) prepared.push_back(*engine->Prepare(query));
  auto check = [&](int64_t t, const char* when) {
    for (size_t i = 0; i < prepared.size(); ++i) {
      std::string expected = Fresh(kQueries[i], t);
      EXPECT_EQ(Text(prepared[i]->Instant(t)), expected) << when << ": " << kQueries[i];
      EXPECT_EQ(Text(engine->Instant(kQueries[i], t)), expected) << when << ", by its text: " << kQueries[i];
    }
  };
  check(kNow, "at first");
  check(kNow - 30'000, "again");
  Scrape(0, kNow + 15'000, 77);
  check(kNow + 15'000, "a sample later");
  Scrape(5, kNow + 16'000, 5);
  check(kNow + 16'000, "with another series");

  // All but the last series end with the retention.
  clock_.Advance(30 * kHour);
  for (int64_t t = kNow; t < clock_.NowMs(); t += kHour) Scrape(5, t + kHour, 6);
  ASSERT_TRUE(db_->Maintain().ok());
  check(clock_.NowMs(), "when series have gone");
  Scrape(1, clock_.NowMs(), 1);
  check(clock_.NowMs(), "when one is back");
}

TEST_F(PlanTest, TheSameQueryRunsOnSeveralThreads) {
  auto engine = NewEmbeddedEngine(*db_, {}, nullptr);
  std::string expected = Fresh(kQueries[1], kNow);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int& mistakes : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) mistakes += Text(engine->Instant(kQueries[1], kNow)) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(PlanCache, KeepsWhatWasUsedLast) {
  PlanCache cache(2, 1 << 20);
  auto plan = [](const std::string& expr) {
    auto made = std::make_unique<Plan>();
    made->expr = expr;
    made->tree = *ParseExpression(expr);
    return made;
  };
  cache.Put(plan("a"));
  cache.Put(plan("b"));
  cache.Put(plan("b"));
  EXPECT_EQ(cache.Take("a"), nullptr) << "the oldest went";
  EXPECT_NE(cache.Take("b"), nullptr);
  EXPECT_NE(cache.Take("b"), nullptr) << "one for each that may run";
  EXPECT_EQ(cache.Take("b"), nullptr);
  PlanCache small(100, 1);
  small.Put(plan("a"));
  EXPECT_EQ(small.Take("a"), nullptr) << "larger than all that may be kept";
}

}  // namespace
}  // namespace tidewright::promql
