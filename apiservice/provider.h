// What the aggregated API server serves from. The adapter implements these interfaces with PromQL; this folder knows
// none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/quantity.h"
#include "base/status.h"
#include "kube/meta.h"
#include "kube/name_list.h"

namespace tidewright::apiservice {

// "pods", or "deployments" in group "apps".
struct GroupResource {
  std::string group;
  std::string resource;  // Plural.
  std::string ToString() const { return group.empty() ? resource : resource + "." + group; }
  friend bool operator<(const GroupResource& a, const GroupResource& b) {
    return a.group != b.group ? a.group < b.group : a.resource < b.resource;
  }
  friend bool operator==(const GroupResource& a, const GroupResource& b) {
    return a.group == b.group && a.resource == b.resource;
  }
};

// A metric that describes objects of one resource type.
struct CustomMetricInfo {
  GroupResource resource;
  bool namespaced = true;
  std::string metric;
  friend bool operator==(const CustomMetricInfo& a, const CustomMetricInfo& b) {
    return a.resource == b.resource && a.namespaced == b.namespaced && a.metric == b.metric;
  }
};

// The value of a custom metric of one object.
struct CustomMetricValue {
  std::string_view name;     // Of the object, in CustomMetricValues::names.
  int64_t timestamp_ms = 0;  // Of the newest sample that went into the value.
  base::Quantity value;
  std::string warning;  // Goes to the client as a warning, "" for none: "2m old, because ...".
};

// The values of a custom metric, for one object or for several of a kind.
struct CustomMetricValues {
  std::string kind;         // Of the described objects: "Pod".
  std::string api_version;  // "/v1", "apps/v1".
  std::string ns;           // "" for cluster-wide objects.
  std::string metric;
  std::optional<int64_t> window_s;  // Length of the rate window, when the query has one.
  kube::NameListPtr names;          // Holds what the values' names point to.
  std::vector<CustomMetricValue> values;
};

// One value of an external metric.
struct ExternalMetricValue {
  std::string metric;
  std::map<std::string, std::string> labels;
  int64_t timestamp_ms = 0;
  std::optional<int64_t> window_s;
  base::Quantity value;
  std::string warning;
};

// CPU (cores) and memory (bytes) of one container or node.
struct ResourceUsage {
  base::Quantity cpu;
  base::Quantity memory;
};

struct PodMetrics {
  std::string ns, name;
  std::map<std::string, std::string> labels;
  int64_t timestamp_ms = 0;
  int64_t window_ms = 0;
  std::map<std::string, ResourceUsage> containers;
};

struct NodeMetrics {
  std::string name;
  std::map<std::string, std::string> labels;
  int64_t timestamp_ms = 0;
  int64_t window_ms = 0;
  ResourceUsage usage;
};

// All providers are thread-safe. kNotFound means there is no such metric or no value, with a message that says which
// rule was tried and why it gave nothing; any other error is a failure to find out.
class CustomMetricsProvider {
 public:
  virtual ~CustomMetricsProvider() = default;
  // From memory, in constant time per entry: the aggregator polls it.
  virtual std::vector<CustomMetricInfo> ListMetrics() = 0;
  // Changes whenever the list does, so that documents made from it can be kept; 0: do not keep any.
  virtual uint64_t ListVersion() { return 0; }
  // The one value for one object. `ns` is "" for cluster-wide resources.
  virtual base::Result<CustomMetricValues> GetByName(const GroupResource& resource, const std::string& ns,
                                                     const std::string& name, const std::string& metric,
                                                     const kube::LabelSelector& metric_selector) = 0;
  // The values for the objects whose labels match; objects without a value are left out.
  virtual base::Result<CustomMetricValues> GetBySelector(const GroupResource& resource, const std::string& ns,
                                                         const kube::LabelSelector& object_selector,
                                                         const std::string& metric,
                                                         const kube::LabelSelector& metric_selector) = 0;
};

class ExternalMetricsProvider {
 public:
  virtual ~ExternalMetricsProvider() = default;
  virtual std::vector<std::string> ListMetrics() = 0;
  virtual uint64_t ListVersion() { return 0; }  // As above.
  virtual base::Result<std::vector<ExternalMetricValue>> Get(const std::string& ns, const std::string& metric,
                                                             const kube::LabelSelector& selector) = 0;
};

class ResourceMetricsProvider {
 public:
  virtual ~ResourceMetricsProvider() = default;
  // ns "": all namespaces; name "": all.
  virtual base::Result<std::vector<PodMetrics>> Pods(const std::string& ns, const std::string& name,
                                                     const kube::LabelSelector& selector) = 0;
  virtual base::Result<std::vector<NodeMetrics>> Nodes(const std::string& name,
                                                       const kube::LabelSelector& selector) = 0;
};

// Which APIs are served; a null member is an API that is not. Borrowed.
struct Providers {
  CustomMetricsProvider* custom = nullptr;
  ExternalMetricsProvider* external = nullptr;
  ResourceMetricsProvider* resource = nullptr;
};

}  // namespace tidewright::apiservice
