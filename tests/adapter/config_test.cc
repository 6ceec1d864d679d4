#include "adapter/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidewright::adapter {
namespace {

using ::testing::HasSubstr;

constexpr char kGood[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"^http_.*",namespace!="",pod!=""}'
  seriesFilters:
  - isNot: ^http_errors.*
  resources:
    overrides:
      kubernetes_namespace: {resource: namespace}
      kubernetes_pod_name: {group: "", resource: pods}
  name:
    matches: "^(.*)_total$"
    as: "${1}_per_second"
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: 'cheddar{sharp="true"}'
  resources: {template: "kube_<<.Group>>_<<.Resource>>"}
  name: {as: cheesy_goodness}
  metricsQuery: 'count(cheddar{sharp="true"})'
externalRules:
- seriesQuery: '{__name__="queue_depth",name!=""}'
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)
  resources: {namespaced: false}
resourceRules:
  cpu:
    containerQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(node_cpu_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: sum(container_memory_working_set_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    nodeQuery: sum(node_memory_MemTotal_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  window: 3m
)yaml";

TEST(ConfigTest, ReadsEverySection) {
  base::Result<Config> config = ParseConfig(kGood, "adapter.yaml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config->rules.size(), 2u);
  const Rule& rule = *config->rules[0];
  EXPECT_EQ(rule.Title(), "rules[0] (line 3)");
  EXPECT_EQ(rule.name->Apply("http_requests_total"), "http_requests_per_second");
  EXPECT_TRUE(rule.AcceptsSeries("http_requests_total"));
  EXPECT_FALSE(rule.AcceptsSeries("http_errors_total"));
  EXPECT_FALSE(rule.AcceptsSeries("http_requests")) << "name.matches filters, too";
  EXPECT_EQ(config->rules[1]->name->Apply("cheddar"), "cheesy_goodness");
  EXPECT_EQ(config->rules[1]->resources.ToTemplateLabel("brand.cheese-maker.io", "cheese"),
            "kube_brand_cheese_maker_io_cheese");
  EXPECT_EQ(config->rules[1]->resources.FromTemplate("kube_apps_deployment"), (GroupResource{"apps", "deployment"}));
  EXPECT_FALSE(config->external_rules[0]->namespaced);
  EXPECT_EQ(config->resource_rules->window_ms, 180'000);
}

TEST(ConfigTest, DefaultRulesAndAnEmptyFileAreValid) {
  base::Result<Config> config = ParseConfig(DefaultConfigText(), "default");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->rules.size(), 3u);
  EXPECT_EQ(config->rules[1]->name->Apply("http_requests_total"), "http_requests");
  EXPECT_FALSE(config->rules[1]->AcceptsSeries("cpu_seconds_total"));
  EXPECT_TRUE(ParseConfig("", "empty.yaml").ok());
}

TEST(ConfigTest, ReadsAConfigMapWithTheLinesOfTheFile) {
  const std::string head =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: adapter-config}\ndata:\n  config.yaml: |\n";
  base::Result<Config> good =
      ParseConfig(head + "    rules:\n    - seriesQuery: up\n      metricsQuery: up\n", "cm.yaml");
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_EQ(good->rules[0]->line, 7);
  base::Result<Config> bad =
      ParseConfig(head + "    rules:\n    - seriesQuery: up\n      metricQuery: up\n", "cm.yaml");
  EXPECT_THAT(bad.status().message(), HasSubstr("cm.yaml:8:3: rules[0].metricQuery"));
}

TEST(ConfigTest, EveryFaultNamesFileLineFieldAndRemedy) {
  struct Row {
    std::string text, expected;
  };
  const std::string rule = "rules:\n- seriesQuery: up\n  metricsQuery: up\n";
  const std::vector<Row> rows = {
      {rule + "  seriesFilter: []\n", "a.yaml:4:3: rules[0].seriesFilter: is not a known field"},
      {rule + "rule: []\n", "a.yaml:4:1: rule: is not a known field"},
      {rule + "  metricsQuery: up\n", "a.yaml:4:3: "},
      {rule + "  seriesFilters: [{is: a, isNot: b}]\n",
       "rules[0].seriesFilters[0].is: a filter has either is or isNot"},
      {rule + "  seriesFilters: [{}]\n", "rules[0].seriesFilters[0].is: a filter needs is or isNot"},
      {rule + "  seriesFilters: [{is: '('}]\n", "rules[0].seriesFilters[0].is: \"(\" is not a regular expression"},
      {rule + "  name: {matches: '(a)(b)'}\n", "rules[0].name.as: the expression \"(a)(b)\" has 2 groups"},
      {rule + "  name: {matches: '(a)', as: $1_x}\n", "rules[0].name.as: \"$1_x\" uses the group \"1_x\""},
      {rule + "  resources: {template: 'kube_<<.Resourc>>'}\n", "rules[0].resources.template: 1:8: there is no field"},
      {rule + "  resources: {template: 'pod'}\n", "does not use .Resource"},
      {rule + "  resources: {overrides: {pod: {group: apps}}}\n",
       "rules[0].resources.overrides.pod.resource: is missing"},
      {rule + "  resources: {namespaced: 7}\n", "rules[0].resources.namespaced"},
      {"rules:\n- seriesQuery: 'up{'\n  metricsQuery: up\n",
       "a.yaml:2:3: rules[0].seriesQuery: \"up{\" is not a series selector"},
      {"rules:\n- metricsQuery: up\n", "rules[0].seriesQuery: is missing"},
      {"rules:\n- seriesQuery: up\n", "rules[0].metricsQuery: is missing"},
      {"rules:\n- seriesQuery: up\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}\n", "which is not valid PromQL"},
      {"rules:\n- seriesQuery: up\n  metricsQuery: <<.Seri>>\n",
       "a.yaml:3:3: rules[0].metricsQuery: \"<<.Seri>>\" cannot be rendered: 1:3"},
      {"rules:\n- seriesQuery: up\n  metricsQuery: '<<if>>'\n", "is not a template: 1:7"},
      {"rules:\n- seriesQuery: up\n  metricsQuery: '<<if .Series>><<end>>'\n", "renders to nothing"},
      {"rules: {}\n", "a.yaml:1:1: rules"},
      {"resourceRules: {window: 5 minutes}\n", "resourceRules.window: \"5 minutes\" is not a duration"},
      {"resourceRules: {window: 5m}\n", "resourceRules.cpu: is missing"},
      {"kind: ConfigMap\n", "the ConfigMap has no data"},
  };
  for (const Row& row : rows) {
    base::Result<Config> config = ParseConfig(row.text, "a.yaml");
    ASSERT_FALSE(config.ok()) << row.text;
    EXPECT_EQ(config.status().code(), base::Code::kInvalidArgument) << row.text;
    EXPECT_THAT(config.status().message(), HasSubstr(row.expected)) << row.text;
  }
}

TEST(ConfigTest, ReportsAllFaultsAtOnce) {
  base::Result<Config> config = ParseConfig("rules:\n- seriesQuery: '{'\n- metricsQuery: '('\n", "a.yaml");
  const std::string& text = config.status().message();
  EXPECT_THAT(text, HasSubstr("rules[0].seriesQuery"));
  EXPECT_THAT(text, HasSubstr("rules[0].metricsQuery"));
  EXPECT_THAT(text, HasSubstr("rules[1].seriesQuery"));
  EXPECT_THAT(text, HasSubstr("rules[1].metricsQuery"));
}

TEST(NameMappingTest, ExpandsAsGoDoes) {
  struct Row {
    std::string matches, as, series, expected;
  };
  const std::vector<Row> rows = {
      {".*", "", "up", "up"},
      {"^(.*)_total$", "", "a_total", "a"},
      {"_total$", "", "a_total", "_total"},
      {"^(.*)_total$", "${1}_per_second", "a_total", "a_per_second"},
      {"^(?P<base>.*)_(x|y)$", "$base-$2", "a_y", "a-y"},
      {"(.*)", "$$$1", "a", "$a"},
      {"(.*)", "a$", "x", "a$"},
      {"a(b)?c", "x$1", "ac", "x"},
  };
  for (const Row& row : rows) {
    base::Result<NameMapping> mapping = NameMapping::Create(*Pattern::Compile(row.matches), row.as);
    ASSERT_TRUE(mapping.ok()) << row.matches;
    EXPECT_EQ(mapping->Apply(row.series), row.expected) << row.matches << " " << row.as;
  }
  EXPECT_EQ(NameMapping::Create(*Pattern::Compile("^b"), "")->Apply("a"), std::nullopt);
}

}  // namespace
}  // namespace tidewright::adapter
