// Reads the metrics of a HorizontalPodAutoscaler through the API server's metrics APIs, as kube-controller-manager
// does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiservice/provider.h"
#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"
#include "scaler/decide.h"
#include "scaler/hpa.h"

namespace tidewright::scaler {

using Pods = std::vector<std::shared_ptr<const base::Json>>;

struct HpaReadOptions {
  int64_t cpu_initialization_ms = 300'000;      // CPU of a pod counts only with care for this long after its start.
  int64_t initial_readiness_delay_ms = 30'000;  // A pod unready since within this time of its start was never ready.
  apiservice::ResourceMetricsProvider* provider = nullptr;  // Asked in place of metrics.k8s.io, if not null. Borrowed.
};

// One read of all metrics of one autoscaler. Not thread-safe; borrows everything for its lifetime.
class HpaMetricReader {
 public:
  // `selector` selects the target's pods; `pods` are they.
  HpaMetricReader(kube::Client& client, const std::string& ns, const std::string& selector, const Pods& pods,
                  int64_t now_ms, const HpaReadOptions& options);

  // The signal of a metric; what could not be read is its `error`.
  Signal Read(const HpaMetric& metric);

 private:
  // What one pod measured.
  struct PodMetric {
    int64_t value_milli = 0;
    int64_t timestamp_ms = 0;
    int64_t window_ms = 0;
  };
  using PodMetrics = std::map<std::string, PodMetric>;

  base::Result<PodMetrics> ReadResource(const HpaMetric& metric);
  base::Result<PodMetrics> ReadProvider(const HpaMetric& metric);
  base::Result<PodMetrics> ReadPods(const HpaMetric& metric);
  base::Result<int64_t> ReadObject(const HpaMetric& metric);
  base::Result<int64_t> ReadExternal(const HpaMetric& metric);
  base::Status Fill(const HpaMetric& metric, Signal* signal);
  base::Status Classify(const HpaMetric& metric, const PodMetrics& metrics, Signal* signal);
  bool CpuUnready(const base::Json& pod, const PodMetric& metric) const;

  kube::Client& client_;
  const std::string& ns_;
  const std::string& selector_;
  const Pods& pods_;
  const int64_t now_ms_;
  const HpaReadOptions options_;
};

}  // namespace tidewright::scaler
