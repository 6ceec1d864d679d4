// What the sandbox's API server serves: resource types, built in and defined by CustomResourceDefinitions.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::sandbox {

// A column that a CRD adds to `kubectl get`.
struct PrinterColumn {
  std::string name;
  std::string type;  // string, integer, number, boolean, date.
  std::string json_path;
  std::string description;
  int priority = 0;  // Above 0 only with -o wide.
};

// One resource in one version. Immutable once registered.
struct ResourceType {
  std::string group;  // "" is the core group.
  std::string version;
  std::string plural;
  std::string singular;
  std::string kind;
  bool namespaced = true;
  std::vector<std::string> short_names;
  std::vector<std::string> categories;
  bool status = false;       // Has a status subresource, so that spec and status are written apart.
  bool scale = false;        // Has a scale subresource.
  bool create_only = false;  // Reviews: answered, never stored.

  // CRDs only.
  bool custom = false;
  std::string storage_version;               // The version objects are stored in.
  std::shared_ptr<const base::Json> schema;  // openAPIV3Schema without metadata, or null.
  std::vector<PrinterColumn> columns;
  std::string scale_spec_path = ".spec.replicas";
  std::string scale_status_path = ".status.replicas";
  std::string scale_selector_path;  // "" when the CRD publishes none.

  std::string ApiVersion() const { return group.empty() ? version : group + "/" + version; }
  // "deployments.apps", "pods": how error messages spell it, and where all versions are stored.
  std::string QualifiedName() const { return group.empty() ? plural : plural + "." + group; }
};

using ResourceTypePtr = std::shared_ptr<const ResourceType>;

// The types being served. Thread-safe.
class ResourceRegistry {
 public:
  ResourceRegistry();  // With the built-in types.

  // The type at /apis/<group>/<version>/<plural>, or null.
  ResourceTypePtr Find(std::string_view group, std::string_view version, std::string_view plural) const;
  // The type of a manifest's apiVersion and kind, or null.
  ResourceTypePtr FindKind(std::string_view api_version, std::string_view kind) const;
  // A type stored under `resource` (any of its versions), or null.
  ResourceTypePtr FindStored(std::string_view resource) const;
  // Every type, core first, groups and versions in order of preference.
  std::vector<ResourceTypePtr> All() const;
  // Whether any type is served at group/version.
  bool HasVersion(std::string_view group, std::string_view version) const;

  // Serves the versions of a CustomResourceDefinition instead of what it served before.
  base::Status RegisterCrd(const base::Json& crd);
  void UnregisterCrd(const std::string& crd_name);

 private:
  mutable base::Mutex mu_;
  std::vector<ResourceTypePtr> builtin_ GUARDED_BY(mu_);
  std::map<std::string, std::vector<ResourceTypePtr>> custom_ GUARDED_BY(mu_);  // By the CRD's name.
};

// The resource types that a CRD's served versions define; errors name the field.
base::Result<std::vector<ResourceTypePtr>> TypesOfCrd(const base::Json& crd);

}  // namespace tidewright::sandbox
