#include "scaler/hpa_controller.h"

#include <utility>

#include "scaler/hpa_workload.h"
#include "scaler/object_follower.h"

namespace tidewright::scaler {

class HpaController::Impl {
 public:
  Impl(const Cluster& cluster, base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry& metrics,
       const HpaControllerOptions& options)
      : own_board_(metrics), follower_(*cluster.caches, scheduler, metrics) {
    context_.cluster = cluster;
    context_.clock = &clock;
    context_.board = options.board != nullptr ? options.board : &own_board_;
    context_.targets = options.targets != nullptr ? options.targets : &own_targets_;
    context_.selectors = &selectors_;
    context_.defaults = {options.tolerance, options.downscale_stabilization_s};
    context_.reading = {options.cpu_initialization_period_ms, options.initial_readiness_delay_ms};
    context_.sync_period_ms = options.sync_period_ms;
    follower_.Watch(kube::resources::kHorizontalPodAutoscalers, options.ns,
                    [this](const ObjectFollower::Hasten&) -> ObjectFollower::Pass {
                      auto workload = std::make_shared<HpaWorkload>(context_);
                      return [workload](const std::shared_ptr<const base::Json>& object) {
                        return workload->Reconcile(object);
                      };
                    });
  }

  void Start() { follower_.Start(); }
  void Stop() { follower_.Stop(); }
  bool HasSynced() const { return follower_.HasSynced(); }
  StatusBoard& board() { return *context_.board; }

 private:
  StatusBoard own_board_;
  TargetRegistry own_targets_;
  SelectorRegistry selectors_;
  HpaContext context_;
  ObjectFollower follower_;
};

HpaController::HpaController(const Cluster& cluster, base::Clock& clock, base::Scheduler& scheduler,
                             base::MetricRegistry& metrics, HpaControllerOptions options)
    : impl_(std::make_unique<Impl>(cluster, clock, scheduler, metrics, options)) {}

HpaController::~HpaController() { Stop(); }
void HpaController::Start() { impl_->Start(); }
void HpaController::Stop() { impl_->Stop(); }
bool HpaController::HasSynced() const { return impl_->HasSynced(); }
StatusBoard& HpaController::board() { return impl_->board(); }

}  // namespace tidewright::scaler
