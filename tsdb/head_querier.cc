#include "tsdb/head_querier.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace tidewright::tsdb {

namespace {

class HeadQuerier;

// Walks decoded samples.
class ColumnIterator : public SampleIterator {
 public:
  // `columns` lie in `buffer`.
  ColumnIterator(ColumnBuffer buffer, const SampleColumns& columns) : buffer_(std::move(buffer)), columns_(columns) {}

  bool Next() override {
    if (next_ < columns_.t.size()) {
      ++next_;
      return true;
    }
    done_ = true;
    return false;
  }
  bool Seek(int64_t t) override {
    if (done_) return false;
    if (next_ > 0 && columns_.t[next_ - 1] >= t) return true;
    auto begin = columns_.t.begin();
    next_ = static_cast<size_t>(std::lower_bound(begin + static_cast<ptrdiff_t>(next_), columns_.t.end(), t) - begin);
    return Next();
  }
  Sample At() const override { return {columns_.t[next_ - 1], columns_.v[next_ - 1]}; }

 private:
  const ColumnBuffer buffer_;
  const SampleColumns columns_;
  size_t next_ = 0;
  bool done_ = false;
};

// Walks floats and histograms of one series.
class MixedIterator : public SampleIterator {
 public:
  MixedIterator(std::unique_ptr<SampleIterator> floats, std::vector<HistogramSample> histograms)
      : floats_(std::move(floats)), histograms_(std::move(histograms)), more_floats_(floats_->Next()) {}

  bool Next() override {
    if (started_ && !at_histogram_ && more_floats_) more_floats_ = floats_->Next();
    if (started_ && at_histogram_) ++next_;
    started_ = true;
    if (more_floats_ && next_ < histograms_.size() && histograms_[next_].t == floats_->At().t) ++next_;
    const bool more_histograms = next_ < histograms_.size();
    at_histogram_ = more_histograms && (!more_floats_ || histograms_[next_].t < floats_->At().t);
    if (at_histogram_) current_ = ToFloatHistogram(histograms_[next_].value);
    return more_floats_ || more_histograms;
  }
  bool Seek(int64_t t) override {
    if (started_ && !more_floats_ && next_ >= histograms_.size()) return false;
    if (started_ && At().t >= t) return true;
    while (Next()) {
      if (At().t >= t) return true;
    }
    return false;
  }
  Sample At() const override { return at_histogram_ ? Sample{histograms_[next_].t, current_.sum} : floats_->At(); }
  ValueType type() const override { return at_histogram_ ? ValueType::kFloatHistogram : ValueType::kFloat; }
  const FloatHistogram* AtHistogram() const override { return at_histogram_ ? &current_ : nullptr; }

 private:
  static FloatHistogram ToFloatHistogram(const HistogramValue& value) {
    const auto* integers = std::get_if<Histogram>(&value);
    return integers != nullptr ? ToFloat(*integers) : std::get<FloatHistogram>(value);
  }

  const std::unique_ptr<SampleIterator> floats_;
  const std::vector<HistogramSample> histograms_;
  FloatHistogram current_;
  size_t next_ = 0;
  bool more_floats_;
  bool at_histogram_ = false;
  bool started_ = false;
};

class HeadSeries : public Series {
 public:
  HeadSeries(HeadQuerier& querier, const IndexedSeries& series) : querier_(querier), series_(series) {}

  const Labels& labels() const override;
  std::unique_ptr<SampleIterator> Iterator() const override;
  bool Columns(ColumnBuffer* buffer, SampleColumns* columns) const override;

 private:
  HeadQuerier& querier_;
  const IndexedSeries series_;
  mutable Labels labels_;  // Made when they are asked for.
};

// Series of the head. Right as long as the index has the epoch that it had before they were looked up, or its series
// that match are still the same.
class HeadSet : public SeriesSet {
 public:
  HeadSet(const Head& head, uint64_t epoch, const Matchers& matchers)
      : HeadSet(head, epoch, matchers, head.index().Select(matchers)) {}
  HeadSet(const Head& head, uint64_t epoch, const Matchers& matchers, std::vector<IndexedSeries> series)
      : head_(head),
        matchers_(matchers),
        series_(std::move(series)),
        fingerprint_(SeriesIndex::Fingerprint(series_)),
        epoch_(epoch) {}

  size_t size() const override { return series_.size(); }
  Labels labels(size_t i) const override { return head_.index().Materialize(series_[i].labels); }
  std::string_view Value(size_t i, std::string_view name) const override {
    return head_.index().Value(series_[i].labels, name);
  }
  size_t bytes() const override { return series_.size() * sizeof(IndexedSeries); }

  const Head& head() const { return head_; }
  bool IsRight() const {
    const uint64_t epoch = head_.index().epoch();
    if (epoch_.load(std::memory_order_relaxed) == epoch) return true;
    if (head_.index().Fingerprint(matchers_) != fingerprint_) return false;
    epoch_.store(epoch, std::memory_order_relaxed);
    return true;
  }
  const IndexedSeries& at(size_t i) const { return series_[i]; }
  const std::vector<IndexedSeries>& all() const { return series_; }

