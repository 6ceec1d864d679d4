#include "scaler/scaled_object_controller.h"

#include <deque>
#include <string_view>
#include <utility>

#include "scaler/job_workload.h"
#include "scaler/object_follower.h"
#include "scaler/scaled_workload.h"
#include "scaler/source_pool.h"

namespace tidewright::scaler {

class ScaledObjectController::Impl {
 public:
  Impl(const Cluster& cluster, promql::QueryEngine& engine, base::Clock& control, base::Clock& calendar,
       base::Scheduler& scheduler, base::MetricRegistry& metrics, ScaledObjectControllerOptions options)
      : options_(std::move(options)),
        own_board_(metrics),
        sources_(&metrics),
        follower_(*cluster.caches, scheduler, metrics) {
    context_.cluster = cluster;
    context_.triggers.control = &control;
    context_.triggers.calendar = &calendar;
    context_.triggers.engine = &engine;
    context_.triggers.arrivals = options_.arrivals;
    context_.triggers.http = options_.http;
    context_.triggers.sources = &sources_;
    context_.triggers.objects = cluster.objects;
    context_.triggers.client = cluster.client;
    context_.triggers.resource_metrics = options_.resource_metrics;
    context_.triggers.resolve_host = options_.resolve_host;
    context_.values = options_.values;
    context_.board = options_.board != nullptr ? options_.board : &own_board_;
    context_.targets = options_.targets != nullptr ? options_.targets : &own_targets_;
  }

  base::Status Start() {
    if (context_.triggers.http == nullptr) {
      TW_ASSIGN_OR_RETURN(own_http_, http::NewCurlClient({}));
      context_.triggers.http = own_http_.get();
    }
    follower_.Restrict(options_.follows);
    Watch<ScaledWorkload>(kube::resources::kScaledObjects);
    Watch<JobWorkload>(kScaledJobs);
    follower_.Start();
    return base::Status::Ok();
  }

  void Stop() { follower_.Stop(); }
  bool HasSynced() const { return follower_.HasSynced(); }
  StatusBoard& board() { return *context_.board; }

 private:
  template <typename Workload>
  void Watch(kube::Resource resource) {
    for (const char* group : {"tidewright.dev", "keda.sh"}) {
      if (!options_.watch_keda && std::string_view(group) == "keda.sh") continue;
      resource.group = group;
      const kube::Resource& watched = resources_.emplace_back(resource);
      follower_.Watch(resource, options_.ns, [this, &watched](ObjectFollower::Hasten hasten) -> ObjectFollower::Pass {
        auto workload = std::make_shared<Workload>(context_, watched);
        workload->PushTo(std::move(hasten));
        return [workload](const std::shared_ptr<const base::Json>& object) { return workload->Reconcile(object); };
      });
    }
  }

  const ScaledObjectControllerOptions options_;
  StatusBoard own_board_;
  TargetRegistry own_targets_;
  std::unique_ptr<http::Client> own_http_;
  SourcePool sources_;
  WorkloadContext context_;
  std::deque<kube::Resource> resources_;  // What is followed; the workloads refer to them.
  ObjectFollower follower_;               // Last: its passes use everything above.
};

ScaledObjectController::ScaledObjectController(const Cluster& cluster, promql::QueryEngine& engine,
                                               base::Clock& control, base::Clock& calendar, base::Scheduler& scheduler,
                                               base::MetricRegistry& metrics, ScaledObjectControllerOptions options)
    : impl_(std::make_unique<Impl>(cluster, engine, control, calendar, scheduler, metrics, std::move(options))) {}

ScaledObjectController::~ScaledObjectController() { Stop(); }
base::Status ScaledObjectController::Start() { return impl_->Start(); }
void ScaledObjectController::Stop() { impl_->Stop(); }
bool ScaledObjectController::HasSynced() const { return impl_->HasSynced(); }
StatusBoard& ScaledObjectController::board() { return impl_->board(); }

}  // namespace tidewright::scaler
