// What runs in the simulated pods: counters that follow the load, served over HTTP at each pod's own address.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/server.h"
#include "sandbox/cluster.h"
#include "sandbox/load.h"
#include "sandbox/redis.h"

namespace tidewright::sandbox {

// Annotations of a pod say what it does (`simulate`):
//   http     shares the requests of its source (`load`) with the other Ready pods of that source;
//   queue    takes `rate` items per second from a Redis list (`queue`);
//   ingress  counts the requests of every source, by ingress, as ingress-nginx does;
//   idle     (or no annotation) uses a little CPU.
// GET /metrics at podIP:port while the pod is Ready; the port is the annotation prometheus.io/port, a container port
// named metrics, or the first one. Pods without a port serve nothing. The node's kubelet serves GET /metrics/resource.
// Thread-safe. Borrows clock, sources and redis (may be null: queue pods then find nothing).
class Workloads : public PodHost {
 public:
  Workloads(base::Clock& clock, const LoadSources& sources, Redis* redis);
  ~Workloads() override;  // Stop().

  // Starts the servers; the kubelet listens at node_address:kubelet_port. Load begins now.
  base::Status Start(const std::string& node_address, uint16_t kubelet_port);
  void Stop();  // Idempotent.

  base::Status PodStarted(const base::Json& pod) override;
  void PodStopped(const std::string& uid) override;

  // Lets the time since the last call pass for every pod.
  void Tick();

  // Seconds of load since Start().
  double ElapsedSeconds() const;
  // The text that a pod serves; kNotFound when no Ready pod listens there. `listener` is "127.10.0.1:8080".
  base::Result<std::string> PodMetrics(const std::string& listener) const;
  std::string KubeletMetrics() const;

 private:
  enum class Kind { kIdle, kHttp, kQueue, kIngress };
  struct Pod {
    Kind kind = Kind::kIdle;
    std::string ns;
    std::string name;
    std::string container;
    std::string ip;
    uint16_t port = 0;
    std::string load;   // http: the source's name.
    std::string queue;  // queue: the list's name.
    double rate = 0;    // queue: items per second.
    double credit = 0;  // queue: items that it had time for and has not taken.
    int64_t started_ms = 0;
    double requests = 0;
    double items = 0;
    double cpu_seconds = 0;
    double memory_bytes = 0;
    std::map<std::string, double> by_source;  // ingress: requests by the source's name.
  };

  static Pod Describe(const base::Json& pod);
  void Serve(const http::ServerRequest& request, http::Responder& responder) const;
  void ServeLoad(double from, double to) REQUIRES_LOCK(mu_);
  void ServeQueue(Pod& pod, double seconds) REQUIRES_LOCK(mu_);
  std::string Render(const Pod& pod) const REQUIRES_LOCK(mu_);
  std::string RenderIngress(const Pod& pod) const;
  double ElapsedAt(int64_t now_ms) const { return static_cast<double>(now_ms - start_ms_) / 1000; }

  base::Clock& clock_;
  const LoadSources& sources_;
  Redis* const redis_;
  std::unique_ptr<http::Server> server_;  // Set by Start().
  std::string kubelet_;                   // "127.30.0.1:10255"; set by Start().
  int64_t start_ms_ = 0;                  // Set by Start().
  mutable base::Mutex mu_;
  std::map<std::string, Pod> pods_ GUARDED_BY(mu_);  // By uid.
  int64_t last_tick_ms_ GUARDED_BY(mu_) = 0;
  double ended_cpu_seconds_ GUARDED_BY(mu_) = 0;  // Of pods that are gone: the node's counter never falls.
};

}  // namespace tidewright::sandbox
