#include "promql/arrivals.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strings.h"
#include "tsdb/db.h"

namespace tidewright::promql {
namespace {

TEST(MetricsOfTest, NamesThatSelectorsSay) {
  const struct {
    const char* expr;
    const char* want;  // Joined by spaces, or a part of the error.
  } kRows[] = {
      {"up", "up"},
      {R"({__name__="up",job="a"})", "up"},
      {"sum(rate(requests_total[1m])) / count(up)", "requests_total up"},
      {"a + a + b offset 5m", "a b"},
      {"max_over_time(sum(rate(x[1m]))[10m:1m])", "x"},
      {"quantile(scalar(q), v)", "q v"},
      {"-(a > bool 1)", "a"},
      {R"({job="a"})", "does not name its metric"},
      {R"(up or {__name__=~"a|b"})", "does not name its metric"},
      {R"({__name__!="a",job="b"})", "does not name its metric"},
      {"1 + 1", "no metric is selected"},
      {"time()", "no metric is selected"},
      {"sum(", "1:5"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.expr);
    auto metrics = MetricsOf(row.expr);
    const std::string got = metrics.ok() ? base::Join(*metrics, " ") : metrics.status().message();
    EXPECT_NE(got.find(row.want), std::string::npos) << got;
    if (metrics.ok()) {
      EXPECT_EQ(got, row.want);
    } else {
      EXPECT_EQ(metrics.status().code(), base::Code::kInvalidArgument);
    }
  }
}

TEST(SampleArrivalsTest, TellsUntilTheWatchIsDestroyed) {
  base::FakeClock clock(1'000'000);
  auto db = *tsdb::Db::Open("", {}, clock, nullptr);
  SampleArrivals arrivals(db->arrivals());
  EXPECT_FALSE(arrivals.Watch("1", [] {}).ok());
  int told = 0;
  auto watch = arrivals.Watch("sum(up) + down", [&told] { ++told; });
  ASSERT_TRUE(watch.ok());
  auto store = [&](const char* name, int64_t t) {
    auto appender = db->NewAppender();
    ASSERT_TRUE(appender->Append(0, tsdb::Labels::FromPairs({{"__name__", name}}), t, 1).ok());
    ASSERT_TRUE(appender->Commit().ok());
  };
  store("up", 1'000'000);
  store("down", 1'000'000);
  store("other", 1'000'000);
  EXPECT_EQ(told, 2);
  watch->reset();
  store("up", 1'001'000);
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace tidewright::promql
