// What users rely on, with the data next to each query.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <fstream>

#include "base/metrics.h"
#include "tests/promql/memory_storage.h"

namespace tidewright::promql {
namespace {

constexpr int64_t kMinute = 60'000;

Labels Metric(std::string_view name, std::vector<tsdb::Label> labels = {}) {
  labels.push_back({"__name__", std::string(name)});
  return Labels::FromPairs(std::move(labels));
}

std::string Short(const Labels& labels) {
  std::string text = labels.ToString();
  for (size_t at = text.find(", "); at != std::string::npos; at = text.find(", ", at)) text.erase(at + 1, 1);
  return text;
}

// A vector as text, sorted: {app="x",pod="a"} 1; {app="x",pod="b"} 2
std::string Text(const Value& value) {
  std::vector<std::string> lines;
  if (const auto* vector = std::get_if<Vector>(&value)) {
    for (const auto& sample : *vector) {
      lines.push_back(Short(sample.labels) + " " + base::FormatDouble(sample.point.v));
    }
    std::sort(lines.begin(), lines.end());
  } else if (const auto* matrix = std::get_if<Matrix>(&value)) {
    for (const auto& series : *matrix) {
      std::string line = Short(series.labels);
      for (const auto& p : series.points) line += " " + base::FormatDouble(p.v) + "@" + std::to_string(p.t / 1000);
      lines.push_back(line);
    }
  } else if (const auto* scalar = std::get_if<Scalar>(&value)) {
    return base::FormatDouble(scalar->point.v);
  } else {
    return "\"" + std::get<StringValue>(value).text + "\"";
  }
  std::string out;
  for (const auto& line : lines) out += (out.empty() ? "" : "; ") + line;
  return out;
}

template <typename T>
std::string NameOf(const testing::TestParamInfo<T>& test) {
  return test.param.name;
}

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    // Two pods of shop, one of blog. Pod a's counter restarts at minute 3.
    storage_.Add(Metric("requests_total", {{"app", "shop"}, {"pod", "a"}}), kMinute, {0, 60, 120, 0, 60, 120});
    storage_.Add(Metric("requests_total", {{"app", "shop"}, {"pod", "b"}}), kMinute, {0, 30, 60, 90, 120, 150});
    storage_.Add(Metric("requests_total", {{"app", "blog"}, {"pod", "c"}}), kMinute, {5, 5, 5, 5, 5, 5});
    storage_.Add(Metric("queue_length", {{"queue", "mail"}}), kMinute, {4, 8, 15, 16, 23, 42});
    storage_.Add(Metric("queue_length", {{"queue", "gone"}}), kMinute, {1, 2, tsdb::StaleNan()});
    storage_.Add(Metric("replicas", {{"app", "shop"}}), kMinute, {2, 2, 2, 2, 2, 2});
    storage_.Add(Metric("replicas", {{"app", "blog"}}), kMinute, {1, 1, 1, 1, 1, 1});
    for (auto [le, count] : {std::pair{"0.1", 10}, {"0.5", 30}, {"1", 40}, {"+Inf", 40}}) {
      storage_.Add(Metric("latency_bucket", {{"le", le}}), kMinute, std::vector<double>(6, count));
    }
  }

  base::Result<QueryResult> Ask(const std::string& expr, int64_t minute = 5) {
    return NewEmbeddedEngine(storage_, options_, nullptr)->Instant(expr, minute * kMinute);
  }
  std::string Answer(const std::string& expr, int64_t minute = 5) {
    auto result = Ask(expr, minute);
    return result.ok() ? Text(result->value) : "error: " + result.status().message();
  }

  MemoryStorage storage_;
  EngineOptions options_;
};

