// Why a metric has no value, told from a store with real samples.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapter/adapter.h"
#include "base/json.h"
#include "promql/engine.h"
#include "tests/apiservice/fake_kube_client.h"
#include "tsdb/db.h"

namespace tidewright::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kNow = 1'795'251'600'000;
constexpr int64_t kMinute = 60'000;

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"http_.*|stale_.*|lonely",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*?)(_total)?$", as: "$1"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: 'temperature{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: max(<<.Series>>{<<.LabelMatchers>>,room="cellar"}) by (<<.GroupBy>>)
- promql: sum by (namespace, pod, path) (rate(http_requests_total[2m]))
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: requests_per_second}
externalRules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
- promql: sum by (namespace, queue) (queue_depth)
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: depth}
)yaml";

kube::LabelSelector Selector(const std::string& text) { return *kube::LabelSelector::Parse(text); }

class ExplanationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
    engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
    for (const char* pod : {"web-1", "web-2"}) {
      Put(pod, "shop");
      Store({{"__name__", "http_requests_total"}, {"namespace", "shop"}, {"pod", pod}, {"path", "/"}}, -5, 0);
      Store({{"__name__", "stale_total"}, {"namespace", "shop"}, {"pod", pod}}, -20, -7);
      Store({{"__name__", "stale_long_total"}, {"namespace", "shop"}, {"pod", pod}}, -40, -17);
      Store({{"__name__", "temperature"}, {"namespace", "shop"}, {"pod", pod}, {"room", "attic"}}, -5, 0);
    }
    Put("job-1", "test");
    Store({{"__name__", "lonely"}, {"namespace", "shop"}, {"instance", "x"}}, -5, 0);
    Store({{"__name__", "http_single"}, {"namespace", "shop"}, {"pod", "web-1"}}, 0, 0);
    Store({{"__name__", "queue_depth"}, {"namespace", "shop"}, {"queue", "mails"}}, -5, 0);
    Store({{"__name__", "queue_depth"}, {"namespace", "test"}, {"queue", "mails"}}, -5, 0);
    AdapterOptions options;
    options.registry.series_epoch = [this] { return db_->SeriesEpoch(); };
    options.last_value_ms = keep_ms_;
    adapter_ = std::make_unique<Adapter>(*engine_, client_, objects_, clock_, scheduler_, metrics_, options);
    base::Status loaded = adapter_->LoadConfig(kRules, "adapter.yaml");
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    adapter_->registry().Relist();
  }
  void Put(const std::string& pod, const std::string& ns) {
    client_.Put(kube::resources::kPods, {{"metadata", {{"name", pod}, {"namespace", ns}, {"labels", {{"app", "web"}}}}},
                                         {"status", {{"phase", "Running"}}}});
  }
  // A sample every 30 s, from one minute to another; the value is the number of seconds since the first.
  void Store(std::initializer_list<std::pair<std::string_view, std::string_view>> labels, int from, int to) {
    auto appender = db_->NewAppender();
    for (int64_t t = kNow + from * kMinute; t <= kNow + to * kMinute; t += kMinute / 2) {
      ASSERT_TRUE(appender->Append(0, tsdb::Labels::Of(labels), t, static_cast<double>(t - kNow) / 1000 + 1e4).ok());
    }
    ASSERT_TRUE(appender->Commit().ok());
  }
  apiservice::CustomMetricsProvider& custom() { return *adapter_->providers().custom; }
  apiservice::ExternalMetricsProvider& external() { return *adapter_->providers().external; }

  int64_t keep_ms_ = 0;
  base::FakeClock clock_{kNow};
  testing::FakeKubeClient client_;
  testing::FakeObjectReader objects_{client_};
  base::ThreadPool pool_{"explanation-test", 1};
  base::Scheduler scheduler_{clock_, pool_};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<Adapter> adapter_;
};

