#include "promql/matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tidewright::promql {

void KahanSum::Add(double value) {
  double total = sum_ + value;
  if (std::isinf(total)) {
    compensation_ = 0;
  } else if (std::fabs(sum_) >= std::fabs(value)) {
    compensation_ += (sum_ - total) + value;
  } else {
    compensation_ += (value - total) + sum_;
  }
  sum_ = total;
}

double KahanSum::Value() const { return std::isinf(sum_) ? sum_ : sum_ + compensation_; }

void KahanMean::Add(double value) {
  ++count_;
  if (incremental_) return AddIncrementally(value);
  KahanSum before = sum_;
  sum_.Add(value);
  if (count_ == 1 || !std::isinf(sum_.sum())) return;
  // The sum overflowed although the mean need not: go on from the mean so far.
  incremental_ = true;
  double previous = static_cast<double>(count_ - 1);
  mean_.Set(before.sum() / previous, before.compensation() / previous);
  AddIncrementally(value);
}

void KahanMean::AddIncrementally(double value) {
  double count = static_cast<double>(count_);
  double weight = (count - 1) / count;
  mean_.Set(weight * mean_.sum(), weight * mean_.compensation());
  mean_.Add(value / count);
}

double KahanMean::Value() const {
  if (incremental_) return mean_.sum() + mean_.compensation();
  double count = static_cast<double>(count_);
  return sum_.sum() / count + sum_.compensation() / count;
}

void Variance::Add(double value) {
  count_ += 1;
  double delta = value - (mean_.sum() + mean_.compensation());
  mean_.Add(delta / count_);
  squares_.Add(delta * (value - (mean_.sum() + mean_.compensation())));
}

double Variance::Value() const { return (squares_.sum() + squares_.compensation()) / count_; }

double QuantileOf(double q, std::vector<double>& values) {
  if (values.empty() || std::isnan(q)) return std::numeric_limits<double>::quiet_NaN();
  if (q < 0) return -std::numeric_limits<double>::infinity();
  if (q > 1) return std::numeric_limits<double>::infinity();
  // NaN sorts first.
  std::sort(values.begin(), values.end(), [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  double rank = q * static_cast<double>(values.size() - 1);
  auto lower = static_cast<size_t>(std::max(0.0, std::floor(rank)));
  size_t upper = std::min(values.size() - 1, lower + 1);
  double weight = rank - std::floor(rank);
  return values[lower] * (1 - weight) + values[upper] * weight;
}

bool IsMetricLabel(std::string_view name) {
  return name == tsdb::kMetricName || name == "__type__" || name == "__unit__";
}

Labels WithoutMetricLabels(const Labels& labels) {
  bool any = std::any_of(labels.begin(), labels.end(), [](const auto& label) { return IsMetricLabel(label.name); });
  if (!any) return labels;
  tsdb::LabelsBuilder builder(labels);
  builder.Remove(tsdb::kMetricName).Remove("__type__").Remove("__unit__");
  return builder.Build();
}

namespace {

// Merges the points of `from` into `into`; false when both have a point of one time.
bool MergePoints(std::vector<Point>& into, const std::vector<Point>& from) {
  std::vector<Point> merged;
  merged.reserve(into.size() + from.size());
  std::merge(into.begin(), into.end(), from.begin(), from.end(), std::back_inserter(merged),
             [](const Point& a, const Point& b) { return a.t < b.t; });
  auto same = [](const Point& a, const Point& b) { return a.t == b.t; };
  if (std::adjacent_find(merged.begin(), merged.end(), same) != merged.end()) return false;
  into = std::move(merged);
  return true;
}

}  // namespace

base::Status MergeDuplicates(EvalMatrix& matrix, const char* error) {
  if (matrix.size() < 2) return base::Status::Ok();
  std::vector<std::pair<uint64_t, size_t>> order(matrix.size());
  for (size_t i = 0; i < matrix.size(); ++i) order[i] = {matrix[i].labels.Hash(), i};
  std::sort(order.begin(), order.end());
  std::vector<bool> gone(matrix.size());
  bool any = false;
  for (size_t i = 0; i < order.size(); ++i) {
    if (gone[order[i].second]) continue;
    EvalSeries& kept = matrix[order[i].second];
    for (size_t j = i + 1; j < order.size() && order[j].first == order[i].first; ++j) {
      EvalSeries& other = matrix[order[j].second];
      if (gone[order[j].second] || !(other.labels == kept.labels)) continue;
      if (!MergePoints(kept.points, other.points)) return base::InvalidArgumentError(error);
      kept.drop_name = kept.drop_name || other.drop_name;
      gone[order[j].second] = any = true;
    }
  }
  if (!any) return base::Status::Ok();
  EvalMatrix unique;
  for (size_t i = 0; i < matrix.size(); ++i) {
    if (!gone[i]) unique.push_back(std::move(matrix[i]));
  }
  matrix = std::move(unique);
  return base::Status::Ok();
}

}  // namespace tidewright::promql