struct Row {
  const char* name;
  const char* expr;
  const char* answer;
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

class EngineAnswer : public EngineTest, public testing::WithParamInterface<Row> {};

TEST_P(EngineAnswer, AtMinuteFive) { EXPECT_EQ(Answer(GetParam().expr), GetParam().answer); }

constexpr Row kRows[] = {
    {"selector", "queue_length", R"(queue_length{queue="mail"} 42)"},
    {"regex_is_anchored", R"(queue_length{queue=~"ma"})", ""},
    {"absent_label_equals_empty", R"(replicas{queue="",app="shop"})", R"(replicas{app="shop"} 2)"},
    {"quoted_names", R"({"queue_length", "queue"="mail"})", R"(queue_length{queue="mail"} 42)"},
    {"increase_counts_resets", R"(increase(requests_total{pod="a"}[5m]))", R"({app="shop",pod="a"} 225)"},
    {"rate_is_per_second", R"(rate(requests_total{pod="b"}[4m]))", R"({app="shop",pod="b"} 0.49999999999999994)"},
    {"rate_of_one_sample_is_nothing", R"(rate(requests_total{pod="b"}[1m]))", ""},
    {"sum_by", "sum by (app) (rate(requests_total[5m]))", R"({app="blog"} 0; {app="shop"} 1.25)"},
    {"sum_without", "sum without (pod) (requests_total)", R"({app="blog"} 5; {app="shop"} 270)"},
    {"count", "count(requests_total)", "{} 3"},
    {"avg_max_min", "avg(replicas) + max(requests_total) - min(requests_total)", "{} 146.5"},
    {"topk", "topk(1, requests_total)", R"(requests_total{app="shop",pod="b"} 150)"},
    {"bottomk_by", "bottomk by (app) (1, requests_total)",
     R"(requests_total{app="blog",pod="c"} 5; requests_total{app="shop",pod="a"} 120)"},
    {"topk_zero", "topk(0, requests_total)", ""},
    {"quantile", "quantile(0.5, requests_total)", "{} 120"},
    {"count_values", R"(count_values("v", replicas))", R"({v="1"} 1; {v="2"} 1)"},
    {"stddev", "stddev(replicas)", "{} 0.5"},
    {"filter_keeps_value_and_name", "requests_total > 130", R"(requests_total{app="shop",pod="b"} 150)"},
    {"filter_with_scalar_on_the_left", "130 < requests_total", R"(requests_total{app="shop",pod="b"} 150)"},
    {"bool_drops_name", "replicas == bool 2", R"({app="blog"} 0; {app="shop"} 1)"},
    {"scalar_comparison", "1 < bool 2", "1"},
    {"power_binds_right_and_tighter_than_sign", "-2 ^ 3 ^ 0", "-2"},
    {"modulo_and_atan2", "-7 % 4 + 0 atan2 1", "-3"},
    {"division_by_zero", "1 / 0", "+Inf"},
    {"durations_are_numbers", "1h30m / 60", "90"},
    {"one_to_one", "replicas * replicas", R"({app="blog"} 1; {app="shop"} 4)"},
    {"group_left", "requests_total / on (app) group_left replicas",
     R"({app="blog",pod="c"} 5; {app="shop",pod="a"} 60; {app="shop",pod="b"} 75)"},
    {"group_right_copies_labels", R"(replicas{app="blog"} * on (app) group_right requests_total)",
     R"({app="blog",pod="c"} 5)"},
    {"and", "requests_total and on (app) replicas > 1",
     R"(requests_total{app="shop",pod="a"} 120; requests_total{app="shop",pod="b"} 150)"},
    {"unless", R"(replicas unless on (app) requests_total{app="shop"})", R"(replicas{app="blog"} 1)"},
    {"or", R"(replicas{app="blog"} or replicas)", R"(replicas{app="blog"} 1; replicas{app="shop"} 2)"},
    {"absent_names_labels", R"(absent(nothing{app="x",zone=~"a|b"}))", R"({app="x"} 1)"},
    {"absent_of_something", "absent(replicas)", ""},
    {"absent_over_time", R"(absent_over_time(queue_length{queue="gone"}[1m]))", R"({queue="gone"} 1)"},
    {"stale_is_gone_at_once", R"(queue_length{queue="gone"})", ""},
    {"last_over_time_skips_stale_markers", R"(last_over_time(queue_length{queue="gone"}[6m]))",
     R"(queue_length{queue="gone"} 2)"},
    {"offset", R"(queue_length{queue="mail"} offset 2m)", R"(queue_length{queue="mail"} 16)"},
    {"negative_offset", R"(queue_length{queue="mail"} @ 0 offset -1m)", R"(queue_length{queue="mail"} 8)"},
    {"at", R"(queue_length{queue="mail"} @ 120)", R"(queue_length{queue="mail"} 15)"},
    {"subquery", R"(max_over_time(deriv(queue_length{queue="mail"}[2m])[4m:1m]) * 60)", R"({queue="mail"} 19)"},
    {"duration_arithmetic", R"(count_over_time(queue_length{queue="mail"}[1m * 3]))", R"({queue="mail"} 3)"},
    {"histogram_quantile", "histogram_quantile(0.25, latency_bucket)", "{} 0.1"},
    {"histogram_quantile_of_rates_of_nothing", "histogram_quantile(0.9, rate(latency_bucket[5m]))", "{} NaN"},
    {"label_replace", R"(label_replace(replicas, "name", "${1}!", "app", "(sh).*"))",
     R"(replicas{app="blog"} 1; replicas{app="shop",name="sh!"} 2)"},
    {"label_join", R"(label_join(replicas{app="shop"}, "x", "-", "app", "app"))",
     R"(replicas{app="shop",x="shop-shop"} 2)"},
    {"predict_linear", R"(predict_linear(requests_total{pod="b"}[5m], 60))", R"({app="shop",pod="b"} 180)"},
    {"date", "day_of_week(vector(0)) + year(vector(951782400)) * 100 + day_of_year(vector(951782400))", "{} 200064"},
    {"clamp_and_round", "clamp(round(vector(2.55), 0.1), 0, 2.6)", "{} 2.6"},
    {"scalar_of_many", "scalar(replicas)", "NaN"},
    {"time", "time()", "300"},
    {"string", R"("a\tb")", "\"a\tb\""},
    {"matrix", R"(queue_length{queue="mail"}[2m])", R"(queue_length{queue="mail"} 23@240 42@300)"},
    {"comment", "1 + # one\n 1", "2"},
};
INSTANTIATE_TEST_SUITE_P(Rows, EngineAnswer, testing::ValuesIn(kRows), NameOf<Row>);

struct Refusal {
  const char* name;
  const char* expr;
  const char* message;  // A part of it.
};
std::ostream& operator<<(std::ostream& out, const Refusal& refusal) { return out << refusal.name; }

class EngineRefusal : public EngineTest, public testing::WithParamInterface<Refusal> {};

TEST_P(EngineRefusal, SaysWhereAndWhy) {
  auto result = Ask(GetParam().expr);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), base::Code::kInvalidArgument);
  EXPECT_NE(result.status().message().find(GetParam().message), std::string::npos) << result.status().message();
}

