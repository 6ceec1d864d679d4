// Binary operators between vectors. Series are matched once, then combined column by column.
#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "promql/evaluator.h"
#include "promql/lexer.h"
#include "promql/operators.h"
#include "promql/printer.h"
#include "promql/signature.h"

namespace tidewright::promql {
namespace {

// Steps at which any of some series has a value.
std::vector<uint8_t> PresenceOf(const EvalMatrix& side, size_t steps) {
  std::vector<uint8_t> present(steps);
  for (const EvalSeries& series : side) {
    for (size_t i = 0; i < steps; ++i) present[i] |= series.PresentAt(i) ? 1 : 0;
  }
  return present;
}

// --- and, or, unless.

// Removes the values of `members` where `present` is not as wanted.
void Keep(EvalMatrix& side, const std::vector<size_t>& members, const std::vector<uint8_t>& present, uint8_t wanted) {
  for (size_t member : members) {
    for (size_t i = 0; i < present.size(); ++i) {
      if (present[i] != wanted) side[member].Remove(i);
    }
  }
}

void Mark(const EvalMatrix& side, const std::vector<size_t>& members, std::vector<uint8_t>& present) {
  std::fill(present.begin(), present.end(), 0);
  for (size_t member : members) {
    for (size_t i = 0; i < present.size(); ++i) present[i] |= side[member].PresentAt(i) ? 1 : 0;
  }
}

base::Result<EvalMatrix> SetOperation(Evaluator& evaluator, const Binary& node, EvalMatrix left, EvalMatrix right) {
  Signature signature(node.matching);
  std::vector<uint8_t> present(evaluator.steps().count);
  for (const MatchGroup& group : GroupBySignature(signature, left, right)) {
    if ((node.op == Op::kOr ? group.right : group.left).empty()) continue;
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    if (node.op == Op::kOr) {
      Mark(left, group.left, present);
      Keep(right, group.right, present, 0);
    } else {
      Mark(right, group.right, present);
      Keep(left, group.left, present, node.op == Op::kAnd ? 1 : 0);
    }
  }
  if (node.op == Op::kOr) {
    for (auto& series : right) left.push_back(std::move(series));
  } else {
    evaluator.Release(right);
  }
  std::erase_if(left, [](const EvalSeries& series) { return series.IsEmpty(); });
  // A series may be on the left at one step and on the right at another.
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(left));
  return left;
}

// --- Arithmetic and comparison.

class VectorOperation {
 public:
  // As in Prometheus, fill_left with group_right fills the many side, which stands on the right.
  // The "many" side is the left one, or the right one with group_right.
  VectorOperation(Evaluator& evaluator, const Binary& node, const EvalMatrix& left, const EvalMatrix& right)
      : evaluator_(evaluator),
        node_(node),
        matching_(node.matching),
        signature_(node.matching),
        swapped_(matching_.card == VectorMatching::Card::kOneToMany),
        filter_(IsComparison(node.op) && !node.return_bool),
        steps_(evaluator.steps().count),
        many_(swapped_ ? right : left),
        one_(swapped_ ? left : right),
        many_present_(PresenceOf(many_, steps_)) {
    if (matching_.fill_left) fill_many_ = Constant(*matching_.fill_left);
    if (matching_.fill_right) fill_one_ = Constant(*matching_.fill_right);
  }

  base::Result<EvalMatrix> Run();

 private:
  EvalSeries Constant(double value) const { return {LabelsView(), false, std::vector<double>(steps_, value), {}}; }
  base::Status RunGroup(const MatchGroup& group);
  // Which series of the one side has the value at each step; kNone: none.
  base::Status FindPartners(const std::vector<size_t>& one, std::vector<size_t>* partners);
  base::Status CombineWith(const EvalSeries* many, const std::vector<size_t>& partners, std::vector<uint8_t>& taken);
  bool CombineAt(const EvalSeries& many, const EvalSeries& one, size_t i, EvalSeries& output);
  EvalSeries OutputSeries(const EvalSeries* many, const EvalSeries* one) const;
  base::Status OneSideAmbiguous(const EvalSeries& a, const EvalSeries& b) const;

  static constexpr size_t kNone = SIZE_MAX;

