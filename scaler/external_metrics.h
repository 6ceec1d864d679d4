// ScaledObjectMetrics: the triggers of ScaledObjects with scalingMode hpa as external metrics, as KEDA serves them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apiservice/provider.h"
#include "base/mutex.h"
#include "scaler/cluster.h"
#include "scaler/signal_values.h"
#include "scaler/status_board.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// Borrowed, except the functions.
struct ScaledObjectMetricsContext {
  Cluster cluster;          // The client only reads; nothing is written, and no events are recorded.
  TriggerContext triggers;  // A client for HTTP of its own is made where it has none.
  StatusBoard* board = nullptr;
  SignalValues* values = nullptr;  // Filled by the controller, where this replica leads.
  bool watch_keda = false;
  // Who is asked for all other metrics; may return null.
  std::function<apiservice::ExternalMetricsProvider*()> next;
};

// A request is ours if its selector names a ScaledObject (scaledobject.keda.sh/name). Where this replica leads, it is
// answered by what the controller has read last; elsewhere the trigger is read for it, at most once per second.
// Thread-safe.
class ScaledObjectMetrics : public apiservice::ExternalMetricsProvider {
 public:
  explicit ScaledObjectMetrics(ScaledObjectMetricsContext context);
  ~ScaledObjectMetrics() override;

  // Whether any ScaledObject keeps an HPA. Looked at every few seconds only.
  bool InUse();

  std::vector<std::string> ListMetrics() override;  // Those of the others: ours are found by name only.
  uint64_t ListVersion() override;
  base::Result<std::vector<apiservice::ExternalMetricValue>> Get(const std::string& ns, const std::string& metric,
                                                                 const kube::LabelSelector& selector) override;

 private:
  class Reader;
  using Key = std::pair<std::string, std::string>;  // Namespace and name.

  base::Result<std::shared_ptr<const base::Json>> Find(const std::string& ns, const std::string& name,
                                                       std::string* group);
  base::Result<SignalValue> ReadNow(const std::string& ns, const std::string& name, const std::string& metric);
  bool AnyKeepsHpa(const kube::Resource& resource);

  ScaledObjectMetricsContext context_;
  std::unique_ptr<http::Client> own_http_;
  base::Mutex mu_;
  std::map<Key, std::shared_ptr<Reader>> readers_ GUARDED_BY(mu_);
  bool in_use_ GUARDED_BY(mu_) = false;
  int64_t looked_ms_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::scaler
