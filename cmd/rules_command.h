// `tidewright check rules` and `tidewright test rules`, with what promtool prints.
#pragma once

#include <string>
#include <vector>

namespace tidewright::cmd {

struct RulesCommandOptions {
  std::vector<std::string> files;      // None: standard input, to check only.
  std::vector<std::string> run;        // Of tests: groups whose names match one of these expressions; none: all.
  bool ignore_unknown_fields = false;  // Of rule files.
  bool lint_duplicates = true;         // Of checks: rules that write the same series.
  bool lint_fatal = false;             // What the linter finds is an error.
};

// Checks rule files: 0 if all are right, 1 if one is not, 3 if the linter found something and that is fatal.
int RunCheckRules(const RulesCommandOptions& options);

// Runs the unit tests of rules in the files: 0 if all pass.
int RunTestRules(const RulesCommandOptions& options);

}  // namespace tidewright::cmd
