// Unit tests of rules in promtool's format: input series, and what rules and expressions make of them.
// Source of the format: Prometheus' documentation, "Unit testing for rules".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "promqltest/notation.h"
#include "tsdb/labels.h"

namespace tidewright::cmd {

// Times are ms after the start of the test group, unless they say otherwise.
struct AlertTest {
  struct Expected {
    std::map<std::string, std::string> labels;  // alertname included.
    std::map<std::string, std::string> annotations;
  };
  int64_t eval_time_ms = 0;
  std::string alert;
  std::vector<Expected> expected;
};

struct ExpressionTest {
  struct Expected {
    tsdb::Labels labels;
    double value = 0;
    promql::HistogramPtr histogram;  // Instead of the value; null: there is none.
  };
  int64_t eval_time_ms = 0;
  std::string expr;
  std::vector<Expected> expected;
};

struct RuleTestGroup {
  std::string name;
  int64_t interval_ms = 0;  // Between the samples of the input, and of rule groups that name none.
  int64_t start_ms = 0;     // Since the epoch.
  std::vector<promqltest::SeriesLine> input;
  std::vector<AlertTest> alerts;
  std::vector<ExpressionTest> expressions;
  std::map<std::string, std::string> external_labels;
  std::string external_url;

  int64_t LastEvaluationMs() const;
};

struct RuleTestFile {
  std::vector<std::string> rule_files;  // Relative to the folder of the test file.
  int64_t evaluation_interval_ms = 60'000;
  std::vector<std::string> group_order;
  bool fuzzy = false;  // Floats may differ in the last bit.
  std::vector<RuleTestGroup> groups;
};

// Strict; all errors are reported together, with `path`, line and field.
base::Result<RuleTestFile> ParseRuleTestFile(std::string_view text, const std::string& path);

}  // namespace tidewright::cmd
