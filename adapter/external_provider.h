// External metrics: values that belong to no Kubernetes object, answered with PromQL.
#pragma once

#include <string>
#include <vector>

#include "adapter/diagnosis.h"
#include "adapter/explanation.h"
#include "adapter/last_values.h"
#include "adapter/query_cache.h"
#include "adapter/registry.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "kube/meta.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Every sample of the query becomes an item with the sample's labels; a scalar becomes one item without labels. NaN and
// infinities are left out: the sum of an answer must never be steered by a number that stands for "no number". When
// nothing is left, or was there, the answer is kNotFound with the reason; for a while the last answer stands in, with
// its time and a warning (LastExternalValues).
class ExternalProvider : public apiservice::ExternalMetricsProvider {
 public:
  ExternalProvider(promql::QueryEngine& engine, Registry& registry, Diagnoser& diagnoser, LastExternalValues& last,
                   base::Clock& clock);

  std::vector<std::string> ListMetrics() override;
  uint64_t ListVersion() override { return registry_.version(); }
  base::Result<std::vector<apiservice::ExternalMetricValue>> Get(const std::string& ns, const std::string& metric,
                                                                 const kube::LabelSelector& selector) override;

  // What the same request leads to. Asks as a request does; remembers nothing.
  Explanation Explain(const std::string& ns, const std::string& metric, const kube::LabelSelector& selector);

 private:
  struct Question {
    ExternalMetric metric;
    std::string name;
    std::string ns;
    const kube::LabelSelector& selector;
    RenderedQueryPtr query;  // Null until it has been rendered.
  };
  using Values = std::vector<apiservice::ExternalMetricValue>;
  base::Result<ExternalMetric> Find(const std::string& ns, const std::string& metric);
  // `conditions`, the query's matchers, may be null.
  base::Result<std::string> Render(const Question& question, promql::Matchers* conditions) const;
  // The values, kNotFound without any. `suggestion` may be null.
  base::Result<Values> Ask(const Question& question, std::string* suggestion);
  base::Status Nothing(const Question& question, size_t samples, std::string* suggestion);

  promql::QueryEngine& engine_;
  Registry& registry_;
  Diagnoser& diagnoser_;
  LastExternalValues& last_;
  base::Clock& clock_;
  QueryCache queries_;
};

}  // namespace tidewright::adapter
