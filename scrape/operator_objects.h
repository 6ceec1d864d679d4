// ServiceMonitor, PodMonitor, Probe and ScrapeConfig (monitoring.coreos.com) without the operator: each object becomes
// the scrape configurations that prometheus-operator writes for it, rule by rule.
//
// The result is a JSON document in the form of the configuration file, so that it can be shown to users, compared, and
// read by DecodeScrapeConfigs(). Cases: conformance/prometheus-operator/monitors.json.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scrape/config.h"

namespace tidewright::scrape {

// The content of `key` in the Secret or ConfigMap `name`; kNotFound when there is none. `kind` is the one or the other.
using ReferenceLookup = std::function<base::Result<std::string>(const std::string& kind, const std::string& ns,
                                                                const std::string& name, const std::string& key)>;

// Not thread-safe. What it says depends on nothing but its arguments and the references that it looks up.
class OperatorConverter {
 public:
  // `prometheus`: the spec of a Prometheus object, of which those fields count that influence scraping (scrapeInterval,
  // scrapeClasses, enforced limits and so on); an empty object for none.
  OperatorConverter(const base::Json& prometheus, ReferenceLookup lookup);
  ~OperatorConverter();

  // The elements of scrape_configs that `object` stands for: one for each endpoint. An object that makes no sense gives
  // none and an error that says why, as a whole: kInvalidArgument; kNotFound for a missing Secret or ConfigMap key;
  // kPermissionDenied for file access that is not allowed; kUnimplemented for discovery that is not supported.
  base::Result<std::vector<base::Json>> Convert(const base::Json& object) const;

 private:
  const std::unique_ptr<const base::Json> prometheus_;
  const ReferenceLookup lookup_;
};

// The section `global` that an instance stands for: its timing, protocols and limits, enforced limits included.
base::Result<GlobalConfig> InstanceDefaults(const base::Json& prometheus);

// Reads what Convert() gave, with the defaults of `global` (see InstanceDefaults(); jobs rely on its limits). Warnings
// go to `warnings`, which may be null.
base::Result<std::vector<ScrapeConfig>> DecodeConverted(const std::vector<base::Json>& scrape_configs,
                                                        const std::string& origin, const GlobalConfig& global,
                                                        std::vector<std::string>* warnings);

}  // namespace tidewright::scrape
