#include "web/metric_explanations.h"

#include <string>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "web/api_error.h"
#include "web/status_api.h"

namespace tidewright::web {
namespace {

using base::Json;

base::Result<kube::LabelSelector> SelectorOf(const http::ServerRequest& request, const char* parameter) {
  base::Result<kube::LabelSelector> selector = kube::LabelSelector::Parse(http::QueryValue(request.query, parameter));
  if (!selector.ok()) return selector.status().Annotate(parameter);
  return selector;
}

base::Result<adapter::ExplainRequest> ReadRequest(const http::ServerRequest& request) {
  adapter::ExplainRequest result;
  std::string metric = http::QueryValue(request.query, "metric");
  size_t slash = metric.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == metric.size()) {
    return base::InvalidArgumentError("metric: " + base::Quoted(metric) +
                                      " is not of the form <resource>/<metric>; use for example pods/http_requests or "
                                      "external/queue_depth");
  }
  result.metric = metric.substr(slash + 1);
  std::string resource = metric.substr(0, slash);
  result.external = resource == "external";
  size_t dot = resource.find('.');
  result.resource = {dot == std::string::npos ? "" : resource.substr(dot + 1), resource.substr(0, dot)};
  result.ns = http::QueryValue(request.query, "namespace");
  std::string name = http::QueryValue(request.query, "name");
  if (!name.empty()) result.name = name;
  TW_ASSIGN_OR_RETURN(result.object_selector, SelectorOf(request, "labelSelector"));
  TW_ASSIGN_OR_RETURN(result.metric_selector, SelectorOf(request, "metricLabelSelector"));
  if (result.external && result.metric_selector.empty()) result.metric_selector = result.object_selector;
  // The metrics of a namespace itself are asked for with its name.
  if (resource == "namespaces" && result.name == "*" && !result.ns.empty()) result.name = std::exchange(result.ns, "");
  return result;
}

http::Response Success(Json data) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson({{"status", "success"}, {"data", std::move(data)}});
  return response;
}

}  // namespace

http::Response ExplainMetric(adapter::Adapter& adapter, const http::ServerRequest& request) {
  base::Result<adapter::ExplainRequest> question = ReadRequest(request);
  if (!question.ok()) return ErrorReply(question.status(), ErrorSource::kRequest);
  adapter::Explanation found = adapter.Explain(*question);
  Json values = Json::array();
  for (const auto& value : found.values) values.push_back({{"object", value.object}, {"value", value.value}});
  return Success({{"rule", found.rule},
                  {"seriesQuery", found.series_query},
                  {"metricsQuery", found.metrics_query},
                  {"series", found.series},
                  {"query", found.query},
                  {"values", std::move(values)},
                  {"without", found.without},
                  {"problem", found.problem},
                  {"suggestions", found.suggestions}});
}

http::Response CheckAdapterConfig(adapter::Adapter& adapter, const http::ServerRequest& request) {
  base::Result<std::vector<adapter::RuleStatus>> rules = adapter.CheckConfig(request.body, "the configuration");
  if (!rules.ok()) return ErrorReply(rules.status(), ErrorSource::kRequest);
  return Success(MetricRulesJson(*rules));
}

}  // namespace tidewright::web
