// Aggregations that keep one state per group and step. Series are fed to them as they come, so that only the groups are
// held in memory.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>

#include "promql/aggregation.h"
#include "promql/grouping.h"
#include "promql/histogram.h"
#include "promql/wide_columns.h"

namespace tidewright::promql {
namespace {

struct SumState {
  static constexpr bool kSkipsHistograms = false;
  KahanSum sum;  // Alone, so that those of all steps are a column.
  void Add(double v) { sum.Add(v); }
  double Value() const { return sum.Value(); }
};
struct AvgState {
  static constexpr bool kSkipsHistograms = false;
  KahanMean mean;
  void Add(double v) { mean.Add(v); }
  double Value() const { return mean.Value(); }
};
struct MinState {
  static constexpr bool kSkipsHistograms = true;
  double best = std::numeric_limits<double>::quiet_NaN();
  void Add(double v) { best = best <= v ? best : std::isnan(v) ? best : v; }
  double Value() const { return best; }
};
struct MaxState {
  static constexpr bool kSkipsHistograms = true;
  double best = std::numeric_limits<double>::quiet_NaN();
  void Add(double v) { best = best >= v ? best : std::isnan(v) ? best : v; }
  double Value() const { return best; }
};
struct GroupState {
  static constexpr bool kSkipsHistograms = false;
  void Add(double) {}
  double Value() const { return 1; }
};
struct CountState {
  static constexpr bool kSkipsHistograms = false;
  double count = 0;
  void Add(double) { count += 1; }
  double Value() const { return count; }
};
struct VarianceState {
  static constexpr bool kSkipsHistograms = true;
  Variance variance;
  void Add(double v) { variance.Add(v); }
  double Value() const { return variance.Value(); }
};
struct DeviationState : VarianceState {
  double Value() const { return std::sqrt(variance.Value()); }
};

// The histograms of one group at one step. Sum: HistogramSum or HistogramMean. As in Prometheus, histograms behind a
// float are not looked at, nor anything behind histograms that do not fit together.
template <typename Sum>
struct HistogramState {
  std::unique_ptr<Sum> sum;  // Null: there is none, or it came behind a float.
  size_t count = 0;
  bool incompatible = false;
};

// The state of one group at all steps.
template <typename State>
struct Group {
  using Histograms = HistogramState<std::conditional_t<std::is_same_v<State, AvgState>, HistogramMean, HistogramSum>>;
  LabelsView labels;
  bool drop_name = false;
  std::vector<State> states;
  std::vector<uint8_t> used;           // By floats.
  size_t held = 0;                     // Samples that its states are counted as.
  std::vector<Histograms> histograms;  // Empty until there is one.
  int64_t sampled_ms = kNoSample;
};

template <typename State>
class Reduction {
 public:
  Reduction(Evaluator& evaluator, const Aggregate& node)
      : evaluator_(evaluator), node_(node), grouper_(evaluator.state(), node), steps_(evaluator.steps().count) {}

  base::Status Add(EvalSeries& series);
  base::Result<EvalMatrix> Finish();

 private:
  void AddFloats(Group<State>& group, const std::vector<double>& values);
  base::Status Charge(Group<State>& group, size_t samples);
  base::Status AddHistograms(Group<State>& group, const EvalSeries& series);
  void AddToSum(typename Group<State>::Histograms& state, const EvalSeries& series, const Histogram& h);
  void FinishStep(Group<State>& group, size_t i, EvalSeries& series);
  void WarnIncompatible(const EvalSeries& series);
  HistogramPtr Total(const typename Group<State>::Histograms& state);

  // Histograms are summed, or count like floats.
  static constexpr bool kSums = std::is_same_v<State, SumState> || std::is_same_v<State, AvgState>;

  static constexpr size_t kFewSteps = 4;  // Until several at once are tried again.

