// Binary operators: scalars, vectors with scalars, and vectors matched with vectors.
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "promql/evaluator.h"
#include "promql/lexer.h"

namespace tidewright::promql {
namespace {

// Comparisons give 1 or 0.
double Compute(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd: return a + b;
    case Op::kSub: return a - b;
    case Op::kMul: return a * b;
    case Op::kDiv: return a / b;
    case Op::kMod: return std::fmod(a, b);
    case Op::kPow: return std::pow(a, b);
    case Op::kAtan2: return std::atan2(a, b);
    case Op::kEq: return a == b ? 1 : 0;
    case Op::kNe: return a != b ? 1 : 0;
    case Op::kLt: return a < b ? 1 : 0;
    case Op::kLe: return a <= b ? 1 : 0;
    case Op::kGt: return a > b ? 1 : 0;
    case Op::kGe: return a >= b ? 1 : 0;
    default: return 0;
  }
}

// Trimming is for histograms; on floats it gives nothing.
bool IsTrim(Op op) { return op == Op::kTrimUpper || op == Op::kTrimLower; }

void WarnTrim(Evaluator& evaluator, const Binary& node) {
  std::string op(OpText(node.op));
  evaluator.state().Info(
      node, "incompatible sample types encountered for binary operator \"" + op + "\": float " + op + " float");
}

bool DropsName(const Binary& node) { return !IsComparison(node.op) || node.return_bool; }

base::Result<EvalMatrix> ScalarScalar(Evaluator& evaluator, const Binary& node) {
  TW_ASSIGN_OR_RETURN(std::vector<double> left, evaluator.EvalScalar(*node.left));
  TW_ASSIGN_OR_RETURN(std::vector<double> right, evaluator.EvalScalar(*node.right));
  TW_RETURN_IF_ERROR(evaluator.state().AddSamples(left.size()));
  EvalMatrix result(1);
  result[0].points.resize(left.size());
  for (size_t i = 0; i < left.size(); ++i) {
    result[0].points[i] = {evaluator.steps().At(i), Compute(node.op, left[i], right[i])};
  }
  return result;
}

base::Result<EvalMatrix> VectorScalar(Evaluator& evaluator, const Binary& node) {
  bool scalar_left = node.left->type == ValueType::kScalar;
  TW_ASSIGN_OR_RETURN(std::vector<double> scalars, evaluator.EvalScalar(scalar_left ? *node.left : *node.right));
  TW_ASSIGN_OR_RETURN(EvalMatrix result, evaluator.Eval(scalar_left ? *node.right : *node.left));
  if (IsTrim(node.op)) {
    if (!result.empty()) WarnTrim(evaluator, node);
    evaluator.Release(result);
    return EvalMatrix{};
  }
  bool filter = IsComparison(node.op) && !node.return_bool;
  size_t dropped = 0;
  for (auto& series : result) {
    size_t kept = 0;
    for (const Point& point : series.points) {
      double scalar = scalars[evaluator.steps().IndexOf(point.t)];
      double value = scalar_left ? Compute(node.op, scalar, point.v) : Compute(node.op, point.v, scalar);
      if (filter && value == 0) continue;
      series.points[kept++] = {point.t, filter ? point.v : value};
    }
    dropped += series.points.size() - kept;
    series.points.resize(kept);
    if (DropsName(node)) evaluator.DropName(series);
  }
  evaluator.state().ReleaseSamples(dropped);
  std::erase_if(result, [](const EvalSeries& series) { return series.points.empty(); });
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(result));
  return result;
}

// --- Matching vectors.

// The labels by which series of the two sides belong together.
class Signature {
 public:
  explicit Signature(const VectorMatching& matching) : matching_(matching) {
    labels_ = matching.labels;
    std::sort(labels_.begin(), labels_.end());
  }

  // A text that is equal for equal signatures.
  std::string Of(const Labels& labels) const {
    std::string key;
    for (const auto& label : labels) {
      if (!Uses(label.name)) continue;
      key.append(label.name).push_back('\xff');
      key.append(label.value).push_back('\xff');
    }
    return key;
  }

