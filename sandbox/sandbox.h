// The whole sandbox: API server, cluster, workloads, load and queue, behind one door.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "sandbox/api_server.h"
#include "sandbox/cluster.h"
#include "sandbox/load.h"
#include "sandbox/redis.h"
#include "sandbox/workload.h"

namespace tidewright::sandbox {

struct SandboxOptions {
  ApiServerOptions api;
  ClusterOptions cluster;
  RedisOptions redis;        // Address and port are the Service's; set the delays here.
  bool run_redis = true;     // Start redis-server behind Service shop/redis.
  bool scripted = true;      // Load: the 90-second script, else an endless day.
  double day_seconds = 600;  // Length of that day.
  int address_block = -1;    // Third byte of pod, service and node addresses; -1 derives one from the process id.
};

// Thread-safe. Borrows `clock`, which must outlive it.
//
// Order of use: Start(), ApplyManifests(), ... , Stop(). A thread calls Tick() every 100 ms of the clock.
class Sandbox {
 public:
  Sandbox(SandboxOptions options, base::Clock& clock);
  ~Sandbox();  // Stop().
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // Starts the API server, the node and, with `run_redis`, namespace shop with Service redis and the server behind it.
  base::Status Start();
  void Stop();  // Idempotent.

  // One step of controllers, workloads and queue. The sandbox's own thread does it; with a FakeClock tests may too.
  void Tick() EXCLUDES_LOCK(tick_mu_);

  // Creates or updates every object of a multi-document YAML text, as `kubectl apply --server-side` would; namespaces
  // and CRDs first. `origin` is for errors, which name the object.
  base::Status ApplyManifests(std::string_view yaml, const std::string& origin);
  // The same for files; the *.yaml and *.yml files of a folder (in order of their names, with subfolders), or one file.
  base::Status ApplyPath(const std::string& path);

  ApiServer& api() { return api_; }
  std::string Url() const { return api_.Url(); }
  LoadSources& load() { return load_; }
  // Null without `run_redis`.
  Redis* redis() { return redis_.get(); }
  Workloads& workloads() { return *workloads_; }
  // Where the node serves /metrics/resource: "127.30.0.1:10255".
  std::string KubeletAddress() const;

  // The cluster IP of "name.ns.svc" or "name.ns.svc.cluster.local"; every other host as it is. Unknown Services are
  // kNotFound. For clients outside of the (simulated) cluster's name service.
  base::Result<std::string> ResolveHost(std::string_view host) const;

 private:
  base::Status StartRedis();
  void SetScriptedLoad();
  void Produce() REQUIRES_LOCK(tick_mu_);
  base::Status Apply(const base::Json& object);
  void Loop();

  const SandboxOptions options_;
  base::Clock& clock_;
  ApiServer api_;
  LoadSources load_;
  LoadCurve production_;                      // Items per second into queue `orders`.
  std::unique_ptr<Redis> redis_;              // Set by Start().
  std::unique_ptr<Workloads> workloads_;      // Set by Start().
  std::unique_ptr<Cluster> cluster_;          // Set by Start().
  base::Mutex tick_mu_;                       // One step at a time.
  double produced_ GUARDED_BY(tick_mu_) = 0;  // Items that were pushed, or lost while redis was down.
  base::StopSignal stop_;
  std::thread loop_;  // Set by Start().
};

}  // namespace tidewright::sandbox
