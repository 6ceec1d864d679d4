// topk, bottomk, limitk and limit_ratio: aggregations that keep series as they are.
#include <algorithm>
#include <cmath>
#include <utility>

#include "promql/aggregation.h"
#include "promql/grouping.h"
#include "promql/label_hash.h"
#include "promql/number_text.h"

namespace tidewright::promql {
namespace {

struct Candidate {
  double value = 0;
  size_t series = 0;
};

// topk keeps the largest, bottomk the smallest; NaN is the worst either way.
bool Precedes(const Candidate& a, const Candidate& b, bool largest) {
  if (std::isnan(a.value) || std::isnan(b.value)) return !std::isnan(a.value) && std::isnan(b.value);
  return largest ? a.value > b.value : a.value < b.value;
}

// Which values of a group survive at one step; reorders and shortens `candidates`.
using Selection = void (*)(std::vector<Candidate>& candidates, double parameter, const EvalMatrix& input);

// Whether `a` is nearer to leaving the best. Any order will do for equal values, but Prometheus' decides which stay.
bool IsWorse(const Candidate& a, const Candidate& b, bool largest) {
  if (std::isnan(a.value)) return true;
  return largest ? a.value < b.value : a.value > b.value;
}

// The first `keep` candidates as a binary heap with the worst at the front, through which all others go.
template <bool kLargest>
void SiftThrough(std::vector<Candidate>& candidates, size_t keep) {
  auto worse = [&](size_t a, size_t b) { return IsWorse(candidates[a], candidates[b], kLargest); };
  for (size_t i = 1; i < keep; ++i) {
    for (size_t at = i; at > 0 && worse(at, (at - 1) / 2); at = (at - 1) / 2) {
      std::swap(candidates[at], candidates[(at - 1) / 2]);
    }
  }
  for (size_t i = keep; i < candidates.size(); ++i) {
    if (!Precedes(candidates[i], candidates[0], kLargest)) continue;
    candidates[0] = candidates[i];
    for (size_t at = 0, next = 1; next < keep; at = next, next = 2 * at + 1) {
      if (next + 1 < keep && worse(next + 1, next)) ++next;
      if (!worse(next, at)) break;
      std::swap(candidates[at], candidates[next]);
    }
  }
}

template <bool kLargest>
void KeepBest(std::vector<Candidate>& candidates, double k, const EvalMatrix&) {
  size_t keep = k < static_cast<double>(candidates.size()) ? static_cast<size_t>(k) : candidates.size();
  if (keep < candidates.size()) SiftThrough<kLargest>(candidates, keep);
  candidates.resize(keep);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return Precedes(a, b, kLargest) || (!Precedes(b, a, kLargest) && a.series < b.series);
  });
}

void KeepFirst(std::vector<Candidate>& candidates, double k, const EvalMatrix&) {
  if (k < static_cast<double>(candidates.size())) candidates.resize(static_cast<size_t>(k));
}