constexpr Refusal kRefusals[] = {
    {"empty", "", "1:1: parse error: no expression found in input"},
    {"position_counts_lines", "sum by (app) (\n  rate(x[5m]\n)", "3:2: parse error: unexpected end of input"},
    {"range_missing", "rate(requests_total)",
     R"(expected range vector in the call of "rate", got instant vector; add a range)"},
    {"unknown_function", "foo(x)", R"(1:1: parse error: unknown function "foo")"},
    {"trailing", "up up", R"(1:4: parse error: unexpected "up")"},
    {"bad_duration", "x[5q]", "bad number or duration \"5q\""},
    {"bad_regex", R"(x{a=~"("})", "1:6: parse error:"},
    {"name_twice", R"(x{__name__="y"})", "the metric name must not be set twice"},
    {"matches_everything", R"({a=~".*"})", "at least one matcher"},
    {"scalar_comparison_without_bool", "1 < 2",
     "1:3: parse error: comparisons between scalars must use the bool modifier"},
    {"experimental", "mad_over_time(x[5m])", "is experimental and not enabled"},
    {"many_to_many", "requests_total / on (app) requests_total",
     "found duplicate series for the match group {app=\"shop\"}"},
    {"many_to_one_needs_group_left", "requests_total / on (app) replicas", "1:16: multiple matches for labels"},
    {"same_labels",
     R"({__name__=~"requests_total|replicas",app="blog"} * 0 or label_replace(requests_total, "pod", "", "", ""))",
     "vector cannot contain metrics with the same labelset"},
    {"negative_range", "x[1m - 2m]", "must be greater than 0"},
    {"label_replace_regex", R"(label_replace(replicas, "a", "", "b", "("))",
     "invalid regular expression in label_replace()"},
};
INSTANTIATE_TEST_SUITE_P(Rows, EngineRefusal, testing::ValuesIn(kRefusals), NameOf<Refusal>);

TEST_F(EngineTest, RangeQueryStepsThroughTime) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  auto result = engine->Range("sum by (app) (requests_total) > 100", 0, 5 * kMinute, kMinute);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(Text(result->value), R"({app="shop"} 180@120 180@240 270@300)");
}

TEST_F(EngineTest, RangeQueryEndsAtTheLastWholeStep) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  auto result = engine->Range("time()", 0, 5 * kMinute, 2 * kMinute);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(Text(result->value), "{} 0@0 120@120 240@240");
}

