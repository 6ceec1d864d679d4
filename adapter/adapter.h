// Adapter: metric rules turned into the custom, external and resource metrics APIs. The successor of
// prometheus-adapter.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/config.h"
#include "adapter/custom_provider.h"
#include "adapter/external_provider.h"
#include "adapter/registry.h"
#include "adapter/resource_mapper.h"
#include "adapter/resource_provider.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kube/client.h"
#include "kube/object_reader.h"
#include "promql/engine.h"

namespace tidewright::adapter {

struct AdapterOptions {
  RegistryOptions registry;
};

// Thread-safe. Borrows everything it is given, which must outlive it; the scheduler must run until Stop().
//
//   adapter::Adapter adapter(engine, client, objects, clock, scheduler, metrics);
//   TW_RETURN_IF_ERROR(adapter.LoadConfig(text, path));
//   adapter.Start();
//   apiservice::ApiService service(..., [&] { return adapter.providers(); }, ...);
class Adapter {
 public:
  // `client` reads discovery documents, `objects` tells the objects that a selector matches.
  Adapter(promql::QueryEngine& engine, kube::Client& client, kube::ObjectReader& objects, base::Clock& clock,
          base::Scheduler& scheduler, base::MetricRegistry& metrics, AdapterOptions options = {});
  ~Adapter();  // Stop().

  // Takes a configuration (config.h) into use. On an error, which lists every fault, the previous one stays. May be
  // called at any time; what the old rules listed stays until the new ones have been listed.
  base::Status LoadConfig(std::string_view text, const std::string& origin);

  // Starts and stops listing. Stop is idempotent and final.
  void Start();
  void Stop();

  // What the configuration calls for right now; null members are APIs without a section. The objects live as long as
  // the adapter.
  apiservice::Providers providers();

  // Every rule with what it lists, for the web page.
  std::vector<RuleStatus> Rules() const { return registry_.Status(); }
  Registry& registry() { return registry_; }

 private:
  ResourceMapper mapper_;
  Registry registry_;
  CustomProvider custom_;
  ExternalProvider external_;
  ResourceProvider resource_;
  base::Gauge& config_ok_;
  base::Gauge& config_time_;
  base::Clock& clock_;
  base::Mutex load_mu_;  // One LoadConfig at a time.
  base::Mutex mu_;
  apiservice::Providers providers_ GUARDED_BY(mu_);
};

}  // namespace tidewright::adapter