  Labels LabelsOf(const Labels& labels) const {
    tsdb::LabelsBuilder builder;
    for (const auto& label : labels) {
      if (Uses(label.name)) builder.Set(label.name, label.value);
    }
    return builder.Build();
  }

 private:
  bool Uses(const std::string& name) const {
    bool listed = std::binary_search(labels_.begin(), labels_.end(), name);
    return matching_.on ? listed : !listed && name != tsdb::kMetricName;
  }
  const VectorMatching& matching_;
  std::vector<std::string> labels_;
};

// The series of both sides that share a signature.
struct MatchGroup {
  std::vector<size_t> left;
  std::vector<size_t> right;
};

// In the order in which their first series appear, left before right.
std::vector<MatchGroup> GroupBySignature(const Signature& signature, const EvalMatrix& left, const EvalMatrix& right) {
  std::vector<MatchGroup> groups;
  std::unordered_map<std::string, size_t> index;
  auto add = [&](const EvalMatrix& side, std::vector<size_t> MatchGroup::*members) {
    for (size_t i = 0; i < side.size(); ++i) {
      auto [entry, added] = index.emplace(signature.Of(side[i].labels), groups.size());
      if (added) groups.emplace_back();
      (groups[entry->second].*members).push_back(i);
    }
  };
  add(left, &MatchGroup::left);
  add(right, &MatchGroup::right);
  return groups;
}

// Walks the points of several series together, step by step.
class SideCursor {
 public:
  SideCursor(const EvalMatrix& side, const std::vector<size_t>& members)
      : side_(side), members_(members), next_(members.size()) {}

  // The next time at which some member has a point, or `none`.
  int64_t NextTime(int64_t none) const {
    int64_t t = none;
    for (size_t m = 0; m < members_.size(); ++m) {
      const auto& points = side_[members_[m]].points;
      if (next_[m] < points.size()) t = std::min(t, points[next_[m]].t);
    }
    return t;
  }

  // Takes the points at time t: (index in the side, value).
  const std::vector<std::pair<size_t, double>>& Take(int64_t t) {
    taken_.clear();
    for (size_t m = 0; m < members_.size(); ++m) {
      const auto& points = side_[members_[m]].points;
      if (next_[m] < points.size() && points[next_[m]].t == t) taken_.emplace_back(members_[m], points[next_[m]++].v);
    }
    return taken_;
  }

 private:
  const EvalMatrix& side_;
  const std::vector<size_t>& members_;
  std::vector<size_t> next_;
  std::vector<std::pair<size_t, double>> taken_;
};

constexpr int64_t kNoTime = std::numeric_limits<int64_t>::max();

// --- and, or, unless.

base::Result<EvalMatrix> SetOperation(Evaluator& evaluator, const Binary& node, EvalMatrix left, EvalMatrix right) {
  Signature signature(node.matching);
  const Steps& steps = evaluator.steps();
  std::vector<uint8_t> present(steps.count);
  auto mark = [&](const EvalMatrix& side, const std::vector<size_t>& members) {
    std::fill(present.begin(), present.end(), 0);
    for (size_t member : members) {
      for (const Point& point : side[member].points) present[steps.IndexOf(point.t)] = 1;
    }
  };
  auto keep = [&](EvalMatrix& side, const std::vector<size_t>& members, uint8_t wanted) {
    for (size_t member : members) {
      evaluator.state().ReleaseSamples(std::erase_if(
          side[member].points, [&](const Point& point) { return present[steps.IndexOf(point.t)] != wanted; }));
    }
  };
  for (const MatchGroup& group : GroupBySignature(signature, left, right)) {
    if ((node.op == Op::kOr ? group.right : group.left).empty()) continue;
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    if (node.op == Op::kOr) {
      mark(left, group.left);
      keep(right, group.right, 0);
    } else {
      mark(right, group.right);
      keep(left, group.left, node.op == Op::kAnd ? 1 : 0);
    }
  }
  if (node.op == Op::kOr) {
    for (auto& series : right) left.push_back(std::move(series));
  } else {
    evaluator.Release(right);
  }
  std::erase_if(left, [](const EvalSeries& series) { return series.points.empty(); });
  // A series may be on the left at one step and on the right at another.
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(left));
  return left;
}