TEST_F(EngineTest, SelectsOverTheUnionOfAllRangesAtOnce) {
  ASSERT_TRUE(Ask("rate(requests_total[10m] offset 1m) + replicas").ok());
  EXPECT_EQ(storage_.selects(), 2);
  EXPECT_EQ(storage_.last_mint(), 5 * kMinute - 11 * kMinute + 1);
  EXPECT_EQ(storage_.last_maxt(), 5 * kMinute);
}

TEST_F(EngineTest, LookbackEndsAfterFiveMinutesExactly) {
  EXPECT_EQ(Answer(R"(queue_length{queue="mail"})", 9), R"(queue_length{queue="mail"} 42)");
  EXPECT_EQ(Answer(R"(queue_length{queue="mail"})", 10), "");
}

TEST_F(EngineTest, SampleLimitEndsAQuery) {
  options_.max_samples = 5;
  EXPECT_EQ(Ask("requests_total + requests_total").status().code(), base::Code::kResourceExhausted);
  EXPECT_EQ(Answer("replicas{app=\"shop\"} * 1"), R"({app="shop"} 2)");
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  EXPECT_EQ(engine->Range("replicas", 0, 100 * kMinute, 1).status().code(), base::Code::kResourceExhausted);
}

TEST_F(EngineTest, ValuesKnowTheNewestSampleBehindThem) {
  storage_.Add(Metric("lag", {{"pod", "old"}}), kMinute, {1, 2, 3, 4});
  storage_.Add(Metric("lag", {{"pod", "new"}}), kMinute, {1, 2, 3, 4, 5, 6});
  struct Expected {
    const char* expr;
    int64_t minute;  // Of the newest sample.
  };
  for (const Expected& row : {Expected{"lag{pod='old'}", 3},
                              {"sum(lag)", 5},
                              {"sum by (pod) (lag{pod='old'})", 3},
                              {"2 * lag{pod='old'}", 3},
                              {"rate(lag{pod='old'}[5m])", 3},
                              {"sum by (pod) (rate(lag{pod='new'}[5m]))", 5},
                              {"lag{pod='old'} + on () lag{pod='new'}", 5},
                              {"lag{pod='old'} or lag{pod='new'} > 99", 3},
                              {"lag{pod='new'} offset 2m", 4},
                              {"lag @ 60", 1},
                              {"quantile(0.5, lag)", 5},
                              {"topk(1, lag{pod='old'})", 3},
                              {"count_values('v', lag{pod='old'})", 3},
                              {"max_over_time(lag{pod='old'}[4m:1m])", 3},
                              {"abs(label_replace(lag{pod='old'}, 'x', '$1', 'pod', '(.*)'))", 3},
                              {"histogram_quantile(0.5, latency_bucket)", 5},
                              {"vector(1)", 0}}) {
    auto result = Ask(row.expr, 6);
    ASSERT_TRUE(result.ok()) << row.expr << ": " << result.status().ToString();
    const auto& vector = std::get<Vector>(result->value);
    ASSERT_FALSE(vector.empty()) << row.expr;
    for (const VectorSample& sample : vector) EXPECT_EQ(sample.sampled_ms, row.minute * kMinute) << row.expr;
  }
}

TEST_F(EngineTest, TimeoutEndsAQuery) {
  options_.timeout_ms = 0;
  EXPECT_EQ(Ask("requests_total").status().code(), base::Code::kDeadlineExceeded);
}

