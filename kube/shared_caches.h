// SharedCaches: one informer per set of objects, however many want to know of it.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/informer.h"

namespace tidewright::kube {

// Hands out informers. Users of the same resource, namespace and selectors share one; the first one starts it, and when
// the last one lets go of it, it stops. Thread-safe. Borrows client, clock and metrics, which must outlive every
// informer that it handed out.
class SharedCaches {
 public:
  SharedCaches(Client& client, base::Clock& clock, base::MetricRegistry* metrics = nullptr);
  ~SharedCaches();  // Stop().
  SharedCaches(const SharedCaches&) = delete;
  SharedCaches& operator=(const SharedCaches&) = delete;

  // A started informer. Unless the options say how to transform objects, its pods and nodes lack what this program
  // never reads, such as environments, volumes and probes. Options other than namespace and selectors count for the
  // first user only, so use the same everywhere. Keep the pointer as long as the cache is needed, remove one's handlers
  // before dropping it, and do not drop it in a handler. After Stop(), an informer that never syncs.
  std::shared_ptr<Informer> Get(const Resource& resource, const InformerOptions& options = {});

  // Stops every informer, whoever still holds it. Idempotent.
  void Stop();

 private:
  Client& client_;
  base::Clock& clock_;
  base::MetricRegistry* const metrics_;
  base::Mutex mu_;
  std::map<std::string, std::weak_ptr<Informer>> informers_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::kube
