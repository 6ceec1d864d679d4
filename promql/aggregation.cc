// Aggregations that need all values of a group at a step: quantile and count_values. The others are in
// aggregation_reduce.cc and aggregation_select.cc.
#include "promql/aggregation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/strings.h"
#include "promql/grouping.h"
#include "promql/histogram.h"
#include "promql/lexer.h"
#include "promql/number_text.h"

namespace tidewright::promql {

ParameterRange RangeOf(const std::vector<double>& parameters) {
  ParameterRange range{parameters.front(), parameters.front(), false};
  for (double parameter : parameters) {
    if (std::isnan(parameter)) return {parameter, parameter, true};
    range.min = std::min(range.min, parameter);
    range.max = std::max(range.max, parameter);
  }
  return range;
}

void InformIgnored(Evaluator& evaluator, const Aggregate& node, const Expr& at) {
  evaluator.state().Info(at, "ignored histogram in " + std::string(AggText(node.op)) + " aggregation");
}

namespace {

// Series that are aggregated together.
struct Group {
  LabelsView labels;
  bool drop_name = false;
  std::vector<const EvalSeries*> members;
  int64_t sampled_ms = kNoSample;
};

std::vector<Group> GroupSeries(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input) {
  std::vector<Group> groups;
  Grouper grouper(evaluator.state(), node);
  for (const EvalSeries& series : input) {
    bool added = false;
    size_t at = grouper.GroupOf(series.labels, &added);
    if (added) groups.push_back({grouper.LabelsOf(at), false, {}});
    groups[at].drop_name = groups[at].drop_name || series.drop_name;
    groups[at].members.push_back(&series);
    groups[at].sampled_ms = std::max(groups[at].sampled_ms, series.sampled_ms);
  }
  return groups;
}

base::Result<EvalMatrix> Quantile(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input) {
  TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*node.param));
  ParameterRange range = RangeOf(quantiles);
  auto warn = [&](double q) {
    evaluator.state().Warn(*node.param, "quantile value should be between 0 and 1, got " + GeneralText(q));
  };
  if (range.any_nan) warn(std::numeric_limits<double>::quiet_NaN());
  if (range.max > 1) warn(range.max);
  if (range.min < 0) warn(range.min);
  EvalMatrix result;
  std::vector<double> values;
  for (const Group& group : GroupSeries(evaluator, node, input)) {
    EvalSeries series{
        group.labels, group.drop_name, std::vector<double>(evaluator.steps().count, Absent()), {}, group.sampled_ms};
    for (size_t i = 0; i < series.values.size(); ++i) {
      if (i % 256 == 0) TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      values.clear();
      for (const EvalSeries* member : group.members) {
        if (!IsAbsent(member->values[i])) values.push_back(member->values[i]);
        if (member->HistogramAt(i) != nullptr) InformIgnored(evaluator, node, *node.expr);
      }
      if (!values.empty()) series.values[i] = QuantileOf(quantiles[i], values);
    }
    if (series.IsEmpty()) continue;
    TW_RETURN_IF_ERROR(evaluator.Hold(series));
    result.push_back(std::move(series));
  }
  return result;
}

using CountsByValue = std::map<std::string, std::vector<double>>;

// Counts of one group by the text of the value, in the order of the texts. Each column is counted as held.
base::Result<CountsByValue> CountsOf(Evaluator& evaluator, const Group& group) {
  const size_t steps = evaluator.steps().count;
  CountsByValue counts;
  for (const EvalSeries* member : group.members) {
    for (size_t i = 0; i < steps; ++i) {
      if (!member->PresentAt(i)) continue;
      const Histogram* h = member->HistogramAt(i);
      auto& column = counts[h != nullptr ? ToText(*h) : base::FormatFixed(member->values[i])];
      if (column.empty()) {
        TW_RETURN_IF_ERROR(evaluator.state().AddSamples(steps));
        column.assign(steps, Absent());
      }
      column[i] = IsAbsent(column[i]) ? 1 : column[i] + 1;
    }
  }
  return counts;
}

void AddCounts(const std::vector<double>& counts, std::vector<double>& total) {
  for (size_t i = 0; i < counts.size(); ++i) {
    if (IsAbsent(counts[i])) continue;
    total[i] = IsAbsent(total[i]) ? counts[i] : total[i] + counts[i];
  }
}

base::Result<EvalMatrix> CountValues(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input) {
  const std::string& label = Evaluator::StringOf(*node.param);
  if (label.empty() || !base::IsValidUtf8(label)) {
    return base::InvalidArgumentError("invalid label name " + Quote(label));
  }
  // Without the label, or with that of the name, there is nothing to tell values apart by.
  bool listed = std::find(node.grouping.begin(), node.grouping.end(), label) != node.grouping.end();
  bool labelled = !node.without || (!listed && label != tsdb::kMetricName);
  EvalMatrix result;
  std::map<Labels, size_t> places;  // Groups may become one when the value takes the place of a label.
  for (const Group& group : GroupSeries(evaluator, node, input)) {
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    TW_ASSIGN_OR_RETURN(CountsByValue by_value, CountsOf(evaluator, group));
    for (auto& [value, counts] : by_value) {
      tsdb::LabelsBuilder builder(group.labels.Copy());
      if (labelled) builder.Set(label, value);
      Labels labels = builder.Build();
      auto [place, added] = places.emplace(labels, result.size());
      if (!added) {
        AddCounts(counts, result[place->second].values);
        evaluator.state().ReleaseSamples(counts.size());
        continue;
      }
      EvalSeries series{evaluator.state().Own(std::move(labels)),
                        false,  // As in Prometheus, a name that was to be removed at the end stays.
                        std::move(counts),
                        {},
                        group.sampled_ms};
      result.push_back(std::move(series));
    }
  }
  return result;
}

}  // namespace

base::Result<EvalMatrix> EvalAggregate(Evaluator& evaluator, const Aggregate& node) {
  switch (node.op) {
    case AggOp::kQuantile:
    case AggOp::kCountValues: break;
    case AggOp::kTopk:
    case AggOp::kBottomk:
    case AggOp::kLimitk:
    case AggOp::kLimitRatio: return EvalSelection(evaluator, node);
    default: return EvalReduction(evaluator, node);
  }
  auto input = evaluator.Eval(*node.expr);
  if (!input.ok()) return input;
  auto result = node.op == AggOp::kQuantile ? Quantile(evaluator, node, *input) : CountValues(evaluator, node, *input);
  evaluator.Release(*input);
  return result;
}

}  // namespace tidewright::promql