// --- Arithmetic and comparison.

// All labels in braces, the name like any other.
std::string Braced(const Labels& labels) {
  std::string out = "{";
  for (const auto& label : labels) out += (out.size() > 1 ? ", " : "") + label.name + "=" + Quote(label.value);
  return out + "}";
}

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
        many_(swapped_ ? right : left),
        one_(swapped_ ? left : right),
        fill_many_(matching_.fill_left),
        fill_one_(matching_.fill_right) {}

  base::Result<EvalMatrix> Run();

 private:
  using Element = std::pair<size_t, double>;  // Index in its side, value.
  static constexpr size_t kFilled = SIZE_MAX;

  base::Status RunGroup(const MatchGroup& group);
  base::Status RunStep(int64_t t, const std::vector<Element>& many, const std::vector<Element>& one);
  base::Status Emit(int64_t t, Element many, Element one);
  size_t OutputOf(size_t many, size_t one);
  EvalSeries OutputSeries(size_t many, size_t one) const;
  base::Status OneSideAmbiguous(const std::vector<Element>& one) const;
  base::Status ManySideAmbiguous(const std::vector<Element>& many) const;

  Evaluator& evaluator_;
  const Binary& node_;
  const VectorMatching& matching_;
  Signature signature_;
  bool swapped_;
  const EvalMatrix& many_;
  const EvalMatrix& one_;
  std::optional<double> fill_many_, fill_one_;
  EvalMatrix result_;
  std::map<std::pair<size_t, size_t>, size_t> outputs_;  // (many, one) to an index of result_; of one group.
};

base::Result<EvalMatrix> VectorOperation::Run() {
  if (IsTrim(node_.op)) {
    if (!many_.empty() && !one_.empty()) WarnTrim(evaluator_, node_);
    return EvalMatrix{};
  }
  for (const MatchGroup& group : GroupBySignature(signature_, many_, one_)) {
    bool matched = !group.left.empty() && !group.right.empty();
    bool filled = (fill_one_ && !group.left.empty()) || (fill_many_ && !group.right.empty());
    if (matched || filled) TW_RETURN_IF_ERROR(RunGroup(group));
  }
  std::erase_if(result_, [](const EvalSeries& series) { return series.points.empty(); });
  TW_RETURN_IF_ERROR(
      MergeDuplicates(result_, "multiple matches for labels: grouping labels must ensure unique matches"));
  return std::move(result_);
}

base::Status VectorOperation::RunGroup(const MatchGroup& group) {
  SideCursor many(many_, group.left);
  SideCursor one(one_, group.right);
  outputs_.clear();
  size_t first = result_.size();
  size_t walked = 0;
  for (;;) {
    int64_t t = std::min(many.NextTime(kNoTime), one.NextTime(kNoTime));
    if (t == kNoTime) break;
    if (++walked % 1024 == 0) TW_RETURN_IF_ERROR(evaluator_.state().CheckDeadline());
    TW_RETURN_IF_ERROR(RunStep(t, many.Take(t), one.Take(t)));
  }
  size_t points = 0;
  for (size_t i = first; i < result_.size(); ++i) points += result_[i].points.size();
  return evaluator_.state().AddSamples(points);
}

base::Status VectorOperation::RunStep(int64_t t, const std::vector<Element>& many, const std::vector<Element>& one) {
  if (one.size() > 1) return OneSideAmbiguous(one);
  if (many.empty()) return fill_many_ ? Emit(t, {kFilled, *fill_many_}, one[0]) : base::Status::Ok();
  if (one.empty() && !fill_one_) return base::Status::Ok();
  if (matching_.card == VectorMatching::Card::kOneToOne && many.size() > 1) return ManySideAmbiguous(many);
  Element partner = one.empty() ? Element{kFilled, fill_one_.value_or(0)} : one[0];
  for (const Element& element : many) TW_RETURN_IF_ERROR(Emit(t, element, partner));
  return base::Status::Ok();
}

