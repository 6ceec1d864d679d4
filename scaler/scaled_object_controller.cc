#include "scaler/scaled_object_controller.h"

#include <map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "scaler/scaled_workload.h"
#include "scaler/work_queue.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kStartSpreadMs = 2'000;

// What of an object matters to a pass: everything but its status and bookkeeping.
std::string Relevant(const base::Json& object) {
  base::Json relevant = base::Json::array();
  for (auto path : {std::pair("metadata", "annotations"), std::pair("metadata", "deletionTimestamp"),
                    std::pair("metadata", "uid")}) {
    const base::Json* found = base::Find(object, {path.first, path.second});
    relevant.push_back(found == nullptr ? base::Json() : *found);
  }
  const base::Json* spec = base::Find(object, {"spec"});
  relevant.push_back(spec == nullptr ? base::Json() : *spec);
  return base::DumpJson(relevant);
}

}  // namespace

class ScaledObjectController::Impl {
 public:
  Impl(kube::Client& client, promql::QueryEngine& engine, base::Clock& control, base::Clock& calendar,
       base::Scheduler& scheduler, base::MetricRegistry& metrics, ScaledObjectControllerOptions options)
      : client_(client), control_(control), options_(std::move(options)), own_board_(metrics) {
    context_.client = &client;
    context_.triggers.control = &control;
    context_.triggers.calendar = &calendar;
    context_.triggers.engine = &engine;
    context_.triggers.http = options_.http;
    context_.triggers.resolve_host = options_.resolve_host;
    context_.board = options_.board != nullptr ? options_.board : &own_board_;
    context_.targets = options_.targets != nullptr ? options_.targets : &own_targets_;
    queue_ = std::make_shared<WorkQueue>(scheduler, [this](const std::string& key) { return Reconcile(key); });
  }

  base::Status Start() {
    if (context_.triggers.http == nullptr) {
      TW_ASSIGN_OR_RETURN(own_http_, http::NewCurlClient({}));
      context_.triggers.http = own_http_.get();
    }
    Watch(kube::resources::kScaledObjects);
    if (options_.watch_keda) {
      kube::Resource keda = kube::resources::kScaledObjects;
      keda.group = "keda.sh";
      Watch(keda);
    }
    for (auto& informer : informers_) informer->Start();
    return base::Status::Ok();
  }

  void Stop() {
    for (auto& informer : informers_) informer->Stop();
    queue_->Stop();
  }

  bool HasSynced() const {
    for (const auto& informer : informers_) {
      if (!informer->HasSynced()) return false;
    }
    return !informers_.empty();
  }

  StatusBoard& board() { return *context_.board; }

 private:
  struct Entry {
    std::shared_ptr<const base::Json> object;  // Null once it is gone.
    std::string relevant;
    std::unique_ptr<ScaledWorkload> workload;  // Used by one pass at a time.
  };

  void Watch(const kube::Resource& resource) {
    auto informer =
        std::make_unique<kube::Informer>(client_, control_, resource, kube::InformerOptions{options_.ns, "", ""});
    kube::Informer* watched = informer.get();
    informer->AddHandler(
        [this, resource, watched](kube::EventType type, const std::shared_ptr<const base::Json>& object) {
          OnEvent(resource, watched->HasSynced(), type, object);
        });
    informers_.push_back(std::move(informer));
  }

  void OnEvent(const kube::Resource& resource, bool synced, kube::EventType type,
               const std::shared_ptr<const base::Json>& object) {
    std::string key = resource.group + " " + kube::KeyOf(*object);
    {
      base::MutexLock lock(mu_);
      Entry& entry = entries_[key];
      if (entry.workload == nullptr) entry.workload = std::make_unique<ScaledWorkload>(context_, resource);
      bool gone = type == kube::EventType::kDeleted;
      std::string relevant = gone ? "" : Relevant(*object);
      bool same = !gone && entry.object != nullptr && entry.relevant == relevant;
      entry.object = gone ? nullptr : object;
      entry.relevant = std::move(relevant);
      if (same) return;  // Our own status writes come back as changes.
    }
    queue_->Add(key, synced ? 0 : SpreadOf(key, kStartSpreadMs));
  }

  std::optional<int64_t> Reconcile(const std::string& key) {
    std::shared_ptr<const base::Json> object;
    ScaledWorkload* workload = nullptr;
    {
      base::MutexLock lock(mu_);
      auto it = entries_.find(key);
      if (it == entries_.end()) return std::nullopt;
      object = it->second.object;
      workload = it->second.workload.get();
    }
    std::optional<int64_t> delay = workload->Reconcile(object);
    base::MutexLock lock(mu_);
    auto it = entries_.find(key);
    if (object == nullptr && it != entries_.end() && it->second.object == nullptr) entries_.erase(it);
    return delay;
  }

  kube::Client& client_;
  base::Clock& control_;
  const ScaledObjectControllerOptions options_;
  StatusBoard own_board_;
  TargetRegistry own_targets_;
  std::unique_ptr<http::Client> own_http_;
  WorkloadContext context_;
  base::Mutex mu_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mu_);  // By "group namespace/name".
  std::vector<std::unique_ptr<kube::Informer>> informers_;
  std::shared_ptr<WorkQueue> queue_;  // After everything that its work uses.
};

ScaledObjectController::ScaledObjectController(kube::Client& client, promql::QueryEngine& engine, base::Clock& control,
                                               base::Clock& calendar, base::Scheduler& scheduler,
                                               base::MetricRegistry& metrics, ScaledObjectControllerOptions options)
    : impl_(std::make_unique<Impl>(client, engine, control, calendar, scheduler, metrics, std::move(options))) {}

ScaledObjectController::~ScaledObjectController() { Stop(); }
base::Status ScaledObjectController::Start() { return impl_->Start(); }
void ScaledObjectController::Stop() { impl_->Stop(); }
bool ScaledObjectController::HasSynced() const { return impl_->HasSynced(); }
StatusBoard& ScaledObjectController::board() { return impl_->board(); }

}  // namespace tidewright::scaler
