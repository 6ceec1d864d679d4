// ScaledObjectController: follows every ScaledObject and scales its target, and every ScaledJob and starts its Jobs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "promql/arrivals.h"
#include "promql/engine.h"
#include "scaler/cluster.h"
#include "scaler/signal_values.h"
#include "scaler/status_board.h"
#include "scaler/target.h"

namespace tidewright::scaler {

struct ScaledObjectControllerOptions {
  std::string ns;           // "": all namespaces.
  bool watch_keda = false;  // Also follow those of keda.sh/v1alpha1.
  // For prometheus triggers with a serverAddress; a libcurl client of the controller's own when null.
  http::Client* http = nullptr;
  // See TriggerContext.
  std::function<apiservice::ResourceMetricsProvider*()> resource_metrics;
  // Maps host names in triggers; empty is the identity.
  std::function<std::string(const std::string& host)> resolve_host;
  // Shared with the HPA controller, so that the two show on one board and never scale the same workload. Each is the
  // controller's own when null.
  StatusBoard* board = nullptr;
  TargetRegistry* targets = nullptr;
  // Which objects are followed; empty: all. See ShardOf().
  std::function<bool(const base::Json& object)> follows;
  promql::SampleArrivals* arrivals = nullptr;  // Tells prometheus triggers of new samples; null: they are read in time.
  SignalValues* values = nullptr;              // Receives what the HPAs of scalingMode hpa are to see; may be null.
};

// Each object is evaluated at once when it appears or changes, and then every spec.pollingInterval; after a start the
// first evaluations are spread over two seconds. One evaluation reads the triggers in turn (each with its timeout),
// calls Decide(), patches the scale subresource when the number differs, and writes status and events on change.
// A ScaledJob is evaluated alike; in place of the patch, Jobs are created, and finished ones beyond its limits deleted.
// Objects never wait for each other except for a free worker of the scheduler's pool. A broken object shows condition
// Ready=False and touches neither its target nor any other object.
//
// `control` is the time of decisions and samples, `calendar` that of cron windows (the same clock outside the sandbox).
// Borrows its arguments, which must outlive it; `metrics` receives what StatusBoard lists. Where several replicas run,
// only the leader has a started controller.
class ScaledObjectController {
 public:
  ScaledObjectController(const Cluster& cluster, promql::QueryEngine& engine, base::Clock& control,
                         base::Clock& calendar, base::Scheduler& scheduler, base::MetricRegistry& metrics,
                         ScaledObjectControllerOptions options = {});
  ~ScaledObjectController();  // Stop().

  base::Status Start();
  // Waits for the evaluations under way, and takes the objects off the board. Idempotent; the controller cannot be
  // started again.
  void Stop();

  // Whether the objects have been listed once.
  bool HasSynced() const;
  StatusBoard& board();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::scaler
