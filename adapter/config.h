// The configuration of prometheus-adapter (rules, externalRules, resourceRules), read unchanged and strictly.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/rule.h"
#include "base/document.h"
#include "base/status.h"

namespace tidewright::adapter {

// A checked configuration. Immutable.
struct Config {
  std::vector<std::shared_ptr<const Rule>> rules;
  std::vector<std::shared_ptr<const Rule>> external_rules;
  std::optional<ResourceRules> resource_rules;
};

// Reads YAML or JSON; also a ConfigMap object whose data holds the file (under config.yaml, or as its only key).
// `origin` names the file in errors. kInvalidArgument lists every fault, one per line: file and line, field, value,
// remedy. Series selectors are parsed, and each metricsQuery is rendered with example values and checked as PromQL.
//
// Stricter than prometheus-adapter in one point: name.as must not name a group that name.matches does not have.
base::Result<Config> ParseConfig(std::string_view text, const std::string& origin);

// Reads one element of rules or externalRules (`section`); faults are reported to the reader. Besides
// prometheus-adapter's form there is one with its own PromQL:
//
//   - promql: sum by (namespace, pod) (rate(http_requests_total[2m]))
//     resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
//     name: {as: http_requests_per_second}
std::shared_ptr<Rule> ReadRule(base::ObjectReader& reader, const std::string& section, size_t index);

// The rules used when none are configured, as a configuration file: every series with a namespace label becomes a
// custom metric of the objects that its other labels name (counters as 5-minute rates), and CPU and memory of pods and
// nodes come from the kubelet's resource metrics.
std::string DefaultConfigText();

}  // namespace tidewright::adapter
