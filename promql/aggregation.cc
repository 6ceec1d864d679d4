// sum, avg, topk and the other aggregations over series.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_map>

#include "base/metrics.h"
#include "base/strings.h"
#include "promql/evaluator.h"
#include "promql/label_hash.h"
#include "promql/lexer.h"
#include "promql/printer.h"

namespace tidewright::promql {
namespace {

// Series that are aggregated together.
struct Group {
  Labels labels;
  bool drop_name = false;
  std::vector<size_t> members;  // Indexes of input series.
};

Labels GroupLabels(const Labels& labels, const Aggregate& node) {
  tsdb::LabelsBuilder builder;
  if (!node.without) {
    for (const std::string& name : node.grouping) builder.Set(name, labels.Get(name));
    return builder.Build();
  }
  builder = tsdb::LabelsBuilder(WithoutMetricLabels(labels));
  for (const std::string& name : node.grouping) builder.Remove(name);
  return builder.Build();
}

struct LabelsHash {
  size_t operator()(const Labels& labels) const { return labels.Hash(); }
};

std::vector<Group> GroupSeries(const EvalMatrix& input, const Aggregate& node) {
  std::vector<Group> groups;
  std::unordered_map<Labels, size_t, LabelsHash> index;
  for (size_t i = 0; i < input.size(); ++i) {
    Labels labels = GroupLabels(input[i].labels, node);
    auto [entry, added] = index.emplace(labels, groups.size());
    if (added) groups.push_back({std::move(labels), false, {}});
    Group& group = groups[entry->second];
    group.drop_name = group.drop_name || input[i].drop_name;
    group.members.push_back(i);
  }
  return groups;
}

// Walks the values of a group's members step by step.
class GroupCursor {
 public:
  GroupCursor(const EvalMatrix& input, const Group& group)
      : input_(input), group_(group), next_(group.members.size()) {}

  // Calls visit(input index, value) for every member with a value at time t. Times must not go back.
  template <typename Visit>
  void At(int64_t t, Visit visit) {
    for (size_t m = 0; m < next_.size(); ++m) {
      const auto& points = input_[group_.members[m]].points;
      while (next_[m] < points.size() && points[next_[m]].t < t) ++next_[m];
      if (next_[m] < points.size() && points[next_[m]].t == t) visit(group_.members[m], points[next_[m]].v);
    }
  }

 private:
  const EvalMatrix& input_;
  const Group& group_;
  std::vector<size_t> next_;
};

// --- Operators that reduce a group to one value, adding values one by one.

struct SumState {
  KahanSum sum;
  void Add(double v) { sum.Add(v); }
  double Value() const { return sum.Value(); }
};
struct AvgState {
  KahanMean mean;
  void Add(double v) { mean.Add(v); }
  double Value() const { return mean.Value(); }
};
struct MinState {
  double best = std::numeric_limits<double>::quiet_NaN();
  void Add(double v) { best = best <= v ? best : std::isnan(v) ? best : v; }
  double Value() const { return best; }
};
struct MaxState {
  double best = std::numeric_limits<double>::quiet_NaN();
  void Add(double v) { best = best >= v ? best : std::isnan(v) ? best : v; }
  double Value() const { return best; }
};
struct GroupState {
  void Add(double) {}
  double Value() const { return 1; }
};
struct CountState {
  double count = 0;
  void Add(double) { count += 1; }
  double Value() const { return count; }
};
struct VarianceState {
  Variance variance;
  void Add(double v) { variance.Add(v); }
  double Value() const { return variance.Value(); }
};
struct DeviationState : VarianceState {
  double Value() const { return std::sqrt(variance.Value()); }
};

// Series by series, so that each group's states lie together in memory and no step searches its members.
template <typename State>
base::Result<EvalMatrix> Reduce(Evaluator& evaluator, const EvalMatrix& input, const std::vector<Group>& groups) {
  const Steps& steps = evaluator.steps();
  TW_RETURN_IF_ERROR(evaluator.state().AddSamples(steps.count));  // For the states.
  EvalMatrix result;
  std::vector<State> states;
  std::vector<uint8_t> used;
  for (const Group& group : groups) {
    states.assign(steps.count, State());
    used.assign(steps.count, 0);
    for (size_t member : group.members) {
      TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      for (const Point& point : input[member].points) {
        size_t i = steps.IndexOf(point.t);
        states[i].Add(point.v);
        used[i] = 1;
      }
    }
    EvalSeries series{group.labels, {}, group.drop_name};
    for (size_t i = 0; i < steps.count; ++i) {
      if (used[i] != 0) series.points.push_back({steps.At(i), states[i].Value()});
    }
    TW_RETURN_IF_ERROR(evaluator.state().AddSamples(series.points.size()));
    if (!series.points.empty()) result.push_back(std::move(series));
  }
  evaluator.state().ReleaseSamples(steps.count);
  return result;
}

// --- Operators that need all values of a step at once.

base::Result<EvalMatrix> Quantile(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input,
                                  const std::vector<Group>& groups) {
  TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*node.param));
  for (double q : quantiles) {
    if (q >= 0 && q <= 1) continue;
    evaluator.state().Warn(*node.param, "quantile value should be between 0 and 1, got " + base::FormatDouble(q));
  }
  const Steps& steps = evaluator.steps();
  EvalMatrix result;
  std::vector<double> values;
  for (const Group& group : groups) {
    GroupCursor cursor(input, group);
    EvalSeries series{group.labels, {}, group.drop_name};
    for (size_t i = 0; i < steps.count; ++i) {
      if (i % 256 == 0) TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      values.clear();
      cursor.At(steps.At(i), [&](size_t, double v) { values.push_back(v); });
      if (!values.empty()) series.points.push_back({steps.At(i), QuantileOf(quantiles[i], values)});
    }
    TW_RETURN_IF_ERROR(evaluator.state().AddSamples(series.points.size()));
    if (!series.points.empty()) result.push_back(std::move(series));
  }
  return result;
}

