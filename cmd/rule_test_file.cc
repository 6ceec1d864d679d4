#include "cmd/rule_test_file.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::cmd {

namespace {

using base::ObjectReader;
using base::Quoted;

int64_t ReadDuration(ObjectReader& in, std::string_view key) {
  base::Duration duration;
  in.Optional(key, &duration);
  return duration.ms;
}

promqltest::SeriesLine ReadSeries(ObjectReader& in) {
  std::string series, values;
  in.Required("series", &series);
  in.Required("values", &values);
  auto line = promqltest::ParseSeriesLine(series + " " + values);
  if (line.ok()) return *std::move(line);
  in.Error("series", Quoted(series + " " + values) + " is not a series: " + line.status().message());
  return {};
}

AlertTest ReadAlertTest(ObjectReader& in) {
  AlertTest test;
  test.eval_time_ms = ReadDuration(in, "eval_time");
  in.Required("alertname", &test.alert);
  in.Objects("exp_alerts", [&](ObjectReader& expected) {
    AlertTest::Expected alert;
    expected.Optional("exp_labels", &alert.labels);
    expected.Optional("exp_annotations", &alert.annotations);
    alert.labels["alertname"] = test.alert;
    test.expected.push_back(std::move(alert));
  });
  return test;
}

// As YAML spells numbers: .nan and .inf have a dot.
bool ReadNumber(const std::string& text, double* number) {
  const size_t dot = text.find_first_not_of("+-");
  const bool word =
      dot != std::string::npos && dot + 1 < text.size() && text[dot] == '.' && std::isalpha(text[dot + 1]);
  return base::ParseDouble(word ? text.substr(0, dot) + text.substr(dot + 1) : text, number);
}

ExpressionTest::Expected ReadSample(ObjectReader& in) {
  ExpressionTest::Expected sample;
  std::string labels, value, histogram;
  if (in.Optional("labels", &labels)) {
    auto line = promqltest::ParseSeriesLine((labels.empty() ? "{}" : labels) + " 0");
    if (line.ok()) sample.labels = line->labels;
    if (!line.ok()) in.Error("labels", Quoted(labels) + " is not a metric: " + line.status().message());
  }
  if (in.Optional("value", &value) && !ReadNumber(value, &sample.value)) {
    in.Error("value", Quoted(value) + " is not a number");
  }
  if (!in.Optional("histogram", &histogram) || histogram.empty()) return sample;
  auto line = promqltest::ParseSeriesLine("{} " + histogram);
  if (line.ok() && line->items.size() == 1 && line->items[0].histogram != nullptr) {
    sample.histogram = line->items[0].histogram;
  } else {
    in.Error("histogram",
             Quoted(histogram) + " is not one histogram; write for instance {{count:1 sum:2 buckets:[1]}}");
  }
  return sample;
}

ExpressionTest ReadExpressionTest(ObjectReader& in) {
  ExpressionTest test;
  test.eval_time_ms = ReadDuration(in, "eval_time");
  in.Required("expr", &test.expr);
  in.Objects("exp_samples", [&](ObjectReader& sample) { test.expected.push_back(ReadSample(sample)); });
  return test;
}

// A date, or seconds since the epoch.
int64_t ReadStart(ObjectReader& in) {
  std::string text;
  if (!in.Optional("start_timestamp", &text)) return 0;
  double seconds = 0;
  if (base::ParseDouble(text, &seconds)) return static_cast<int64_t>(seconds * 1000);
  auto time = base::ParseTime(text);
  if (time.ok()) return *time;
  in.Error("start_timestamp", Quoted(text) + " is neither a date such as 2024-01-01T00:00:00Z nor seconds");
  return 0;
}

RuleTestGroup ReadGroup(ObjectReader& in, int64_t evaluation_interval_ms) {
  RuleTestGroup group;
  in.Optional("name", &group.name);
  group.interval_ms = ReadDuration(in, "interval");
  if (group.interval_ms == 0) group.interval_ms = evaluation_interval_ms;
  group.start_ms = ReadStart(in);
  in.Optional("external_labels", &group.external_labels);
  in.Optional("external_url", &group.external_url);
  in.Objects("input_series", [&](ObjectReader& series) { group.input.push_back(ReadSeries(series)); });
  in.Objects("alert_rule_test", [&](ObjectReader& test) { group.alerts.push_back(ReadAlertTest(test)); });
  in.Objects("promql_expr_test", [&](ObjectReader& test) { group.expressions.push_back(ReadExpressionTest(test)); });
  return group;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

}  // namespace

int64_t RuleTestGroup::LastEvaluationMs() const {
  int64_t last = 0;
  for (const AlertTest& test : alerts) last = std::max(last, test.eval_time_ms);
  for (const ExpressionTest& test : expressions) last = std::max(last, test.eval_time_ms);
  return last;
}

base::Result<RuleTestFile> ParseRuleTestFile(std::string_view text, const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::Node node, base::ParseYaml(text, path));
  base::ErrorList errors(path);
  ObjectReader in(node, "", errors);
  RuleTestFile file;
  in.Optional("rule_files", &file.rule_files);
  for (std::string& rules : file.rule_files) {
    if (!rules.starts_with("/")) rules = FolderOf(path) + rules;
  }
  const int64_t interval = ReadDuration(in, "evaluation_interval");
  if (interval > 0) file.evaluation_interval_ms = interval;
  in.Optional("group_eval_order", &file.group_order);
  in.Optional("fuzzy_compare", &file.fuzzy);
  in.Objects("tests",
             [&](ObjectReader& group) { file.groups.push_back(ReadGroup(group, file.evaluation_interval_ms)); });
  in.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return file;
}

}  // namespace tidewright::cmd
