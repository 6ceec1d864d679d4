// HpaController: reconciles autoscaling/v2 HorizontalPodAutoscalers as kube-controller-manager does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "scaler/cluster.h"
#include "scaler/status_board.h"
#include "scaler/target.h"

namespace tidewright::scaler {

// The flags of kube-controller-manager, with its defaults.
struct HpaControllerOptions {
  std::string ns;  // "": all namespaces.
  int64_t sync_period_ms = 15'000;
  double tolerance = 0.1;
  int32_t downscale_stabilization_s = 300;
  int64_t cpu_initialization_period_ms = 300'000;
  int64_t initial_readiness_delay_ms = 30'000;
  // Shared with the ScaledObject controller; each is the controller's own when null.
  StatusBoard* board = nullptr;
  TargetRegistry* targets = nullptr;
};

// For clusters without a horizontal-pod-autoscaler controller: the sandbox, and tests. Metrics are read through the API
// server's metrics APIs (metrics.k8s.io/v1beta1, custom.metrics.k8s.io/v1beta2, external.metrics.k8s.io/v1beta1), so
// that what it sees is what any HPA controller would see. Each object is evaluated when it appears or changes and then
// every sync period; the formula is Decide(). Borrows its arguments, which must outlive it.
class HpaController {
 public:
  HpaController(const Cluster& cluster, base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry& metrics,
                HpaControllerOptions options = {});
  ~HpaController();  // Stop().

  void Start();
  // Waits for the evaluations under way. Idempotent; the controller cannot be started again.
  void Stop();

  bool HasSynced() const;
  StatusBoard& board();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::scaler
