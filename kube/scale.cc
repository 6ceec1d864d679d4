#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::kube {

base::Result<Scale> GetScale(Client& client, const Resource& resource, std::string_view ns, std::string_view name) {
  TW_ASSIGN_OR_RETURN(base::Json object, client.Get(resource, ns, name, "scale"));
  Scale scale;
  scale.spec_replicas = static_cast<int32_t>(base::FindInt(object, {"spec", "replicas"}));
  scale.status_replicas = static_cast<int32_t>(base::FindInt(object, {"status", "replicas"}));
  scale.selector = base::FindString(object, {"status", "selector"});
  scale.resource_version = ResourceVersionOf(object);
  return scale;
}

base::Status SetScale(Client& client, const Resource& resource, std::string_view ns, std::string_view name,
                      int32_t replicas, std::string_view resource_version) {
  base::Json patch = {{"spec", {{"replicas", replicas}}}};
  // A resourceVersion in a patch makes the API server refuse it if the object has changed since.
  if (!resource_version.empty()) patch["metadata"] = {{"resourceVersion", resource_version}};
  return client.Patch(resource, ns, name, PatchType::kMerge, patch, "scale").status();
}

}  // namespace tidewright::kube