base::Result<EvalMatrix> CountValues(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input,
                                     const std::vector<Group>& groups) {
  const std::string& label = Evaluator::StringOf(*node.param);
  if (label.empty() || !base::IsValidUtf8(label)) {
    return base::InvalidArgumentError("invalid label name " + Quote(label));
  }
  const Steps& steps = evaluator.steps();
  EvalMatrix result;
  for (const Group& group : groups) {
    std::map<std::string, std::map<size_t, double>> counts;
    for (size_t member : group.members) {
      TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      for (const Point& point : input[member].points) {
        counts[base::FormatFixed(point.v)][steps.IndexOf(point.t)] += 1;
      }
    }
    for (const auto& [value, by_step] : counts) {
      tsdb::LabelsBuilder builder(group.labels);
      EvalSeries series{builder.Set(label, value).Build(), {}, group.drop_name && label != tsdb::kMetricName};
      for (const auto& [i, count] : by_step) series.points.push_back({steps.At(i), count});
      TW_RETURN_IF_ERROR(evaluator.state().AddSamples(series.points.size()));
      result.push_back(std::move(series));
    }
  }
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(result));
  return result;
}

// --- Operators that select among the input series.

struct Candidate {
  double value = 0;
  size_t series = 0;
};

// topk keeps the largest, bottomk the smallest; NaN is the worst either way and ties keep the order of the input.
bool Precedes(const Candidate& a, const Candidate& b, bool largest) {
  if (std::isnan(a.value) || std::isnan(b.value)) return !std::isnan(a.value) && std::isnan(b.value);
  return largest ? a.value > b.value : a.value < b.value;
}

// Which values of a group survive at one step; reorders and shortens `candidates`.
using Selection = void (*)(std::vector<Candidate>& candidates, double parameter, const EvalMatrix& input);

template <bool kLargest>
void KeepBest(std::vector<Candidate>& candidates, double k, const EvalMatrix&) {
  size_t keep = k < static_cast<double>(candidates.size()) ? static_cast<size_t>(k) : candidates.size();
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return Precedes(a, b, kLargest); });
  candidates.resize(keep);
}

void KeepFirst(std::vector<Candidate>& candidates, double k, const EvalMatrix&) {
  if (k < static_cast<double>(candidates.size())) candidates.resize(static_cast<size_t>(k));
}

void KeepRatio(std::vector<Candidate>& candidates, double ratio, const EvalMatrix& input) {
  std::erase_if(candidates, [&](const Candidate& candidate) {
    double offset = HashFraction(input[candidate.series].labels);
    return ratio >= 0 ? !(offset < ratio) : !(offset >= 1 + ratio);
  });
}

