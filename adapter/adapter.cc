#include "adapter/adapter.h"

#include <utility>

#include "base/log.h"

namespace tidewright::adapter {
namespace {

constexpr size_t kMostLastValues = 100'000;

base::Counter& UsedCounter(base::MetricRegistry& metrics, const char* api) {
  return metrics.GetCounter("tidewright_adapter_last_values_used_total",
                            "Values that stood in for ones that were missing.", {{"api", api}});
}

}  // namespace

Adapter::Adapter(promql::QueryEngine& engine, kube::Client& client, kube::ObjectReader& objects, base::Clock& clock,
                 base::Scheduler& scheduler, base::MetricRegistry& metrics, AdapterOptions options)
    : engine_(engine),
      options_(options),
      scheduler_(scheduler),
      mapper_(client, clock),
      registry_(engine, mapper_, clock, scheduler, metrics, options.registry),
      diagnoser_(engine, clock, options.lookback_ms),
      last_values_(options.last_value_ms, kMostLastValues, UsedCounter(metrics, "custom")),
      last_external_values_(options.last_value_ms, kMostLastValues, UsedCounter(metrics, "external")),
      custom_(engine, registry_, objects, diagnoser_, last_values_, clock),
      external_(engine, registry_, diagnoser_, last_external_values_, clock),
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
  Sections sections{!config->rules.empty(), !config->external_rules.empty(), config->resource_rules.has_value()};
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
  configured_ = sections;
  ChooseProviders();
  return base::Status::Ok();
}

void Adapter::SetObjectRules(std::vector<std::shared_ptr<const Rule>> rules) {
  Sections sections;
  for (const auto& rule : rules) (rule->external() ? sections.external : sections.custom) = true;
  registry_.SetObjectRules(std::move(rules));
  base::MutexLock lock(mu_);
  objects_ = sections;
  ChooseProviders();
}

void Adapter::ChooseProviders() {
  providers_.custom = configured_.custom || objects_.custom ? &custom_ : nullptr;
  providers_.external = configured_.external || objects_.external ? &external_ : nullptr;
  providers_.resource = configured_.resource ? &resource_ : nullptr;
}

base::Result<std::vector<RuleStatus>> Adapter::CheckConfig(std::string_view text, const std::string& origin) {
  TW_ASSIGN_OR_RETURN(Config config, ParseConfig(text, origin));
  base::MetricRegistry unused;
  Registry registry(engine_, mapper_, clock_, scheduler_, unused, options_.registry);
  registry.SetRules(std::move(config.rules), std::move(config.external_rules));
  registry.Relist();
  return registry.Status();
}

Explanation Adapter::Explain(const ExplainRequest& request) {
  if (request.external) return external_.Explain(request.ns, request.metric, request.metric_selector);
  return custom_.Explain(request.resource, request.ns, request.name, request.object_selector, request.metric,
                         request.metric_selector);
}

void Adapter::Start() { registry_.Start(); }

void Adapter::Stop() { registry_.Stop(); }

apiservice::Providers Adapter::providers() {
  base::MutexLock lock(mu_);
  return providers_;
}

}  // namespace tidewright::adapter
