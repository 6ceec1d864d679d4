// Adapter: metric rules turned into the custom, external and resource metrics APIs. The successor of
// prometheus-adapter.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/config.h"
#include "adapter/custom_provider.h"
#include "adapter/diagnosis.h"
#include "adapter/explanation.h"
#include "adapter/external_provider.h"
#include "adapter/last_values.h"
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
  int64_t lookback_ms = 5 * 60'000;  // Of the engine, for explanations.
  // For how long the last value of a metric may stand in for one that is missing, marked as such; 0: never.
  int64_t last_value_ms = 0;
};

// One metric request to be explained.
struct ExplainRequest {
  bool external = false;
  GroupResource resource;  // Of custom metrics.
  std::string ns;
  std::string name = "*";
  std::string metric;
  kube::LabelSelector object_selector;
  kube::LabelSelector metric_selector;
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

  // Takes the rules of MetricRule objects into use, besides the configuration's.
  void SetObjectRules(std::vector<std::shared_ptr<const Rule>> rules);

  // What the rules of `text` find in the live data, without taking them into use; the errors of LoadConfig().
  base::Result<std::vector<RuleStatus>> CheckConfig(std::string_view text, const std::string& origin);

  // Takes one request apart.
  Explanation Explain(const ExplainRequest& request);

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
  void ChooseProviders() REQUIRES_LOCK(mu_);

  promql::QueryEngine& engine_;
  const AdapterOptions options_;
  base::Scheduler& scheduler_;
  ResourceMapper mapper_;
  Registry registry_;
  Diagnoser diagnoser_;
  LastValues last_values_;
  LastExternalValues last_external_values_;
  CustomProvider custom_;
  ExternalProvider external_;
  ResourceProvider resource_;
  base::Gauge& config_ok_;
  base::Gauge& config_time_;
  base::Clock& clock_;
  base::Mutex load_mu_;  // One LoadConfig at a time.
  base::Mutex mu_;
  // Which sections the configuration has, and which kinds of rules the objects.
  struct Sections {
    bool custom = false, external = false, resource = false;
  };
  Sections configured_ GUARDED_BY(mu_);
  Sections objects_ GUARDED_BY(mu_);
  apiservice::Providers providers_ GUARDED_BY(mu_);
};

}  // namespace tidewright::adapter
