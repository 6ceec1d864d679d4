// What prometheus-adapter's own unit tests expect, by the names that these tests have there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "adapter/adapter.h"
#include "adapter/metric_query.h"
#include "base/json.h"
#include "tests/adapter/fake_engine.h"
#include "tests/apiservice/fake_kube_client.h"

namespace tidewright::adapter {
namespace {

using promql::Labels;
using ::testing::Contains;
using ::testing::UnorderedElementsAre;

constexpr int64_t kNow = 1'795'251'600'000;

// ---- Building a query from its template.

struct QueryRow {
  std::string name, query, selector, ns;
  std::vector<std::string> names, group_by;
  std::string expected;
};

std::string Built(const QueryRow& row) {
  MetricQuery query("foo");
  base::Status added = query.AddSelector(*kube::LabelSelector::Parse(row.selector));
  if (!row.ns.empty()) query.AddEqual("namespaces", row.ns);
  if (!row.names.empty()) query.AddNames("resource", row.names);
  query.GroupBy(row.group_by);
  base::Result<std::string> text = query.Render(*base::GoTemplate::Parse(row.query));
  return !added.ok() ? added.message() : text.ok() ? *text : text.status().message();
}

TEST(UpstreamExpectations, BuildSelector) {
  const std::string by_name = "<<index .LabelValuesByName \"resource\">>";
  const std::vector<QueryRow> rows = {
      {"series", "series <<.Series>>", "", "", {}, {}, "series foo"},
      {"multiple LabelMatchers values", "<<.LabelMatchers>>", "", "", {"bar", "baz"}, {}, R"(resource=~"bar|baz")"},
      {"single LabelMatchers value", "<<.LabelMatchers>>", "", "", {"bar"}, {}, R"(resource="bar")"},
      {"LabelMatchers with additional metrics filter",
       "<<.LabelMatchers>>",
       "metric1=value1",
       "",
       {"bar"},
       {},
       R"(metric1="value1",resource="bar")"},
      {"single LabelValuesByName value", by_name, "", "", {"bar"}, {}, "bar"},
      {"multiple LabelValuesByName values", by_name, "", "", {"bar", "baz"}, {}, "bar|baz"},
      {"multiple LabelValuesByName values with namespace",
       "<<index .LabelValuesByName \"namespaces\">> " + by_name,
       "",
       "default",
       {"bar", "baz"},
       {},
       "default bar|baz"},
      {"single GroupBy value", "<<.GroupBy>>", "", "", {}, {"resource"}, "resource"},
      {"multiple GroupBy values", "<<.GroupBy>>", "", "", {}, {"resource", "extra", "groups"}, "resource,extra,groups"},
      {"single GroupBySlice value", "<<.GroupBySlice>>", "", "", {}, {"resource"}, "[resource]"},
      {"multiple GroupBySlice values",
       "<<.GroupBySlice>>",
       "",
       "",
       {},
       {"resource", "extra", "groups"},
       "[resource extra groups]"},
  };
  for (const QueryRow& row : rows) EXPECT_EQ(Built(row), row.expected) << row.name;
}

TEST(UpstreamExpectations, BuildExternalSelector) {
  const std::string in_namespace = "<<index .LabelValuesByName \"namespaces\">> <<.GroupBySlice>>";
  const std::vector<QueryRow> rows = {
      {"series", "series <<.Series>>", "", "", {}, {}, "series foo"},
      {"single GroupBy value", "<<.GroupBy>>", "", "", {}, {"foo"}, "foo"},
      {"multiple GroupBySlice values", "<<.GroupBySlice>>", "", "", {}, {"foo", "bar"}, "[foo bar]"},
      {"multiple GroupBySlice values with namespace",
       in_namespace,
       "",
       "default",
       {},
       {"foo", "bar"},
       "default [foo bar]"},
      {"multiple GroupBySlice values with namespace disabled", in_namespace, "", "", {}, {"foo", "bar"}, " [foo bar]"},
      {"single LabelMatchers value", "<<.LabelMatchers>>", "foo=bar", "", {}, {}, R"(foo="bar")"},
      {"single LabelMatchers value with namespace",
       "<<.LabelMatchers>>",
       "foo=bar",
       "default",
       {},
       {},
       R"(foo="bar",namespaces="default")"},
      {"multiple LabelMatchers value",
       "<<.LabelMatchers>>",
       "foo=bar,qux in (bar,baz)",
       "",
       {},
       {},
       R"(foo="bar",qux=~"bar|baz")"},
      {"single LabelValuesByName value", "<<.LabelValuesByName>>", "foo=bar", "", {}, {}, "map[foo:bar]"},
      {"single LabelValuesByName with multiple selectors",
       "<<.LabelValuesByName>>",
       "foo in (bar,baz)",
       "",
       {},
       {},
       "map[foo:bar|baz]"},
  };
  for (const QueryRow& row : rows) EXPECT_EQ(Built(row), row.expected) << row.name;
}

// ---- What rules find, and what is asked of it.

class UpstreamExpectationsTest : public ::testing::Test {
 protected:
  void Load(const std::string& text) {
    base::Status status = adapter_.LoadConfig(text, "adapter.yaml");
    ASSERT_TRUE(status.ok()) << status.message();
    adapter_.registry().Relist();
  }
  apiservice::CustomMetricsProvider& custom() { return *adapter_.providers().custom; }
  std::vector<std::string> Listed() {
    std::vector<std::string> listed;
    for (const auto& info : custom().ListMetrics()) listed.push_back(info.resource.ToString() + "/" + info.metric);
    return listed;
  }
  void PutPod(const std::string& ns, const std::string& name) {
    client_.Put(kube::resources::kPods,
                {{"metadata", {{"name", name}, {"namespace", ns}}}, {"status", {{"phase", "Running"}}}});
  }

