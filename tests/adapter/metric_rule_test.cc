#include "adapter/metric_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/document.h"
#include "base/json.h"
#include "tests/apiservice/fake_kube_client.h"

namespace tidewright::adapter {
namespace {

using base::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'795'251'600'000;

Json Object(const std::string& ns, const std::string& name, const std::string& spec) {
  return {{"apiVersion", "tidewright.dev/v1alpha1"},
          {"kind", "MetricRule"},
          {"metadata", {{"name", name}, {"namespace", ns}, {"generation", 3}}},
          {"spec", base::NodeToJson(*base::ParseYaml(spec, "spec"))}};
}

constexpr char kTemplate[] =
    "{seriesQuery: http_requests_total, resources: {template: <<.Resource>>}, name: {as: rps},"
    " metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'}";
constexpr char kPromql[] =
    "{promql: 'sum by (pod) (up)', name: {as: ups}, resources: {overrides: {pod: {resource: pod}}}}";

TEST(MetricRuleTest, IsARuleForItsNamespace) {
  auto rule = DecodeMetricRule(Object("shop", "requests", kTemplate));
  ASSERT_TRUE(rule.ok()) << rule.status().message();
  EXPECT_EQ((*rule)->Title(), "MetricRule shop/requests");
  EXPECT_EQ((*rule)->ns, "shop");
  EXPECT_FALSE((*rule)->external());
  ASSERT_EQ((*rule)->selector.size(), 2u);
  EXPECT_EQ((*rule)->selector[1].ToString(), "namespace=\"shop\"");
  rule = DecodeMetricRule(
      Object("shop", "queue", "{api: External, seriesQuery: queue_depth, metricsQuery: 'sum(<<.Series>>)'}"));
  ASSERT_TRUE(rule.ok()) << rule.status().message();
  EXPECT_TRUE((*rule)->external());
  rule = DecodeMetricRule(Object("shop", "ups", kPromql));
  ASSERT_TRUE(rule.ok()) << rule.status().message();
  EXPECT_EQ((*rule)->metric, "ups");
}

TEST(MetricRuleTest, NamesWhatIsWrong) {
  struct Row {
    std::string spec, expected;
  };
  const std::vector<Row> rows = {
      {"{}", "MetricRule shop/x: spec.seriesQuery"},
      {"{api: Custum, promql: up}", "spec.api: \"Custum\" is unknown; use Custom or External"},
      {"{promql: up}", "spec.resources"},
      {"{promql: 'up +', name: {as: x}, resources: {overrides: {pod: {resource: pod}}}}", "spec.promql"},
      {"{promql: up, resources: {overrides: {pod: {resource: pod}}}}", "spec.name"},
      {"{promql: up, seriesQuery: up, name: {as: x}, resources: {overrides: {pod: {resource: pod}}}}",
       "spec.seriesQuery: does not go with promql"},
      {"{promql: up, name: {as: x, matches: y}, resources: {overrides: {pod: {resource: pod}}}}", "spec.name.matches"},
      {"{seriesQuery: up, metricsQuery: x, metricQuery: y}", "spec.metricQuery"},
  };
  for (const Row& row : rows) {
    base::Status status = DecodeMetricRule(Object("shop", "x", row.spec)).status();
    EXPECT_EQ(status.code(), base::Code::kInvalidArgument) << row.spec;
    EXPECT_THAT(status.message(), HasSubstr(row.expected)) << row.spec;
  }
}

TEST(MetricRuleTest, StatusSaysWhatItGives) {
  Json object = Object("shop", "requests", kTemplate);
  RuleStatus rule;
  rule.series_query = "http_requests_total";
  Json status = MetricRuleStatus(object, &rule, "", kNow);
  EXPECT_EQ(status["conditions"][0]["reason"], "NotListed");
  rule.listed_at_ms = kNow;
  rule.series = 1;
  rule.metrics = {"pods/rps"};
  rule.notes = {"namespaces/rps is also defined by rules[0], which keeps it"};
  status = MetricRuleStatus(object, &rule, "", kNow);
  EXPECT_EQ(status["conditions"][0]["status"], "True");
  EXPECT_THAT(status["conditions"][0]["message"].get<std::string>(), HasSubstr("also defined by rules[0]"));
  EXPECT_EQ(status["metrics"], Json::array({"pods/rps"}));
  EXPECT_EQ(status["observedGeneration"], 3);
  object["status"] = status;
  EXPECT_EQ(MetricRuleStatus(object, &rule, "", kNow + 5000), status) << "the time is that of the last change";
  rule.metrics.clear();
  Json none = MetricRuleStatus(object, &rule, "", kNow + 5000);
  EXPECT_EQ(none["conditions"][0]["reason"], "NoMetrics");
  EXPECT_EQ(none["conditions"][0]["lastTransitionTime"], "2026-11-21T09:00:05Z");
  EXPECT_EQ(MetricRuleStatus(object, nullptr, "wrong", kNow)["conditions"][0]["reason"], "Invalid");
}

TEST(MetricRuleTest, ObjectsAreFollowedAndTheirStatusIsWrittenOnce) {
  testing::FakeKubeClient client;
  client.Put(MetricRuleResource(), Object("shop", "requests", kTemplate));
  client.Put(MetricRuleResource(), Object("shop", "broken", "{promql: 'up +'}"));
  client.Put(MetricRuleResource(), Object("test", "ups", kPromql));
  base::FakeClock clock(kNow);
  kube::SharedCaches caches(client, clock);
  base::Mutex mu;
  base::CondVar changed;
  std::vector<std::string> titles;
  int calls = 0;
  MetricRuleSource source(caches);
  source.Start([&](std::vector<std::shared_ptr<const Rule>> rules) {
    base::MutexLock lock(mu);
    titles.clear();
    for (const auto& rule : rules) titles.push_back(rule->Title());
    ++calls;
    changed.NotifyAll();
  });
  {
    base::MutexLock lock(mu);
    while (calls < 3) changed.Wait(mu);
    EXPECT_THAT(titles, ElementsAre("MetricRule shop/requests", "MetricRule test/ups"));
  }
  EXPECT_EQ(source.Faults().count("shop/broken"), 1u);
  RuleStatus listed;
  listed.object = "MetricRule test/ups";
  listed.listed_at_ms = kNow;
  listed.metrics = {"pods/ups"};
  base::ThreadPool pool("metric-rule-test", 1);
  base::Scheduler scheduler(clock, pool);
  MetricRuleReporter reporter(
      source, [&] { return std::vector<RuleStatus>{listed}; }, client, clock, scheduler);
  reporter.ReportNow();
  EXPECT_EQ(client.writes(), 3);
  Json ups = *client.Get(MetricRuleResource(), "test", "ups");
  EXPECT_EQ(ups["status"]["metrics"], Json::array({"pods/ups"}));
  Json broken = *client.Get(MetricRuleResource(), "shop", "broken");
  EXPECT_EQ(broken["status"]["conditions"][0]["reason"], "Invalid");
  source.Stop();
  caches.Stop();
}

}  // namespace
}  // namespace tidewright::adapter
