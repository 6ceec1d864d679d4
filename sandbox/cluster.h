// The controllers and the kubelet of the sandbox: Deployments get ReplicaSets, ReplicaSets get pods, pods start, run
// and end, Services get endpoints, all on one simulated node.
//
// Models: rolling updates within maxSurge and maxUnavailable, Recreate, revisions, status and conditions, graceful
// deletion, one start-up delay per pod. Does not model: scheduling limits, failing containers, probes, StatefulSets and
// DaemonSets (stored only).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "sandbox/rest.h"

namespace tidewright::sandbox {

inline constexpr const char* kStartupDelayAnnotation = "sandbox.tidewright.dev/startup-delay";
inline constexpr const char* kSimulateAnnotation = "sandbox.tidewright.dev/simulate";
inline constexpr const char* kLoadAnnotation = "sandbox.tidewright.dev/load";
inline constexpr const char* kQueueAnnotation = "sandbox.tidewright.dev/queue";
inline constexpr const char* kRateAnnotation = "sandbox.tidewright.dev/rate";

struct ClusterOptions {
  int address_block = 0;  // Pods are 127.10.<block>.1 onwards; the node is 127.30.<block>.1.
  uint16_t kubelet_port = 10255;
  int64_t default_startup_delay_ms = 2'000;
  int64_t termination_ms = 1'000;  // How long a deleted pod takes to end.
  std::string node_cpu = "16";
  std::string node_memory = "32Gi";
};

// What the cluster tells the workload simulation about its pods. Called from Tick(), one call at a time.
class PodHost {
 public:
  virtual ~PodHost() = default;
  // The pod is Ready. An error (its address is taken) makes the cluster try another address.
  virtual base::Status PodStarted(const base::Json& pod) = 0;
  // The pod takes no more load: it is being deleted or gone.
  virtual void PodStopped(const std::string& uid) = 0;
};

// Thread-compatible: one thread calls Tick(). Borrows all arguments; `host` may be null.
class Cluster {
 public:
  Cluster(Rest& rest, ClusterOptions options, PodHost* host);

  // Registers the node.
  base::Status Start();
  // Brings everything one step further; call it every 100 ms or so. All decisions depend on the objects and the clock.
  void Tick();

  std::string NodeAddress() const;

 private:
  struct PodState {
    int64_t created_ms = 0;
    int64_t deleted_ms = -1;
    std::string ip;
    bool started = false;  // PodHost knows it.
  };
  struct RolloutLimits {
    int64_t surge = 0;
    int64_t unavailable = 0;
  };

  // deployments.cc
  void ReconcileDeployments();
  void ReconcileDeployment(const ObjectPtr& deployment, const std::vector<ObjectPtr>& replica_sets);
  ObjectPtr CreateReplicaSet(const ObjectPtr& deployment, const std::string& hash, int64_t revision, int64_t replicas);
  void Rollout(const ObjectPtr& deployment, const ObjectPtr& current, const std::vector<ObjectPtr>& old);
  void ScaleReplicaSet(const ObjectPtr& deployment, const ObjectPtr& replica_set, int64_t replicas);
  void WriteDeploymentStatus(const ObjectPtr& deployment, const std::string& current_uid, int64_t revision,
                             const std::vector<ObjectPtr>& owned);
  void ReconcileReplicaSets();
  void ReconcileReplicaSet(const ObjectPtr& replica_set, const std::vector<ObjectPtr>& pods);
  void CreatePod(const ObjectPtr& replica_set);
  void WriteReplicaSetStatus(const ObjectPtr& replica_set, const std::vector<ObjectPtr>& pods);

  // kubelet.cc
  void ReconcilePods();
  void ReconcilePod(const ObjectPtr& pod);
  void EndPod(const ObjectPtr& pod, PodState& state);
  void WritePodStatus(const ObjectPtr& pod, const std::string& phase, bool ready, const std::string& ip);
  bool StartPod(const ObjectPtr& pod, PodState& state);
  std::string AllocatePodAddress();
  int64_t StartupDelayMs(const base::Json& pod) const;
  void ReconcileEndpoints();
  void WriteEndpoints(const ObjectPtr& service);

  void RecordEvent(const base::Json& object, const std::string& reason, const std::string& message,
                   const std::string& component);
  base::Result<ObjectPtr> Create(const char* group, const char* version, const char* plural, base::Json object);
  int64_t NowMs() const;

  Rest& rest_;
  Store& store_;
  const ClusterOptions options_;
  PodHost* const host_;
  std::map<std::string, PodState> pods_;  // By uid.
  std::set<std::string> addresses_;       // In use.
  int next_address_ = 0;
  uint64_t endpoints_version_ = 0;  // The store's version when endpoints were last computed.
  uint64_t next_event_ = 1;
};

}  // namespace tidewright::sandbox
