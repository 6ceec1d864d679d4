// Quantiles and fractions of classic histograms: series x_bucket{le="..."} with cumulative counts.
//
// The functions of native histograms exist too; floats are not histograms, so they return nothing for them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/metrics.h"
#include "base/strings.h"
#include "promql/evaluator.h"
#include "promql/functions.h"
#include "promql/lexer.h"
#include "promql/printer.h"

namespace tidewright::promql {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Bucket {
  double upper = 0;
  double count = 0;  // Of observations <= upper.
};

// One histogram: the series of its buckets by upper bound.
struct Family {
  Labels labels;  // Without le.
  bool drop_name = false;
  std::vector<std::pair<double, const EvalSeries*>> buckets;
};

bool ParseBound(std::string_view text, double* bound) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || !(base::ParseDouble(text, bound) || ParseNumber(text, bound))) return false;
  if (negative) *bound = -*bound;
  return !std::isnan(*bound);
}

// Groups bucket series into histograms, in the order of their first series.
std::vector<Family> GroupBuckets(Evaluator& evaluator, const Expr& arg, const EvalMatrix& input) {
  std::vector<Family> families;
  std::map<Labels, size_t> index;
  for (const auto& series : input) {
    std::string_view le = series.labels.Get("le");
    double upper = 0;
    if (!ParseBound(le, &upper)) {
      evaluator.state().Warn(arg, "bucket label \"le\" is missing or has a malformed value of " + Quote(le) +
                                      evaluator.ForMetric(series.labels));
      continue;
    }
    Labels labels = tsdb::LabelsBuilder(series.labels).Remove("le").Build();
    auto [entry, added] = index.emplace(labels, families.size());
    if (added) families.push_back({std::move(labels), series.drop_name, {}});
    families[entry->second].buckets.emplace_back(upper, &series);
  }
  for (auto& family : families) {
    std::stable_sort(family.buckets.begin(), family.buckets.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  return families;
}

// Walks the buckets of a family step by step.
class FamilyCursor {
 public:
  explicit FamilyCursor(const Family& family) : family_(family), next_(family.buckets.size()) {}

  // The buckets that have a value at time t, those of one bound added up. Times must not go back.
  const std::vector<Bucket>& At(int64_t t) {
    buckets_.clear();
    for (size_t i = 0; i < next_.size(); ++i) {
      const auto& points = family_.buckets[i].second->points;
      while (next_[i] < points.size() && points[next_[i]].t < t) ++next_[i];
      if (next_[i] == points.size() || points[next_[i]].t != t) continue;
      double upper = family_.buckets[i].first;
      double count = points[next_[i]].v;
      if (!buckets_.empty() && buckets_.back().upper == upper) {
        buckets_.back().count += count;
      } else {
        buckets_.push_back({upper, count});
      }
    }
    return buckets_;
  }

 private:
  const Family& family_;
  std::vector<size_t> next_;
  std::vector<Bucket> buckets_;
};

bool AlmostEqual(double a, double b) {
  constexpr double kTolerance = 1e-12;
  if (a == b) return true;
  double sum = std::fabs(a) + std::fabs(b);
  double difference = std::fabs(a - b);
  if (a == 0 || b == 0 || sum < std::numeric_limits<double>::min()) {
    return difference < kTolerance * std::numeric_limits<double>::min();
  }
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kTolerance;
}

// Makes the counts grow with the bounds; true when they did not by more than rounding explains.
bool ForceMonotonic(std::vector<Bucket>& buckets) {
  bool forced = false;
  double previous = buckets.front().count;
  for (Bucket& bucket : buckets) {
    if (AlmostEqual(previous, bucket.count)) {
      bucket.count = previous;
    } else if (bucket.count < previous) {
      bucket.count = previous;
      forced = true;
    } else {
      previous = bucket.count;
    }
  }
  return forced;
}

// Source: the classic histogram_quantile of Prometheus. `buckets` are sorted.
double BucketQuantile(double q, std::vector<Bucket> buckets, bool* forced) {
  if (std::isnan(q)) return kNan;
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  if (buckets.empty() || buckets.back().upper != kInfinity) return kNan;
  *forced = ForceMonotonic(buckets);
  double observations = buckets.back().count;
  if (buckets.size() < 2 || observations == 0) return kNan;
  double rank = q * observations;
  size_t b = 0;
  while (b + 1 < buckets.size() && !(buckets[b].count >= rank)) ++b;
  if (b + 1 == buckets.size()) return buckets[b - 1].upper;
  if (b == 0 && buckets[0].upper <= 0) return buckets[0].upper;
  double lower = b == 0 ? 0 : buckets[b - 1].upper;
  double below = b == 0 ? 0 : buckets[b - 1].count;
  return lower + (buckets[b].upper - lower) * ((rank - below) / (buckets[b].count - below));
}

// How many observations lie below `bound`, by linear interpolation within its bucket.
double RankOf(double bound, const std::vector<Bucket>& buckets) {
  double below = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    double upper = buckets[i].upper;
    double lower = i > 0 ? buckets[i - 1].upper : upper > 0 ? 0 : -kInfinity;
    if (lower >= bound) return below;
    if (std::isinf(lower) && upper > bound) return buckets[i].count;  // Nothing to interpolate in: none lie above.
    if (upper > bound) return below + (buckets[i].count - below) * (bound - lower) / (upper - lower);
    below = buckets[i].count;
  }
  return below;
}

double BucketFraction(double lower, double upper, const std::vector<Bucket>& buckets) {
  if (buckets.empty() || buckets.back().upper != kInfinity) return kNan;
  double count = buckets.back().count;
  if (count == 0 || std::isnan(lower) || std::isnan(upper)) return kNan;
  if (lower >= upper) return 0;
  return (std::min(count, RankOf(upper, buckets)) - std::min(count, RankOf(lower, buckets))) / count;
}

// Computes compute(buckets, step, family) at every step of every family.
template <typename Compute>
base::Result<EvalMatrix> PerFamily(Evaluator& evaluator, const std::vector<Family>& families, Compute compute) {
  EvalMatrix result;
  const Steps& steps = evaluator.steps();
  for (const Family& family : families) {
    EvalSeries series{family.labels, {}, family.drop_name};
    FamilyCursor cursor(family);
    for (size_t i = 0; i < steps.count; ++i) {
      if (i % 1024 == 0) TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
      const auto& buckets = cursor.At(steps.At(i));
      if (!buckets.empty()) series.points.push_back({steps.At(i), compute(buckets, i, family)});
    }
    TW_RETURN_IF_ERROR(evaluator.state().AddSamples(series.points.size()));
    evaluator.DropName(series);
    result.push_back(std::move(series));
  }
  return result;
}

void CheckQuantile(Evaluator& evaluator, const Expr& arg, const std::vector<double>& quantiles) {
  for (double q : quantiles) {
    if (q >= 0 && q <= 1) continue;
    evaluator.state().Warn(arg, "quantile value should be between 0 and 1, got " + base::FormatDouble(q));
  }
}

// One quantile for every family and step.
base::Result<EvalMatrix> QuantilesOf(Evaluator& evaluator, const Call& call, const std::vector<Family>& families,
                                     const std::vector<double>& quantiles) {
  return PerFamily(evaluator, families, [&](const std::vector<Bucket>& buckets, size_t i, const Family& family) {
    bool forced = false;
    double value = BucketQuantile(quantiles[i], buckets, &forced);
    if (forced) {
      evaluator.state().Info(call, std::string("input to ") + std::string(call.function->name) +
                                       " needed to be fixed for monotonicity (see https://prometheus.io/docs/"
                                       "prometheus/latest/querying/functions/#histogram_quantile)" +
                                       evaluator.ForMetric(family.labels));
    }
    return value;
  });
}

base::Result<EvalMatrix> HistogramQuantile(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*call.args[0]));
  CheckQuantile(evaluator, *call.args[0], quantiles);
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(*call.args[1]));
  auto families = GroupBuckets(evaluator, *call.args[1], input);
  auto result = QuantilesOf(evaluator, call, families, quantiles);
  evaluator.Release(input);
  if (result.ok()) TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// As quantile labels are written: 0.5, 1.0.