  Evaluator& evaluator_;
  const Binary& node_;
  const VectorMatching& matching_;
  const Signature signature_;
  const bool swapped_, filter_;
  const size_t steps_;
  const EvalMatrix& many_;
  const EvalMatrix& one_;
  const std::vector<uint8_t> many_present_;
  std::optional<EvalSeries> fill_many_, fill_one_;
  EvalMatrix result_;
};

base::Result<EvalMatrix> VectorOperation::Run() {
  for (const MatchGroup& group : GroupBySignature(signature_, many_, one_)) {
    TW_RETURN_IF_ERROR(evaluator_.state().CheckDeadline());
    TW_RETURN_IF_ERROR(RunGroup(group));
  }
  TW_RETURN_IF_ERROR(
      MergeDuplicates(result_, "multiple matches for labels: grouping labels must ensure unique matches"));
  return std::move(result_);
}

base::Status VectorOperation::RunGroup(const MatchGroup& group) {
  if (group.left.empty() && group.right.size() < 2 && !fill_many_) return base::Status::Ok();
  std::vector<size_t> partners(steps_, kNone);
  TW_RETURN_IF_ERROR(FindPartners(group.right, &partners));
  std::vector<uint8_t> taken(steps_);  // By a result.
  if (!group.right.empty() || fill_one_) {
    for (size_t member : group.left) TW_RETURN_IF_ERROR(CombineWith(&many_[member], partners, taken));
  }
  if (!fill_many_ || group.right.empty()) return base::Status::Ok();
  // What nothing on the many side matched.
  for (size_t i = 0; i < steps_; ++i) {
    if (taken[i] != 0) partners[i] = kNone;
  }
  return CombineWith(nullptr, partners, taken);
}

base::Status VectorOperation::FindPartners(const std::vector<size_t>& one, std::vector<size_t>* partners) {
  for (size_t member : one) {
    for (size_t i = 0; i < steps_; ++i) {
      if (!one_[member].PresentAt(i)) continue;
      size_t& partner = (*partners)[i];
      bool needed = many_present_[i] != 0 || fill_many_ || fill_one_;
      if (partner != kNone && needed) return OneSideAmbiguous(one_[partner], one_[member]);
      partner = member;
    }
  }
  return base::Status::Ok();
}

// Combines a series of the many side, or with null its fill value, with its partners. Different partners may mean
// different labels, so that one series can become several.
base::Status VectorOperation::CombineWith(const EvalSeries* many, const std::vector<size_t>& partners,
                                          std::vector<uint8_t>& taken) {
  bool one_to_one = matching_.card == VectorMatching::Card::kOneToOne;
  size_t last = 0;  // The partner of the output in use; the outputs of one series follow each other in the result.
  size_t output = kNone;
  std::map<size_t, size_t> outputs;
  for (size_t i = 0; i < steps_; ++i) {
    size_t partner = partners[i];
    if (many != nullptr ? !many->PresentAt(i) || (partner == kNone && !fill_one_) : partner == kNone) continue;
    if (output == kNone || partner != last) {
      auto [entry, added] = outputs.emplace(partner, result_.size());
      if (added) {
        TW_RETURN_IF_ERROR(evaluator_.state().AddSamples(steps_));
        result_.push_back(OutputSeries(many, partner == kNone ? nullptr : &one_[partner]));
      }
      output = entry->second;
      last = partner;
    }
    const EvalSeries& left = many != nullptr ? *many : *fill_many_;
    const EvalSeries& right = partner != kNone ? one_[partner] : *fill_one_;
    if (!CombineAt(left, right, i, result_[output])) continue;  // Operands that do not fit are no match.
    if (std::exchange(taken[i], uint8_t{1}) != 0 && one_to_one) {
      return base::InvalidArgumentError(
          LineColumn(evaluator_.state().text(), node_.op_span.begin) +
          ": multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
    }
  }
  for (const auto& [partner, at] : outputs) {
    evaluator_.state().ReleaseSamples(steps_);  // Counted again, with its histograms.
    TW_RETURN_IF_ERROR(evaluator_.Hold(result_[at]));
  }
  return base::Status::Ok();
}

// False when the operands do not fit.
bool VectorOperation::CombineAt(const EvalSeries& many, const EvalSeries& one, size_t i, EvalSeries& output) {
  const EvalSeries& left = swapped_ ? one : many;
  const EvalSeries& right = swapped_ ? many : one;
  bool floats = left.HistogramAt(i) == nullptr && right.HistogramAt(i) == nullptr && !IsTrim(node_.op);
  if (floats) {
    double value = Compute(node_.op, left.values[i], right.values[i]);
    output.values[i] = !filter_ ? value : value == 0 ? Absent() : left.values[i];
    return true;
  }
  auto operand = [&](const EvalSeries& series) {
    return Operand{series.values[i], series.HistogramAt(i) != nullptr ? series.histograms[i] : nullptr};
  };
  Operand result = ComputeAny(evaluator_, node_, operand(left), operand(right));
  output.values[i] = result.v;
  if (result.h != nullptr) output.SetHistogram(i, std::move(result.h));
  return !result.incompatible;
}

EvalSeries VectorOperation::OutputSeries(const EvalSeries* many, const EvalSeries* one) const {
  EvalSeries series;
  series.values.assign(steps_, Absent());
  for (const EvalSeries* side : {many, one}) {
    if (side != nullptr) series.sampled_ms = std::max(series.sampled_ms, side->sampled_ms);
  }
  QueryState& state = evaluator_.state();
  if (many == nullptr) {
    series.labels = state.Own(signature_.LabelsOf(one->labels));
  } else {
    series.labels = many->labels;  // As in Prometheus, a name that was to be removed at the end stays.
  }
  // Arithmetic takes the name off at once, whatever is to happen at the end.
  if (node_.return_bool) {
    evaluator_.DropName(series);
  } else if (DropsName(node_)) {
    series.labels = series.labels.WithoutMetric();
  }
  bool on = matching_.on && matching_.card == VectorMatching::Card::kOneToOne;
  bool ignoring = !matching_.on && matching_.card == VectorMatching::Card::kOneToOne && !matching_.labels.empty();
  if (!on && !ignoring && matching_.include.empty()) return series;
  tsdb::LabelsBuilder builder(series.labels.Copy());
  if (on) {
    tsdb::LabelsBuilder kept;
    for (const std::string& name : matching_.labels) kept.Set(name, builder.Get(name));
    builder = kept;
  } else if (ignoring) {
    for (const std::string& name : matching_.labels) builder.Remove(name);
  }
  // What is filled in has the labels by which it was matched.
  Labels filled = one == nullptr && many != nullptr ? signature_.LabelsOf(many->labels) : Labels();
  for (const std::string& name : matching_.include) {
    builder.Set(name, one == nullptr ? filled.Get(name) : one->labels.Get(name));
  }
  series.labels = state.Own(builder.Build());
  return series;
}

base::Status VectorOperation::OneSideAmbiguous(const EvalSeries& a, const EvalSeries& b) const {
  std::vector<Labels> labels = {a.labels.Copy(), b.labels.Copy()};
  std::sort(labels.begin(), labels.end());
  return base::InvalidArgumentError(LineColumn(evaluator_.state().text(), node_.op_span.begin) +
                                    ": found duplicate series for the match group " +
                                    Braced(signature_.LabelsOf(a.labels)) + " on the " + (swapped_ ? "left" : "right") +
                                    " hand-side of the operation: [" + Braced(labels[0]) + ", " + Braced(labels[1]) +
                                    "];many-to-many matching not allowed: matching labels must be unique on one side");
}

}  // namespace

base::Result<EvalMatrix> EvalVectorBinary(Evaluator& evaluator, const Binary& node) {
  TW_ASSIGN_OR_RETURN(EvalMatrix left, evaluator.Eval(*node.left));
  TW_ASSIGN_OR_RETURN(EvalMatrix right, evaluator.Eval(*node.right));
  if (IsSetOp(node.op)) return SetOperation(evaluator, node, std::move(left), std::move(right));
  auto result = VectorOperation(evaluator, node, left, right).Run();
  evaluator.Release(left);
  evaluator.Release(right);
  if (result.ok()) std::erase_if(*result, [](const EvalSeries& series) { return series.IsEmpty(); });
  return result;
}

}  // namespace tidewright::promql