void KeepRatio(std::vector<Candidate>& candidates, double ratio, const EvalMatrix& input) {
  std::erase_if(candidates, [&](const Candidate& candidate) {
    double offset = HashFraction(input[candidate.series].labels.Copy());
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

// Beyond these a count is no 64-bit integer.
constexpr double kMostCount = 9223372036854774784.0;
constexpr double kLeastCount = -9223372036854775808.0;

base::Status CheckCounts(const ParameterRange& range) {
  if (range.max < 1) return base::Status::Ok();  // Nothing survives, whatever it is.
  if (range.any_nan) return base::InvalidArgumentError("Parameter value is NaN");
  for (double count : {range.min, range.max}) {
    if (count > kLeastCount && count < kMostCount) continue;
    return base::InvalidArgumentError("Scalar value " + GeneralText(count) +
                                      (count > 0 ? " overflows int64" : " underflows int64"));
  }
  return base::Status::Ok();
}

base::Status CheckRatios(Evaluator& evaluator, const Aggregate& node, const ParameterRange& range) {
  if (range.any_nan) return base::InvalidArgumentError("Ratio value is NaN");
  for (auto [ratio, most] : {std::pair{range.max, 1.0}, {range.min, -1.0}}) {
    if (std::clamp(ratio, -1.0, 1.0) == ratio || (ratio > 0) != (most > 0)) continue;
    evaluator.state().Warn(*node.param, "ratio value should be between -1 and 1, got " + GeneralText(ratio) +
                                            ", capping to " + GeneralText(most));
  }
  return base::Status::Ok();
}

// The parameter at every step: a count, 0 where nothing survives, or a ratio within [-1, 1].
base::Result<std::vector<double>> SelectionParameter(Evaluator& evaluator, const Aggregate& node) {
  auto parameters = evaluator.EvalScalar(*node.param);
  if (!parameters.ok()) return parameters;
  bool ratio = node.op == AggOp::kLimitRatio;
  ParameterRange range = RangeOf(*parameters);
  TW_RETURN_IF_ERROR(ratio ? CheckRatios(evaluator, node, range) : CheckCounts(range));
  for (double& parameter : *parameters) {
    parameter = ratio ? std::clamp(parameter, -1.0, 1.0) : std::isnan(parameter) ? 0 : std::max(parameter, 0.0);
    if (!ratio) parameter = std::trunc(parameter);
  }
  return parameters;
}

// Chooses step by step, group by group. An instant result is in the order of the choice.
class Selector {
 public:
  Selector(Evaluator& evaluator, const Aggregate& node, const EvalMatrix& input, std::vector<double> parameters)
      : evaluator_(evaluator),
        node_(node),
        input_(input),
        parameters_(std::move(parameters)),
        selection_(SelectionOf(node.op)),
        by_value_(node.op == AggOp::kTopk || node.op == AggOp::kBottomk),
        place_(input.size(), SIZE_MAX) {}

  base::Result<EvalMatrix> Run();

 private:
  void Choose(const std::vector<size_t>& members, size_t i);
  void Keep(size_t series, size_t i);

  Evaluator& evaluator_;
  const Aggregate& node_;
  const EvalMatrix& input_;
  const std::vector<double> parameters_;
  const Selection selection_;
  const bool by_value_;        // Histograms have none.
  std::vector<size_t> place_;  // Of an input series in the result.
  std::vector<Candidate> candidates_;
  EvalMatrix result_;
};

base::Result<EvalMatrix> Selector::Run() {
  Grouper grouper(evaluator_.state(), node_);
  std::vector<std::vector<size_t>> groups;
  for (size_t s = 0; s < input_.size(); ++s) {
    bool added = false;
    size_t at = grouper.GroupOf(input_[s].labels, &added);
    if (added) groups.emplace_back();
    groups[at].push_back(s);
  }
  for (const auto& members : groups) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (i % 256 == 0) TW_RETURN_IF_ERROR(evaluator_.state().CheckDeadline());
      Choose(members, i);
    }
  }
  for (const auto& series : result_) TW_RETURN_IF_ERROR(evaluator_.Hold(series));
  return std::move(result_);
}

void Selector::Choose(const std::vector<size_t>& members, size_t i) {
  if (parameters_[i] == 0) return;
  candidates_.clear();
  for (size_t member : members) {
    const EvalSeries& series = input_[member];
    if (by_value_ && series.HistogramAt(i) != nullptr) {
      InformIgnored(evaluator_, node_, node_);
    } else if (series.PresentAt(i)) {
      candidates_.push_back({series.values[i], member});
    }
  }
  selection_(candidates_, parameters_[i], input_);
  for (const Candidate& candidate : candidates_) Keep(candidate.series, i);
}

void Selector::Keep(size_t series, size_t i) {
  const EvalSeries& from = input_[series];
  size_t& at = place_[series];
  if (at == SIZE_MAX) {
    at = result_.size();
    std::vector<double> none(parameters_.size(), Absent());
    result_.push_back({from.labels, from.drop_name, std::move(none), {}, from.sampled_ms});
  }
  result_[at].values[i] = from.values[i];
  if (from.HistogramAt(i) != nullptr) result_[at].SetHistogram(i, from.histograms[i]);
}

}  // namespace

base::Result<EvalMatrix> EvalSelection(Evaluator& evaluator, const Aggregate& node) {
  TW_ASSIGN_OR_RETURN(std::vector<double> parameters, SelectionParameter(evaluator, node));
  auto input = evaluator.Eval(*node.expr);
  if (!input.ok()) return input;
  auto result = Selector(evaluator, node, *input, std::move(parameters)).Run();
  evaluator.Release(*input);
  return result;
}

}  // namespace tidewright::promql