  testing::FakeEngine engine_;
  testing::FakeKubeClient client_;
  base::FakeClock clock_{kNow};
  base::ThreadPool pool_{"adapter-test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  base::MetricRegistry metrics_;
  testing::FakeObjectReader objects_{client_};
  Adapter adapter_{engine_, client_, objects_, clock_, scheduler_, metrics_};
};

// The configuration that is generated with --label-prefix kube_ and --rate-interval 1m.
constexpr char kGenerated[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)_seconds_total$}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: ^container_.*_seconds_total$}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)_total$}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: ^container_.*_total$}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)$}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
- seriesQuery: '{__name__!~"^container_.*"}'
  seriesFilters: [{isNot: .*_total$}]
  resources: {template: kube_<<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{__name__!~"^container_.*"}'
  seriesFilters: [{isNot: .*_seconds_total}]
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_total$}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__!~"^container_.*"}'
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_seconds_total$}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
)yaml";

class SeriesRegistryTest : public UpstreamExpectationsTest {
 protected:
  SeriesRegistryTest() {
    for (const char* name :
         {"container_some_time_seconds_total", "container_some_count_total", "container_some_usage"}) {
      engine_.series.push_back(
          Labels::Of({{"__name__", name}, {"pod", "somepod"}, {"namespace", "somens"}, {"container", "somecont"}}));
    }
    for (const auto& labels : std::vector<Labels>{
             Labels::Of({{"__name__", "node_gigawatts"}, {"kube_node", "somenode"}}),
             Labels::Of(
                 {{"__name__", "service_proxy_packets"}, {"kube_service", "somesvc"}, {"kube_namespace", "somens"}}),
             Labels::Of({{"__name__", "ingress_hits_total"},
                         {"kube_ingress", "someingress"},
                         {"kube_service", "somesvc"},
                         {"kube_pod", "backend1"},
                         {"kube_namespace", "somens"}}),
             Labels::Of({{"__name__", "volume_claims_total"}, {"kube_persistentvolume", "somepv"}}),
             Labels::Of({{"__name__", "work_queue_wait_seconds_total"},
                         {"kube_deployment", "somedep"},
                         {"kube_namespace", "somens"}}),
             Labels::Of({{"__name__", "node_fan_seconds_total"}, {"kube_node", "somenode"}}),
         }) {
      engine_.series.push_back(labels);
    }
    PutPod("somens", "somepod1");
    PutPod("somens", "somepod2");
  }
};

