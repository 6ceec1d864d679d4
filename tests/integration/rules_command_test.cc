// `tidewright check rules` and `tidewright test rules` next to promtool: the same files have the same outcome and,
// where the texts are not errors in files, the same output.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/strings.h"

namespace tidewright::cmd {
namespace {

struct Outcome {
  int code = -1;
  std::string out;
};

constexpr const char* kRules = R"(groups:
- name: alerts
  rules:
  - alert: InstanceDown
    expr: up == 0
    for: 5m
    labels: {severity: page, team: '{{ $labels.job }}-team'}
    annotations: {summary: '{{ $labels.instance | stripPort }} down: {{ $value | humanize }}'}
  - {alert: AlwaysFiring, expr: 1}
- name: rules
  interval: 1m
  rules:
  - {record: 'job:test:sum', expr: 'sum without(instance) (test)'}
)";

constexpr const char* kDuplicates = R"(groups:
- name: g
  rules:
  - {record: a, expr: up, labels: {x: y, b: c}}
  - {record: a, expr: up * 2, labels: {x: y, b: c}}
  - {record: b, expr: up}
)";

std::string Tests(const std::string& value, const std::string& alerts) {
  return "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n"
         "  - {series: 'up{job=\"web\", instance=\"a:80\"}', values: 0x20}\n"
         "  - {series: 'test{job=\"web\", instance=\"a:80\"}', values: 1.5+0.25x20}\n"
         "  promql_expr_test:\n"
         "  - {expr: test, eval_time: 3m, exp_samples: [{labels: 'test{job=\"web\", instance=\"a:80\"}', value: " +
         value +
         "}]}\n"
         "  - {expr: 'job:test:sum', eval_time: 5m, exp_samples: [{labels: 'job:test:sum{job=\"web\"}', value: "
         "2.75}]}\n  alert_rule_test:\n  - {eval_time: 4m, alertname: InstanceDown}\n"
         "  - eval_time: 6m\n    alertname: InstanceDown\n    exp_alerts: " +
         alerts + "\n";
}

const std::string kAlert =
    "[{exp_labels: {severity: page, team: web-team, job: web, instance: 'a:80'}, exp_annotations: {summary: 'a down: "
    "0'}}]";

class RulesCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("promtool")) GTEST_SKIP() << "promtool is not installed: nothing to compare with";
    Write("rules.yml", kRules);
    Write("duplicates.yml", kDuplicates);
    Write("wrong.yml", "groups: [{name: g, rules: [{record: a, expr: 'up +'}]}]\n");
    Write("passes.yml", Tests("2.25", kAlert));
    Write("fails.yml", Tests("1e300", "[]"));
    Write("fails_more.yml", Tests(".nan", kAlert.substr(0, kAlert.size() - 1) + ", {exp_labels: {more: 'a\\b'}}]"));
    Write("unknown.yml", "rule_file: [rules.yml]\n");
    Write("error.yml",
          "rule_files: [rules.yml]\ntests:\n- input_series: [{series: 'a{x=\"1\"}', values: 1}, {series: 'a{x=\"2\"}', "
          "values: 1}]\n  promql_expr_test: [{expr: a * on() a, eval_time: 0m}]\n");
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + name, text).ok());
  }

  Outcome Run(const std::string& program, const std::string& arguments) {
    Outcome outcome;
    FILE* pipe = popen(("cd " + folder_.path() + " && " + program + " " + arguments + " 2>&1").c_str(), "r");
    std::array<char, 4096> part;
    for (size_t n = 0; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) outcome.out.append(part.data(), n);
    outcome.code = WEXITSTATUS(pclose(pipe));
    return outcome;
  }

  // Without empty ones: standard output and standard error come in no fixed order.
  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines;
    for (std::string& line : base::Split(text, '\n')) {
      if (!line.empty()) lines.push_back(std::move(line));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  base::TempDir folder_ = *base::TempDir::Create("rules-command");
};

TEST_F(RulesCommandTest, SaysWhatPromtoolSays) {
  struct Row {
    const char* arguments;
    int code;
    bool same_text;
  };
  const Row rows[] = {{"check rules rules.yml", 0, true},
                      {"check rules duplicates.yml", 0, true},
                      {"check rules --lint-fatal duplicates.yml", 3, false},
                      {"check rules wrong.yml rules.yml", 1, false},
                      {"check rules < rules.yml", 0, false},
                      {"test rules passes.yml", 0, true},
                      {"test rules fails.yml", 1, true},
                      {"test rules fails_more.yml", 1, true},
                      {"test rules passes.yml fails.yml", 1, false},
                      {"test rules unknown.yml", 1, false},
                      {"test rules error.yml", 1, false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.arguments);
    const Outcome ours = Run(TIDEWRIGHT_BINARY, row.arguments);
    const Outcome theirs = Run("promtool", row.arguments);
    EXPECT_EQ(ours.code, row.code) << ours.out;
    // Debian's promtool reads no standard input yet.
    if (std::string(row.arguments).find('<') == std::string::npos) {
      EXPECT_EQ(theirs.code, row.code) << theirs.out;
    }
    if (row.same_text) {
      EXPECT_EQ(Lines(ours.out), Lines(theirs.out));
    }
  }
}

}  // namespace
}  // namespace tidewright::cmd