base::Status VectorOperation::Emit(int64_t t, Element many, Element one) {
  double left = swapped_ ? one.second : many.second;
  double right = swapped_ ? many.second : one.second;
  double value = Compute(node_.op, left, right);
  if (IsComparison(node_.op) && !node_.return_bool) {
    if (value == 0) return base::Status::Ok();
    value = left;
  }
  EvalSeries& series = result_[OutputOf(many.first, one.first)];
  series.points.push_back({t, value});
  return base::Status::Ok();
}

size_t VectorOperation::OutputOf(size_t many, size_t one) {
  auto [entry, added] = outputs_.emplace(std::make_pair(many, one), result_.size());
  if (added) result_.push_back(OutputSeries(many, one));
  return entry->second;
}

EvalSeries VectorOperation::OutputSeries(size_t many, size_t one) const {
  EvalSeries series;
  bool filled = many == kFilled;
  if (filled) {
    series.labels = signature_.LabelsOf(one_[one].labels);
  } else {
    series.labels = many_[many].labels;
    series.drop_name = many_[many].drop_name;
  }
  if (DropsName(node_)) evaluator_.DropName(series);
  tsdb::LabelsBuilder builder(series.labels);
  if (matching_.card == VectorMatching::Card::kOneToOne) {
    if (matching_.on) {
      tsdb::LabelsBuilder kept;
      for (const std::string& name : matching_.labels) kept.Set(name, builder.Get(name));
      builder = kept;
    } else {
      for (const std::string& name : matching_.labels) builder.Remove(name);
    }
  }
  for (const std::string& name : matching_.include) {
    builder.Set(name, one == kFilled ? std::string_view() : one_[one].labels.Get(name));
    if (name == tsdb::kMetricName) series.drop_name = false;
  }
  series.labels = builder.Build();
  return series;
}

base::Status VectorOperation::OneSideAmbiguous(const std::vector<Element>& one) const {
  std::vector<Labels> labels = {one_[one[0].first].labels, one_[one[1].first].labels};
  std::sort(labels.begin(), labels.end());
  return base::InvalidArgumentError(
      LineColumn(evaluator_.state().text(), node_.op_span.begin) + ": found duplicate series for the match group " +
      Braced(signature_.LabelsOf(labels[0])) + " on the " + (swapped_ ? "left" : "right") +
      " hand-side of the operation: [" + Braced(labels[0]) + ", " + Braced(labels[1]) +
      "];many-to-many matching not allowed: matching labels must be unique on one side");
}

base::Status VectorOperation::ManySideAmbiguous(const std::vector<Element>& many) const {
  return base::InvalidArgumentError(LineColumn(evaluator_.state().text(), node_.op_span.begin) +
                                    ": multiple matches for labels: many-to-one matching must be explicit "
                                    "(group_left/group_right); on the left side " +
                                    many_[many[0].first].labels.ToString() + " and " +
                                    many_[many[1].first].labels.ToString());
}

base::Result<EvalMatrix> VectorVector(Evaluator& evaluator, const Binary& node) {
  TW_ASSIGN_OR_RETURN(EvalMatrix left, evaluator.Eval(*node.left));
  // Neither `and` nor arithmetic can produce anything from nothing: spare the other side.
  bool needs_right = node.op == Op::kOr || node.matching.fill_left || node.matching.fill_right || !left.empty();
  if (!needs_right) return EvalMatrix{};
  TW_ASSIGN_OR_RETURN(EvalMatrix right, evaluator.Eval(*node.right));
  if (IsSetOp(node.op)) return SetOperation(evaluator, node, std::move(left), std::move(right));
  auto result = VectorOperation(evaluator, node, left, right).Run();
  evaluator.Release(left);
  evaluator.Release(right);
  return result;
}

}  // namespace

base::Result<EvalMatrix> EvalBinary(Evaluator& evaluator, const Binary& node) {
  bool left = node.left->type == ValueType::kVector;
  bool right = node.right->type == ValueType::kVector;
  if (left && right) return VectorVector(evaluator, node);
  if (left || right) return VectorScalar(evaluator, node);
  return ScalarScalar(evaluator, node);
}

}  // namespace tidewright::promql