TEST_F(ExplanationTest, AMissingValueSaysWhatIsMissing) {
  struct Row {
    std::string name, ns, object, metric, selector, expected;
  };
  const std::vector<Row> rows = {
      {"another namespace", "test", "*", "http_requests", "",
       R"(series http_requests_total exist, but none has namespace="test"; there are "shop")"},
      {"another pod", "shop", "web-9", "http_requests", "", R"(none has pod="web-9"; there are "web-1", "web-2")"},
      {"no such label value", "shop", "web-1", "http_requests", "path=/cart",
       R"(none has path="/cart"; there are "/")"},
      {"no such label", "shop", "web-1", "http_requests", "color=red",
       "lack the label color (they have namespace, path, pod)"},
      {"scraping stopped", "shop", "*", "stale", "", "is 7m old, and the query looks back 2m"},
      {"scraping stopped long ago", "shop", "*", "stale_long", "", "stale_long_total has had no sample for 10m"},
      {"one sample", "shop", "web-1", "http_single", "", "a rate needs two"},
      {"the query's own condition", "shop", "web-1", "temperature", "", "the query itself leaves them out"},
      {"no label for the object", "shop", "*", "lonely", "", "has no label pod, which would name the pods"},
      {"a slip of the pen", "shop", "*", "http_request", "", "did you mean http_requests?"},
  };
  for (const Row& row : rows) {
    base::Status status;
    if (row.object == "*") {
      status = custom().GetBySelector({"", "pods"}, row.ns, {}, row.metric, Selector(row.selector)).status();
    } else {
      status = custom().GetByName({"", "pods"}, row.ns, row.object, row.metric, Selector(row.selector)).status();
    }
    EXPECT_EQ(status.code(), base::Code::kNotFound) << row.name << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(row.expected)) << row.name;
  }
  base::Status status = external().Get("shop", "queue_depth", Selector("queue=orders")).status();
  EXPECT_EQ(status.code(), base::Code::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr(R"(none has queue="orders"; there are "mails")"));
}

TEST_F(ExplanationTest, TakesARequestApart) {
  ExplainRequest request;
  request.resource = {"", "pods"};
  request.ns = "shop";
  request.metric = "http_requests";
  Explanation found = adapter_->Explain(request);
  EXPECT_EQ(found.rule, "rules[0] (line 3)");
  EXPECT_EQ(found.series, "http_requests_total");
  EXPECT_EQ(found.query, R"(sum(rate(http_requests_total{namespace="shop",pod=~"web-1|web-2"}[2m])) by (pod))");
  ASSERT_EQ(found.values.size(), 2u);
  EXPECT_EQ(found.values[0].object + " " + found.values[0].value, "web-1 1");
  EXPECT_THAT(found.problem, IsEmpty());
  Put("web-3", "shop");
  found = adapter_->Explain(request);
  EXPECT_EQ(found.values.size(), 2u);
  EXPECT_THAT(found.without, ElementsAre("web-3"));
  EXPECT_THAT(found.problem, HasSubstr(R"(none has pod="web-3")"));
  EXPECT_THAT(found.suggestions, Not(IsEmpty()));
  request.metric = "nothing";
  EXPECT_THAT(adapter_->Explain(request).problem, HasSubstr("rules[0] (line 3)"));
  request.external = true;
  request.metric = "queue_depth";
  found = adapter_->Explain(request);
  ASSERT_EQ(found.values.size(), 1u) << found.problem;
  EXPECT_EQ(found.values[0].object, R"({queue="mails"})");
}

TEST_F(ExplanationTest, ARulesOwnPromqlIsAnsweredByItsLabels) {
  auto value = custom().GetByName({"", "pods"}, "shop", "web-1", "requests_per_second", Selector("path=/"));
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ(value->values[0].value.ToString(), "1");
  EXPECT_EQ(value->window_s, 120);
  EXPECT_EQ(custom().GetBySelector({"", "pods"}, "shop", {}, "requests_per_second", {})->values.size(), 2u);
  EXPECT_EQ(custom().GetByName({"", "pods"}, "test", "web-1", "requests_per_second", {}).status().code(),
            base::Code::kNotFound)
      << "another namespace's pod of the same name";
  EXPECT_EQ(
      custom().GetByName({"", "pods"}, "shop", "web-1", "requests_per_second", Selector("path=/x")).status().code(),
      base::Code::kNotFound);
  auto values = external().Get("test", "depth", Selector("queue=mails"));
  ASSERT_TRUE(values.ok()) << values.status().message();
  ASSERT_EQ(values->size(), 1u);
  EXPECT_EQ((*values)[0].labels.at("namespace"), "test");
}