std::string QuantileLabel(double q) {
  std::string text = base::FormatFixed(q);
  return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}

// histogram_quantiles(v, "label", q1, q2, ...): each quantile in a series of its own, named by the label.
base::Result<EvalMatrix> HistogramQuantiles(Evaluator& evaluator, const Call& call) {
  const std::string& label = Evaluator::StringOf(*call.args[1]);
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(*call.args[0]));
  auto families = GroupBuckets(evaluator, *call.args[0], input);
  for (const Family& family : families) {
    if (!family.labels.Has(label)) continue;
    return base::InvalidArgumentError("histogram_quantiles: conflicting label " + Quote(label) +
                                      ": a histogram has it already; choose another name for the quantiles");
  }
  EvalMatrix all;
  for (size_t a = 2; a < call.args.size(); ++a) {
    TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*call.args[a]));
    CheckQuantile(evaluator, *call.args[a], quantiles);
    TW_ASSIGN_OR_RETURN(EvalMatrix one, QuantilesOf(evaluator, call, families, quantiles));
    for (auto& series : one) {
      // The quantile may differ from step to step: one series for each of its values.
      std::map<double, EvalSeries> by_value;
      for (const Point& point : series.points) {
        double q = quantiles[evaluator.steps().IndexOf(point.t)];
        auto& part = by_value[std::isnan(q) ? -kInfinity : q];
        if (part.points.empty()) {
          part.labels = tsdb::LabelsBuilder(series.labels).Set(label, QuantileLabel(q)).Build();
          part.drop_name = series.drop_name;
        }
        part.points.push_back(point);
      }
      for (auto& [q, part] : by_value) all.push_back(std::move(part));
    }
  }
  evaluator.Release(input);
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(all));
  return all;
}

