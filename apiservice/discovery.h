// Discovery documents: which groups, versions and resources are served. Made from memory alone.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "apiservice/provider.h"
#include "base/json_fwd.h"

namespace tidewright::apiservice {

// A group with its versions, the preferred one first.
struct ServedGroup {
  std::string group;
  std::vector<std::string> versions;
};

// The groups behind the providers that are not null.
std::vector<ServedGroup> ServedGroups(const Providers& providers);

// /apis and /apis/<group>.
base::Json GroupListJson(const std::vector<ServedGroup>& groups);
base::Json GroupJson(const ServedGroup& group);

// /apis/<group>/<version>. At most `max_metrics` metrics are listed: the list is for people, requests do not need it,
// and every kubectl command that needs discovery reads it. Never empty: a placeholder stands for "no metric yet"
// and for a group without a provider, because clients treat an empty list as a broken group and ask again each time.
base::Json ResourceListJson(const std::string& group, const std::string& version, const Providers& providers,
                            size_t max_metrics);

// The aggregated document (APIGroupDiscoveryList of apidiscovery.k8s.io/v2) with everything above.
base::Json AggregatedDiscoveryJson(const Providers& providers, size_t max_metrics);

// A strong entity tag, with quotes, that depends on all of `body`.
std::string EntityTag(const std::string& body);

}  // namespace tidewright::apiservice
