// Rules, alerts and metric rules as JSON, in Prometheus' shapes where it has one.
#pragma once

#include <vector>

#include "adapter/registry.h"
#include "base/json_fwd.h"
#include "rules/manager.h"

namespace tidewright::web {

base::Json RulesJson(const rules::Manager& manager);
base::Json AlertsJson(const rules::Manager& manager);
base::Json MetricRulesJson(const std::vector<adapter::RuleStatus>& rules);
base::Json BuildInfoJson();

}  // namespace tidewright::web
