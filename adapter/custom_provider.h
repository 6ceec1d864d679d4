// Custom metrics: requests about Kubernetes objects, answered with PromQL.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapter/registry.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "kube/meta.h"
#include "kube/object_reader.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Evaluates a metric's query for the objects that are asked for, at the current time. Which objects have the labels of
// a request is read from caches: a request costs the API server nothing. Values are truncated to thousandths, as
// base::Quantity::FromDoubleMilli() says. NaN and infinities are no values: the object counts as one without a value,
// and the error for a single object says so. The timestamp is the evaluation time; the window is the longest range in
// the query.
class CustomProvider : public apiservice::CustomMetricsProvider {
 public:
  CustomProvider(promql::QueryEngine& engine, Registry& registry, kube::ObjectReader& objects, base::Clock& clock);

  std::vector<apiservice::CustomMetricInfo> ListMetrics() override;
  base::Result<apiservice::CustomMetricValue> GetByName(const GroupResource& resource, const std::string& ns,
                                                        const std::string& name, const std::string& metric,
                                                        const kube::LabelSelector& metric_selector) override;
  base::Result<std::vector<apiservice::CustomMetricValue>> GetBySelector(
      const GroupResource& resource, const std::string& ns, const kube::LabelSelector& object_selector,
      const std::string& metric, const kube::LabelSelector& metric_selector) override;

 private:
  // What a query gave.
  struct Answer {
    std::string query;
    int64_t now_ms = 0;
    size_t samples = 0;
    std::map<std::string, double> values;  // By object name.
  };
  base::Result<std::vector<std::string>> Names(const kube::Resource& resource, const std::string& ns,
                                               const kube::LabelSelector& selector);
  base::Result<CustomMetric> Find(const GroupResource& resource, const std::string& ns, const std::string& metric);
  base::Result<Answer> Ask(const CustomMetric& metric, const std::string& ns, const std::vector<std::string>& names,
                           const kube::LabelSelector& metric_selector);
  base::Result<apiservice::CustomMetricValue> ToValue(const CustomMetric& metric, const Answer& answer,
                                                      const std::string& ns, const std::string& name,
                                                      const std::string& metric_name) const;

  promql::QueryEngine& engine_;
  Registry& registry_;
  kube::ObjectReader& objects_;
  base::Clock& clock_;
};

}  // namespace tidewright::adapter