TEST_F(SeriesRegistryTest, BuildsAQueryFor) {
  Load(kGenerated);
  struct Row {
    std::string title;
    GroupResource resource;
    std::string ns, name, metric, selector, query;
  };
  const std::string pods = R"({namespace="somens",pod=~"somepod1|somepod2",container!="POD"})";
  const std::vector<Row> rows = {
      {"container metrics gauge / multiple resource names",
       {"", "pods"},
       "somens",
       "*",
       "some_usage",
       "",
       "sum(container_some_usage" + pods + ") by (pod)"},
      {"container metrics counter",
       {"", "pods"},
       "somens",
       "*",
       "some_count",
       "",
       "sum(rate(container_some_count_total" + pods + "[1m])) by (pod)"},
      {"container metrics seconds counter",
       {"", "pods"},
       "somens",
       "*",
       "some_time",
       "",
       "sum(rate(container_some_time_seconds_total" + pods + "[1m])) by (pod)"},
      {"namespaced metrics counter / multidimensional (service)",
       {"", "service"},
       "somens",
       "somesvc",
       "ingress_hits",
       "",
       R"(sum(rate(ingress_hits_total{kube_namespace="somens",kube_service="somesvc"}[1m])) by (kube_service))"},
      {"namespaced metrics counter /  multidimensional (service) / selection using labels",
       {"", "service"},
       "somens",
       "somesvc",
       "ingress_hits",
       "param1=value1",
       R"(sum(rate(ingress_hits_total{param1="value1",kube_namespace="somens",kube_service="somesvc"}[1m])) by (kube_service))"},
      {"namespaced metrics counter / multidimensional (ingress)",
       {"networking.k8s.io", "ingress"},
       "somens",
       "someingress",
       "ingress_hits",
       "",
       R"(sum(rate(ingress_hits_total{kube_namespace="somens",kube_ingress="someingress"}[1m])) by (kube_ingress))"},
      {"namespaced metrics counter / multidimensional (pod)",
       {"", "pod"},
       "somens",
       "somepod",
       "ingress_hits",
       "",
       R"(sum(rate(ingress_hits_total{kube_namespace="somens",kube_pod="somepod"}[1m])) by (kube_pod))"},
      {"namespaced metrics gauge",
       {"", "service"},
       "somens",
       "somesvc",
       "service_proxy_packets",
       "",
       R"(sum(service_proxy_packets{kube_namespace="somens",kube_service="somesvc"}) by (kube_service))"},
      {"namespaced metrics seconds counter",
       {"apps", "deployment"},
       "somens",
       "somedep",
       "work_queue_wait",
       "",
       R"(sum(rate(work_queue_wait_seconds_total{kube_namespace="somens",kube_deployment="somedep"}[1m])) by (kube_deployment))"},
      {"root scoped metrics gauge",
       {"", "node"},
       "",
       "somenode",
       "node_gigawatts",
       "",
       R"(sum(node_gigawatts{kube_node="somenode"}) by (kube_node))"},
      {"root scoped metrics counter",
       {"", "persistentvolume"},
       "",
       "somepv",
       "volume_claims",
       "",
       R"(sum(rate(volume_claims_total{kube_persistentvolume="somepv"}[1m])) by (kube_persistentvolume))"},
      {"root scoped metrics seconds counter",
       {"", "node"},
       "",
       "somenode",
       "node_fan",
       "",
       R"(sum(rate(node_fan_seconds_total{kube_node="somenode"}[1m])) by (kube_node))"},
  };
  for (const Row& row : rows) {
    kube::LabelSelector selector = *kube::LabelSelector::Parse(row.selector);
    if (row.name == "*") {
      (void)custom().GetBySelector(row.resource, row.ns, {}, row.metric, selector);
    } else {
      (void)custom().GetByName(row.resource, row.ns, row.name, row.metric, selector);
    }
    EXPECT_THAT(engine_.asked(), Contains(row.query)) << row.title;
  }
}

TEST_F(SeriesRegistryTest, ListsAllMetrics) {
  ASSERT_TRUE(adapter_.LoadConfig(kGenerated, "adapter.yaml").ok());
  EXPECT_TRUE(custom().ListMetrics().empty()) << "nothing before the first listing";
  adapter_.registry().Relist();
  const auto all = UnorderedElementsAre(
      "pods/some_count", "namespaces/some_count", "pods/some_time", "namespaces/some_time", "pods/some_usage",
      "namespaces/some_usage", "services/ingress_hits", "ingresses.networking.k8s.io/ingress_hits", "pods/ingress_hits",
      "namespaces/ingress_hits", "services/service_proxy_packets", "namespaces/service_proxy_packets",
      "deployments.apps/work_queue_wait", "namespaces/work_queue_wait", "nodes/node_gigawatts",
      "persistentvolumes/volume_claims", "nodes/node_fan");
  EXPECT_THAT(Listed(), all);
  engine_.series_error = base::UnavailableError("away");
  adapter_.registry().Relist();
  EXPECT_THAT(Listed(), all) << "a listing that fails keeps the old one";
}

TEST_F(UpstreamExpectationsTest, ReMatcher) {
  for (const char* name : {"my_label", "your_label"}) {
    engine_.series.push_back(Labels::Of({{"__name__", name}, {"node", "n"}}));
  }
  struct Row {
    const char *name, *filter;
    std::vector<std::string> listed;  // None: the filter is an error.
  };
  for (const Row& row : std::vector<Row>{
           {"is", "{is: my_.*}", {"nodes/my_label"}},
           {"is not", "{isNot: my_.*}", {"nodes/your_label"}},
           {"not both", "{is: my_.*, isNot: your_.*}", {}},
           {"not none", "{}", {}},
       }) {
    const std::string text = "rules:\n- seriesQuery: '{node!=\"\"}'\n  metricsQuery: x\n  seriesFilters: [" +
                             std::string(row.filter) + "]\n  resources: {template: <<.Resource>>}\n";
    EXPECT_EQ(adapter_.LoadConfig(text, "adapter.yaml").ok(), !row.listed.empty()) << row.name;
    if (row.listed.empty()) continue;
    adapter_.registry().Relist();
    EXPECT_EQ(Listed(), row.listed) << row.name;
  }
}