  Evaluator& evaluator_;
  const Aggregate& node_;
  Grouper grouper_;
  const size_t steps_;
  const WideColumns* const wide_ = std::is_same_v<State, SumState> ? FindWideColumns() : nullptr;
  std::vector<Group<State>> groups_;
};

template <typename State>
base::Status Reduction<State>::Add(EvalSeries& series) {
  bool added = false;
  size_t at = grouper_.GroupOf(series.labels, &added);
  if (added) {
    groups_.push_back({grouper_.LabelsOf(at)});
    TW_RETURN_IF_ERROR(Charge(groups_.back(), steps_ * std::max<size_t>(1, sizeof(State) / 16)));
    groups_.back().states.resize(steps_);
    groups_.back().used.resize(steps_);
  }
  Group<State>& group = groups_[at];
  group.drop_name = group.drop_name || series.drop_name;
  group.sampled_ms = std::max(group.sampled_ms, series.sampled_ms);
  AddFloats(group, series.values);
  return series.HasHistograms() ? AddHistograms(group, series) : base::Status::Ok();
}

template <typename State>
base::Status Reduction<State>::Charge(Group<State>& group, size_t samples) {
  group.held += samples;
  return evaluator_.state().AddSamples(samples);
}

template <typename State>
void Reduction<State>::AddFloats(Group<State>& group, const std::vector<double>& values) {
  const bool any_histograms = kSums && !group.histograms.empty();
  State* states = group.states.data();
  uint8_t* used = group.used.data();
  const WideColumns* wide = any_histograms ? nullptr : wide_;
  for (size_t i = 0; i < steps_;) {
    if constexpr (std::is_same_v<State, SumState>) {
      if (wide != nullptr) i = wide->add(values.data(), i, steps_, &states->sum, used);
    }
    const size_t stop = wide == nullptr ? steps_ : std::min(i + kFewSteps, steps_);
    for (; i < stop; ++i) {
      if (IsAbsent(values[i]) || (any_histograms && group.histograms[i].incompatible)) continue;
      states[i].Add(values[i]);
      used[i] = 1;
    }
  }
}

template <typename State>
base::Status Reduction<State>::AddHistograms(Group<State>& group, const EvalSeries& series) {
  for (size_t i = 0; i < steps_; ++i) {
    const Histogram* h = series.HistogramAt(i);
    if (h == nullptr) continue;
    if (State::kSkipsHistograms) {
      InformIgnored(evaluator_, node_, *node_.expr);
    } else if (kSums) {
      group.histograms.resize(steps_);
      auto& state = group.histograms[i];
      if (state.incompatible) continue;
      bool behind_float = state.sum == nullptr && group.used[i] != 0;
      if (state.sum == nullptr && !behind_float) TW_RETURN_IF_ERROR(Charge(group, SizeInSamples(*h)));
      ++state.count;
      if (!behind_float) AddToSum(state, series, *h);
    } else {
      group.states[i].Add(0);
      group.used[i] = 1;
    }
  }
  return base::Status::Ok();
}

template <typename State>
void Reduction<State>::AddToSum(typename Group<State>::Histograms& state, const EvalSeries& series,
                                const Histogram& h) {
  if (state.sum == nullptr) {
    state.sum = std::make_unique<typename std::decay_t<decltype(*state.sum)>>(h);
    return;
  }
  switch (state.sum->Add(h)) {
    case HistogramSum::Outcome::kAdded: break;
    case HistogramSum::Outcome::kReconciled:
      evaluator_.state().Info(*node_.expr, "mismatched custom buckets were reconciled during aggregation");
      break;
    case HistogramSum::Outcome::kIncompatible:
      state.incompatible = true;
      WarnIncompatible(series);
      break;
  }
}

template <typename State>
void Reduction<State>::WarnIncompatible(const EvalSeries& series) {
  evaluator_.state().Warn(*node_.expr,
                          "vector contains a mix of histograms with exponential and custom buckets schemas for metric "
                          "name \"" +
                              std::string(series.labels.Get(tsdb::kMetricName)) + "\"");
}

template <typename State>
HistogramPtr Reduction<State>::Total(const typename Group<State>::Histograms& state) {
  if (state.sum->conflicting_resets()) {
    evaluator_.state().Warn(*node_.expr, "conflicting counter resets during histogram aggregation");
  }
  return std::make_shared<const Histogram>(state.sum->Total());
}

template <typename State>
void Reduction<State>::FinishStep(Group<State>& group, size_t i, EvalSeries& series) {
  bool histograms = !group.histograms.empty() && group.histograms[i].count > 0;
  if (histograms && group.used[i] != 0) {
    evaluator_.state().Warn(*node_.expr, "encountered a mix of histograms and floats for aggregation");
  } else if (group.used[i] != 0) {
    series.values[i] = group.states[i].Value();
  } else if (histograms && !group.histograms[i].incompatible) {
    series.SetHistogram(i, Total(group.histograms[i]));
  }
}

template <typename State>
base::Result<EvalMatrix> Reduction<State>::Finish() {
  EvalMatrix result;
  for (auto& group : groups_) {
    EvalSeries series{group.labels, group.drop_name, std::vector<double>(steps_, Absent()), {}, group.sampled_ms};
    for (size_t i = 0; i < steps_; ++i) FinishStep(group, i, series);
    evaluator_.state().ReleaseSamples(group.held);
    group.states = {};
    group.histograms.clear();
    group.histograms.shrink_to_fit();
    if (series.IsEmpty()) continue;
    TW_RETURN_IF_ERROR(evaluator_.Hold(series));
    result.push_back(std::move(series));
  }
  return result;
}

template <typename State>
base::Result<EvalMatrix> Reduce(Evaluator& evaluator, const Aggregate& node) {
  Reduction<State> reduction(evaluator, node);
  TW_RETURN_IF_ERROR(evaluator.Stream(*node.expr, [&](EvalSeries& series) { return reduction.Add(series); }));
  return reduction.Finish();
}

}  // namespace

base::Result<EvalMatrix> EvalReduction(Evaluator& evaluator, const Aggregate& node) {
  switch (node.op) {
    case AggOp::kSum: return Reduce<SumState>(evaluator, node);
    case AggOp::kAvg: return Reduce<AvgState>(evaluator, node);
    case AggOp::kMin: return Reduce<MinState>(evaluator, node);
    case AggOp::kMax: return Reduce<MaxState>(evaluator, node);
    case AggOp::kGroup: return Reduce<GroupState>(evaluator, node);
    case AggOp::kCount: return Reduce<CountState>(evaluator, node);
    case AggOp::kStddev: return Reduce<DeviationState>(evaluator, node);
    default: return Reduce<VarianceState>(evaluator, node);
  }
}

}  // namespace tidewright::promql
