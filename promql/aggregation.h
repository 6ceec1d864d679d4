// The operators of aggregations.
#pragma once

#include <string_view>

#include "promql/evaluator.h"

namespace tidewright::promql {

// sum, avg, min, max, group, count, stddev, stdvar: one state per group and step, fed series by series.
base::Result<EvalMatrix> EvalReduction(Evaluator& evaluator, const Aggregate& node);

// topk, bottomk, limitk, limit_ratio: keep some of the input series.
base::Result<EvalMatrix> EvalSelection(Evaluator& evaluator, const Aggregate& node);

// "ignored histogram in max aggregation".
void InformIgnored(Evaluator& evaluator, const Aggregate& node, const Expr& at);

}  // namespace tidewright::promql
