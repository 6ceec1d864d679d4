// Kubernetes objects as target groups with __meta_kubernetes_* labels. Pure functions; the label names and addresses
// are those of Prometheus' kubernetes_sd_configs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/json_fwd.h"
#include "scrape/config.h"

namespace tidewright::scrape {

// The objects beside the one at hand; null where an object is not known. Any function may be left empty.
struct KubernetesLookup {
  using Find = std::function<std::shared_ptr<const base::Json>(const std::string& ns, const std::string& name)>;
  Find pod;
  Find service;
  Find node;         // Set for attach_metadata.node; called with an empty namespace.
  Find namespaces;   // Set for attach_metadata.namespace; called with an empty namespace.
  Find replica_set;  // Set for attach_metadata.deployment.
  Find job;          // Set for attach_metadata.job and cronjob.
  bool attach_job = false;
  bool attach_cronjob = false;
};

// The group of one object of a role (pod, node, service, endpoints, endpointslice or ingress). The group of an object
// that offers no target is empty and removes what was known under its source. None at all, so that what was known
// stays: a node without an address.
std::optional<TargetGroup> KubernetesGroup(const std::string& role, const base::Json& object,
                                           const KubernetesLookup& lookup);

// The source of an object's group: "pod/shop/web-1", "svc/shop/web", "node/n1", "endpoints/shop/web".
std::string KubernetesSource(const std::string& role, const std::string& ns, const std::string& name);

}  // namespace tidewright::scrape
