#include "adapter/adapter.h"

#include <utility>

#include "base/log.h"

namespace tidewright::adapter {

Adapter::Adapter(promql::QueryEngine& engine, kube::Client& client, kube::ObjectReader& objects, base::Clock& clock,
                 base::Scheduler& scheduler, base::MetricRegistry& metrics, AdapterOptions options)
    : mapper_(client, clock),
      registry_(engine, mapper_, clock, scheduler, metrics, options.registry),
      custom_(engine, registry_, objects, clock),
      external_(engine, registry_, clock),
      resource_(engine, mapper_, objects, clock),
      config_ok_(metrics.GetGauge("tidewright_adapter_config_last_reload_successful",
                                  "Whether the last attempt to load the adapter's rules succeeded.")),
      config_time_(metrics.GetGauge("tidewright_adapter_config_last_reload_success_timestamp_seconds",
                                    "When the adapter's rules were last loaded.")),
      clock_(clock) {}

Adapter::~Adapter() { Stop(); }

base::Status Adapter::LoadConfig(std::string_view text, const std::string& origin) {
  base::MutexLock load(load_mu_);
  base::Result<Config> config = ParseConfig(text, origin);
  config_ok_.Set(config.ok() ? 1 : 0);
  if (!config.ok()) return config.status();
  config_time_.Set(static_cast<double>(clock_.NowMs()) / 1000);
  apiservice::Providers providers;
  if (!config->rules.empty()) providers.custom = &custom_;
  if (!config->external_rules.empty()) providers.external = &external_;
  if (config->resource_rules) providers.resource = &resource_;
  base::LogInfo("adapter", "rules loaded",
                {{"from", origin},
                 {"rules", std::to_string(config->rules.size())},
                 {"external_rules", std::to_string(config->external_rules.size())},
                 {"resource_rules", config->resource_rules ? "yes" : "no"}});
  std::shared_ptr<const ResourceRules> resource_rules;
  if (config->resource_rules) {
    resource_rules = std::make_shared<const ResourceRules>(*std::move(config->resource_rules));
  }
  resource_.SetRules(std::move(resource_rules));
  registry_.SetRules(std::move(config->rules), std::move(config->external_rules));
  base::MutexLock lock(mu_);
  providers_ = providers;
  return base::Status::Ok();
}

void Adapter::Start() { registry_.Start(); }

void Adapter::Stop() { registry_.Stop(); }

apiservice::Providers Adapter::providers() {
  base::MutexLock lock(mu_);
  return providers_;
}

}  // namespace tidewright::adapter
