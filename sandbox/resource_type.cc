#include "sandbox/resource_type.h"

#include <utility>

#include "base/document.h"
#include "base/json.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

enum Trait : unsigned {
  kNone = 0,
  kCluster = 1,
  kStatus = 2,
  kScale = 4,
  kCreateOnly = 8,
  kCategoryAll = 16,
};

struct Builtin {
  const char* group;
  const char* version;
  const char* plural;
  const char* singular;
  const char* kind;
  const char* short_name;
  unsigned traits;
};

constexpr unsigned kWorkload = kStatus | kScale | kCategoryAll;

// Groups appear in discovery in this order, the preferred version of a group first.
constexpr Builtin kBuiltins[] = {
    {"", "v1", "namespaces", "namespace", "Namespace", "ns", kCluster | kStatus},
    {"", "v1", "nodes", "node", "Node", "no", kCluster | kStatus},
    {"", "v1", "pods", "pod", "Pod", "po", kStatus | kCategoryAll},
    {"", "v1", "services", "service", "Service", "svc", kStatus | kCategoryAll},
    {"", "v1", "endpoints", "endpoints", "Endpoints", "ep", kNone},
    {"", "v1", "configmaps", "configmap", "ConfigMap", "cm", kNone},
    {"", "v1", "secrets", "secret", "Secret", "", kNone},
    {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", kNone},
    {"", "v1", "events", "event", "Event", "ev", kNone},
    {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", "rc", kWorkload},
    {"", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", "pvc", kStatus},
    {"", "v1", "limitranges", "limitrange", "LimitRange", "limits", kNone},
    {"", "v1", "resourcequotas", "resourcequota", "ResourceQuota", "quota", kStatus},
    {"apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService", "", kCluster | kStatus},
    {"apps", "v1", "deployments", "deployment", "Deployment", "deploy", kWorkload},
    {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", kWorkload},
    {"apps", "v1", "statefulsets", "statefulset", "StatefulSet", "sts", kWorkload},
    {"apps", "v1", "daemonsets", "daemonset", "DaemonSet", "ds", kStatus | kCategoryAll},
    {"events.k8s.io", "v1", "events", "event", "Event", "ev", kNone},
    {"authentication.k8s.io", "v1", "tokenreviews", "tokenreview", "TokenReview", "", kCluster | kCreateOnly},
    {"authorization.k8s.io", "v1", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview", "",
     kCluster | kCreateOnly},
    {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview", "",
     kCluster | kCreateOnly},
    {"autoscaling", "v2", "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler", "hpa",
     kStatus | kCategoryAll},
    {"autoscaling", "v1", "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler", "hpa",
     kStatus | kCategoryAll},
    {"networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", "ing", kStatus},
    {"policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", "pdb", kStatus},
    {"rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", "", kCluster},
    {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", "",
     kCluster},
    {"rbac.authorization.k8s.io", "v1", "roles", "role", "Role", "", kNone},
    {"rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", "", kNone},
    {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition",
     "crd", kCluster | kStatus},
    {"coordination.k8s.io", "v1", "leases", "lease", "Lease", "", kNone},
    {"discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", kNone},
};

ResourceTypePtr FromBuiltin(const Builtin& row) {
  auto type = std::make_shared<ResourceType>();
  type->group = row.group;
  type->version = row.version;
  type->plural = row.plural;
  type->singular = row.singular;
  type->kind = row.kind;
  if (row.short_name[0] != '\0') type->short_names.emplace_back(row.short_name);
  if ((row.traits & kCategoryAll) != 0) type->categories.emplace_back("all");
  if (type->kind == "CustomResourceDefinition" || type->kind == "APIService") {
    type->categories.emplace_back("api-extensions");
  }
  type->namespaced = (row.traits & kCluster) == 0;
  type->status = (row.traits & kStatus) != 0;
  type->scale = (row.traits & kScale) != 0;
  type->create_only = (row.traits & kCreateOnly) != 0;
  type->scale_selector_path = "labels";  // Rendered from spec.selector, not from a path.
  return type;
}

std::vector<std::string> Strings(const Json* list) {
  std::vector<std::string> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const Json& item : *list) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<PrinterColumn> ColumnsOf(const Json& version) {
  std::vector<PrinterColumn> columns;
  const Json* list = base::Find(version, {"additionalPrinterColumns"});
  if (list == nullptr || !list->is_array()) return columns;
  for (const Json& item : *list) {
    PrinterColumn column;
    column.name = base::FindString(item, {"name"});
    column.type = base::FindString(item, {"type"}, "string");
    column.json_path = base::FindString(item, {"jsonPath"});
    column.description = base::FindString(item, {"description"});
    column.priority = static_cast<int>(base::FindInt(item, {"priority"}));
    columns.push_back(std::move(column));
  }
  return columns;
}

ResourceTypePtr CrdVersionType(const Json& crd, const Json& version, const std::string& storage_version) {
  auto type = std::make_shared<ResourceType>();
  type->custom = true;
  type->group = base::FindString(crd, {"spec", "group"});
  type->version = base::FindString(version, {"name"});
  type->storage_version = storage_version;
  type->plural = base::FindString(crd, {"spec", "names", "plural"});
  type->singular = base::FindString(crd, {"spec", "names", "singular"});
  type->kind = base::FindString(crd, {"spec", "names", "kind"});
  type->namespaced = base::FindString(crd, {"spec", "scope"}) == "Namespaced";
  type->short_names = Strings(base::Find(crd, {"spec", "names", "shortNames"}));
  type->categories = Strings(base::Find(crd, {"spec", "names", "categories"}));
  type->columns = ColumnsOf(version);
  type->status = base::Find(version, {"subresources", "status"}) != nullptr;
  const Json* scale = base::Find(version, {"subresources", "scale"});
  type->scale = scale != nullptr && scale->is_object();
  if (type->scale) {
    type->scale_spec_path = base::FindString(*scale, {"specReplicasPath"}, ".spec.replicas");
    type->scale_status_path = base::FindString(*scale, {"statusReplicasPath"}, ".status.replicas");
    type->scale_selector_path = base::FindString(*scale, {"labelSelectorPath"});
  }
  const Json* schema = base::Find(version, {"schema", "openAPIV3Schema"});
  if (schema != nullptr && schema->is_object()) {
    Json body = *schema;
    // Metadata is the API machinery's own; a CRD can only repeat that it is an object.
    if (base::Find(body, {"properties", "metadata"}) != nullptr) body["properties"].erase("metadata");
    type->schema = std::make_shared<const Json>(std::move(body));
  }
  return type;
}

}  // namespace

base::Result<std::vector<ResourceTypePtr>> TypesOfCrd(const Json& crd) {
  const Json* versions = base::Find(crd, {"spec", "versions"});
  for (const char* field : {"plural", "kind"}) {
    if (base::FindString(crd, {"spec", "names", field}).empty()) {
      return base::InvalidArgumentError(std::string("spec.names.") + field + ": Required value");
    }
  }
  if (versions == nullptr || !versions->is_array() || versions->empty()) {
    return base::InvalidArgumentError("spec.versions: Required value: must have at least one version");
  }
  std::string storage_version;
  for (const Json& version : *versions) {
    if (base::FindBool(version, {"storage"})) storage_version = base::FindString(version, {"name"});
  }
  if (storage_version.empty()) {
    return base::InvalidArgumentError("spec.versions: Invalid value: must have exactly one version marked as storage");
  }
  std::vector<ResourceTypePtr> types;
  for (const Json& version : *versions) {
    if (base::FindBool(version, {"served"})) types.push_back(CrdVersionType(crd, version, storage_version));
  }
  return types;
}

ResourceRegistry::ResourceRegistry() {
  for (const Builtin& row : kBuiltins) builtin_.push_back(FromBuiltin(row));
}

std::vector<ResourceTypePtr> ResourceRegistry::All() const {
  base::MutexLock lock(mu_);
  std::vector<ResourceTypePtr> all = builtin_;
  for (const auto& [name, types] : custom_) all.insert(all.end(), types.begin(), types.end());
  return all;
}

ResourceTypePtr ResourceRegistry::Find(std::string_view group, std::string_view version,
                                       std::string_view plural) const {
  for (ResourceTypePtr& type : All()) {
    if (type->plural == plural && type->group == group && type->version == version) return type;
  }
  return nullptr;
}

ResourceTypePtr ResourceRegistry::FindKind(std::string_view api_version, std::string_view kind) const {
  for (ResourceTypePtr& type : All()) {
    if (type->kind == kind && type->ApiVersion() == api_version) return type;
  }
  return nullptr;
}

ResourceTypePtr ResourceRegistry::FindStored(std::string_view resource) const {
  for (ResourceTypePtr& type : All()) {
    if (type->QualifiedName() == resource) return type;
  }
  return nullptr;
}

bool ResourceRegistry::HasVersion(std::string_view group, std::string_view version) const {
  for (const ResourceTypePtr& type : All()) {
    if (type->group == group && type->version == version) return true;
  }
  return false;
}

base::Status ResourceRegistry::RegisterCrd(const Json& crd) {
  TW_ASSIGN_OR_RETURN(std::vector<ResourceTypePtr> types, TypesOfCrd(crd));
  base::MutexLock lock(mu_);
  custom_[base::FindString(crd, {"metadata", "name"})] = std::move(types);
  return base::Status::Ok();
}

void ResourceRegistry::UnregisterCrd(const std::string& crd_name) {
  base::MutexLock lock(mu_);
  custom_.erase(crd_name);
}

}  // namespace tidewright::sandbox