Selection SelectionOf(AggOp op) {
  switch (op) {
    case AggOp::kTopk: return KeepBest<true>;
    case AggOp::kBottomk: return KeepBest<false>;
    case AggOp::kLimitk: return KeepFirst;
    default: return KeepRatio;
  }
}

// The parameter at every step: a count of at least 1 (else 0: nothing survives), or a ratio within [-1, 1].
base::Result<std::vector<double>> SelectionParameter(Evaluator& evaluator, const Aggregate& node) {
  auto parameters = evaluator.EvalScalar(*node.param);
  if (!parameters.ok()) return parameters;
  bool ratio = node.op == AggOp::kLimitRatio;
  for (double& parameter : *parameters) {
    if (std::isnan(parameter)) {
      return base::InvalidArgumentError(ratio ? "Ratio value is NaN" : "Parameter value is NaN");
    }
    double capped = ratio ? std::clamp(parameter, -1.0, 1.0) : std::clamp(std::trunc(parameter), 0.0, 1e15);
    if (ratio && capped != parameter) {
      evaluator.state().Warn(*node.param, "ratio value should be between -1 and 1, got " +
                                              base::FormatDouble(parameter) + ", capping to " +
                                              base::FormatDouble(capped));
    }
    parameter = capped;
  }
  return parameters;
}

// Keeps labels and values of the series that a selection prefers, step by step. An instant result is in the order of
// the selection.
base::Result<EvalMatrix> Select(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input,
                                const std::vector<Group>& groups) {
  TW_ASSIGN_OR_RETURN(std::vector<double> parameters, SelectionParameter(evaluator, node));
  Selection selection = SelectionOf(node.op);
  const Steps& steps = evaluator.steps();
  EvalMatrix result;
  std::vector<size_t> place(input.size(), SIZE_MAX);  // Of an input series in the result.
  std::vector<Candidate> candidates;
  size_t held = 0;
  for (const Group& group : groups) {
    GroupCursor cursor(input, group);
    for (size_t i = 0; i < steps.count; ++i) {
      if (i % 256 == 0) TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      candidates.clear();
      cursor.At(steps.At(i), [&](size_t series, double v) { candidates.push_back({v, series}); });
      selection(candidates, parameters[i], input);
      for (const Candidate& candidate : candidates) {
        size_t& at = place[candidate.series];
        if (at == SIZE_MAX) {
          at = result.size();
          result.push_back({input[candidate.series].labels, {}, input[candidate.series].drop_name});
        }
        result[at].points.push_back({steps.At(i), candidate.value});
        ++held;
      }
    }
  }
  TW_RETURN_IF_ERROR(evaluator.state().AddSamples(held));
  return result;
}

base::Result<EvalMatrix> Apply(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input) {
  auto groups = GroupSeries(input, node);
  switch (node.op) {
    case AggOp::kSum: return Reduce<SumState>(evaluator, input, groups);
    case AggOp::kAvg: return Reduce<AvgState>(evaluator, input, groups);
    case AggOp::kMin: return Reduce<MinState>(evaluator, input, groups);
    case AggOp::kMax: return Reduce<MaxState>(evaluator, input, groups);
    case AggOp::kGroup: return Reduce<GroupState>(evaluator, input, groups);
    case AggOp::kCount: return Reduce<CountState>(evaluator, input, groups);
    case AggOp::kStddev: return Reduce<DeviationState>(evaluator, input, groups);
    case AggOp::kStdvar: return Reduce<VarianceState>(evaluator, input, groups);
    case AggOp::kQuantile: return Quantile(evaluator, node, input, groups);
    case AggOp::kCountValues: return CountValues(evaluator, node, input, groups);
    default: return Select(evaluator, node, input, groups);
  }
}

}  // namespace

base::Result<EvalMatrix> EvalAggregate(Evaluator& evaluator, const Aggregate& node) {
  auto input = evaluator.Eval(*node.expr);
  if (!input.ok()) return input;
  auto result = Apply(evaluator, node, *input);
  evaluator.Release(*input);
  return result;
}

}  // namespace tidewright::promql
