#include "adapter/resource_mapper.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

constexpr int64_t kResolveRefreshMs = 60'000;

struct BuiltIn {
  const char *group, *version, *plural, *singular, *kind;
  bool namespaced;
};

constexpr BuiltIn kBuiltIns[] = {
    {"", "v1", "pods", "pod", "Pod", true},
    {"", "v1", "services", "service", "Service", true},
    {"", "v1", "namespaces", "namespace", "Namespace", false},
    {"", "v1", "nodes", "node", "Node", false},
    {"", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", false},
    {"", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", true},
    {"", "v1", "configmaps", "configmap", "ConfigMap", true},
    {"", "v1", "secrets", "secret", "Secret", true},
    {"", "v1", "endpoints", "endpoints", "Endpoints", true},
    {"", "v1", "events", "event", "Event", true},
    {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", true},
    {"", "v1", "resourcequotas", "resourcequota", "ResourceQuota", true},
    {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", true},
    {"apps", "v1", "deployments", "deployment", "Deployment", true},
    {"apps", "v1", "statefulsets", "statefulset", "StatefulSet", true},
    {"apps", "v1", "daemonsets", "daemonset", "DaemonSet", true},
    {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", true},
    {"autoscaling", "v2", "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler", true},
    {"batch", "v1", "jobs", "job", "Job", true},
    {"batch", "v1", "cronjobs", "cronjob", "CronJob", true},
    {"networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", true},
    {"networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", true},
    {"policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true},
    {"storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass", false},
};

// Asking these would be asking ourselves.
bool IsMetricsGroup(const std::string& group) {
  return group == "custom.metrics.k8s.io" || group == "external.metrics.k8s.io" || group == "metrics.k8s.io";
}

std::string Underscored(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return text;
}

void Insert(const ResourceType& type, std::map<std::string, std::vector<ResourceType>>* by_name) {
  std::vector<std::string> names = {base::ToLower(type.resource.plural), base::ToLower(type.singular),
                                    base::ToLower(type.resource.kind)};
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    if (name.empty()) continue;
    std::vector<ResourceType>& types = (*by_name)[name];
    bool known = std::any_of(types.begin(), types.end(), [&](const ResourceType& other) {
      return other.group_resource() == type.group_resource();
    });
    if (!known) types.push_back(type);
  }
}

// The built-in types stay in front; discovered ones follow by group name.
std::map<std::string, std::vector<ResourceType>> Build(std::vector<ResourceType> discovered) {
  std::map<std::string, std::vector<ResourceType>> by_name;
  for (const BuiltIn& b : kBuiltIns) {
    Insert({{b.group, b.version, b.plural, b.kind, b.namespaced}, b.singular}, &by_name);
  }
  std::stable_sort(discovered.begin(), discovered.end(), [](const ResourceType& a, const ResourceType& b) {
    return a.group_resource() < b.group_resource();
  });
  for (const ResourceType& type : discovered) Insert(type, &by_name);
  return by_name;
}

void ReadResourceList(const base::Json& list, const std::string& group, const std::string& version,
                      std::vector<ResourceType>* out) {
  const base::Json* resources = base::Find(list, {"resources"});
  if (resources == nullptr || !resources->is_array()) return;
  for (const base::Json& item : *resources) {
    ResourceType type;
    type.resource = {group, version, base::FindString(item, {"name"}), base::FindString(item, {"kind"}),
                     base::FindBool(item, {"namespaced"})};
    type.singular = base::FindString(item, {"singularName"});
    if (type.singular.empty()) type.singular = base::ToLower(type.resource.kind);
    bool subresource = type.resource.plural.find('/') != std::string::npos;
    if (!subresource && !type.resource.plural.empty()) out->push_back(std::move(type));
  }
}

}  // namespace

ResourceMapper::ResourceMapper(kube::Client& client, base::Clock& clock)
    : client_(client), clock_(clock), by_name_(Build({})) {}

std::optional<ResourceType> ResourceMapper::Find(const std::string& group, const std::string& resource) const {
  base::MutexLock lock(mu_);
  auto it = by_name_.find(base::ToLower(resource));
  if (it == by_name_.end()) return std::nullopt;
  for (const ResourceType& type : it->second) {
    if (group.empty() || type.resource.group == group || Underscored(type.resource.group) == Underscored(group)) {
      return type;
    }
  }
  return std::nullopt;
}

base::Result<ResourceType> ResourceMapper::Resolve(const std::string& group, const std::string& resource) {
  if (std::optional<ResourceType> type = Find(group, resource)) return *type;
  base::Status refreshed = RefreshIfOlder(kResolveRefreshMs);
  if (std::optional<ResourceType> type = Find(group, resource)) return *type;
  std::string name = GroupResource{group, resource}.ToString();
  if (!refreshed.ok()) return refreshed.Annotate("cannot tell whether the resource " + base::Quoted(name) + " exists");
  return base::NotFoundError("the API server has no resource " + base::Quoted(name));
}

base::Status ResourceMapper::RefreshIfOlder(int64_t max_age_ms) {
  {
    base::MutexLock lock(mu_);
    if (last_attempt_ms_ && clock_.NowMs() - *last_attempt_ms_ < max_age_ms) return last_error_;
    last_attempt_ms_ = clock_.NowMs();
  }
  base::Result<std::vector<ResourceType>> discovered = Discover();
  base::MutexLock lock(mu_);
  last_error_ = discovered.status();
  if (discovered.ok()) by_name_ = Build(*std::move(discovered));
  return last_error_;
}

base::Result<std::vector<ResourceType>> ResourceMapper::Discover() {
  TW_ASSIGN_OR_RETURN(base::Json groups, client_.GetRaw("/apis"));
  std::vector<ResourceType> types;
  base::Result<base::Json> core = client_.GetRaw("/api/v1");
  if (core.ok()) ReadResourceList(*core, "", "v1", &types);
  const base::Json* list = base::Find(groups, {"groups"});
  if (list == nullptr || !list->is_array()) return base::UnavailableError("GET /apis: the reply has no groups");
  for (const base::Json& group : *list) {
    std::string name = base::FindString(group, {"name"});
    std::string version = base::FindString(group, {"preferredVersion", "version"});
    if (name.empty() || version.empty() || IsMetricsGroup(name)) continue;
    // One broken aggregated API must not hide all others.
    base::Result<base::Json> resources = client_.GetRaw("/apis/" + name + "/" + version);
    if (resources.ok()) ReadResourceList(*resources, name, version, &types);
  }
  return types;
}

}  // namespace tidewright::adapter
