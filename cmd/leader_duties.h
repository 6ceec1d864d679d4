// LeaderDuties: what one replica does for all: scaling, and telling the cluster about it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapter/metric_rule.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kube/client.h"
#include "kube/event_recorder.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"
#include "promql/arrivals.h"
#include "promql/engine.h"
#include "scaler/hpa_controller.h"
#include "scaler/scaled_object_controller.h"
#include "scaler/status_board.h"
#include "scaler/target.h"
#include "scrape/operator_source.h"

namespace tidewright::cmd {

// Borrowed, except the flags.
struct LeaderContext {
  bool scale_objects = true;                              // ScaledObjects and ScaledJobs; false where ShardDuties does.
  std::function<bool(const base::Json& object)> follows;  // Which of them; empty: all.
  kube::Client* client = nullptr;                         // Guarded by the leader election, if there is one.
  kube::SharedCaches* caches = nullptr;
  kube::ObjectReader* objects = nullptr;
  promql::QueryEngine* engine = nullptr;
  tsdb::Arrivals* arrivals = nullptr;
  base::Clock* clock = nullptr;
  base::Clock* calendar = nullptr;
  base::Scheduler* scheduler = nullptr;
  base::MetricRegistry* metrics = nullptr;
  scaler::StatusBoard* board = nullptr;
  scaler::SignalValues* values = nullptr;
  scrape::OperatorSource* monitoring = nullptr;                   // Whose faults are told in events; may be null.
  adapter::MetricRuleSource* metric_rules = nullptr;              // Whose status is written; may be null.
  std::function<std::vector<adapter::RuleStatus>()> rule_status;  // What is known of the adapter's rules.
  std::string instance;                                           // Of this process, in its events.
  std::string own_namespace;                                      // Of this process.
  bool watch_keda = false;
  bool hpa_controller = false;
  int64_t hpa_sync_period_ms = 15'000;
  std::function<apiservice::ResourceMetricsProvider*()> resource_metrics;  // What serves metrics.k8s.io here.
  std::function<std::string(const std::string& host)> resolve_host;
};

// One term of leadership, of everything or of a shard. It begins with nothing remembered: what the objects' status says
// counts, and the replicas that are there stand for the recommendations of before. Not thread-safe.
class LeaderDuties {
 public:
  explicit LeaderDuties(LeaderContext context);
  ~LeaderDuties();  // Stop().

  base::Status Start();
  // Waits for evaluations under way; what they said is off the board then. Idempotent.
  void Stop();

 private:
  base::Status FollowObjects();
  void FollowAutoscalers();
  scaler::Cluster ClusterFor(kube::EventRecorder& events);

  const LeaderContext context_;
  promql::SampleArrivals arrivals_;
  scaler::TargetRegistry targets_;
  kube::EventRecorder scaler_events_;
  kube::EventRecorder hpa_events_;
  kube::EventRecorder scrape_events_;
  std::unique_ptr<scaler::ScaledObjectController> scaled_objects_;
  std::unique_ptr<scaler::HpaController> hpas_;
  std::unique_ptr<adapter::MetricRuleReporter> metric_rules_;
};

}  // namespace tidewright::cmd
