// External metrics: values that belong to no Kubernetes object, answered with PromQL.
#pragma once

#include <string>
#include <vector>

#include "adapter/registry.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "kube/meta.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Every sample of the query becomes an item with the sample's labels; a scalar becomes one item without labels. NaN and
// infinities are left out: the sum of an answer must never be steered by a number that stands for "no number". When
// that leaves nothing of a query that did give samples, the answer is kNotFound with the reason.
class ExternalProvider : public apiservice::ExternalMetricsProvider {
 public:
  ExternalProvider(promql::QueryEngine& engine, Registry& registry, base::Clock& clock);

  std::vector<std::string> ListMetrics() override;
  base::Result<std::vector<apiservice::ExternalMetricValue>> Get(const std::string& ns, const std::string& metric,
                                                                 const kube::LabelSelector& selector) override;

 private:
  base::Result<std::string> Render(const ExternalMetric& metric, const std::string& ns,
                                   const kube::LabelSelector& selector) const;

  promql::QueryEngine& engine_;
  Registry& registry_;
  base::Clock& clock_;
};

}  // namespace tidewright::adapter
