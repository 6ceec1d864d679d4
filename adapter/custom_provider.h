// Custom metrics: requests about Kubernetes objects, answered with PromQL.
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
#include "kube/object_reader.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Evaluates a metric's query for the objects that are asked for, at the current time. Which objects have the labels of
// a request is read from caches: a request costs the API server nothing. Values are truncated to thousandths, as
// base::Quantity::FromDoubleMilli() says. NaN and infinities are no values: the object counts as one without a value.
// Errors say which rule applied, which PromQL was asked and why it gives nothing; a request for many objects of which
// none has a value is such an error, too. While a query fails, or an object has no value, the last one stands in for as
// long as `last` keeps it, with its time and a warning. The timestamp is that of the newest sample behind the value
// (TimeOf); the window is the longest range in the query.
class CustomProvider : public apiservice::CustomMetricsProvider {
 public:
  CustomProvider(promql::QueryEngine& engine, Registry& registry, kube::ObjectReader& objects, Diagnoser& diagnoser,
                 LastValues& last, base::Clock& clock);

  std::vector<apiservice::CustomMetricInfo> ListMetrics() override;
  uint64_t ListVersion() override { return registry_.version(); }
  base::Result<apiservice::CustomMetricValues> GetByName(const GroupResource& resource, const std::string& ns,
                                                         const std::string& name, const std::string& metric,
                                                         const kube::LabelSelector& metric_selector) override;
  base::Result<apiservice::CustomMetricValues> GetBySelector(const GroupResource& resource, const std::string& ns,
                                                             const kube::LabelSelector& object_selector,
                                                             const std::string& metric,
                                                             const kube::LabelSelector& metric_selector) override;

  // What the same request leads to; `name` "*": all objects that match. Asks as a request does; remembers nothing.
  Explanation Explain(const GroupResource& resource, const std::string& ns, const std::string& name,
                      const kube::LabelSelector& object_selector, const std::string& metric,
                      const kube::LabelSelector& metric_selector);

 private:
  using Names = std::vector<std::string>;  // Of objects, sorted.
  using Values = apiservice::CustomMetricValues;
  // A request whose metric is known.
  struct Question {
    CustomMetric metric;
    std::string name;  // Of the metric.
    std::string ns;
    const kube::LabelSelector& selector;
    RenderedQueryPtr query;  // Null until it has been rendered.
  };
  // What a query gave.
  struct Answer {
    struct Found {
      bool any = false;
      double value = 0;
      int64_t sampled_ms = 0;  // As of promql::VectorSample.
    };
    int64_t now_ms = 0;
    size_t samples = 0;
    std::vector<Found> of;  // For each name.
  };
  // `known`: as of kube::ObjectReader::Names().
  base::Result<kube::NameListPtr> NamesOf(const kube::Resource& resource, const std::string& ns,
                                          const kube::LabelSelector& selector, const std::string& metric,
                                          const kube::NameListPtr& known);
  base::Result<CustomMetric> Find(const GroupResource& resource, const std::string& ns, const std::string& name,
                                  const std::string& metric);
  // `conditions`, the query's matchers, may be null.
  base::Result<std::string> Render(const Question& question, const Names& names, promql::Matchers* conditions) const;
  // Of the query for `objects`, which says what is asked for.
  static std::string QueryKey(const Question& question, const std::string& objects);
  // Renders unless the query is kept.
  base::Status SetQuery(const std::string& key, const kube::NameListPtr& names, Question* question);
  base::Result<Answer> Ask(const Question& question, const Names& names);
  // Hands out what the query gives for the objects of the question. False: it gives no instant vector.
  base::Result<bool> Visit(const Question& question, int64_t now_ms, const promql::ElementSink& sink);
  Values Head(const Question& question) const;
  // All but the name.
  base::Result<apiservice::CustomMetricValue> ToValue(const Question& question, const Answer& answer,
                                                      const Names& names, size_t i) const;
  // Why `names` have no value.
  std::string Why(const Question& question, const Names& names, std::string* suggestion);
  std::string KeyOf(const Question& question, const std::string& name) const;

  promql::QueryEngine& engine_;
  Registry& registry_;
  kube::ObjectReader& objects_;
  Diagnoser& diagnoser_;
  LastValues& last_;
  base::Clock& clock_;
  QueryCache queries_;
};

}  // namespace tidewright::adapter
