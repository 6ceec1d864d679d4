// One error per fault, with file or object, field, value and remedy; and the examples are without fault.
#include "cmd/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"

namespace tidewright::cmd {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct FaultCase {
  const char* name;
  const char* text;
  std::vector<std::string> parts;  // All of them are in the one error.
};

class CheckFaultTest : public testing::TestWithParam<FaultCase> {};
TEST_P(CheckFaultTest, IsOneErrorWithPlaceValueAndRemedy) {
  auto folder = base::TempDir::Create("tidewright-check");
  ASSERT_TRUE(folder.ok());
  std::string path = folder->path() + "/file.yaml";
  ASSERT_TRUE(base::WriteFileAtomic(path, GetParam().text).ok());
  CheckResult result = CheckFile(path);
  ASSERT_FALSE(result.status.ok());
  const std::string& message = result.status.message();
  for (const std::string& part : GetParam().parts) EXPECT_THAT(message, HasSubstr(part));
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

#define SCALED_OBJECT(spec) \
  "apiVersion: tidewright.dev/v1alpha1\nkind: ScaledObject\nmetadata: {name: worker, namespace: shop}\nspec:\n" spec
#define TARGET "  scaleTargetRef: {name: worker}\n"
#define CRON_TRIGGER(timezone, start)                                                   \
  "  triggers:\n  - type: cron\n    metadata: {timezone: " timezone ", start: \"" start \
  "\", end: \"0 18 * * *\", desiredReplicas: \"3\"}\n"

INSTANTIATE_TEST_SUITE_P(
    ScaledObject, CheckFaultTest,
    testing::Values(
        FaultCase{"unknown_key",
                  SCALED_OBJECT(TARGET "  minReplicas: 1\n" CRON_TRIGGER("Europe/Rome", "0 8 * * *")),
                  {"ScaledObject shop/worker", "spec.minReplicas", "minReplicaCount"}},
        FaultCase{"bad_cron",
                  SCALED_OBJECT(TARGET CRON_TRIGGER("Europe/Rome", "0 25 * * *")),
                  {"ScaledObject shop/worker", "spec.triggers[0].metadata.start", "25"}},
        FaultCase{"bad_time_zone",
                  SCALED_OBJECT(TARGET CRON_TRIGGER("Europe/Rom", "0 8 * * *")),
                  {"ScaledObject shop/worker", "spec.triggers[0].metadata.timezone", "Europe/Rom"}},
        FaultCase{"bad_promql",
                  SCALED_OBJECT(TARGET "  triggers:\n  - type: prometheus\n    metadata: {query: 'sum(rate(x[1m])', "
                                       "threshold: \"5\"}\n"),
                  {"ScaledObject shop/worker", "spec.triggers[0].metadata.query"}},
        FaultCase{"wrong_type",
                  SCALED_OBJECT(TARGET "  maxReplicaCount: many\n" CRON_TRIGGER("UTC", "0 8 * * *")),
                  {"ScaledObject shop/worker", "spec.maxReplicaCount", "many"}},
        FaultCase{"bad_number",
                  SCALED_OBJECT(TARGET "  triggers:\n  - type: redis\n    metadata: {address: 'r:6379', listName: l, "
                                       "listLength: ten}\n"),
                  {"ScaledObject shop/worker", "spec.triggers[0].metadata.listLength", "ten"}}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    PrometheusConfig, CheckFaultTest,
    testing::Values(FaultCase{"unknown_key",
                              "global: {scrape_intervall: 5s}\n",
                              {"file.yaml:1", "global.scrape_intervall", "scrape_interval"}},
                    FaultCase{"bad_duration",
                              "global:\n  scrape_interval: 5 minutes\n",
                              {"file.yaml:2", "global.scrape_interval", "5 minutes", "30s"}},
                    FaultCase{
                        "wrong_type", "scrape_configs: {job_name: a}\n", {"file.yaml:1", "scrape_configs", "list"}},
                    FaultCase{"bad_regex",
                              "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {source_labels: [a], regex: "
                              "'(', action: keep}\n",
                              {"file.yaml:4", "regex", "("}}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Rules, CheckFaultTest,
    testing::Values(FaultCase{"unknown_key", "groups:\n- name: g\n  rulez: []\n", {"file.yaml:3", "rulez", "rules"}},
                    FaultCase{"bad_promql",
                              "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'sum('}\n",
                              {"file.yaml:4", "expr"}},
                    FaultCase{"bad_duration",
                              "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, for: 5 minutes}\n",
                              {"file.yaml:4", "for", "5 minutes"}}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    AdapterRules, CheckFaultTest,
    testing::Values(
        FaultCase{"unknown_key", "rules:\n- seriesquery: up\n  metricsQuery: up\n", {"file.yaml:2", "seriesQuery"}},
        FaultCase{"bad_metric_rule",
                  "apiVersion: tidewright.dev/v1alpha1\nkind: MetricRule\nmetadata: {name: open, namespace: shop}\n"
                  "spec: {promql: 'sum(', name: {as: open}, resources: {overrides: {pod: {resource: pod}}}}\n",
                  {"MetricRule shop/open", "spec.promql"}},
        FaultCase{"bad_template",
                  "rules:\n- seriesQuery: up\n  resources: {template: '<<.Resource>>'}\n  metricsQuery: "
                  "'sum(<<.Series'\n",
                  {"file.yaml:4", "metricsQuery"}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(CheckTest, TheExamplesAreWithoutFault) {
  int checked = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(TIDEWRIGHT_SOURCE_DIR "/examples")) {
    std::string extension = entry.path().extension().string();
    if (extension != ".yaml" && extension != ".yml") continue;
    CheckResult result = CheckFile(entry.path().string());
    EXPECT_TRUE(result.status.ok()) << entry.path() << ": " << result.status.ToString();
    EXPECT_THAT(result.warnings, testing::IsEmpty()) << entry.path();
    ++checked;
  }
  EXPECT_GE(checked, 10);
}

TEST(CheckTest, TheRestGoesOnBeingChecked) {
  EXPECT_EQ(RunCheck({"/nonexistent.yaml", TIDEWRIGHT_SOURCE_DIR "/examples/tidewright/adapter.yaml"}), 1);
  EXPECT_EQ(RunCheck({TIDEWRIGHT_SOURCE_DIR "/examples/tidewright/adapter.yaml"}), 0);
}

}  // namespace
}  // namespace tidewright::cmd
