// Informer: a local cache of one resource type, kept current by list and watch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/meta.h"
#include "kube/name_list.h"

namespace tidewright::kube {

struct InformerOptions {
  std::string ns;  // "": all namespaces.
  std::string label_selector;
  std::string field_selector;
  // Drops what nobody reads from an object before it is kept; metadata.managedFields is always dropped. Runs on the
  // informer's thread; must leave metadata's name, namespace, uid, resourceVersion and labels alone.
  std::function<void(base::Json& object)> transform;
  int64_t resync_ms = 0;            // Handlers get every object again (kModified) this often; 0: never.
  int64_t watch_idle_ms = 120'000;  // A watch that is silent for so long is taken for dead and resumed.
  base::MetricRegistry* metrics = nullptr;
};

// What happened to an object. Handlers see each change after the cache does.
enum class EventType { kAdded, kModified, kDeleted };
using EventHandler = std::function<void(EventType type, const std::shared_ptr<const base::Json>& object)>;

// Lists (in pages, consistent: never older than the moment of asking), then watches from there with bookmarks, resumes
// where a watch ended, and lists again on 410 Gone. Failures are spaced by a jittered backoff of 0.8 s to 30 s, which
// starts anew only after a watch that kept up for some time. An object that cannot be understood costs only itself.
// While the API server is away the last known objects stay.
//
// Metrics: tidewright_kube_watch_restarts_total{resource,reason}, tidewright_kube_cached_objects{resource},
// tidewright_kube_last_sync_timestamp_seconds{resource} (of the last list, event or bookmark).
//
// Thread-safe. Borrows client, clock and metrics, which must outlive it.
class Informer {
 public:
  Informer(Client& client, base::Clock& clock, Resource resource, InformerOptions options = {});
  ~Informer();  // Stop().

  using HandlerId = uint64_t;
  // Handlers run one at a time on a thread of the informer's own. One that is added late first gets the present content
  // as kAdded.
  HandlerId AddHandler(EventHandler handler);
  // Afterwards the handler does not run any more; waits for it if it is running, unless called by a handler.
  void RemoveHandler(HandlerId id);
  void Start();
  void Stop();  // Idempotent.

  // Whether the first list has succeeded.
  bool HasSynced() const;
  // Waits for the first list; kDeadlineExceeded or kCancelled with the last error otherwise.
  base::Status WaitForSync(int64_t timeout_ms);

  // Objects by "namespace/name" ("name" for cluster-wide ones). Shared and immutable.
  std::shared_ptr<const base::Json> Get(const std::string& ns, const std::string& name) const;
  std::vector<std::shared_ptr<const base::Json>> List() const;
  // Of one namespace ("": of all), those whose labels match. Indexed by namespace and by label: for the pods of a
  // workload it costs in proportion to them, not to all.
  std::vector<std::shared_ptr<const base::Json>> ListMatching(const std::string& ns,
                                                              const LabelSelector& selector) const;
  // The names of these, sorted; `known`, what an earlier call for the same gave, as long as it holds. Null is no list.
  NameListPtr NamesMatching(const std::string& ns, const LabelSelector& selector, const NameListPtr& known) const;
  // The error of the last list or watch, OK while connected.
  base::Status last_error() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::kube
