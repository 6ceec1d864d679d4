// The workload that an autoscaler scales: its replicas, its containers' environment, and who may scale it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/object_reader.h"
#include "scaler/cluster.h"
#include "scaler/decide.h"

namespace tidewright::scaler {

extern const kube::Resource kClusterTriggerAuthentications, kScaledJobs;  // tidewright.dev/v1alpha1

// A workload as read at one time.
struct Target {
  CurrentState replicas;
  std::string resource_version;
  std::string selector;  // As the scale subresource has it; "" for workloads that say everything themselves.
  std::shared_ptr<const base::Json> object;  // The workload itself.
};

// Reads a workload. Deployments, StatefulSets and ReplicaSets say everything themselves; any other kind is asked
// through its scale subresource, and counts status.readyReplicas if it has that, else all replicas, as ready.
base::Result<Target> ReadTarget(const Cluster& cluster, const kube::Resource& resource, const std::string& ns,
                                const std::string& name);

// Selects the workload's pods, as a query parameter; "" when it does not say.
std::string PodSelectorOf(const Target& target);

// What a decision about a workload was based on.
struct SeenScale {
  int32_t replicas = 0;
  std::string resource_version;
};

// Sets spec.replicas, unless somebody else has set it since it was `seen`: kAborted. That the workload changed
// otherwise, for instance in its status, does not matter. The write carries the resourceVersion that was seen, so one
// that arrives late cannot undo what was decided after it.
base::Status SetReplicas(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                         const std::string& name, const SeenScale& seen, int32_t replicas);

// The value of an environment variable of a workload's container ("" is the first one): literal values, with $(NAME)
// expanded, and references to secrets and config maps. kNotFound says what is missing; values never appear in errors.
base::Result<std::string> LookUpEnv(kube::Client& client, const std::string& ns, const base::Json& workload,
                                    const std::string& container, const std::string& variable);

// The parameters of a TriggerAuthentication or ClusterTriggerAuthentication: secretTargetRef, configMapTargetRef and
// env. Other sources are kUnimplemented, by name. The Secrets and ConfigMaps of a cluster's object are those of
// Cluster::own_namespace.
base::Result<std::map<std::string, std::string>> ReadAuthentication(const Cluster& cluster,
                                                                    const kube::Resource& resource,
                                                                    const std::string& ns, const std::string& name,
                                                                    const base::Json& workload,
                                                                    const std::string& container);

// Who scales what: one owner per target, the older object wins. Thread-safe.
class TargetRegistry {
 public:
  // Claims `target` ("Deployment.apps/v1 shop/web") for `owner` ("ScaledObject shop/web"), which gives up any other
  // target. kAlreadyExists names the owner in the way. An owner that an older one displaced notices on its next
  // Claim().
  base::Status Claim(const std::string& target, const std::string& owner, int64_t created_ms);
  void Release(const std::string& owner);

 private:
  struct Holder {
    std::string owner;
    int64_t created_ms = 0;
  };
  base::Mutex mu_;
  std::map<std::string, Holder> holders_ GUARDED_BY(mu_);       // By target.
  std::map<std::string, std::string> targets_ GUARDED_BY(mu_);  // By owner.
};

}  // namespace tidewright::scaler
