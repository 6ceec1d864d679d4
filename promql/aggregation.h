// The operators of aggregations.
#pragma once

#include <string_view>
#include <vector>

#include "promql/evaluator.h"

namespace tidewright::promql {

// sum, avg, min, max, group, count, stddev, stdvar: one state per group and step, fed series by series.
base::Result<EvalMatrix> EvalReduction(Evaluator& evaluator, const Aggregate& node);

// topk, bottomk, limitk, limit_ratio: keep some of the input series.
base::Result<EvalMatrix> EvalSelection(Evaluator& evaluator, const Aggregate& node);

// What an aggregation's parameter is over all steps.
struct ParameterRange {
  double min = 0;  // NaN with any_nan.
  double max = 0;
  bool any_nan = false;
};
ParameterRange RangeOf(const std::vector<double>& parameters);

// "ignored histogram in max aggregation".
void InformIgnored(Evaluator& evaluator, const Aggregate& node, const Expr& at);

}  // namespace tidewright::promql
