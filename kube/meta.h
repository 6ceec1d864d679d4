// What all Kubernetes objects share: metadata, label selectors, conditions, the scale subresource.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::kube {

std::string NameOf(const base::Json& object);
std::string NamespaceOf(const base::Json& object);
std::string UidOf(const base::Json& object);
std::string ResourceVersionOf(const base::Json& object);
std::map<std::string, std::string> LabelsOf(const base::Json& object);
std::map<std::string, std::string> AnnotationsOf(const base::Json& object);
// "shop/web", or "node-1" for cluster-wide objects.
std::string KeyOf(const base::Json& object);
bool IsBeingDeleted(const base::Json& object);
// Pods: condition Ready is True.
bool IsPodReady(const base::Json& pod);

// One requirement of a label selector.
struct Requirement {
  enum class Op { kEquals, kNotEquals, kIn, kNotIn, kExists, kDoesNotExist, kGreaterThan, kLessThan };
  std::string key;
  Op op = Op::kExists;
  std::vector<std::string> values;  // Sorted.
};

// A conjunction of requirements; empty matches everything. Value type.
class LabelSelector {
 public:
  // The query-parameter form: "app=web,tier in (a,b),!legacy". Errors quote the part that is wrong.
  static base::Result<LabelSelector> Parse(std::string_view text);
  // The object form: {matchLabels: {...}, matchExpressions: [...]}. null matches nothing for workloads: callers check.
  static base::Result<LabelSelector> FromJson(const base::Json& selector);

  bool Matches(const std::map<std::string, std::string>& labels) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<Requirement>& requirements() const { return requirements_; }  // Sorted by key.
  std::string ToString() const;                                                   // The query-parameter form.

 private:
  std::vector<Requirement> requirements_;
};

// Sets a condition in object["status"]["conditions"]: lastTransitionTime changes only with the status. Returns whether
// anything changed.
bool SetCondition(base::Json& object, const std::string& type, const std::string& status, const std::string& reason,
                  const std::string& message, int64_t now_ms);

// What the scale subresource says.
struct Scale {
  int32_t spec_replicas = 0;
  int32_t status_replicas = 0;
  std::string selector;  // The query-parameter form; "" when the workload publishes none.
  std::string resource_version;
};

// Reads and writes <resource>/scale. SetScale patches spec.replicas (merge patch) and fails with kAborted when
// `resource_version` is given and has changed since.
base::Result<Scale> GetScale(Client& client, const Resource& resource, std::string_view ns, std::string_view name);
base::Status SetScale(Client& client, const Resource& resource, std::string_view ns, std::string_view name,
                      int32_t replicas, std::string_view resource_version = "");

// The resource type behind an apiVersion and kind, as scaleTargetRef gives them: the well-known workloads by heart, any
// other by asking the API server's discovery documents. Thread-safe through its arguments.
base::Result<Resource> ResolveResource(Client& client, std::string_view api_version, std::string_view kind);

}  // namespace tidewright::kube
