#include "promql/matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace tidewright::promql {

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
  const double rank = q * static_cast<double>(values.size() - 1);
  const double weight = rank - std::floor(rank);
  const auto lower = values.begin() + static_cast<ptrdiff_t>(std::max(0.0, std::floor(rank)));
  // The two values next to the rank are all that matters. NaN comes first.
  const auto before = [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; };
  std::nth_element(values.begin(), lower, values.end(), before);
  const auto behind = lower + 1;
  const double upper = behind == values.end() ? *lower : *std::min_element(behind, values.end(), before);
  return *lower * (1 - weight) + upper * weight;
}

LabelsView::LabelsView() {
  static const Labels kNone;
  labels_ = &kNone;
}

std::string_view LabelsView::Get(std::string_view name) const {
  if (nameless_ && IsMetricLabel(name)) return {};
  return labels_ != nullptr ? labels_->Get(name) : set_->Value(index_, name);
}

LabelsView LabelsView::WithoutMetric() const {
  LabelsView view = *this;
  view.nameless_ = true;
  return view;
}

Labels LabelsView::Copy() const {
  if (labels_ == nullptr && !nameless_) return set_->labels(index_);
  if (!nameless_) return *labels_;
  std::vector<tsdb::Label> kept;
  ForEach([&](const tsdb::Label& label) { kept.push_back(label); });
  return Labels::FromSorted(std::move(kept));
}

uint64_t LabelsView::Hash() const {
  constexpr uint64_t kMix = 0x9e3779b97f4a7c15;
  std::hash<std::string_view> hash_of;
  uint64_t hash = 0;
  ForEach([&](const auto& label) {
    hash = (std::rotl(hash, 23) ^ hash_of(label.name)) * kMix;
    hash = (std::rotl(hash, 23) ^ hash_of(label.value)) * kMix;
  });
  return hash;
}

bool operator==(const LabelsView& a, const LabelsView& b) {
  bool same = a.labels_ == b.labels_ && a.set_ == b.set_ && a.index_ == b.index_;
  if (same && a.nameless_ == b.nameless_) return true;
  if (a.labels_ != nullptr && b.labels_ != nullptr && !a.nameless_ && !b.nameless_) return *a.labels_ == *b.labels_;
  return a.Copy() == b.Copy();
}

bool EvalSeries::IsEmpty() const {
  return std::all_of(values.begin(), values.end(), IsAbsent) &&
         std::all_of(histograms.begin(), histograms.end(), [](const auto& h) { return h == nullptr; });
}

void EvalSeries::SetHistogram(size_t i, HistogramPtr h) {
  if (histograms.empty()) histograms.resize(values.size());
  histograms[i] = std::move(h);
  values[i] = Absent();
}

void EvalSeries::Remove(size_t i) {
  values[i] = Absent();
  if (!histograms.empty()) histograms[i] = nullptr;
}

namespace {

// Moves the values of `from` into `into`; false when both have one at the same step.
bool MergeValues(EvalSeries& into, EvalSeries& from) {
  for (size_t i = 0; i < into.values.size(); ++i) {
    if (!from.PresentAt(i)) continue;
    if (into.PresentAt(i)) return false;
    into.values[i] = from.values[i];
    if (from.HistogramAt(i) != nullptr) into.SetHistogram(i, std::move(from.histograms[i]));
  }
  into.drop_name = into.drop_name || from.drop_name;
  into.sampled_ms = std::max(into.sampled_ms, from.sampled_ms);
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
      if (!MergeValues(kept, other)) return base::InvalidArgumentError(error);
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