TEST_F(ExplanationTest, ANewSeriesIsServedAtTheNextRequest) {
  EXPECT_FALSE(custom().GetByName({"", "pods"}, "shop", "web-1", "http_errors", {}).ok());
  Store({{"__name__", "http_errors_total"}, {"namespace", "shop"}, {"pod", "web-1"}}, -5, 0);
  auto value = custom().GetByName({"", "pods"}, "shop", "web-1", "http_errors", {});
  EXPECT_TRUE(value.ok()) << value.status().message();
}

TEST_F(ExplanationTest, RulesOfANamespaceAreForItAlone) {
  auto rule = std::make_shared<Rule>();
  rule->section = "rules";
  rule->object = "MetricRule shop/own";
  rule->ns = "shop";
  rule->promql = "sum by (namespace, pod) (temperature) * 0 + 7";
  rule->metric = "http_requests";
  rule->resources = *LabelMapping::Create("", {{"namespace", {"", "namespace"}}, {"pod", {"", "pod"}}});
  adapter_->SetObjectRules({rule});
  for (bool listed : {false, true}) {
    if (listed) adapter_->registry().Relist();
    auto value = custom().GetByName({"", "pods"}, "shop", "web-1", "http_requests", {});
    ASSERT_TRUE(value.ok()) << value.status().message();
    EXPECT_EQ(value->values[0].value.ToString(), listed ? "7" : "1") << "what is listed counts until the new rules are";
    auto other = custom().GetByName({"", "pods"}, "test", "job-1", "http_requests", {});
    EXPECT_THAT(other.status().message(), HasSubstr("rules[0]"));
  }
  std::vector<std::string> listed;
  for (const auto& info : custom().ListMetrics()) listed.push_back(info.resource.ToString() + "/" + info.metric);
  EXPECT_EQ(std::count(listed.begin(), listed.end(), "pods/http_requests"), 1) << "listed once, whoever defines it";
}

TEST_F(ExplanationTest, ChecksRulesAgainstTheDataWithoutUsingThem) {
  auto rules = adapter_->CheckConfig(
      "rules:\n- {seriesQuery: temperature, metricsQuery: x, resources: {template: <<.Resource>>}}\n", "new.yaml");
  ASSERT_TRUE(rules.ok()) << rules.status().message();
  ASSERT_EQ(rules->size(), 1u);
  EXPECT_THAT((*rules)[0].metrics, ElementsAre("namespaces/temperature", "pods/temperature"));
  EXPECT_EQ(adapter_->Rules().size(), 5u);
  EXPECT_EQ(adapter_->CheckConfig("rules: 5", "bad.yaml").status().code(), base::Code::kInvalidArgument);
}

class KeptValueTest : public ExplanationTest {
 protected:
  KeptValueTest() { keep_ms_ = 2 * kMinute; }
};

TEST_F(KeptValueTest, TheLastValueStandsInForAWhileAndSaysSo) {
  ASSERT_TRUE(custom().GetByName({"", "pods"}, "shop", "web-1", "http_requests", {}).ok());
  ASSERT_TRUE(custom().GetBySelector({"", "pods"}, "shop", {}, "http_requests", {}).ok());
  ASSERT_TRUE(external().Get("shop", "queue_depth", {}).ok());
  clock_.Advance(100'000);  // The rate's range has one sample left.
  auto value = custom().GetByName({"", "pods"}, "shop", "web-1", "http_requests", {});
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ(value->values[0].timestamp_ms, kNow);
  EXPECT_THAT(value->values[0].warning, HasSubstr("a value of 1m40s ago stands in"));
  auto many = custom().GetBySelector({"", "pods"}, "shop", {}, "http_requests", {});
  ASSERT_TRUE(many.ok());
  EXPECT_THAT(many->values[0].warning, HasSubstr("stands in"));
  clock_.Advance(30'000);
  EXPECT_FALSE(custom().GetByName({"", "pods"}, "shop", "web-1", "http_requests", {}).ok());
  EXPECT_FALSE(custom().GetBySelector({"", "pods"}, "shop", {}, "http_requests", {}).ok());
  EXPECT_THAT((*external().Get("shop", "queue_depth", {}))[0].warning, IsEmpty()) << "a gauge is still fresh";
  EXPECT_THAT(metrics_.Render(), HasSubstr("tidewright_adapter_last_values_used_total{api=\"custom\"} 3"));
}

}  // namespace
}  // namespace tidewright::adapter
