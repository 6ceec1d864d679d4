// What rule files and PrometheusRule objects have in common. Private to rules.
#pragma once

#include <string>
#include <vector>

#include "base/document.h"
#include "base/status.h"
#include "rules/rule_file.h"

namespace tidewright::rules {

struct RuleDocumentName {
  std::string origin;  // In errors.
  std::string file;    // In the result.
};

// Reads {groups: [...]}; all errors are reported together.
base::Result<std::vector<GroupSpec>> ReadRuleDocument(const base::Node& node, const RuleDocumentName& name,
                                                      const RuleFileOptions& options);

}  // namespace tidewright::rules
