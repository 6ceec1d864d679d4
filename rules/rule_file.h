// Rule files: groups of recording and alerting rules, in Prometheus' format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::rules {

enum class RuleKind { kRecording, kAlerting };

struct RuleSpec {
  RuleKind kind = RuleKind::kRecording;
  std::string name;  // The metric that is recorded, or the alert's name.
  std::string expr;
  int64_t for_ms = 0;                         // Alerts: how long it must hold before it fires.
  int64_t keep_firing_for_ms = 0;             // Alerts: how long it goes on firing afterwards.
  std::map<std::string, std::string> labels;  // Of the group and the rule; an empty value removes a label.
  std::map<std::string, std::string> annotations;

  friend bool operator==(const RuleSpec&, const RuleSpec&) = default;
};

struct GroupSpec {
  std::string name;
  std::string file;
  int64_t interval_ms = 0;                 // 0: the default.
  std::optional<int64_t> query_offset_ms;  // Absent: the default.
  int64_t limit = 0;                       // Series or alerts that one rule may produce; 0 or less: no limit.
  std::vector<RuleSpec> rules;

  friend bool operator==(const GroupSpec&, const GroupSpec&) = default;
};

struct RuleFileOptions {
  bool ignore_unknown_fields = false;  // Of other programs, such as Thanos or Loki.
  bool legacy_names = false;           // Refuse label and metric names beyond [a-zA-Z_:][a-zA-Z0-9_:]*.
};

// Parses a rule file. Strict: an unknown field, a wrong value or an invalid expression is an error, and all errors of
// the file are reported together, each with file, line, field, value and remedy. `file` is used in errors and in the
// result.
base::Result<std::vector<GroupSpec>> ParseRuleFile(std::string_view text, const std::string& file,
                                                   const RuleFileOptions& options = {});

}  // namespace tidewright::rules
