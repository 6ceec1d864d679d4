// Targets, rules, alerts, metadata and metric rules as JSON, in Prometheus' shapes where it has one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapter/registry.h"
#include "base/json_fwd.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "tsdb/appender.h"

namespace tidewright::web {

base::Json TargetsJson(const scrape::Manager& manager);
base::Json RulesJson(const rules::Manager& manager);
base::Json AlertsJson(const rules::Manager& manager);
// {family: [{"type","help","unit"}]}; of one family if `metric` is not "".
base::Json MetadataJson(const std::map<std::string, tsdb::Metadata>& families, const std::string& metric);
base::Json MetricRulesJson(const std::vector<adapter::RuleStatus>& rules);
base::Json BuildInfoJson();

}  // namespace tidewright::web