TEST_F(EngineTest, HostileQueriesEndInErrors) {
  for (const std::string& expr :
       {std::string(100'000, '('), std::string(100'000, '-') + "1", "x[" + std::string(100'000, '(') + "1",
        std::string("vector(1)[1000y:1ms]"), std::string("max_over_time(vector(1)[200y:1ms])"),
        std::string("x @ 9e15 offset -200y"), "x{a=~\"" + std::string(300'000, 'a') + "\"}"}) {
    auto result = Ask(expr);
    // The one about far times finds nothing; the others are refused.
    if (result.ok()) {
      EXPECT_EQ(Text(result->value), "") << expr.substr(0, 40);
    }
  }
  std::string chain = "1";
  for (int i = 0; i < 20'000; ++i) chain += "+1";
  EXPECT_EQ(Ask(chain).status().code(), base::Code::kInvalidArgument);
}

TEST_F(EngineTest, AHundredOperatorsInARowAreFine) {
  std::string chain = "1";
  for (int i = 0; i < 500; ++i) chain += "+1";
  EXPECT_EQ(Answer(chain), "501");
}

TEST_F(EngineTest, StorageErrorsKeepTheirCode) {
  storage_.FailWith(base::UnavailableError("the disk is gone"));
  auto status = Ask("requests_total").status();
  EXPECT_EQ(status.code(), base::Code::kUnavailable);
  EXPECT_NE(status.message().find("the disk is gone"), std::string::npos);
}

TEST_F(EngineTest, AnnotationsSayWhatLooksWrong) {
  auto result = Ask("rate(queue_length[5m])");
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->infos.size(), 1u);
  EXPECT_EQ(result->infos[0],
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
            "\"queue_length\" (1:6)");
  result = Ask("quantile(2, replicas)");
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->warnings.size(), 1u);
  EXPECT_EQ(Text(result->value), "{} +Inf");
}

TEST_F(EngineTest, SortsInstantVectors) {
  auto result = Ask("sort_desc(requests_total)");
  ASSERT_TRUE(result.ok());
  const auto& vector = std::get<Vector>(result->value);
  ASSERT_EQ(vector.size(), 3u);
  EXPECT_EQ(vector[0].point.v, 150);
  EXPECT_EQ(vector[2].point.v, 5);
}

TEST_F(EngineTest, MetadataCallsGoToTheStorage) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  auto shop = ParseSelector(R"({app="shop"})");
  auto replicas = ParseSelector("replicas");
  ASSERT_TRUE(shop.ok() && replicas.ok());
  auto series = engine->Series({*shop, *replicas}, 0, 5 * kMinute);
  ASSERT_TRUE(series.ok());
  ASSERT_EQ(series->size(), 4u);  // The union, each once.
  EXPECT_EQ((*series)[0].ToString(), R"(replicas{app="blog"})");
  auto values = engine->LabelValues("queue", {}, 0, 5 * kMinute);
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->back(), "mail");
}

TEST_F(EngineTest, CountsQueries) {
  base::MetricRegistry metrics;
  auto engine = NewEmbeddedEngine(storage_, options_, &metrics);
  EXPECT_TRUE(engine->Instant("1", 0).ok());
  EXPECT_FALSE(engine->Instant("(", 0).ok());
  std::string text = metrics.Render();
  EXPECT_NE(text.find("tidewright_promql_queries_total 2"), std::string::npos) << text;
  EXPECT_NE(text.find("tidewright_promql_query_failures_total 1"), std::string::npos) << text;
}

TEST_F(EngineTest, DelayedNameRemovalLetsLabelReplaceSeeTheName) {
  options_.delayed_name_removal = true;
  EXPECT_EQ(Answer(R"q(label_replace(abs(replicas{app="shop"}), "m", "$1", "__name__", "(.*)"))q"),
            R"({app="shop",m="replicas"} 2)");
}

TEST_F(EngineTest, AnchoredIncreaseIsExact) {
  options_.extended_selectors = true;
  EXPECT_EQ(Answer(R"(increase(requests_total{pod="b"}[150s] anchored))"), R"({app="shop",pod="b"} 90)");
  EXPECT_EQ(Answer(R"(increase(requests_total{pod="a"}[3m] anchored))"), R"({app="shop",pod="a"} 120)");
}

TEST_F(EngineTest, PreparedQueriesAnswerAsPlainOnes) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  auto prepared = engine->Prepare("sum by (app) (rate(requests_total[step() + 2m] @ end()))");
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  for (int64_t minute : {3, 5, 4}) {
    auto again = (*prepared)->Instant(minute * kMinute);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(Text(again->value), Answer((*prepared)->expr(), minute)) << minute;
  }
  EXPECT_EQ(engine->Prepare("sum(").status().code(), base::Code::kInvalidArgument);
}

// An engine's that knows no better way to visit the elements.
class OnlyInstant : public PreparedQuery {
 public:
  explicit OnlyInstant(PreparedQuery& query) : query_(query) {}
  const std::string& expr() const override { return query_.expr(); }
  base::Result<QueryResult> Instant(int64_t time_ms) override { return query_.Instant(time_ms); }

 private:
  PreparedQuery& query_;
};

TEST_F(EngineTest, VisitorsSeeTheElementsOfAVector) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  constexpr int64_t kNow = 5 * kMinute;
  for (const char* expr : {"requests_total", "sum by (pod) (rate(requests_total[3m]))", "requests_total > 1e9",
                           "vector(1)", "sort_desc(requests_total)", "time()", "\"text\"", "requests_total[1m]"}) {
    auto prepared = *engine->Prepare(expr);
    base::Result<QueryResult> result = prepared->Instant(kNow);
    const auto* vector = std::get_if<Vector>(&result->value);
    std::string expected;
    for (const VectorSample& s : vector != nullptr ? *vector : Vector()) {
      expected += std::string(s.labels.Get("pod")) + " " + base::FormatDouble(s.point.v) + " " +
                  std::to_string(s.sampled_ms) + ";";
    }
    OnlyInstant plain(*prepared);
    for (PreparedQuery* query : {prepared.get(), static_cast<PreparedQuery*>(&plain)}) {
      std::string seen;
      auto visited = query->Visit(kNow, "pod", [&](std::string_view label, double value, int64_t sampled_ms) {
        seen += std::string(label) + " " + base::FormatDouble(value) + " " + std::to_string(sampled_ms) + ";";
      });
      ASSERT_TRUE(visited.ok()) << expr;
      EXPECT_EQ(*visited, vector != nullptr) << expr;
      EXPECT_EQ(seen, expected) << expr;
    }
  }
  auto failing = *engine->Prepare("requests_total + on () group_left () requests_total");
  EXPECT_EQ(failing->Visit(kNow, "pod", [](std::string_view, double, int64_t) {}).status().code(),
            base::Code::kInvalidArgument);
}

