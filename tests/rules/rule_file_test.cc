#include "rules/rule_file.h"

#include <gtest/gtest.h>

namespace tidewright::rules {
namespace {

TEST(RuleFile, ReadsGroups) {
  auto groups = ParseRuleFile(R"(
groups:
- name: web
  interval: 30s
  query_offset: 1m
  limit: 10
  labels: {team: shop, severity: low}
  rules:
  - record: job:requests:rate5m
    expr: sum by (job) (rate(requests_total[5m]))
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 10m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} is down"}
- name: empty
)",
                              "rules.yml");
  ASSERT_TRUE(groups.ok()) << groups.status().ToString();
  ASSERT_EQ(groups->size(), 2u);
  const GroupSpec& web = groups->front();
  EXPECT_EQ(web.file, "rules.yml");
  EXPECT_EQ(web.interval_ms, 30'000);
  EXPECT_EQ(web.query_offset_ms, 60'000);
  EXPECT_EQ(web.limit, 10);
  ASSERT_EQ(web.rules.size(), 2u);
  EXPECT_EQ(web.rules[0].kind, RuleKind::kRecording);
  EXPECT_EQ(web.rules[0].labels, (std::map<std::string, std::string>{{"severity", "low"}, {"team", "shop"}}));
  EXPECT_EQ(web.rules[1].kind, RuleKind::kAlerting);
  EXPECT_EQ(web.rules[1].for_ms, 300'000);
  EXPECT_EQ(web.rules[1].keep_firing_for_ms, 600'000);
  EXPECT_EQ(web.rules[1].labels.at("severity"), "page");
  EXPECT_EQ(web.rules[1].annotations.at("summary"), "{{ $labels.job }} is down");
  EXPECT_EQ((*groups)[1].query_offset_ms, std::nullopt);
}

// One mistake each, and what the error must tell.
TEST(RuleFile, ErrorsNamePlaceValueAndRemedy) {
  struct Row {
    std::string rules;
    std::vector<std::string> parts;
  };
  const Row rows[] = {
      {"- {record: a, expr: 'b +'}", {"r.yml:4", "groups[0].rules[0].expr", "\"b +\"", "not a PromQL expression"}},
      {"- {record: a}", {"r.yml:4", "groups[0].rules[0].expr"}},
      {"- {expr: b}", {"groups[0].rules[0].record", "missing", "record or alert"}},
      {"- {record: a, alert: B, expr: c}", {"rules[0].record", "\"B\"", "one of the two"}},
      {"- {record: a, expr: b, for: 5m}", {"rules[0].for", "belongs to alerts"}},
      {"- {record: 'a{b=\"c\"}', expr: b}", {"rules[0].record", "braces"}},
      {"- {record: a, expr: b, labels: {__name__: c}}", {"rules[0].labels", "__name__", "remove"}},
      {"- {alert: A, expr: b, for: 5 minutes}", {"rules[0].for", "5 minutes"}},
      {"- {alert: A, expr: b, labels: {c: '{{ $value'}}", {"rules[0].labels", "\"c\"", "1:1", "not closed"}},
      {"- {alert: A, expr: b, annotations: {c: 'x {{ nope }}'}}", {"rules[0].annotations", "nope", "humanize"}},
      {"- {alert: A, expr: b, annotation: {}}", {"annotation", "annotations"}},
  };
  for (const Row& row : rows) {
    auto parsed = ParseRuleFile("groups:\n- name: g\n  rules:\n  " + row.rules + "\n", "r.yml");
    ASSERT_FALSE(parsed.ok()) << row.rules;
    EXPECT_EQ(parsed.status().code(), base::Code::kInvalidArgument);
    for (const std::string& part : row.parts) {
      EXPECT_NE(parsed.status().message().find(part), std::string::npos) << part << "\n" << parsed.status().message();
    }
  }
}

TEST(RuleFile, ReportsAllErrorsOfAFile) {
  auto parsed = ParseRuleFile(
      "groups:\n- name: g\n  rules:\n  - {record: a, expr: '('}\n  - {alert: b}\n- name: g\n  interval: x\n", "r.yml");
  ASSERT_FALSE(parsed.ok());
  for (const char* place : {"r.yml:4", "r.yml:5", "groups[1].name", "groups[1].interval"}) {
    EXPECT_NE(parsed.status().message().find(place), std::string::npos) << place << "\n" << parsed.status().message();
  }
}

}  // namespace
}  // namespace tidewright::rules
