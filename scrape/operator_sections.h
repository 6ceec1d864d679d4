// The parts of converting an operator object. Private to scrape/operator_*.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "scrape/operator_objects.h"

namespace tidewright::scrape {

// An object on its way to a scrape configuration.
struct OperatorObject {
  const base::Json& prometheus;  // The instance's spec.
  const base::Json& object;
  const base::Json& spec;
  const base::Json& scrape_class;  // Null when none applies.
  const ReferenceLookup& lookup;
  std::string kind, ns, name;
};

// Members, with a default for those that are missing or null.
std::string TextAt(const base::Json& object, std::string_view key);
bool BoolAt(const base::Json& object, std::string_view key, bool otherwise);
const base::Json& ObjectAt(const base::Json& object, std::string_view key);  // Null when missing.
bool HasValue(const base::Json& object, std::string_view key);               // Present and not null.
// Copies a member under another name, if it has a value.
void CopyMember(const base::Json& from, std::string_view key, base::Json* to, std::string_view as);

// A label or annotation name as it occurs in meta labels: other characters than letters, digits and _ become _.
std::string SanitizedName(std::string_view name);

// Adds tls_config, basic_auth, authorization, oauth2, bearer tokens, proxies, follow_redirects and enable_http2 of an
// endpoint (or of a spec that is its own endpoint), with its references resolved. `files`: whether paths are allowed.
base::Status AddHttpSettings(const OperatorObject& context, const base::Json& endpoint, bool files, base::Json* config);

// One rule in the form of the configuration file.
base::Json RelabelJson(std::vector<std::string> sources, const std::string& regex, const std::string& target,
                       const std::string& replacement, const std::string& action = "");
// Rules as objects write them, in the form of the configuration file.
base::Json RelabelRulesJson(const base::Json& rules);
base::Status CheckRules(const base::Json& rules, const std::string& place);

// Keep and drop rules for a label selector on the labels of a role's objects ("service", "pod", "ingress").
base::Status AddSelectorRules(const base::Json& selector, const std::string& role, base::Json* rules);
// The selector as the API server reads it: "a=1,b in (x,y),!c".
base::Result<std::string> SelectorText(const base::Json& selector);

// The relabelling at the end of every job: the scrape class's rules, the user's, the enforced namespace label, shards.
base::Status AddFinalRules(const OperatorObject& context, const base::Json& user_rules, const std::string& shard_label,
                           base::Json* rules);
base::Status AddMetricRules(const OperatorObject& context, const base::Json& user_rules, base::Json* config);
base::Status AddTiming(const OperatorObject& context, const base::Json& from, const std::string& interval_key,
                       base::Json* config);
void AddHonor(const OperatorObject& context, const base::Json& from, bool always_labels, base::Json* config);
void AddLimits(const OperatorObject& context, base::Json* config);
void AddFormats(const OperatorObject& context, base::Json* config);
// Namespaces and attached metadata of a discovery that is limited to where the object is.
base::Json KubernetesDiscovery(const OperatorObject& context, const std::string& role, const base::Json& selector);

base::Result<base::Json> ConvertServiceEndpoint(const OperatorObject& context, const base::Json& endpoint,
                                                size_t index);
base::Result<base::Json> ConvertPodEndpoint(const OperatorObject& context, const base::Json& endpoint, size_t index);
base::Result<base::Json> ConvertProbe(const OperatorObject& context);
base::Result<base::Json> ConvertScrapeConfig(const OperatorObject& context);

}  // namespace tidewright::scrape
