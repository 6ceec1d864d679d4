// Functions of histograms: of classic ones, which are series x_bucket{le="..."} with cumulative counts, and native
// ones.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/strings.h"
#include "promql/evaluator.h"
#include "promql/functions.h"
#include "promql/histogram.h"
#include "promql/histogram_stats.h"
#include "promql/lexer.h"
#include "promql/number_text.h"
#include "promql/printer.h"

namespace tidewright::promql {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Bucket {
  double upper = 0;
  double count = 0;  // Of observations <= upper.
};

// One histogram: the series of its buckets by upper bound, or a native one. Both may occur, at different steps.
struct Family {
  LabelsView labels;  // Without le.
  bool drop_name = false;
  std::vector<std::pair<double, const EvalSeries*>> buckets;
  const EvalSeries* native = nullptr;
};

// What a family is at one step; at most one of the two.
struct FamilyAt {
  std::vector<Bucket> buckets;
  const Histogram* native = nullptr;
  bool empty() const { return buckets.empty() && native == nullptr; }
};

bool ParseBound(std::string_view text, double* bound) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || !(base::ParseDouble(text, bound) || ParseNumber(text, bound))) return false;
  if (negative) *bound = -*bound;
  return !std::isnan(*bound);
}

bool HasFloats(const EvalSeries& series) { return !std::all_of(series.values.begin(), series.values.end(), IsAbsent); }

