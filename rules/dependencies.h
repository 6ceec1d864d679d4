// Which rules of a group may be evaluated side by side. Private to rules.
#pragma once

#include <cstddef>
#include <vector>

#include "rules/rule_file.h"

namespace tidewright::rules {

// The rules, by their index, in steps: those of one step neither read nor write what another of that step writes, and
// of two that do, the one that comes first in the group is in an earlier step. So evaluating step after step, each side
// by side, gives what evaluating in order gives.
//
// A rule reads what its selectors name, and writes its metric, or ALERTS and ALERTS_FOR_STATE. A selector without a
// metric name, and a template that queries, may read anything.
std::vector<std::vector<size_t>> StepsOf(const std::vector<RuleSpec>& rules);

}  // namespace tidewright::rules
