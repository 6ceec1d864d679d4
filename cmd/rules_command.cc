#include "cmd/rules_command.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "cmd/rule_test_file.h"
#include "cmd/rule_tester.h"
#include "rules/rule_file.h"
#include "scrape/config.h"

namespace tidewright::cmd {

namespace {

constexpr int kFailed = 1;
constexpr int kLintFailed = 3;

// A series that several rules of one group write.
using RuleKey = std::pair<std::string, std::map<std::string, std::string>>;

std::vector<RuleKey> Duplicates(const std::vector<rules::GroupSpec>& groups) {
  std::map<RuleKey, int> uses;
  for (const rules::GroupSpec& group : groups) {
    for (const rules::RuleSpec& rule : group.rules) ++uses[{rule.name, rule.labels}];
  }
  std::vector<RuleKey> duplicates;
  for (const auto& [key, count] : uses) {
    if (count > 1) duplicates.push_back(key);
  }
  return duplicates;
}

std::string DuplicatesText(const std::vector<RuleKey>& duplicates) {
  std::string text = std::to_string(duplicates.size()) + " duplicate rule(s) found.\n";
  for (const auto& [name, labels] : duplicates) {
    text += "Metric: " + name + "\nLabel(s):\n";
    for (const auto& [label, value] : labels) text += "\t" + label + ": " + value + "\n";
  }
  return text + "Might cause inconsistency while recording expressions";
}

int PrintFailure(const std::string& text, int code) {
  std::fflush(stdout);
  std::fprintf(stderr, "  FAILED:\n%s\n", text.c_str());
  return code;
}

std::string ReadStandardInput() {
  std::string text;
  char part[4096];
  for (size_t n = 0; (n = std::fread(part, 1, sizeof part, stdin)) > 0;) text.append(part, n);
  return text;
}

int CheckText(const std::string& name, const base::Result<std::string>& text, const RulesCommandOptions& options) {
  rules::RuleFileOptions reading{.ignore_unknown_fields = options.ignore_unknown_fields};
  auto groups = text.ok() ? rules::ParseRuleFile(*text, name, reading)
                          : base::Result<std::vector<rules::GroupSpec>>(text.status());
  if (!groups.ok()) return PrintFailure(groups.status().message(), kFailed);
  size_t count = 0;
  for (const rules::GroupSpec& group : *groups) count += group.rules.size();
  const auto duplicates = options.lint_duplicates ? Duplicates(*groups) : std::vector<RuleKey>();
  if (!duplicates.empty()) {
    return PrintFailure("lint error " + DuplicatesText(duplicates), options.lint_fatal ? kLintFailed : 0);
  }
  std::printf("  SUCCESS: %zu rules found\n", count);
  return 0;
}

base::Result<std::vector<rules::GroupSpec>> ReadRules(const RuleTestFile& file, const RulesCommandOptions& options) {
  rules::RuleFileOptions reading{.ignore_unknown_fields = options.ignore_unknown_fields};
  std::vector<rules::GroupSpec> all;
  for (const std::string& pattern : file.rule_files) {
    const std::vector<std::string> paths = scrape::MatchFiles({pattern});
    if (paths.empty()) std::fprintf(stderr, "  WARNING: no file matches pattern %s\n", pattern.c_str());
    for (const std::string& path : paths) {
      TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
      TW_ASSIGN_OR_RETURN(auto groups, rules::ParseRuleFile(text, path, reading));
      std::move(groups.begin(), groups.end(), std::back_inserter(all));
    }
  }
  return all;
}

bool Selected(const RuleTestGroup& group, const std::vector<std::string>& run) {
  return run.empty() || std::any_of(run.begin(), run.end(), [&](const std::string& expression) {
           return RE2::PartialMatch(group.name, RE2(expression, RE2::Quiet));
         });
}

std::vector<std::string> RunFile(const std::string& path, const RulesCommandOptions& options) {
  auto text = base::ReadFile(path);
  if (!text.ok()) return {text.status().message()};
  auto file = ParseRuleTestFile(*text, path);
  if (!file.ok()) return {file.status().message()};
  auto rules = ReadRules(*file, options);
  std::vector<std::string> failures;
  for (const RuleTestGroup& group : file->groups) {
    if (!Selected(group, options.run)) continue;
    if (!rules.ok()) return {rules.status().message()};
    for (std::string& failure : RunRuleTestGroup(*file, group, *rules)) failures.push_back(std::move(failure));
  }
  return failures;
}

}  // namespace

int RunCheckRules(const RulesCommandOptions& options) {
  int outcome = 0;
  if (options.files.empty()) {
    std::printf("Checking standard input\n");
    outcome = CheckText("standard input", ReadStandardInput(), options);
    std::printf("\n");
  }
  for (const std::string& path : options.files) {
    std::printf("Checking %s\n", path.c_str());
    const int checked = CheckText(path, base::ReadFile(path), options);
    if (outcome == 0 || checked == kFailed) outcome = checked == 0 ? outcome : checked;
    std::printf("\n");
  }
  return outcome;
}

int RunTestRules(const RulesCommandOptions& options) {
  for (const std::string& expression : options.run) {
    const RE2 compiled(expression, RE2::Quiet);
    if (compiled.ok()) continue;
    std::fprintf(stderr, "tidewright: test rules: --run %s: %s\n", expression.c_str(), compiled.error().c_str());
    return kFailed;
  }
  (void)base::SetLogLevel("error");  // A rule that fails is a failure of the test, and told as one.
  bool passed = true;
  for (const std::string& path : options.files) {
    std::printf("Unit Testing:  %s\n", path.c_str());
    const std::vector<std::string> failures = RunFile(path, options);
    if (failures.empty()) std::printf("  SUCCESS\n");
    std::fflush(stdout);
    if (!failures.empty()) std::fprintf(stderr, "  FAILED:\n");
    for (const std::string& failure : failures) std::fprintf(stderr, "%s\n", failure.c_str());
    std::printf("\n");
    passed = passed && failures.empty();
  }
  return passed ? 0 : kFailed;
}

}  // namespace tidewright::cmd
