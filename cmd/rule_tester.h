// Runs unit tests of rules as promtool does: rules are evaluated over a store in memory, from the start of each test
// group to its last question, and what is expected is compared with what came out.
#pragma once

#include <string>
#include <vector>

#include "cmd/rule_test_file.h"
#include "rules/rule_file.h"

namespace tidewright::cmd {

// Returns the failures of one group, in promtool's words. `rules` are those of the files that the test file names.
std::vector<std::string> RunRuleTestGroup(const RuleTestFile& file, const RuleTestGroup& group,
                                          const std::vector<rules::GroupSpec>& rules);

}  // namespace tidewright::cmd
