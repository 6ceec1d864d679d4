// Rules side by side: which may be, and that the outcome is that of evaluating them in order.
#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "rules/dependencies.h"
#include "rules/group.h"
#include "rules/workers.h"
#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

using tsdb::Labels;

std::vector<RuleSpec> Parse(const std::string& rules) {
  auto groups = ParseRuleFile("groups: [{name: g, rules: [" + rules + "]}]", "f.yml");
  EXPECT_TRUE(groups.ok()) << groups.status().message();
  return groups.ok() ? groups->front().rules : std::vector<RuleSpec>();
}

// "0 1 | 2": steps with the indices of their rules.
std::string Steps(const std::string& rules) {
  std::ostringstream text;
  for (const auto& step : StepsOf(Parse(rules))) {
    if (text.tellp() > 0) text << " |";
    for (size_t i : step) text << (text.tellp() > 0 ? " " : "") << i;
  }
  return text.str();
}

TEST(RuleSteps, FollowWhatRulesReadAndWrite) {
  struct Row {
    const char* name;
    const char* rules;
    const char* steps;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"none", "", ""},
           {"independent", "{record: a, expr: x}, {record: b, expr: y}, {alert: C, expr: x > 1}", "0 1 2"},
           {"a chain", "{record: a, expr: x}, {record: b, expr: a}, {record: c, expr: b}", "0 | 1 | 2"},
           {"a diamond", "{record: a, expr: x}, {record: b, expr: a}, {record: c, expr: a}, {alert: D, expr: b > c}",
            "0 | 1 2 | 3"},
           {"reads what a later one writes", "{record: a, expr: b}, {record: b, expr: x}", "0 | 1"},
           {"reads itself", "{record: a, expr: a + 1}, {record: b, expr: x}", "0 1"},
           {"in a subquery", "{record: a, expr: x}, {record: b, expr: 'max_over_time((a)[5m:1m])'}", "0 | 1"},
           {"by __name__", "{record: a, expr: x}, {record: b, expr: '{__name__=\"a\"}'}", "0 | 1"},
           {"by a regular expression", "{record: a, expr: x}, {record: b, expr: '{__name__=~\"y.*\"}'}", "0 | 1"},
           {"by labels alone", "{record: a, expr: x}, {record: b, expr: '{job=\"x\"}'}, {record: c, expr: y}",
            "0 | 1 | 2"},
           {"the same metric twice", "{record: a, expr: x}, {record: a, expr: y, labels: {l: v}}", "0 | 1"},
           {"the same alert twice", "{alert: A, expr: x}, {alert: A, expr: y}, {alert: B, expr: y}", "0 2 | 1"},
           {"ALERTS", "{alert: A, expr: x}, {alert: B, expr: y}, {record: c, expr: count(ALERTS)}", "0 1 | 2"},
           {"ALERTS_FOR_STATE", "{record: c, expr: ALERTS_FOR_STATE}, {alert: A, expr: x}", "0 | 1"},
           {"an alert is no metric", "{alert: a, expr: x}, {record: c, expr: a}", "0 1"},
           {"a template that queries",
            "{record: a, expr: x}, {alert: B, expr: y, annotations: {s: '{{ query \"a\" | first | value }}'}}",
            "0 | 1"},
           {"a word that is none", "{record: a, expr: x}, {alert: B, expr: y, annotations: {s: query}}", "0 1"},
       }) {
    EXPECT_EQ(Steps(row.rules), row.steps) << row.name;
  }
  // A function that has to be switched on, and selects what it is not told.
  EXPECT_EQ(StepsOf({{.name = "a", .expr = "x"}, {.name = "b", .expr = "info(y)"}}).size(), 2u);
}

TEST(Workers, CallEachOnce) {
  Workers workers(3);
  for (size_t count : {0u, 1u, 2u, 100u}) {
    std::vector<std::atomic<int>> calls(count);
    workers.ForEach(count, [&](size_t i) { ++calls[i]; });
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(calls[i], 1) << i << " of " << count;
  }
}

TEST(Workers, NestedCallsComeToAnEnd) {
  Workers workers(1);
  std::atomic<int> calls = 0;
  workers.ForEach(4, [&](size_t) { workers.ForEach(4, [&](size_t) { ++calls; }); });
  EXPECT_EQ(calls, 16);
}

// Random rules over the metrics m0 to m9, of which the rules write some.
std::string RandomRules(std::mt19937& random) {
  auto pick = [&random](int below) { return std::to_string(random() % static_cast<unsigned>(below)); };
  std::string rules;
  const int count = 1 + static_cast<int>(random() % 12);
  for (int i = 0; i < count; ++i) {
    const std::vector<std::string> expressions = {"m" + pick(10),
                                                  "m" + pick(10) + " + on() group_left() sum(m" + pick(10) + ")",
                                                  "sum by (i) (m" + pick(10) + ") * 2",
                                                  "sum_over_time(m" + pick(10) + "[2m])",
                                                  "count(ALERTS) + 0 * count(m" + pick(10) + ")",
                                                  "count({i=\"" + pick(3) + "\"})",
                                                  "m" + pick(10) + " > " + pick(50)};
    const std::string& expr = expressions[random() % expressions.size()];
    rules += std::string(rules.empty() ? "" : ", ") +
             (random() % 4 == 0 ? "{alert: A" + pick(4) + ", for: 1m, labels: {l: '{{ $value }}'}"
                                : "{record: m" + pick(10) + ", labels: {l: v" + pick(2) + "}") +
             ", expr: '" + expr + "'}";
  }
  return rules;
}

// What some evaluations of a group leave in a store.
std::map<std::string, std::vector<std::string>> Outcome(const std::vector<RuleSpec>& rules, Workers* workers) {
  testing::Store store;
  base::MetricRegistry metrics;
  Instruments instruments(metrics);
  const GroupSpec spec{.name = "g", .file = "f", .interval_ms = 60'000, .rules = rules};
  Group group(spec, {}, *store.engine, *store.db, instruments, workers);
  for (int64_t t = 60'000; t <= 300'000; t += 60'000) {
    for (int m = 0; m < 5; ++m) {
      for (int i = 0; i < 3; ++i) {
        store.Add(Labels::Of({{"__name__", "m" + std::to_string(m)}, {"i", std::to_string(i)}}), t - 1,
                  static_cast<double>(m * 10 + i) + static_cast<double>(t) / 60'000);
      }
    }
    group.Evaluate(t);
    if (group.RestoreDue()) group.Restore(t);
  }
  auto contents = store.Contents();
  for (const RuleStatus& rule : group.Status().rules) contents["errors"].push_back(rule.last_error.ToString());
  return contents;
}

TEST(ConcurrentRules, LeaveWhatRulesInOrderLeave) {
  Workers workers(3);
  size_t side_by_side = 0;
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const std::string text = RandomRules(random);
    const std::vector<RuleSpec> rules = Parse(text);
    if (StepsOf(rules).size() < rules.size()) ++side_by_side;
    EXPECT_EQ(Outcome(rules, &workers), Outcome(rules, nullptr)) << "seed " << seed << ": " << text;
  }
  EXPECT_GT(side_by_side, 50u) << "otherwise this compares nothing";
}

}  // namespace
}  // namespace tidewright::rules