// Collects the families of a vector, in the order of their first series.
class Families {
 public:
  Families(Evaluator& evaluator, const Call& call, const Expr& arg, const EvalMatrix& input)
      : evaluator_(evaluator), call_(call), arg_(arg) {
    for (const auto& series : input) {
      if (series.HasHistograms()) Of(series.labels.Copy(), series).native = &series;
      if (HasFloats(series)) AddBucket(series);
    }
    for (auto& family : families_) {
      std::stable_sort(family.buckets.begin(), family.buckets.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
  }

  auto begin() const { return families_.begin(); }
  auto end() const { return families_.end(); }
  // The family at a step; warns when it is two at once.
  FamilyAt At(const Family& family, size_t i) const;

 private:
  Family& Of(Labels labels, const EvalSeries& series) {
    LabelsView view = evaluator_.state().Own(std::move(labels));
    for (auto [at, end] = index_.equal_range(view.Hash()); at != end; ++at) {
      if (families_[at->second].labels == view) return families_[at->second];
    }
    index_.emplace(view.Hash(), families_.size());
    return families_.emplace_back(Family{view, series.drop_name, {}, nullptr});
  }

  void AddBucket(const EvalSeries& series) {
    std::string_view le = series.labels.Get("le");
    double upper = 0;
    if (!ParseBound(le, &upper)) {
      evaluator_.state().Warn(arg_,
                              "bucket label \"le\" is missing or has a malformed value of " + Quote(le) +
                                  evaluator_.ForMetric(series.labels),
                              &call_);
      return;
    }
    Of(tsdb::LabelsBuilder(series.labels.Copy()).Remove("le").Build(), series).buckets.emplace_back(upper, &series);
  }

  Evaluator& evaluator_;
  const Call& call_;
  const Expr& arg_;
  std::vector<Family> families_;
  std::unordered_multimap<uint64_t, size_t> index_;
};

FamilyAt Families::At(const Family& family, size_t i) const {
  FamilyAt now;
  for (const auto& [upper, series] : family.buckets) {
    double count = series->values[i];
    if (IsAbsent(count)) continue;
    if (!now.buckets.empty() && now.buckets.back().upper == upper) {
      now.buckets.back().count += count;
    } else {
      now.buckets.push_back({upper, count});
    }
  }
  if (family.native != nullptr) now.native = family.native->HistogramAt(i);
  if (now.native == nullptr || now.buckets.empty()) return now;
  evaluator_.state().Warn(
      arg_, "vector contains a mix of classic and native histograms" + evaluator_.ForMetric(family.labels), &call_);
  return {};
}

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

// Makes the counts grow with the bounds; tells what had shrunk by more than rounding explains.
std::optional<MonotonicityFix> ForceMonotonic(std::vector<Bucket>& buckets) {
  std::optional<MonotonicityFix> fix;
  double previous = buckets.front().count;
  for (Bucket& bucket : buckets) {
    if (AlmostEqual(previous, bucket.count)) {
      bucket.count = previous;
    } else if (bucket.count < previous) {
      if (!fix) fix = MonotonicityFix{bucket.upper, bucket.upper, 0};
      fix->highest = bucket.upper;
      fix->difference = std::max(fix->difference, previous - bucket.count);
      bucket.count = previous;
    } else {
      previous = bucket.count;
    }
  }
  return fix;
}

// Source: the classic histogram_quantile of Prometheus. `buckets` are sorted.
double BucketQuantile(double q, std::vector<Bucket> buckets, std::optional<MonotonicityFix>* fix) {
  if (std::isnan(q)) return kNan;
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  if (buckets.empty() || buckets.back().upper != kInfinity) return kNan;
  *fix = ForceMonotonic(buckets);
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

// How many of `all` observations lie below `bound`, by linear interpolation within its bucket.
double RankOf(double bound, const std::vector<Bucket>& buckets, double all) {
  auto bounded = [&](double rank) { return rank > all ? all : rank; };  // NaN stays.
  double below = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    double upper = buckets[i].upper;
    double lower = i > 0 ? buckets[i - 1].upper : upper > 0 ? 0 : -kInfinity;
    if (lower >= bound) return bounded(below);
    if (std::isinf(lower) && upper > bound) return bounded(buckets[i].count);  // Nothing to interpolate in.
    if (upper > bound) return bounded(below + (buckets[i].count - below) * (bound - lower) / (upper - lower));
    below = buckets[i].count;
  }
  return all;
}

double BucketFraction(double lower, double upper, const std::vector<Bucket>& buckets) {
  if (buckets.empty() || buckets.back().upper != kInfinity) return kNan;
  double count = buckets.back().count;
  if (count == 0 || std::isnan(lower) || std::isnan(upper)) return kNan;
  if (lower >= upper) return 0;
  return (RankOf(upper, buckets, count) - RankOf(lower, buckets, count)) / count;
}

// Computes compute(family now, step, family) at every step of every family.
template <typename Compute>
base::Result<EvalMatrix> PerFamily(Evaluator& evaluator, const Families& families, Compute compute) {
  EvalMatrix result;
  for (const Family& family : families) {
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    EvalSeries series{family.labels, family.drop_name, std::vector<double>(evaluator.steps().count, Absent()), {}};
    series.sampled_ms = family.native != nullptr ? family.native->sampled_ms : kNoSample;
    for (const auto& [upper, bucket] : family.buckets) {
      series.sampled_ms = std::max(series.sampled_ms, bucket->sampled_ms);
    }
    for (size_t i = 0; i < series.values.size(); ++i) {
      FamilyAt now = families.At(family, i);
      if (!now.empty()) series.values[i] = compute(now, i, family);
    }
    if (series.IsEmpty()) continue;
    TW_RETURN_IF_ERROR(evaluator.Hold(series));
    evaluator.DropName(series);
    result.push_back(std::move(series));
  }
  return result;
}

void CheckQuantile(Evaluator& evaluator, const Expr& arg, const std::vector<double>& quantiles) {
  for (double q : quantiles) {
    if (q >= 0 && q <= 1) continue;
    evaluator.state().Warn(arg, "quantile value should be between 0 and 1, got " + GeneralText(q));
  }
}

double NativeQuantile(Evaluator& evaluator, const Expr& arg, const Family& family, double q, const Histogram& h) {
  double value = QuantileOf(q, h);
  if (q >= 0 && q <= 1 && HasNanObservations(h)) {
    evaluator.state().Info(arg, std::string("input to histogram_quantile has NaN observations, result is ") +
                                    (std::isnan(value) ? "NaN" : "skewed higher") + evaluator.ForMetric(family.labels));
  }
  return value;
}

// One quantile for every family and step of the vector `arg`. Tells of buckets that had to be fixed, unless it is
// `known`.
base::Result<EvalMatrix> QuantilesOf(Evaluator& evaluator, const Call& call, const Expr& arg, const Families& families,
                                     const std::vector<double>& quantiles, const std::vector<uint8_t>& known) {
  return PerFamily(evaluator, families, [&](const FamilyAt& now, size_t i, const Family& family) {
    if (now.native != nullptr) return NativeQuantile(evaluator, *call.args[0], family, quantiles[i], *now.native);
    std::optional<MonotonicityFix> fix;
    double value = BucketQuantile(quantiles[i], now.buckets, &fix);
    if (fix && known[i] == 0) {
      evaluator.state().InfoFixed(
          arg,
          "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/"
          "latest/querying/functions/#histogram_quantile)" +
              evaluator.ForMetric(family.labels),
          *fix, evaluator.steps().At(i));
    }
    return value;
  });
}

base::Result<EvalMatrix> HistogramQuantile(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*call.args[0]));
  CheckQuantile(evaluator, *call.args[0], quantiles);
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(*call.args[1]));
  Families families(evaluator, call, *call.args[1], input);
  auto result =
      QuantilesOf(evaluator, call, *call.args[1], families, quantiles, std::vector<uint8_t>(quantiles.size()));
  evaluator.Release(input);
  if (result.ok()) TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// As quantile labels are written: 0.5, 1.0, 1e+06.
std::string QuantileLabel(double q) {
  std::string text = GeneralText(q == 0 ? 0 : q);  // -0 is 0.
  return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}

