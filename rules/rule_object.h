// PrometheusRule objects (monitoring.coreos.com/v1) as rule files: what prometheus-operator writes for Prometheus.
#pragma once

#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "rules/rule_file.h"

namespace tidewright::rules {

// The groups of an object, with the file name NAMESPACE-NAME-UID.yaml. An empty interval or duration counts as not
// given, where prometheus-operator passes it on and Prometheus refuses the file. kInvalidArgument with every error, and
// when the object is larger than prometheus-operator takes (512 KiB).
base::Result<std::vector<GroupSpec>> ReadRuleObject(const base::Json& object, const RuleFileOptions& options = {});

}  // namespace tidewright::rules
