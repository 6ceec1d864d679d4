#include "adapter/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "adapter/metric_query.h"
#include "base/json.h"
#include "tests/adapter/fake_engine.h"
#include "tests/apiservice/fake_kube_client.h"

namespace tidewright::adapter {
namespace {

using promql::Labels;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'795'251'600'000;

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^container_.*_total$"}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)$"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~".*_total$",__name__!~"^container_.*"}'
  resources: {template: "kube_<<.Resource>>"}
  name: {matches: "^(.*)_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__!~".*_total$",__name__!~"^container_.*"}'
  resources: {template: "kube_<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_depth
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
- seriesQuery: global_depth
  resources: {namespaced: false}
  metricsQuery: scalar(sum(<<.Series>>{<<.LabelMatchers>>}))
resourceRules:
  cpu:
    containerQuery: sum by (<<.GroupBy>>) (rate(cpu{<<.LabelMatchers>>}[5m]))
    nodeQuery: sum by (<<.GroupBy>>) (rate(node_cpu{<<.LabelMatchers>>}[5m]))
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  memory:
    containerQuery: sum by (<<.GroupBy>>) (memory{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (node_memory{<<.LabelMatchers>>})
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  window: 5m
)yaml";

kube::LabelSelector Selector(const std::string& text) { return *kube::LabelSelector::Parse(text); }

promql::VectorSample Sample(std::initializer_list<std::pair<std::string_view, std::string_view>> labels, double value) {
  return {Labels::Of(labels), {kNow, value}};
}

class AdapterTest : public ::testing::Test {
 protected:
  AdapterTest() {
    engine_.series = {
        Labels::Of({{"__name__", "container_some_usage"}, {"namespace", "somens"}, {"pod", "p"}, {"container", "c"}}),
        Labels::Of({{"__name__", "container_some_count_total"}, {"namespace", "somens"}, {"pod", "p"}}),
        Labels::Of({{"__name__", "ingress_hits_total"},
                    {"kube_namespace", "n"},
                    {"kube_service", "s"},
                    {"kube_ingress", "i"}}),
        Labels::Of({{"__name__", "node_gigawatts"}, {"kube_node", "n"}}),
        Labels::Of({{"__name__", "volume_claims_total"}, {"kube_persistentvolume", "v"}}),
        Labels::Of({{"__name__", "queue_depth"}, {"namespace", "somens"}, {"queue", "q"}}),
        Labels::Of({{"__name__", "global_depth"}, {"queue", "q"}}),
        Labels::Of({{"__name__", "lonely"}, {"job", "x"}}),
    };
    for (const char* name : {"somepod1", "somepod2"}) {
      client_.Put(kube::resources::kPods,
                  {{"metadata", {{"name", name}, {"namespace", "somens"}, {"labels", {{"app", "web"}}}}},
                   {"status", {{"phase", "Running"}}}});
    }
  }
  void Load(const std::string& text = kRules) {
    base::Status status = adapter_.LoadConfig(text, "adapter.yaml");
    ASSERT_TRUE(status.ok()) << status.message();
  }
  apiservice::CustomMetricsProvider* custom() { return adapter_.providers().custom; }

  testing::FakeEngine engine_;
  testing::FakeKubeClient client_;
  base::FakeClock clock_{kNow};
  base::ThreadPool pool_{"adapter-test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  base::MetricRegistry metrics_;
  testing::FakeObjectReader objects_{client_};
  Adapter adapter_{engine_, client_, objects_, clock_, scheduler_, metrics_};
};

TEST_F(AdapterTest, AsksAboutANamespaceByItsOwnLabel) {
  Load();
  adapter_.registry().Relist();
  (void)custom()->GetByName({"", "namespaces"}, "", "somens", "ingress_hits", {});
  ASSERT_FALSE(engine_.asked().empty());
  EXPECT_EQ(engine_.asked().front(),
            R"(sum(rate(ingress_hits_total{kube_namespace="somens"}[1m])) by (kube_namespace))");
}

TEST(MetricQueryTest, TranslatesSelectors) {
  struct Row {
    std::string selector, matchers;
  };
  const std::vector<Row> rows = {
      {"a=b", R"(a="b")"},
      {"a!=b", R"(a!="b")"},
      {"a in (b)", R"(a=~"b")"},
      {"a in (c,b)", R"(a=~"b|c")"},
      {"a notin (b)", R"(a!~"b")"},
      {"a notin (c,b)", R"(a!~"b|c")"},
      {"a", R"(a!="")"},
      {"!a", R"(a="")"},
      {"b=1,a=2", R"(a="2",b="1")"},
  };
  base::GoTemplate text = *base::GoTemplate::Parse("<<.LabelMatchers>>");
  for (const Row& row : rows) {
    MetricQuery query("s");
    ASSERT_TRUE(query.AddSelector(Selector(row.selector)).ok()) << row.selector;
    EXPECT_EQ(*query.Render(text), row.matchers) << row.selector;
  }
  MetricQuery query("s");
  EXPECT_EQ(query.AddSelector(Selector("a>5")).code(), base::Code::kInvalidArgument);
}

TEST(MetricQueryTest, EscapesNamesAndShowsTheVariables) {
  MetricQuery query("s");
  query.AddEqual("ns", "a\"b");
  query.AddNames("pod", {"web.1", "web.2"});
  query.GroupBy({"pod", "le"});
  EXPECT_EQ(*query.Render(*base::GoTemplate::Parse("<<.LabelMatchers>>")), R"(ns="a\"b",pod=~"web\\.1|web\\.2")");
  EXPECT_EQ(
      *query.Render(*base::GoTemplate::Parse("<<index .LabelValuesByName \"pod\">> <<.GroupBy>> <<.GroupBySlice>>")),
      "web.1|web.2 pod,le [pod le]");
}

TEST(MetricQueryTest, FindsTheWindow) {
  struct Row {
    std::string query;
    std::optional<int64_t> window;
  };
  const std::vector<Row> rows = {{"rate(x[5m])", 300},
                                 {"rate(x[1m]) / rate(y[1h30m])", 5400},
                                 {"max_over_time(rate(x[1m])[10m:30s])", 600},
                                 {"x{a=\"[7m]\"}", std::nullopt},
                                 {"x", std::nullopt},
                                 {"x[", std::nullopt}};
  for (const Row& row : rows) EXPECT_EQ(WindowSeconds(row.query), row.window) << row.query;
}

TEST_F(AdapterTest, ListsWhatTheRulesFind) {
  Load();
  EXPECT_TRUE(custom()->ListMetrics().empty());
  adapter_.registry().Relist();
  std::vector<std::string> listed;
  for (const auto& info : custom()->ListMetrics()) {
    listed.push_back(info.resource.ToString() + "/" + info.metric + (info.namespaced ? "" : " (cluster)"));
  }
  EXPECT_THAT(listed, ElementsAre("namespaces/ingress_hits (cluster)", "namespaces/some_count (cluster)",
                                  "namespaces/some_usage (cluster)", "nodes/node_gigawatts (cluster)",
                                  "persistentvolumes/volume_claims (cluster)", "pods/some_count", "pods/some_usage",
                                  "services/ingress_hits", "ingresses.networking.k8s.io/ingress_hits"));
  EXPECT_THAT(adapter_.providers().external->ListMetrics(), ElementsAre("global_depth", "queue_depth"));
  std::vector<RuleStatus> rules = adapter_.Rules();
  ASSERT_EQ(rules.size(), 6u);
  EXPECT_THAT(rules[0].metrics, ElementsAre("namespaces/some_usage", "pods/some_usage"));
  EXPECT_EQ(rules[0].listed_at_ms, kNow);
  EXPECT_THAT(rules[3].notes, ::testing::Contains(HasSubstr("lonely has no label that names a Kubernetes object")));
}

TEST_F(AdapterTest, AFailedListingKeepsTheOldOneAndShowsTheError) {
  Load();
  adapter_.registry().Relist();
  size_t before = custom()->ListMetrics().size();
  engine_.series_error = base::UnavailableError("store is away");
  adapter_.registry().Relist();
  EXPECT_EQ(custom()->ListMetrics().size(), before);
  EXPECT_EQ(adapter_.Rules()[0].error.code(), base::Code::kUnavailable);
  EXPECT_EQ(adapter_.Rules()[0].listed_at_ms, kNow);
}

TEST_F(AdapterTest, ListsPeriodicallyAndAgainAfterAReload) {
  Load();
  adapter_.Start();
  auto wait_for = [&](const std::function<bool()>& condition) {
    int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
    base::StopSignal stop;
    while (!condition() && base::MonotonicNanos() < deadline) base::SystemClock::Get().SleepFor(1, stop);
    return condition();
  };
  EXPECT_TRUE(wait_for([&] { return custom()->ListMetrics().size() == 9; }));
  adapter_.registry().Relist();  // Ends after the first listing, so the next one is scheduled or about to be.
  EXPECT_EQ(adapter_.LoadConfig("rules: 5", "bad.yaml").code(), base::Code::kInvalidArgument);
  EXPECT_EQ(custom()->ListMetrics().size(), 9u);
  Load("rules:\n- {seriesQuery: node_gigawatts, metricsQuery: x, resources: {template: 'kube_<<.Resource>>'}}\n");
  EXPECT_EQ(adapter_.providers().external, nullptr);
  EXPECT_TRUE(wait_for([&] { return custom()->ListMetrics().size() == 1; }));
  adapter_.Stop();
  adapter_.Stop();
}

TEST_F(AdapterTest, FindsAMetricThatIsNotListedYet) {
  Load();
  engine_.answer = [](const std::string&) { return promql::Vector{Sample({{"kube_node", "n1"}}, 1.21)}; };
  auto value = custom()->GetByName({"", "nodes"}, "", "n1", "node_gigawatts", {});
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ(value->values[0].value.ToString(), "1210m");
  EXPECT_EQ(value->kind, "Node");
  EXPECT_EQ(value->api_version, "/v1");
  EXPECT_EQ(value->values[0].timestamp_ms, kNow);
}

TEST_F(AdapterTest, ExplainsWhyThereIsNoMetric) {
  struct Row {
    std::string name;
    GroupResource resource;
    std::string ns, object, metric, expected;
  };
  const std::vector<Row> rows = {
      {"unknown metric", {"", "pods"}, "somens", "p", "nothing", "rules[0] (line 3): none of the 2 series names"},
      {"label missing",
       {"", "pods"},
       "somens",
       "p",
       "ingress_hits",
       "the series ingress_hits_total has no label kube_pod"},
      {"resource unknown", {"", "gadgets"}, "somens", "p", "nothing", "\"gadgets\""},
      {"cluster-wide path for pods", {"", "pods"}, "", "p", "some_usage", "pods live in namespaces"},
      {"no namespace label", {"", "pods"}, "somens", "p", "bare", "maps no label to namespaces"},
      {"no sample", {"", "pods"}, "somens", "p", "some_usage", "gave 0 samples, none with pod=\"p\""},
  };
  engine_.series.push_back(Labels::Of({{"__name__", "bare"}, {"thepod", "p"}}));
  client_.raw["/apis"] = {{"groups", base::Json::array()}};
  for (const Row& row : rows) {
    if (row.metric == "bare") {
      Load("rules:\n- {seriesQuery: bare, resources: {overrides: {thepod: {resource: pod}}}, metricsQuery: bare}\n");
    } else {
      Load();
    }
    auto value = custom()->GetByName(row.resource, row.ns, row.object, row.metric, {});
    ASSERT_FALSE(value.ok()) << row.name;
    EXPECT_EQ(value.status().code(), base::Code::kNotFound) << row.name << ": " << value.status().ToString();
    EXPECT_THAT(value.status().message(), HasSubstr(row.expected)) << row.name;
  }
}

TEST_F(AdapterTest, ValuesThatAreNoNumbersNeverReachAnAutoscaler) {
  Load();
  const double inf = std::numeric_limits<double>::infinity();
  engine_.answer = [&](const std::string&) {
    return promql::Vector{Sample({{"pod", "somepod1"}}, std::nan("")), Sample({{"pod", "somepod2"}}, 0.0129),
                          Sample({{"pod", "other"}}, 5)};
  };
  auto values = custom()->GetBySelector({"", "pods"}, "somens", Selector("app=web"), "some_count", {});
  ASSERT_TRUE(values.ok()) << values.status().message();
  ASSERT_EQ(values->values.size(), 1u);
  EXPECT_EQ(values->values[0].name, "somepod2");
  EXPECT_EQ(values->values[0].value.ToString(), "12m");
  EXPECT_EQ(values->window_s, 60);
  auto one = custom()->GetByName({"", "pods"}, "somens", "somepod1", "some_count", {});
  EXPECT_EQ(one.status().code(), base::Code::kNotFound);
  EXPECT_THAT(one.status().message(), HasSubstr("gave NaN"));

  engine_.answer = [&](const std::string&) {
    return promql::Vector{Sample({{"queue", "a"}}, inf), Sample({{"queue", "b"}}, 3)};
  };
  auto external = adapter_.providers().external->Get("somens", "queue_depth", Selector("queue in (a,b)"));
  ASSERT_TRUE(external.ok());
  ASSERT_EQ(external->size(), 1u);
  EXPECT_EQ((*external)[0].labels.at("queue"), "b");
  EXPECT_EQ(engine_.asked().back(), R"(queue_depth{queue=~"a|b",namespace="somens"})");
  engine_.answer = [&](const std::string&) { return promql::Vector{Sample({}, -inf)}; };
  EXPECT_EQ(adapter_.providers().external->Get("somens", "queue_depth", {}).status().code(), base::Code::kNotFound);
}

TEST_F(AdapterTest, ExternalMetricsWithoutNamespaceAndScalars) {
  Load();
  engine_.answer = [](const std::string&) { return promql::Scalar{{kNow, 42}}; };
  auto values = adapter_.providers().external->Get("somens", "global_depth", {});
  ASSERT_TRUE(values.ok()) << values.status().message();
  EXPECT_EQ(engine_.asked().back(), "scalar(sum(global_depth{}))");
  ASSERT_EQ(values->size(), 1u);
  EXPECT_EQ((*values)[0].value.ToString(), "42");
  EXPECT_TRUE((*values)[0].labels.empty());
  EXPECT_THAT(adapter_.providers().external->Get("somens", "nope", {}).status().message(),
              HasSubstr("externalRules[0]"));
}

TEST_F(AdapterTest, QueryFailuresAreNotTheRequestersFault) {
  Load();
  engine_.instant_error = base::InvalidArgumentError("many-to-many");
  auto value = custom()->GetByName({"", "pods"}, "somens", "somepod1", "some_usage", {});
  EXPECT_EQ(value.status().code(), base::Code::kInternal);
  EXPECT_THAT(value.status().message(), HasSubstr("rules[0] (line 3): the query"));
  EXPECT_EQ(custom()->GetByName({"", "pods"}, "somens", "p", "some_usage", Selector("a>5")).status().code(),
            base::Code::kInvalidArgument);
  EXPECT_EQ(custom()->GetBySelector({"", "pods"}, "somens", Selector("app=none"), "some_usage", {}).status().code(),
            base::Code::kNotFound);
}

TEST_F(AdapterTest, TheFirstRuleKeepsAMetricUnlessToldOtherwise) {
  const std::string two =
      "rules:\n- {seriesQuery: node_gigawatts, metricsQuery: first, resources: {template: 'kube_<<.Resource>>'}}\n"
      "- {seriesQuery: node_gigawatts, metricsQuery: second, resources: {template: 'kube_<<.Resource>>'}}\n";
  Load(two);
  adapter_.registry().Relist();
  (void)custom()->GetByName({"", "nodes"}, "", "n", "node_gigawatts", {});
  EXPECT_EQ(engine_.asked().front(), "first");
  size_t before = engine_.asked().size();
  EXPECT_THAT(adapter_.Rules()[1].notes, ElementsAre(HasSubstr("also defined by rules[0]")));
  AdapterOptions options;
  options.registry.last_rule_wins = true;
  Adapter last(engine_, client_, objects_, clock_, scheduler_, metrics_, options);
  ASSERT_TRUE(last.LoadConfig(two, "x").ok());
  last.registry().Relist();
  (void)last.providers().custom->GetByName({"", "nodes"}, "", "n", "node_gigawatts", {});
  EXPECT_EQ(engine_.asked()[before], "second");
}

TEST_F(AdapterTest, LearnsCustomResourcesFromDiscovery) {
  client_.raw["/apis"] = {{"groups",
                           {{{"name", "brand.cheese.io"}, {"preferredVersion", {{"version", "v1"}}}},
                            {{"name", "custom.metrics.k8s.io"}, {"preferredVersion", {{"version", "v1beta2"}}}}}}};
  client_.raw["/apis/brand.cheese.io/v1"] = {
      {"resources",
       {{{"name", "cheeses"}, {"singularName", "cheese"}, {"kind", "Cheese"}, {"namespaced", true}},
        {{"name", "cheeses/status"}, {"kind", "Cheese"}, {"namespaced", true}}}}};
  engine_.series = {
      Labels::Of({{"__name__", "cheddar"}, {"kube_brand_cheese_io_cheese", "c"}, {"kube__namespace", "n"}})};
  Load(
      "rules:\n- {seriesQuery: cheddar, metricsQuery: x, resources: {template: "
      "'kube_<<.Group>>_<<.Resource>>'}}\n");
  adapter_.registry().Relist();
  std::vector<std::string> listed;
  for (const auto& info : custom()->ListMetrics()) listed.push_back(info.resource.ToString());
  EXPECT_THAT(listed, ElementsAre("namespaces", "cheeses.brand.cheese.io"));
}

TEST_F(AdapterTest, ResourceMetricsNeverInventZeros) {
  Load();
  client_.Put(kube::resources::kPods,
              {{"metadata", {{"name", "young"}, {"namespace", "somens"}}}, {"status", {{"phase", "Running"}}}});
  client_.Put(kube::resources::kPods,
              {{"metadata", {{"name", "done"}, {"namespace", "somens"}}}, {"status", {{"phase", "Succeeded"}}}});
  client_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n1"}}}});
  client_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n2"}}}});
  engine_.answer = [](const std::string& query) {
    bool cpu = query.find("cpu{") != std::string::npos;
    if (query.find("node_") != std::string::npos) {
      return promql::Vector{Sample({{"node", "n1"}}, cpu ? 1.5 : 2048.7),
                            Sample({{"node", "n2"}}, cpu ? std::nan("") : 1)};
    }
    promql::Vector samples = {Sample({{"pod", "somepod1"}, {"container", "a"}}, cpu ? 0.25 : 1048576),
                              Sample({{"pod", "somepod1"}, {"container", "b"}}, cpu ? 0.5 : 1048576),
                              Sample({{"pod", "somepod2"}, {"container", "a"}}, cpu ? -1 : 1048576)};
    if (!cpu) samples.push_back(Sample({{"pod", "young"}, {"container", "a"}}, 5));
    return samples;
  };
  auto pods = adapter_.providers().resource->Pods("somens", "", {});
  ASSERT_TRUE(pods.ok()) << pods.status().message();
  EXPECT_EQ(engine_.asked()[0],
            R"(sum by (pod,container) (rate(cpu{namespace="somens",pod=~"somepod1|somepod2|young"}[5m])))");
  ASSERT_EQ(pods->size(), 1u) << "negative, incomplete and finished pods are left out";
  EXPECT_EQ((*pods)[0].containers.at("b").cpu.ToString(), "500m");
  EXPECT_EQ((*pods)[0].containers.at("b").memory.ToString(), "1Mi");
  EXPECT_EQ((*pods)[0].window_ms, 300'000);
  EXPECT_EQ((*pods)[0].labels.at("app"), "web");
  auto nodes = adapter_.providers().resource->Nodes("", {});
  ASSERT_TRUE(nodes.ok());
  ASSERT_EQ(nodes->size(), 1u);
  EXPECT_EQ((*nodes)[0].usage.memory.ToString(), "2Ki");
  engine_.instant_error = base::UnavailableError("away");
  EXPECT_EQ(adapter_.providers().resource->Pods("somens", "", {}).status().code(), base::Code::kUnavailable);
}

}  // namespace
}  // namespace tidewright::adapter