// The quantile may differ from step to step: one series for each of its values.
base::Status SplitByQuantile(Evaluator& evaluator, const std::string& label, const std::vector<double>& quantiles,
                             const EvalSeries& series, EvalMatrix* all) {
  std::unordered_map<std::string, EvalSeries> parts;
  std::vector<std::string> order;
  for (size_t i = 0; i < series.values.size(); ++i) {
    if (!series.PresentAt(i)) continue;
    std::string text = QuantileLabel(quantiles[i]);
    EvalSeries& part = parts[text];
    if (part.values.empty()) {
      TW_RETURN_IF_ERROR(evaluator.state().AddSamples(series.values.size()));
      tsdb::LabelsBuilder builder(series.labels.Copy());
      part.labels = evaluator.state().Own(builder.Set(label, text).Build());
      part.drop_name = series.drop_name;
      part.values.assign(series.values.size(), Absent());
      order.push_back(text);
    }
    part.values[i] = series.values[i];
  }
  for (const std::string& text : order) all->push_back(std::move(parts[text]));
  return base::Status::Ok();
}

// histogram_quantiles(v, "label", q1, q2, ...): each quantile in a series of its own, named by the label, which takes
// the place of one that the histogram has.
base::Result<EvalMatrix> HistogramQuantiles(Evaluator& evaluator, const Call& call) {
  const std::string& label = Evaluator::StringOf(*call.args[1]);
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(*call.args[0]));
  Families families(evaluator, call, *call.args[0], input);
  EvalMatrix all;
  std::vector<uint8_t> known(evaluator.steps().count);  // Buckets were looked at for an earlier quantile.
  for (size_t a = 2; a < call.args.size(); ++a) {
    TW_ASSIGN_OR_RETURN(std::vector<double> quantiles, evaluator.EvalScalar(*call.args[a]));
    CheckQuantile(evaluator, *call.args[a], quantiles);
    TW_ASSIGN_OR_RETURN(EvalMatrix one, QuantilesOf(evaluator, call, *call.args[0], families, quantiles, known));
    for (size_t i = 0; i < known.size(); ++i) known[i] |= quantiles[i] >= 0 && quantiles[i] <= 1 ? 1 : 0;
    for (const auto& series : one) {
      TW_RETURN_IF_ERROR(SplitByQuantile(evaluator, label, quantiles, series, &all));
    }
    evaluator.Release(one);
  }
  evaluator.Release(input);
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(all));
  return all;
}

base::Result<EvalMatrix> HistogramFraction(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(std::vector<double> lower, evaluator.EvalScalar(*call.args[0]));
  TW_ASSIGN_OR_RETURN(std::vector<double> upper, evaluator.EvalScalar(*call.args[1]));
  const Expr& arg = *call.args[2];
  TW_ASSIGN_OR_RETURN(EvalMatrix input, evaluator.Eval(arg));
  Families families(evaluator, call, arg, input);
  auto result = PerFamily(evaluator, families, [&](const FamilyAt& now, size_t i, const Family& family) {
    if (now.native == nullptr) return BucketFraction(lower[i], upper[i], now.buckets);
    if (HasNanObservations(*now.native)) {
      evaluator.state().Info(*call.args[0],
                             "input to histogram_fraction has NaN observations, which are excluded from all fractions" +
                                 evaluator.ForMetric(family.labels));
    }
    return FractionOf(lower[i], upper[i], *now.native);
  });
  evaluator.Release(input);
  if (result.ok()) TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// A number from each native histogram; floats are none.
template <double (*Compute)(const Histogram&)>
base::Result<EvalMatrix> OfNativeHistograms(Evaluator& evaluator, const Call& call) {
  auto result = evaluator.Eval(*call.args[0]);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    for (size_t i = 0; i < series.values.size(); ++i) {
      const Histogram* h = series.HistogramAt(i);
      series.values[i] = h == nullptr ? Absent() : Compute(*h);
    }
    series.DropHistograms();
    evaluator.DropName(series);
  }
  std::erase_if(*result, [](const EvalSeries& series) { return series.IsEmpty(); });
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

double Average(const Histogram& h) { return h.sum / h.count; }
double Count(const Histogram& h) { return h.count; }
double Sum(const Histogram& h) { return h.sum; }
double Deviation(const Histogram& h) { return std::sqrt(VarianceOf(h)); }

FunctionDef OfNative(std::string_view name, GeneralFn compute) {
  return {.name = name, .args = {ValueType::kVector}, .implementation = compute};
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
       .optional = 9,
       .implementation = HistogramQuantiles,
       .experimental = true},
  };
  table.push_back(OfNative("histogram_avg", OfNativeHistograms<Average>));
  table.push_back(OfNative("histogram_count", OfNativeHistograms<Count>));
  table.push_back(OfNative("histogram_stddev", OfNativeHistograms<Deviation>));
  table.push_back(OfNative("histogram_stdvar", OfNativeHistograms<VarianceOf>));
  table.push_back(OfNative("histogram_sum", OfNativeHistograms<Sum>));
  return table;
}

}  // namespace tidewright::promql
