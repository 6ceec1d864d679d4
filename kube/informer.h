// Informer: a local cache of one resource type, kept current by list and watch.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "kube/client.h"

namespace tidewright::kube {

struct InformerOptions {
  std::string ns;  // "": all namespaces.
  std::string label_selector;
  std::string field_selector;
};

// What happened to an object. Handlers see each change after the cache does.
enum class EventType { kAdded, kModified, kDeleted };
using EventHandler = std::function<void(EventType type, const std::shared_ptr<const base::Json>& object)>;

// Lists, then watches, and starts over on 410 Gone or a broken connection with a jittered backoff of 0.1 s to 30 s.
// While the API server is away the last known objects stay. Thread-safe. Borrows client and clock, which must outlive
// it.
class Informer {
 public:
  Informer(Client& client, base::Clock& clock, Resource resource, InformerOptions options = {});
  ~Informer();  // Stop().

  // Before Start(). Handlers run one at a time on the informer's thread.
  void AddHandler(EventHandler handler);
  void Start();
  void Stop();  // Idempotent.

  // Whether the first list has succeeded.
  bool HasSynced() const;
  // Waits for the first list; kDeadlineExceeded or kCancelled with the last error otherwise.
  base::Status WaitForSync(int64_t timeout_ms);

  // Objects by "namespace/name" ("name" for cluster-wide ones). Shared and immutable.
  std::shared_ptr<const base::Json> Get(const std::string& ns, const std::string& name) const;
  std::vector<std::shared_ptr<const base::Json>> List() const;
  // The error of the last list or watch, OK while connected.
  base::Status last_error() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::kube
