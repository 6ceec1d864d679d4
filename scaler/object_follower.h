// ObjectFollower: the plumbing that both controllers share, from a watched resource to passes over single objects.
// Private to scaler.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/shared_caches.h"
#include "scaler/work_queue.h"

namespace tidewright::scaler {

// Watches resources and calls one pass per object whenever the object appears, changes (its status apart) or is gone,
// and when the pass asked to be called again. First passes after a start are spread over two seconds, later ones over
// the interval that the pass asks for, if that is longer. Thread-safe; borrows caches and scheduler.
class ObjectFollower {
 public:
  // One pass: the object as last seen, null once it is gone; returns in how many ms it wants to be called again. Calls
  // for one object never overlap.
  using Pass = std::function<std::optional<int64_t>(const std::shared_ptr<const base::Json>& object)>;
  // Asks for a pass of one object within `delay_ms` at the latest. Thread-safe; without effect once the follower is
  // gone.
  using Hasten = std::function<void(int64_t delay_ms)>;
  using NewPass = std::function<Pass(Hasten hasten)>;

  // `metrics` receives tidewright_scaler_lateness_seconds: how long after its time a pass began.
  ObjectFollower(kube::SharedCaches& caches, base::Scheduler& scheduler, base::MetricRegistry& metrics);
  ~ObjectFollower();  // Stop().

  // Before Start(). Only these objects count; one of which that is no longer so is as good as gone.
  void Restrict(std::function<bool(const base::Json& object)> follows) { follows_ = std::move(follows); }
  // Before Start(). `new_pass` is called once per object, under a lock: it must be quick.
  void Watch(const kube::Resource& resource, const std::string& ns, NewPass new_pass);
  void Start();
  // Waits for the passes under way, then tells each object's pass that it is gone. Idempotent.
  void Stop();
  // Whether every resource has been listed once.
  bool HasSynced() const;

 private:
  struct Entry {
    std::shared_ptr<const base::Json> object;
    std::shared_ptr<Pass> pass;
  };
  struct Watched {
    kube::Resource resource;
    std::string ns;
    NewPass new_pass;
    std::shared_ptr<kube::Informer> informer;  // Set by Start().
    std::set<std::string> present;             // Was in the cache already and is not followed yet, by "namespace/name".
    kube::Informer::HandlerId handler = 0;
  };
  void OnEvent(Watched& watched, kube::EventType type, const std::shared_ptr<const base::Json>& object);
  std::optional<int64_t> Run(const std::string& key);

  kube::SharedCaches& caches_;
  base::Scheduler& scheduler_;
  std::function<bool(const base::Json& object)> follows_;  // Empty: all. Written before Start() only.
  base::Mutex mu_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mu_);  // By "plural.group namespace/name".
  std::vector<std::unique_ptr<Watched>> watched_;         // Written by Watch() and Start() only.
  std::shared_ptr<WorkQueue> queue_;
};

}  // namespace tidewright::scaler