base::Result<EvalMatrix> HistogramFraction(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> lower, evaluator.EvalScalar(*call.args[0]));
  TW_ASSIGN_OR_RETURN(std::vector<double> upper, evaluator.EvalScalar(*call.args[1]));
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(*call.args[2]));
  auto families = GroupBuckets(evaluator, *call.args[2], input);
  auto result = PerFamily(evaluator, families, [&](const std::vector<Bucket>& buckets, size_t i, const Family&) {
    return BucketFraction(lower[i], upper[i], buckets);
  });
  evaluator.Release(input);
  if (result.ok()) TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// The functions of native histograms: floats are none.
base::Result<EvalMatrix> OfNativeHistograms(Evaluator& evaluator, const Call& call) {
  auto input = evaluator.Eval(*call.args[0]);
  if (!input.ok()) return input;
  evaluator.Release(*input);
  return EvalMatrix{};
}

}  // namespace

std::vector<FunctionDef> HistogramFunctions() {
  constexpr ValueType kVector = ValueType::kVector;
  constexpr ValueType kScalar = ValueType::kScalar;
  std::vector<FunctionDef> table = {
      {.name = "histogram_quantile", .args = {kScalar, kVector}, .implementation = HistogramQuantile},
      {.name = "histogram_fraction", .args = {kScalar, kScalar, kVector}, .implementation = HistogramFraction},
      {.name = "histogram_quantiles",
       .args = {kVector, ValueType::kString, kScalar, kScalar},
       .optional = kUnlimited,
       .implementation = HistogramQuantiles,
       .experimental = true},
  };
  for (std::string_view name :
       {"histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"}) {
    table.push_back({.name = name, .args = {kVector}, .implementation = OfNativeHistograms});
  }
  return table;
}

}  // namespace tidewright::promql
