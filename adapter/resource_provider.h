// Resource metrics: CPU and memory of pods and nodes from resourceRules.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapter/resource_mapper.h"
#include "adapter/rule.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "kube/meta.h"
#include "kube/object_reader.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Evaluates the rules for the running pods, or the nodes, that are asked for: per namespace one query for CPU and one
// for memory. A pod is left out unless each of its containers that shows up has both values, and a node unless it has
// both: an autoscaler treats a missing value with care, but would scale down on a zero that stands for "not known". The
// same goes for NaN, infinite and negative values. When some namespaces cannot be queried, the others are answered;
// when none can, the error is returned. The timestamp is that of the oldest of the values, each as old as the newest
// sample behind it. Thread-safe. Borrows engine, mapper, objects and clock.
class ResourceProvider : public apiservice::ResourceMetricsProvider {
 public:
  ResourceProvider(promql::QueryEngine& engine, ResourceMapper& mapper, kube::ObjectReader& objects,
                   base::Clock& clock);

  // Replaces the rules; null: every request is kNotFound.
  void SetRules(std::shared_ptr<const ResourceRules> rules);

  base::Result<std::vector<apiservice::PodMetrics>> Pods(const std::string& ns, const std::string& name,
                                                         const kube::LabelSelector& selector) override;
  base::Result<std::vector<apiservice::NodeMetrics>> Nodes(const std::string& name,
                                                           const kube::LabelSelector& selector) override;

 private:
  struct Object {
    std::string ns, name;
    std::map<std::string, std::string> labels;
  };
  struct Measured {
    double value = 0;
    int64_t at_ms = 0;
  };
  // By object name, then container ("" for nodes).
  using Values = std::map<std::string, std::map<std::string, Measured>>;

  base::Result<std::shared_ptr<const ResourceRules>> Rules() const;
  base::Result<std::vector<Object>> List(const kube::Resource& resource, const std::string& ns, const std::string& name,
                                         const kube::LabelSelector& selector);
  base::Result<Values> Ask(const ResourceRule& rule, const std::string& type, const std::string& ns,
                           const std::vector<std::string>& names, int64_t now_ms);
  base::Status PodsOfNamespace(const ResourceRules& rules, const std::vector<Object>& pods, int64_t now_ms,
                               std::vector<apiservice::PodMetrics>* out);

  promql::QueryEngine& engine_;
  ResourceMapper& mapper_;
  kube::ObjectReader& objects_;
  base::Clock& clock_;
  mutable base::Mutex mu_;
  std::shared_ptr<const ResourceRules> rules_ GUARDED_BY(mu_);
};

}  // namespace tidewright::adapter
