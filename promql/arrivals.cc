#include "promql/arrivals.h"

#include <algorithm>
#include <set>
#include <utility>

#include "promql/ast.h"
#include "promql/parser.h"
#include "tsdb/arrivals.h"
#include "tsdb/labels.h"

namespace tidewright::promql {

namespace {

// False when a selector names no metric.
bool CollectMetrics(Expr& expr, std::set<std::string>* metrics) {
  if (expr.kind == NodeKind::kVectorSelector) {
    const auto& selector = As<VectorSelector>(expr);
    if (selector.labels_only) return true;
    for (const auto& matcher : selector.matchers) {
      const bool names = matcher.name() == tsdb::kMetricName && matcher.type() == tsdb::Matcher::Type::kEqual;
      if (!names || matcher.value().empty()) continue;
      metrics->insert(matcher.value());
      return true;
    }
    return false;
  }
  bool all = true;
  ForEachChild(expr, [&](Expr& child) { all = CollectMetrics(child, metrics) && all; });
  return all;
}

}  // namespace

base::Result<std::vector<std::string>> MetricsOf(const std::string& expr) {
  TW_ASSIGN_OR_RETURN(ExprPtr parsed, ParseExpression(expr));
  std::set<std::string> metrics;
  if (!CollectMetrics(*parsed, &metrics)) {
    return base::InvalidArgumentError(
        "a selector does not name its metric, so that nobody can tell when it has samples");
  }
  if (metrics.empty()) return base::InvalidArgumentError("no metric is selected");
  return std::vector<std::string>(metrics.begin(), metrics.end());
}

base::Result<std::shared_ptr<void>> SampleArrivals::Watch(const std::string& expr, std::function<void()> tell) {
  TW_ASSIGN_OR_RETURN(std::vector<std::string> metrics, MetricsOf(expr));
  const uint64_t watch = arrivals_.Watch(metrics, std::move(tell));
  return std::shared_ptr<void>(&arrivals_,
                               [watch](void* arrivals) { static_cast<tsdb::Arrivals*>(arrivals)->Stop(watch); });
}

}  // namespace tidewright::promql
