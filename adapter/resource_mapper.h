// ResourceMapper: from the names that labels and requests use (pod, pods, deployments.apps) to resource types.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::adapter {

using apiservice::GroupResource;

// A resource type with its singular name, which label templates use.
struct ResourceType {
  kube::Resource resource;
  std::string singular;
  GroupResource group_resource() const { return {resource.group, resource.plural}; }
};

// Knows the built-in types by heart and asks the API server's discovery for all others. While discovery fails, what was
// learned before stays. Thread-safe. Borrows client and clock.
class ResourceMapper {
 public:
  ResourceMapper(kube::Client& client, base::Clock& clock);

  // The type called `resource` (singular, plural or kind in any case). An empty group is the core group if that has the
  // resource, else the first group by name that does; dots and dashes of a group may be spelled as underscores.
  // From memory. nullopt when unknown.
  std::optional<ResourceType> Find(const std::string& group, const std::string& resource) const;

  // As Find; asks the API server first when the type is unknown, at most once a minute.
  // kNotFound, or the error of the discovery.
  base::Result<ResourceType> Resolve(const std::string& group, const std::string& resource);

  // Reads the discovery documents again if the last attempt is older than `max_age_ms`. Returns how the last attempt
  // went.
  base::Status RefreshIfOlder(int64_t max_age_ms);

 private:
  base::Result<std::vector<ResourceType>> Discover();

  kube::Client& client_;
  base::Clock& clock_;
  mutable base::Mutex mu_;
  // By lower-case name, all the types so called, in order of preference.
  std::map<std::string, std::vector<ResourceType>> by_name_ GUARDED_BY(mu_);
  std::optional<int64_t> last_attempt_ms_ GUARDED_BY(mu_);
  base::Status last_error_ GUARDED_BY(mu_);
};

}  // namespace tidewright::adapter