TEST_F(EngineTest, ACancelledQueryEnds) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  std::atomic<bool> cancelled = true;
  QueryRequest request{
      .expr = "requests_total", .start_ms = 5 * kMinute, .end_ms = 5 * kMinute, .cancelled = &cancelled};
  EXPECT_EQ(engine->Evaluate(request).status().code(), base::Code::kCancelled);
  cancelled = false;
  EXPECT_TRUE(engine->Evaluate(request).ok());
}

TEST_F(EngineTest, ARequestMayBringItsOwnLookback) {
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  QueryRequest request{.expr = "count(requests_total)", .start_ms = 6 * kMinute, .end_ms = 6 * kMinute};
  request.lookback_ms = 30'000;
  EXPECT_EQ(Text(engine->Evaluate(request)->value), "");
  request.lookback_ms = 0;
  EXPECT_EQ(Text(engine->Evaluate(request)->value), "{} 3");
}

TEST_F(EngineTest, SaysWhatAQueryCost) {
  auto result = Ask("sum(rate(requests_total[3m]))");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->statistics.series, 3u);
  EXPECT_EQ(result->statistics.samples, 9u);
  EXPECT_GT(result->statistics.peak_samples, 0u);
}

struct Hostile {
  const char* name;
  std::string expr;
};
std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kMostKib = 1 << 20;  // Sanitizers keep what is freed.
#else
constexpr int64_t kMostKib = 16 << 10;  // 1.6 MB of samples, and what the text becomes while it is parsed.
#endif

// The most memory that the process had resident since its peak was last forgotten, in KiB; 0 where Linux does not say.
class PeakMemory {
 public:
  PeakMemory() : known_(Forget()), before_(Read()) {}
  int64_t Growth() const { return known_ ? Read() - before_ : 0; }

 private:
  static bool Forget() {
    std::ofstream file("/proc/self/clear_refs");
    file << 5 << std::flush;
    return file.good();
  }
  static int64_t Read() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
    }
    return 0;
  }

  const bool known_;
  const int64_t before_;
};

class HostileQuery : public EngineTest, public testing::WithParamInterface<Hostile> {};

