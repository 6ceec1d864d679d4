#include "tsdb/arrivals.h"

#include <algorithm>
#include <utility>

#include "tsdb/series_index.h"

namespace tidewright::tsdb {

uint64_t Arrivals::Watch(const std::vector<std::string>& metrics, Tell tell) {
  base::WriterLock lock(mu_);
  // First of all: a series that is made from here on is either found below, or whoever makes it comes to Meet() and
  // waits there.
  watched_.store(true, std::memory_order_release);
  const uint64_t watch = next_watch_++;
  for (const std::string& name : metrics) metrics_[NumberOf(name)].told[watch] = tell;
  return watch;
}

void Arrivals::Stop(uint64_t watch) {
  base::WriterLock lock(mu_);
  for (uint32_t i = 0; i < metrics_.size(); ++i) {
    if (metrics_[i].told.erase(watch) > 0 && metrics_[i].told.empty()) Forget(i);
  }
  watched_.store(!numbers_.empty(), std::memory_order_release);
}

uint32_t Arrivals::NumberOf(const std::string& name) {
  auto [it, fresh] = numbers_.emplace(name, 0);
  if (!fresh) return it->second;
  auto unused =
      std::find_if(metrics_.begin(), metrics_.end(), [](const Metric& metric) { return metric.name.empty(); });
  it->second = static_cast<uint32_t>(unused - metrics_.begin());
  if (unused == metrics_.end()) metrics_.emplace_back();
  metrics_[it->second].name = name;
  AddSeries(it->second);
  return it->second;
}

void Arrivals::AddSeries(uint32_t metric) {
  const Matchers named = {Matcher::Equal(std::string(kMetricName), metrics_[metric].name)};
  for (const IndexedSeries& series : index_.Select(named)) Add(series.ref, metric);
}

void Arrivals::Add(SeriesRef ref, uint32_t metric) {
  const size_t word = ref / 64;
  if (word >= bits_.size()) bits_.resize(std::max(word + 1, bits_.size() * 2));
  bits_[word] |= uint64_t{1} << (ref % 64);
  series_[ref] = metric;
}

void Arrivals::Meet(SeriesRef ref, const Labels& labels) {
  const std::string name(labels.MetricName());
  {
    base::ReaderLock lock(mu_);
    auto metric = numbers_.find(name);
    auto known = series_.find(ref);
    if (metric == numbers_.end() || (known != series_.end() && known->second == metric->second)) return;
  }
  base::WriterLock lock(mu_);
  auto metric = numbers_.find(name);
  if (metric == numbers_.end()) return;
  Add(ref, metric->second);
  if (series_.size() > tidy_at_) ForgetGoneSeries();
}

void Arrivals::FindOne(SeriesRef ref, std::vector<uint32_t>* metrics) const {
  auto it = series_.find(ref);
  if (it == series_.end() || std::find(metrics->begin(), metrics->end(), it->second) != metrics->end()) return;
  metrics->push_back(it->second);
}

void Arrivals::Told(const std::vector<uint32_t>& metrics) const {
  base::ReaderLock lock(mu_);
  for (const uint32_t metric : metrics) {
    for (const auto& [watch, tell] : metrics_[metric].told) tell();
  }
}

void Arrivals::Forget(uint32_t metric) {
  numbers_.erase(metrics_[metric].name);
  metrics_[metric].name.clear();
  std::erase_if(series_, [metric](const auto& entry) { return entry.second == metric; });
}

void Arrivals::ForgetGoneSeries() {
  series_.clear();
  bits_.clear();
  for (const auto& [name, metric] : numbers_) AddSeries(metric);
  tidy_at_ = std::max<size_t>(1024, series_.size() * 2);
}

}  // namespace tidewright::tsdb
