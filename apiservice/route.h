// What a request's path means, and what the authorizer is to be asked about it.
#pragma once

#include <string>
#include <string_view>

#include "apiservice/authz.h"
#include "apiservice/provider.h"

namespace tidewright::apiservice {

inline constexpr std::string_view kCustomGroup = "custom.metrics.k8s.io";
inline constexpr std::string_view kExternalGroup = "external.metrics.k8s.io";
inline constexpr std::string_view kResourceGroup = "metrics.k8s.io";

// One request path, taken apart.
struct Route {
  enum class Kind {
    kNotFound,
    kBadPath,     // Below /namespaces, but too short: 400, as clients of custom metrics expect.
    kHealth,      // /healthz, /livez, /readyz and what is below them.
    kVersion,     // /version
    kOwnMetrics,  // /metrics
    kGroups,      // /apis
    kGroup,       // /apis/<group>
    kResources,   // /apis/<group>/<version>
    kOpenApiV2,   // /openapi/v2
    kOpenApiV3,   // /openapi/v3, and the document of one version below it (group, version).
    kCustom,      // A metric of objects: resource, ns, name ("*" for many), metric.
    kExternal,    // An external metric: ns, metric.
    kNodes,       // All nodes, or `name`.
    kPods,        // All pods of `ns` ("": of the cluster), or `name`.
  };
  Kind kind = Kind::kNotFound;
  std::string group;
  std::string version;
  GroupResource resource;
  std::string ns;
  std::string name;
  std::string metric;
};

// `path` is decoded. Versions that we do not serve are kNotFound.
Route ParseRoute(std::string_view path);

// The attributes that kube-apiserver itself would derive from `method` and `path`.
Attributes AttributesOf(std::string_view method, std::string_view path);

}  // namespace tidewright::apiservice