// Each ends with an error that says what limit it met, and has not taken more memory than the limit allows before.
TEST_P(HostileQuery, EndsInsideTheLimits) {
  options_.max_samples = 100'000;
  options_.timeout_ms = 5'000;
  auto engine = NewEmbeddedEngine(storage_, options_, nullptr);
  PeakMemory memory;
  auto result = engine->Range(GetParam().expr, 0, 1'000 * kMinute, kMinute);
  RecordProperty("peak_kib", std::to_string(memory.Growth()));
  EXPECT_LT(memory.Growth(), kMostKib);
  ASSERT_FALSE(result.ok());
  EXPECT_FALSE(result.status().message().empty());
  EXPECT_LT(result.status().message().size(), 4096u);
}

const Hostile kHostile[] = {
    {"deep_parentheses", Repeat("(", 100'000) + "1" + Repeat(")", 100'000)},
    {"deep_calls", Repeat("abs(", 50'000) + "up" + Repeat(")", 50'000)},
    {"long_chain", "1" + Repeat("+1", 200'000)},
    {"deep_unary", Repeat("-", 200'000) + "1"},
    {"huge_regex", "{a=~\"" + Repeat("(x{1000}){1000}", 50) + "\"}"},
    {"subquery_of_billions", "sum_over_time(requests_total[300y:1ms])"},
    {"nested_subqueries", "max_over_time(max_over_time(max_over_time(requests_total[1y:1s])[1y:1s])[1y:1s])"},
    {"cross_join", Repeat("requests_total * on () group_left () ", 3) + "requests_total"},
    {"huge_range_function", "quantile_over_time(0.5, vector(1)[100d:1s])"},
    {"endless_string", "\"" + std::string(1'000'000, 'x')},
    {"too_long", "up or " + std::string(2'000'000, ' ') + "up"},
    {"wide_regex", "{a=~\"" + Repeat("\\\\pL{1000}", 1) + "\"}"},
    {"many_regexes", "up{" + Repeat("a=~\"[ab]{900}x\",", 10'000) + "}"},
    {"doubling_labels",
     Repeat("label_replace(", 60) + "replicas" + Repeat(", \"app\", \"$1$1\", \"app\", \"(.*)\")", 60)},
    {"joining_labels",
     Repeat("label_join(", 20) + "replicas" + Repeat(", \"app\", \"\", \"app\", \"app\", \"app\")", 20)},
    {"long_labels", "label_replace({__name__=~\".+\"}, \"b\", \"" + std::string(900'000, 'x') + "\", \"\", \"\")"},
    {"scalars_side_by_side",
     "sum_over_time((" + Repeat("1 + (", 200) + "time()" + Repeat(")", 200) + ")[1000000s:1s])"},
    {"subqueries_inside_subqueries", Repeat("max_over_time(", 100) + "vector(1)" + Repeat("[90000s:1s])", 100)},
    {"values_of_all_times", "count_values(\"v\", vector(time()))"},
    {"labels_of_all_times", "vector(1) * on () group_left (v) count_values(\"v\", vector(time()))"},
};
INSTANTIATE_TEST_SUITE_P(Rows, HostileQuery, testing::ValuesIn(kHostile), NameOf<Hostile>);

TEST(PromqlApi, ChecksAndFormats) {
  EXPECT_TRUE(CheckExpression("sum(rate(x[5m]))").ok());
  auto status = CheckExpression("sum(rate(x[5m])");
  EXPECT_EQ(status.code(), base::Code::kInvalidArgument);
  EXPECT_EQ(status.message().substr(0, 6), "1:16: ");
  EXPECT_EQ(FormatExpression("SUM( rate(x[300]) )BY(job)", false).value(), "sum by (job) (rate(x[5m]))");
  std::string wide =
      "histogram_quantile(0.99, sum by (le, namespace, deployment) "
      "(rate(http_request_duration_seconds_bucket{namespace=\"shop\"}[5m])))";
  EXPECT_EQ(FormatExpression(wide, true).value(),
            "histogram_quantile(\n"
            "  0.99,\n"
            "  sum by (le, namespace, deployment) (\n"
            "    rate(http_request_duration_seconds_bucket{namespace=\"shop\"}[5m])\n"
            "  )\n"
            ")");
}

TEST(PromqlApi, SelectorsAreOnlySelectors) {
  auto matchers = ParseSelector(R"(up{job=~"a|b"})");
  ASSERT_TRUE(matchers.ok());
  EXPECT_EQ(matchers->size(), 2u);
  for (const char* bad : {"", "up[5m]", "sum(up)", "up offset 5m", "up{", "1", "up{job=\"a\" job=\"b\"}"}) {
    EXPECT_FALSE(ParseSelector(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace tidewright::promql