 private:
  const Head& head_;
  const Matchers matchers_;
  const std::vector<IndexedSeries> series_;
  const uint64_t fingerprint_;
  mutable std::atomic<uint64_t> epoch_;  // At which it was right.
};

class HeadQuerier : public Querier {
 public:
  HeadQuerier(Head& head, int64_t mint, int64_t maxt)
      : head_(head),
        files_(head.NewFileReader()),
        mint_(std::max(mint, head.MinValidTime())),
        maxt_(maxt),
        reader_(head.BeginRead()) {}
  ~HeadQuerier() override { head_.EndRead(reader_); }

  base::Result<std::vector<std::unique_ptr<Series>>> Select(const SelectHints&, const Matchers& matchers) override {
    std::vector<std::unique_ptr<Series>> result;
    std::vector<IndexedSeries> found = InRange(matchers);
    result.reserve(found.size());
    for (const IndexedSeries& one : found) result.push_back(std::make_unique<HeadSeries>(*this, one));
    return result;
  }

  // Who wants labels only asks for those of the range; that set is good for nobody else.
  base::Result<SeriesSetPtr> Find(const SelectHints& hints, const Matchers& matchers) override {
    if (!hints.no_samples) return SetOf(matchers);
    return SeriesSetPtr(std::make_shared<HeadSet>(head_, 0, matchers, InRange(matchers)));
  }
  // What goes after the epoch was looked at stays readable, as this reader began before.
  bool Holds(const SeriesSet& set) const override {
    const auto* own = dynamic_cast<const HeadSet*>(&set);
    return own != nullptr && &own->head() == &head_ && own->IsRight();
  }
  base::Result<std::unique_ptr<SampleIterator>> Iterator(const SeriesSet& set, size_t i) override {
    return Walk(static_cast<const HeadSet&>(set).at(i));
  }
  base::Result<bool> Columns(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns) override {
    const auto& own = static_cast<const HeadSet&>(set);
    if (i + kFar < own.size()) {
      head_.Prefetch({own.at(i + kFar).ref, own.at(i + kNear).ref, own.at(i + kNext).ref}, mint_, maxt_, &files_);
    }
    return Read(own.at(i), buffer, columns);
  }

  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) override {
    if (matchers.empty()) return Overlaps() ? head_.index().Names() : std::vector<std::string>();
    return head_.index().NamesOf(InRange(matchers));
  }

  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) override {
    if (matchers.empty()) return Overlaps() ? head_.index().Values(name) : std::vector<std::string>();
    return head_.index().ValuesOf(InRange(matchers), name);
  }

  // False when the series has histograms in the range.
  bool Read(const IndexedSeries& series, ColumnBuffer* buffer, SampleColumns* columns) {
    const bool histograms = head_.Read(series.ref, mint_, maxt_, reader_, &files_, buffer, columns);
    return !histograms || head_.ReadHistograms(series.ref, mint_, maxt_, reader_).empty();
  }
  std::unique_ptr<SampleIterator> Walk(const IndexedSeries& series);
  Labels LabelsOf(const IndexedSeries& series) const { return head_.index().Materialize(series.labels); }

 private:
  SeriesSetPtr SetOf(const Matchers& matchers) {
    SeriesSetPtr known = head_.found_sets().Find(matchers);
    if (known != nullptr && Holds(*known)) return known;
    const uint64_t epoch = head_.index().epoch();
    auto set = std::make_shared<HeadSet>(head_, epoch, matchers);
    head_.found_sets().Put(matchers, set);
    return set;
  }
  // The series that match and have samples in the range.
  std::vector<IndexedSeries> InRange(const Matchers& matchers) {
    const SeriesSetPtr set = SetOf(matchers);
    std::vector<IndexedSeries> found;
    for (const IndexedSeries& one : static_cast<const HeadSet&>(*set).all()) {
      if (head_.MayHave(one.ref, mint_, maxt_, reader_)) found.push_back(one);
    }
    return found;
  }

  // How many series ahead memory is asked for, as each is somewhere else.
  static constexpr size_t kFar = 8;
  static constexpr size_t kNear = 4;
  static constexpr size_t kNext = 2;

  // Whether the head has samples in the range at all; series are not looked at one by one.
  bool Overlaps() const { return head_.MinTime() <= maxt_ && head_.MaxTime() >= mint_; }

  Head& head_;
  ChunkFileReader files_;
  const int64_t mint_;
  const int64_t maxt_;
  const CommitSequence reader_;
};

const Labels& HeadSeries::labels() const {
  if (labels_.empty()) labels_ = querier_.LabelsOf(series_);
  return labels_;
}

std::unique_ptr<SampleIterator> HeadQuerier::Walk(const IndexedSeries& series) {
  ColumnBuffer buffer;
  SampleColumns columns;
  const bool only_floats = Read(series, &buffer, &columns);
  auto floats = std::make_unique<ColumnIterator>(std::move(buffer), columns);
  if (only_floats) return floats;
  return std::make_unique<MixedIterator>(std::move(floats), head_.ReadHistograms(series.ref, mint_, maxt_, reader_));
}

std::unique_ptr<SampleIterator> HeadSeries::Iterator() const { return querier_.Walk(series_); }

bool HeadSeries::Columns(ColumnBuffer* buffer, SampleColumns* columns) const {
  return querier_.Read(series_, buffer, columns);
}

}  // namespace

std::unique_ptr<Querier> NewHeadQuerier(Head& head, int64_t mint, int64_t maxt) {
  return std::make_unique<HeadQuerier>(head, mint, maxt);
}

}  // namespace tidewright::tsdb
