// How an informer's events reach its handlers. Private to kube.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "kube/informer.h"

namespace tidewright::kube {

// Calls handlers one at a time, in the order of the events, on a thread of its own, so that a slow handler does not
// hold up the watch. Thread-safe. What waits for handlers are pointers to objects that the cache holds or held.
class HandlerQueue {
 public:
  using ObjectPtr = std::shared_ptr<const base::Json>;

  ~HandlerQueue() { Stop(); }

  // The handler gets `present` as kAdded, then every event that is posted from now on.
  uint64_t Add(EventHandler handler, const std::vector<ObjectPtr>& present);
  // Waits for the handler if it is running, unless called by a handler.
  void Remove(uint64_t id);
  void Post(EventType type, ObjectPtr object);

  void Start();
  void Stop();  // Drops what has not been delivered. Idempotent.

 private:
  struct Delivery {
    EventType type;
    ObjectPtr object;
    uint64_t first_id;  // The handlers that it is for.
    uint64_t last_id;
  };
  void Run();
  void Deliver(const Delivery& delivery);

  base::Mutex mu_;
  base::CondVar changed_;
  std::map<uint64_t, std::shared_ptr<EventHandler>> handlers_ GUARDED_BY(mu_);  // Shared with the running call.
  uint64_t last_id_ GUARDED_BY(mu_) = 0;
  uint64_t running_id_ GUARDED_BY(mu_) = 0;  // 0: none.
  std::deque<Delivery> queue_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
  std::thread::id runner_ GUARDED_BY(mu_);
  std::thread thread_;  // Written by Start() and Stop() only.
};

}  // namespace tidewright::kube