// ---- CPU and memory of pods and nodes.

constexpr char kResources[] = R"yaml(
resourceRules:
  cpu:
    containerQuery: sum by (<<.GroupBy>>) (rate(cpu{<<.LabelMatchers>>}[1m]))
    nodeQuery: sum by (<<.GroupBy>>) (rate(node_cpu{<<.LabelMatchers>>}[1m]))
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  memory:
    containerQuery: sum by (<<.GroupBy>>) (memory{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (node_memory{<<.LabelMatchers>>})
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  window: 1m
)yaml";

class ResourceProviderTest : public UpstreamExpectationsTest {
 protected:
  ResourceProviderTest() {
    for (const auto& [ns, name] :
         {std::pair("some-ns", "pod1"), std::pair("some-ns", "pod3"), std::pair("other-ns", "pod27")}) {
      PutPod(ns, name);
    }
    for (const char* name : {"node1", "node2"}) client_.Put(kube::resources::kNodes, {{"metadata", {{"name", name}}}});
    engine_.answer = [this](const std::string& query) {
      const bool cpu = query.find("cpu{") != std::string::npos;
      promql::Vector samples;
      for (const auto& [name, values] : usage_) {
        if (query.find(name) == std::string::npos) continue;
        const bool node = name.starts_with("node");
        for (const char* container : {"cont1", "cont2"}) {
          Labels labels = node ? Labels::Of({{"node", name}}) : Labels::Of({{"pod", name}, {"container", container}});
          samples.push_back(
              {labels, {kNow, cpu ? values.first : values.second}, nullptr, kNow - (cpu ? 9'000 : 20'000)});
          if (node) break;
        }
      }
      return promql::Value(samples);
    };
  }
  std::vector<std::string> Pods() {
    std::vector<std::string> names;
    for (const char* ns : {"some-ns", "other-ns"}) {
      auto pods = adapter_.providers().resource->Pods(ns, "", {});
      for (const auto& pod : pods.ok() ? *pods : std::vector<apiservice::PodMetrics>()) {
        names.push_back(pod.ns + "/" + pod.name);
        EXPECT_EQ(pod.window_ms, 60'000);
        EXPECT_EQ(pod.timestamp_ms, kNow - 20'000) << "the earliest";
        EXPECT_EQ(pod.containers.size(), 2u);
      }
    }
    return names;
  }
  std::vector<std::string> Nodes() {
    std::vector<std::string> names;
    auto nodes = adapter_.providers().resource->Nodes("", {});
    for (const auto& node : nodes.ok() ? *nodes : std::vector<apiservice::NodeMetrics>()) names.push_back(node.name);
    return names;
  }
  std::map<std::string, std::pair<double, double>> usage_;  // CPU and memory by the name of pod or node.
};

// Where a value is NaN or negative, prometheus-adapter reports zero: a difference that docs/migrating.md names.
TEST_F(ResourceProviderTest, FindsPodsAndNodes) {
  Load(kResources);
  struct Row {
    std::string name;
    std::map<std::string, std::pair<double, double>> usage;
    std::vector<std::string> pods, nodes;
  };
  const double nan = std::nan("");
  for (const Row& row : std::vector<Row>{
           {"list metrics for pods across different namespaces",
            {{"pod1", {1, 3}}, {"pod3", {2, 4}}, {"pod27", {5, 6}}},
            {"some-ns/pod1", "some-ns/pod3", "other-ns/pod27"},
            {}},
           {"not return metrics for non-existent pods",
            {{"pod1", {1, 3}}, {"pod27", {5, 6}}},
            {"some-ns/pod1", "other-ns/pod27"},
            {}},
           {"return no metrics for pods with NaN or negative values",
            {{"pod1", {nan, 3}}, {"pod3", {2, -4}}, {"pod27", {-5, nan}}},
            {},
            {}},
           {"list metrics for nodes", {{"node1", {1, 2}}, {"node2", {3, 4}}}, {}, {"node1", "node2"}},
           {"not return metrics for non-existent nodes", {{"node1", {1, 2}}}, {}, {"node1"}},
           {"no node with NaN values", {{"node1", {nan, 2}}, {"node2", {3, nan}}}, {}, {}},
       }) {
    usage_ = row.usage;
    EXPECT_EQ(Pods(), row.pods) << row.name;
    EXPECT_EQ(Nodes(), row.nodes) << row.name;
  }
}

}  // namespace
}  // namespace tidewright::adapter
