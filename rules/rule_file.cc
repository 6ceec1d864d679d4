#include "rules/rule_file.h"

#include <algorithm>
#include <set>

#include "base/document.h"
#include "base/strings.h"
#include "promql/engine.h"
#include "rules/alert_template.h"
#include "rules/rule_document.h"

namespace tidewright::rules {

namespace {

using base::ObjectReader;
using base::Quoted;

bool IsLegacyName(std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [colon](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (colon && c == ':');
  });
}

class RuleFileReader {
 public:
  RuleFileReader(const std::string& file, const RuleFileOptions& options) : file_(file), options_(options) {}

  std::vector<GroupSpec> Read(ObjectReader& document) {
    std::vector<GroupSpec> groups;
    std::set<std::string> names;
    if (options_.ignore_unknown_fields) document.IgnoreRest();
    document.Objects("groups", [&](ObjectReader& in) {
      groups.push_back(ReadGroup(in));
      const std::string& name = groups.back().name;
      if (!name.empty() && !names.insert(name).second) {
        in.Error("name", Quoted(name) + " is the name of another group of this file; rename one of them");
      }
    });
    return groups;
  }

 private:
  GroupSpec ReadGroup(ObjectReader& in) {
    GroupSpec group;
    group.file = file_;
    if (options_.ignore_unknown_fields) in.IgnoreRest();
    if (in.Required("name", &group.name) && group.name.empty()) in.Error("name", "is empty; name the group");
    group.interval_ms = ReadDuration(in, "interval").value_or(0);
    group.query_offset_ms = ReadDuration(in, "query_offset");
    in.Optional("limit", &group.limit);
    std::map<std::string, std::string> labels = ReadLabels(in, "labels");
    in.Objects("rules", [&](ObjectReader& rule) {
      group.rules.push_back(ReadRule(rule));
      group.rules.back().labels.insert(labels.begin(), labels.end());  // Those of the rule win.
    });
    return group;
  }

  static std::optional<int64_t> ReadDuration(ObjectReader& in, std::string_view key) {
    base::Duration duration;
    if (!in.Optional(key, &duration)) return std::nullopt;
    return duration.ms;
  }

  void CheckName(ObjectReader& in, std::string_view key, const std::string& name, bool colon) {
    bool valid = options_.legacy_names ? IsLegacyName(name, colon) : !name.empty() && base::IsValidUtf8(name);
    if (valid) return;
    in.Error(key, Quoted(name) + " is not a valid name; use letters, digits and underscores");
  }

  std::map<std::string, std::string> ReadLabels(ObjectReader& in, std::string_view key) {
    std::map<std::string, std::string> labels;
    in.Optional(key, &labels);
    for (const auto& [name, value] : labels) {
      CheckName(in, key, name, /*colon=*/false);
      if (name == "__name__") in.Error(key, "\"__name__\" cannot be set as a label; remove it");
    }
    return labels;
  }

  RuleSpec ReadRule(ObjectReader& in) {
    RuleSpec rule;
    std::string record, alert;
    if (options_.ignore_unknown_fields) in.IgnoreRest();
    in.Optional("record", &record);
    in.Optional("alert", &alert);
    rule.kind = alert.empty() ? RuleKind::kRecording : RuleKind::kAlerting;
    rule.name = alert.empty() ? record : alert;
    if (!record.empty() && !alert.empty()) {
      in.Error("record", "is set beside alert " + Quoted(alert) + "; a rule has one of the two");
    } else if (rule.name.empty()) {
      in.Error("record", "is missing; set record or alert to a name");
    }
    ReadExpression(in, &rule.expr);
    rule.labels = ReadLabels(in, "labels");
    if (rule.kind == RuleKind::kAlerting) {
      ReadAlert(in, &rule);
    } else {
      ReadRecord(in, rule);
    }
    return rule;
  }

  static void ReadExpression(ObjectReader& in, std::string* expr) {
    if (!in.Required("expr", expr)) return;
    if (expr->empty()) return in.Error("expr", "is empty; write a PromQL expression");
    base::Status checked = promql::CheckExpression(*expr);
    if (!checked.ok()) in.Error("expr", Quoted(*expr) + " is not a PromQL expression: " + checked.message());
  }

  void ReadAlert(ObjectReader& in, RuleSpec* rule) {
    rule->for_ms = ReadDuration(in, "for").value_or(0);
    rule->keep_firing_for_ms = ReadDuration(in, "keep_firing_for").value_or(0);
    in.Optional("annotations", &rule->annotations);
    for (const auto& [name, text] : rule->annotations) CheckName(in, "annotations", name, /*colon=*/false);
    CheckTemplates(in, "labels", rule->labels);
    CheckTemplates(in, "annotations", rule->annotations);
  }

  static void CheckTemplates(ObjectReader& in, std::string_view key, const std::map<std::string, std::string>& texts) {
    for (const auto& [name, text] : texts) {
      auto parsed = AlertTemplate::Parse(text);
      if (parsed.ok()) continue;
      in.Error(key, Quoted(name) + " is not a template: " + parsed.status().message() + "; see Go's text/template");
    }
  }

  void ReadRecord(ObjectReader& in, const RuleSpec& rule) {
    for (std::string_view key : {"for", "keep_firing_for", "annotations"}) {
      if (in.Has(key)) in.Error(key, "belongs to alerts; remove it from the recording rule");
      in.Ignore(key);
    }
    if (rule.name.empty()) return;
    if (rule.name.find_first_of("{}") != std::string::npos) {
      in.Error("record", Quoted(rule.name) + " has braces; give the bare metric name and put labels into labels");
    } else {
      CheckName(in, "record", rule.name, /*colon=*/true);
    }
  }

  const std::string file_;
  const RuleFileOptions options_;
};

}  // namespace

base::Result<std::vector<GroupSpec>> ReadRuleDocument(const base::Node& node, const RuleDocumentName& name,
                                                      const RuleFileOptions& options) {
  base::ErrorList errors(name.origin);
  ObjectReader document(node, "", errors);
  std::vector<GroupSpec> groups = RuleFileReader(name.file, options).Read(document);
  document.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return groups;
}

base::Result<std::vector<GroupSpec>> ParseRuleFile(std::string_view text, const std::string& file,
                                                   const RuleFileOptions& options) {
  if (!base::IsValidUtf8(text)) return base::InvalidArgumentError(file + ": is not valid UTF-8; save it as UTF-8");
  TW_ASSIGN_OR_RETURN(base::Node node, base::ParseYaml(text, file));
  return ReadRuleDocument(node, {.origin = file, .file = file}, options);
}

}  // namespace tidewright::rules
