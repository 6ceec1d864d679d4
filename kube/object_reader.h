// ObjectReader: single objects and lists of any kind, from shared caches instead of requests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/meta.h"
#include "kube/name_list.h"
#include "kube/shared_caches.h"

namespace tidewright::kube {

// Thread-safe. What has not been listed yet is an error, never an absence: kFailedPrecondition while the first list is
// under way, kPermissionDenied or kUnavailable with what the API server said when it failed.
class ObjectReader {
 public:
  using Object = std::shared_ptr<const base::Json>;
  virtual ~ObjectReader() = default;

  // kNotFound when there is no such object.
  virtual base::Result<Object> Get(const Resource& resource, const std::string& ns, const std::string& name) = 0;
  // Of a namespace ("": of all) those whose labels match.
  virtual base::Result<std::vector<Object>> List(const Resource& resource, const std::string& ns,
                                                 const LabelSelector& selector) = 0;
  // The names of these, never null. `known` is what an earlier call for the same gave, or null: as long as it holds it
  // is returned again, which costs next to nothing however many they are.
  virtual base::Result<NameListPtr> Names(const Resource& resource, const std::string& ns,
                                          const LabelSelector& selector, const NameListPtr& known);
  // Begins to follow a kind without waiting, so that it is known when it is asked for.
  virtual void Follow(const Resource& resource) = 0;
};

// Follows each kind, in all namespaces, from its first use until the reader goes; that first use waits for the first
// list for at most `wait_ms` of the caches' clock. Borrows `caches`.
std::unique_ptr<ObjectReader> NewCachedReader(SharedCaches& caches, int64_t wait_ms = 2'000);

}  // namespace tidewright::kube
