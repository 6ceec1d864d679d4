// The documents by which clients learn what is served: discovery (legacy and aggregated) and OpenAPI.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "sandbox/resource_type.h"

namespace tidewright::sandbox {

// A group version that an APIService proxies to an extension server.
struct ProxiedVersion {
  std::string group;
  std::string version;
  bool available = false;
  int64_t group_priority = 0;
  int64_t version_priority = 0;
  std::string resources;  // The JSON text of the extension's APIResourceList; "" when it has not answered yet.
};

// GET /api.
base::Json ApiVersionsDocument(const std::string& address);
// GET /apis: groups in order, versions by preference.
base::Json ApiGroupListDocument(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied);
// GET /apis/<group>; null when there is no such group.
base::Json ApiGroupDocument(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied,
                            std::string_view group);
// GET /api/v1 and /apis/<group>/<version>; null when there is no such version.
base::Json ApiResourceListDocument(const std::vector<ResourceTypePtr>& types, std::string_view group,
                                   std::string_view version);
// GET /api (`core`) and /apis with the apidiscovery.k8s.io/v2 Accept header.
base::Json AggregatedDiscoveryDocument(const std::vector<ResourceTypePtr>& types,
                                       const std::vector<ProxiedVersion>& proxied, bool core);

// GET /openapi/v3: where the document of each group version is.
base::Json OpenApiIndex(const std::vector<ResourceTypePtr>& types);
// GET /openapi/v3/apis/<group>/<version>: paths (enough for kubectl to know that the server validates fields) and
// schemas (CRDs: theirs; built-in kinds: apiVersion, kind, metadata, and spec and status without fields).
// Null when there is no such version.
base::Json OpenApiDocument(const std::vector<ResourceTypePtr>& types, std::string_view group, std::string_view version);

}  // namespace tidewright::sandbox
