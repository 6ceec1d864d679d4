#include "promqltest/storage.h"

#include <algorithm>
#include <bit>
#include <set>

#include "promql/histogram.h"

namespace tidewright::promqltest {
namespace {

using tsdb::CounterResetHint;

bool IsGauge(const StoredSample& sample) { return sample.histogram->hint == CounterResetHint::kGauge; }

bool SameSample(const StoredSample& a, const StoredSample& b) {
  if ((a.histogram == nullptr) != (b.histogram == nullptr)) return false;
  if (a.histogram != nullptr) return promql::SameHistogram(*a.histogram, *b.histogram);
  return std::bit_cast<uint64_t>(a.v) == std::bit_cast<uint64_t>(b.v);
}

class MemoryIterator : public tsdb::SampleIterator {
 public:
  MemoryIterator(const StoredSample* begin, const StoredSample* end) : next_(begin), end_(end) {}
  bool Next() override {
    at_ = next_;
    if (next_ == end_) return false;
    ++next_;
    return true;
  }
  bool Seek(int64_t t) override {
    if (at_ != nullptr && at_ != end_ && at_->t >= t) return true;
    next_ = std::lower_bound(next_, end_, t, [](const StoredSample& sample, int64_t time) { return sample.t < time; });
    return Next();
  }
  tsdb::Sample At() const override { return {at_->t, at_->v}; }
  tsdb::ValueType type() const override {
    return at_->histogram != nullptr ? tsdb::ValueType::kFloatHistogram : tsdb::ValueType::kFloat;
  }
  const tsdb::FloatHistogram* AtHistogram() const override { return at_->histogram.get(); }
  int64_t AtStart() const override { return at_->start; }

 private:
  const StoredSample* at_ = nullptr;
  const StoredSample* next_;
  const StoredSample* const end_;
};

class MemorySeries : public tsdb::Series {
 public:
  MemorySeries(const tsdb::Labels& labels, const StoredSample* begin, const StoredSample* end)
      : labels_(labels), begin_(begin), end_(end) {}
  const tsdb::Labels& labels() const override { return labels_; }
  std::unique_ptr<tsdb::SampleIterator> Iterator() const override {
    return std::make_unique<MemoryIterator>(begin_, end_);
  }
  bool Columns(tsdb::ColumnBuffer* buffer, tsdb::SampleColumns* columns) const override {
    buffer->t.clear();
    buffer->v.clear();
    for (const StoredSample* sample = begin_; sample != end_; ++sample) {
      if (sample->histogram != nullptr) return false;
      buffer->t.push_back(sample->t);
      buffer->v.push_back(sample->v);
    }
    *columns = {buffer->t, buffer->v, 0};
    return true;
  }

 private:
  const tsdb::Labels& labels_;
  const StoredSample* const begin_;
  const StoredSample* const end_;
};

bool Matches(const tsdb::Matchers& matchers, const tsdb::Labels& labels) {
  return std::all_of(matchers.begin(), matchers.end(),
                     [&](const auto& matcher) { return matcher.Matches(labels.Get(matcher.name())); });
}

class MemoryQuerier : public tsdb::Querier {
 public:
  MemoryQuerier(const std::map<tsdb::Labels, StoredSeries>& series, int64_t mint, int64_t maxt)
      : series_(series), mint_(mint), maxt_(maxt) {}

  base::Result<std::vector<std::unique_ptr<tsdb::Series>>> Select(const tsdb::SelectHints&,
                                                                  const tsdb::Matchers& matchers) override {
    std::vector<std::unique_ptr<tsdb::Series>> found;
    for (const auto& [labels, stored] : series_) {
      if (!Matches(matchers, labels)) continue;
      auto [begin, end] = Range(stored);
      if (begin != end) found.push_back(std::make_unique<MemorySeries>(labels, begin, end));
    }
    return found;
  }
  base::Result<std::vector<std::string>> LabelNames(const tsdb::Matchers& matchers) override {
    std::set<std::string> names;
    for (const auto& [labels, stored] : series_) {
      if (!Matches(matchers, labels)) continue;
      for (const auto& label : labels) names.insert(label.name);
    }
    return std::vector<std::string>(names.begin(), names.end());
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const tsdb::Matchers& matchers) override {
    std::set<std::string> values;
    for (const auto& [labels, stored] : series_) {
      if (Matches(matchers, labels) && labels.Has(name)) values.emplace(labels.Get(name));
    }
    return std::vector<std::string>(values.begin(), values.end());
  }

 private:
  std::pair<const StoredSample*, const StoredSample*> Range(const StoredSeries& stored) const {
    const auto& samples = stored.samples();
    const StoredSample* all = samples.data();
    const StoredSample* end = all + samples.size();
    auto first = std::lower_bound(all, end, mint_, [](const auto& sample, int64_t t) { return sample.t < t; });
    auto last = std::upper_bound(first, end, maxt_, [](int64_t t, const auto& sample) { return t < sample.t; });
    return {first, last};
  }

  const std::map<tsdb::Labels, StoredSeries>& series_;
  const int64_t mint_, maxt_;
};

}  // namespace

bool StoredSeries::BeginsChunk(const StoredSample& sample) const {
  if (samples_.empty() || samples_.back().histogram == nullptr || IsGauge(samples_.back()) != IsGauge(sample))
    return true;
  const promql::Histogram& last = *samples_.back().histogram;
  const promql::Histogram& now = *sample.histogram;
  if (last.schema != now.schema || last.zero_threshold != now.zero_threshold ||
      last.custom_values != now.custom_values) {
    return true;
  }
  if (now.hint == CounterResetHint::kCounterReset) return true;
  return promql::IsCounterReset(*promql::WithHint(now, CounterResetHint::kUnknown), last);
}

base::Status StoredSeries::Append(StoredSample sample) {
  if (!samples_.empty() && sample.t <= samples_.back().t) {
    if (sample.t == samples_.back().t && SameSample(sample, samples_.back())) return base::Status::Ok();
    return base::OutOfRangeError("a sample at " + std::to_string(sample.t) + " ms is not newer than the last one");
  }
  if (sample.histogram != nullptr) {
    sample.v = sample.histogram->sum;
    if (!IsGauge(sample)) {
      auto hint = BeginsChunk(sample) ? CounterResetHint::kUnknown : CounterResetHint::kNotCounterReset;
      sample.histogram = promql::WithHint(*sample.histogram, hint);
    }
  }
  samples_.push_back(std::move(sample));
  return base::Status::Ok();
}

base::Status MemoryStorage::Append(const tsdb::Labels& labels, StoredSample sample) {
  return series_[labels].Append(std::move(sample)).Annotate(labels.ToString());
}

base::Result<std::unique_ptr<tsdb::Querier>> MemoryStorage::NewQuerier(int64_t mint, int64_t maxt) {
  return std::unique_ptr<tsdb::Querier>(std::make_unique<MemoryQuerier>(series_, mint, maxt));
}

}  // namespace tidewright::promqltest
