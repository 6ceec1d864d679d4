// Where the Alertmanagers of the section `alerting` are: discovery and relabelling, as for scrape targets.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "scrape/config.h"
#include "scrape/http_transport.h"

namespace tidewright::scrape {

// One Alertmanager, found by the element `config` of alerting.alertmanagers.
struct AlertmanagerTarget {
  std::string url;  // Where alerts are posted: scheme, address, path_prefix and /api/v2/alerts.
  size_t index = 0;
  std::shared_ptr<const AlertmanagerConfig> config;
  std::shared_ptr<HttpTransport> transport;
};

struct AlertmanagerTargets {
  std::vector<AlertmanagerTarget> active;  // Each URL once per element.
  std::vector<std::string> dropped;        // URLs that relabelling left out.
};

// Thread-safe, but for Apply() and Stop(), which are called by one thread at a time.
class AlertmanagerDiscovery {
 public:
  // Called with all of them whenever they change, one call at a time; must not block for long.
  using Update = std::function<void(AlertmanagerTargets targets)>;

  // Borrows clock and scheduler; `kube` may be null: no Kubernetes discovery then.
  AlertmanagerDiscovery(base::Clock& clock, base::Scheduler& scheduler, kube::SharedCaches* kube, Update update);
  ~AlertmanagerDiscovery();  // Stop().

  // Follows these from now on; an element that has not changed keeps what it has found.
  void Apply(const std::vector<AlertmanagerConfig>& configs);
  // After it returned, no update is delivered any more. Idempotent.
  void Stop();

 private:
  class Set;

  void Publish();

  base::Clock& clock_;
  base::Scheduler& scheduler_;
  kube::SharedCaches* const kube_;
  const Update update_;
  base::Mutex publish_mu_;  // Orders updates.
  base::Mutex mu_;
  std::vector<std::shared_ptr<Set>> sets_ GUARDED_BY(mu_);
};

// The URL of one Alertmanager from its labels after relabelling; kInvalidArgument when its address is none.
base::Result<std::string> AlertmanagerUrl(const tsdb::LabelsBuilder& labels);

}  // namespace tidewright::scrape
