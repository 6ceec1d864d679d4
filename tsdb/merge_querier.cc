#include "tsdb/merge_querier.h"

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <utility>

namespace tidewright::tsdb {

namespace {

using SeriesList = std::vector<std::unique_ptr<Series>>;

// Walks several iterators at once. There are few, so that looking at each is as fast as a heap.
class MergeIterator : public SampleIterator {
 public:
  explicit MergeIterator(std::vector<std::unique_ptr<SampleIterator>> sources) : sources_(std::move(sources)) {
    alive_.assign(sources_.size(), true);
  }

  bool Next() override {
    for (size_t i = 0; i < sources_.size(); ++i) {
      // Everybody steps past the current time.
      if (alive_[i] && (!started_ || sources_[i]->At().t <= time_)) alive_[i] = sources_[i]->Next();
    }
    return Choose();
  }

  bool Seek(int64_t t) override {
    if (started_ && current_ < sources_.size() && time_ >= t) return true;
    if (started_ && current_ >= sources_.size()) return false;
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (alive_[i]) alive_[i] = sources_[i]->Seek(t);
    }
    return Choose();
  }

  Sample At() const override { return sources_[current_]->At(); }
  ValueType type() const override { return sources_[current_]->type(); }
  const FloatHistogram* AtHistogram() const override { return sources_[current_]->AtHistogram(); }

 private:
  bool Choose() {
    started_ = true;
    current_ = sources_.size();
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (!alive_[i]) continue;
      int64_t t = sources_[i]->At().t;
      if (current_ < sources_.size() && t >= time_) continue;
      current_ = i;
      time_ = t;
    }
    return current_ < sources_.size();
  }

  const std::vector<std::unique_ptr<SampleIterator>> sources_;
  std::vector<bool> alive_;
  size_t current_ = 0;
  int64_t time_ = 0;
  bool started_ = false;
};

// What one source gave of a series, and the memory behind it.
struct PartColumns {
  SampleColumns columns;
  ColumnBuffer* buffer;
};

// Puts columns one behind the other, as blocks and the head follow each other in time. The times of series that share a
// timeline are put together once.
SampleColumns Join(std::span<const PartColumns> parts, ColumnBuffer* buffer) {
  uint64_t timeline = 1;
  size_t total = 0;
  for (const PartColumns& part : parts) {
    const uint64_t own = part.columns.timeline;
    if (timeline != 0) timeline = own == 0 ? 0 : (timeline ^ own) * 0x9e3779b97f4a7c15 + timeline;
    total += part.columns.t.size();
  }
  if (buffer->v.size() < total) buffer->v.resize(total);
  auto v = buffer->v.begin();
  for (const PartColumns& part : parts) v = std::copy(part.columns.v.begin(), part.columns.v.end(), v);
  if (timeline == 0 || timeline != buffer->timeline) {
    buffer->t.clear();
    for (const PartColumns& part : parts) {
      buffer->t.insert(buffer->t.end(), part.columns.t.begin(), part.columns.t.end());
    }
    buffer->timeline = timeline;
  }
  return {std::span<const int64_t>(buffer->t).first(total), std::span<const double>(buffer->v).first(total), timeline};
}

// As blocks and the head do.
bool FollowEachOther(std::span<const PartColumns> parts) {
  for (size_t k = 1; k < parts.size(); ++k) {
    if (parts[k].columns.t.front() <= parts[k - 1].columns.t.back()) return false;
  }
  return true;
}

class MergeSeries : public Series {
 public:
  explicit MergeSeries(SeriesList sources) : sources_(std::move(sources)) {}

  const Labels& labels() const override { return sources_.front()->labels(); }

  std::unique_ptr<SampleIterator> Iterator() const override {
    std::vector<std::unique_ptr<SampleIterator>> iterators;
    for (const auto& source : sources_) iterators.push_back(source->Iterator());
    return std::make_unique<MergeIterator>(std::move(iterators));
  }

  bool Columns(ColumnBuffer* buffer, SampleColumns* columns) const override {
    std::vector<ColumnBuffer> buffers(sources_.size());
    std::vector<PartColumns> parts;
    for (size_t k = 0; k < sources_.size(); ++k) {
      SampleColumns some;
      if (!sources_[k]->Columns(&buffers[k], &some)) return false;
      if (!some.t.empty()) parts.push_back({some, &buffers[k]});
    }
    if (!FollowEachOther(parts)) return Series::Columns(buffer, columns);
    *columns = Join(parts, buffer);
    return true;
  }

 private:
  const SeriesList sources_;
};

// What each source found, and which of that belongs together.
class MergeSet : public SeriesSet {
 public:
  struct Part {
    uint32_t source = 0;
    uint32_t index = 0;
  };

  explicit MergeSet(std::vector<SeriesSetPtr> sources);

  size_t size() const override { return begins_.size() - 1; }
  Labels labels(size_t i) const override { return sources_[parts(i).back().source]->labels(parts(i).back().index); }
  std::string_view Value(size_t i, std::string_view name) const override {
    return sources_[parts(i).back().source]->Value(parts(i).back().index, name);
  }
  size_t bytes() const override {
    size_t bytes = parts_.size() * sizeof(Part) + begins_.size() * sizeof(uint32_t);
    for (const auto& source : sources_) bytes += source->bytes();
    return bytes;
  }

  const std::vector<SeriesSetPtr>& sources() const { return sources_; }
  // Where series i is, in the order of the sources.
  std::span<const Part> parts(size_t i) const {
    return std::span(parts_).subspan(begins_[i], begins_[i + 1] - begins_[i]);
  }

 private:
  std::vector<SeriesSetPtr> sources_;
  std::vector<Part> parts_;
  std::vector<uint32_t> begins_;  // Of each series in parts_; one more than series.
};

MergeSet::MergeSet(std::vector<SeriesSetPtr> sources) : sources_(std::move(sources)), begins_{0} {
  struct Cursor {
    uint32_t next = 0;
    bool more = false;
    Labels labels;
  };
  std::vector<Cursor> cursors(sources_.size());
  auto load = [&](size_t k) {
    cursors[k].more = cursors[k].next < sources_[k]->size();
    if (cursors[k].more) cursors[k].labels = sources_[k]->labels(cursors[k].next);
  };
  for (size_t k = 0; k < cursors.size(); ++k) load(k);
  for (;;) {
    const Labels* least = nullptr;
    for (const Cursor& cursor : cursors) {
      if (cursor.more && (least == nullptr || cursor.labels < *least)) least = &cursor.labels;
    }
    if (least == nullptr) return;
    const Labels labels = *least;
    for (size_t k = 0; k < cursors.size(); ++k) {
      if (!cursors[k].more || !(cursors[k].labels == labels)) continue;
      parts_.push_back({static_cast<uint32_t>(k), cursors[k].next++});
      load(k);
    }
    begins_.push_back(static_cast<uint32_t>(parts_.size()));
  }
}

class MergeQuerier : public Querier {
 public:
  explicit MergeQuerier(std::vector<std::unique_ptr<Querier>> sources)
      : sources_(std::move(sources)), buffers_(sources_.size()) {}

  base::Result<SeriesList> Select(const SelectHints& hints, const Matchers& matchers) override {
    std::vector<SeriesList> lists;
    for (const auto& source : sources_) {
      TW_ASSIGN_OR_RETURN(SeriesList list, source->Select(hints, matchers));
      if (!list.empty()) lists.push_back(std::move(list));
    }
    if (lists.empty()) return SeriesList();
    if (lists.size() == 1) return std::move(lists.front());
    return Merge(std::move(lists));
  }

  base::Result<SeriesSetPtr> Find(const SelectHints& hints, const Matchers& matchers) override {
    std::vector<SeriesSetPtr> found;
    for (const auto& source : sources_) {
      TW_ASSIGN_OR_RETURN(SeriesSetPtr some, source->Find(hints, matchers));
      found.push_back(std::move(some));
    }
    return SeriesSetPtr(std::make_shared<MergeSet>(std::move(found)));
  }
  bool Holds(const SeriesSet& set) const override {
    const auto* own = dynamic_cast<const MergeSet*>(&set);
    if (own == nullptr || own->sources().size() != sources_.size()) return false;
    for (size_t k = 0; k < sources_.size(); ++k) {
      if (!sources_[k]->Holds(*own->sources()[k])) return false;
    }
    return true;
  }

  base::Result<std::unique_ptr<SampleIterator>> Iterator(const SeriesSet& set, size_t i) override {
    const auto& own = static_cast<const MergeSet&>(set);
    std::vector<std::unique_ptr<SampleIterator>> iterators;
    for (const MergeSet::Part& part : own.parts(i)) {
      TW_ASSIGN_OR_RETURN(auto iterator, sources_[part.source]->Iterator(*own.sources()[part.source], part.index));
      iterators.push_back(std::move(iterator));
    }
    if (iterators.size() == 1) return std::move(iterators.front());
    return std::unique_ptr<SampleIterator>(std::make_unique<MergeIterator>(std::move(iterators)));
  }

  base::Result<bool> Columns(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns) override {
    const auto& own = static_cast<const MergeSet&>(set);
    auto parts = own.parts(i);
    if (parts.size() == 1) {
      const MergeSet::Part& part = parts.front();
      return sources_[part.source]->Columns(*own.sources()[part.source], part.index, buffer, columns);
    }
    read_.clear();
    for (const MergeSet::Part& part : parts) {
      SampleColumns some;
      const SeriesSet& source = *own.sources()[part.source];
      TW_ASSIGN_OR_RETURN(const bool floats,
                          sources_[part.source]->Columns(source, part.index, &buffers_[part.source], &some));
      if (!floats) return false;
      if (!some.t.empty()) read_.push_back({some, &buffers_[part.source]});
    }
    if (!FollowEachOther(read_)) return Interleaved(set, i, buffer, columns);
    if (read_.size() == 1) {
      std::swap(*buffer, *read_.front().buffer);
      *columns = read_.front().columns;
      return true;
    }
    *columns = Join(read_, buffer);
    return true;
  }

  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) override {
    return Union([&](Querier& source) { return source.LabelNames(matchers); });
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) override {
    return Union([&](Querier& source) { return source.LabelValues(name, matchers); });
  }

 private:
  // Each list is sorted by labels.
  static SeriesList Merge(std::vector<SeriesList> lists) {
    SeriesList result;
    std::vector<size_t> at(lists.size(), 0);
    while (true) {
      const Labels* least = nullptr;
      for (size_t i = 0; i < lists.size(); ++i) {
        if (at[i] == lists[i].size()) continue;
        const Labels& labels = lists[i][at[i]]->labels();
        if (least == nullptr || labels < *least) least = &labels;
      }
      if (least == nullptr) return result;
      const Labels labels = *least;
      SeriesList same;
      for (size_t i = 0; i < lists.size(); ++i) {
        if (at[i] < lists[i].size() && lists[i][at[i]]->labels() == labels)
          same.push_back(std::move(lists[i][at[i]++]));
      }
      result.push_back(same.size() == 1 ? std::move(same.front()) : std::make_unique<MergeSeries>(std::move(same)));
    }
  }

  base::Result<bool> Interleaved(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns) {
    TW_ASSIGN_OR_RETURN(auto iterator, Iterator(set, i));
    return ReadColumns(*iterator, buffer, columns);
  }

  template <typename Ask>
  base::Result<std::vector<std::string>> Union(Ask&& ask) {
    std::set<std::string> all;
    for (const auto& source : sources_) {
      TW_ASSIGN_OR_RETURN(std::vector<std::string> some, ask(*source));
      all.insert(std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return std::vector<std::string>(all.begin(), all.end());
  }

  const std::vector<std::unique_ptr<Querier>> sources_;
  std::vector<ColumnBuffer> buffers_;  // Of each source.
  std::vector<PartColumns> read_;      // Of the series read last.
};

}  // namespace

std::unique_ptr<Querier> NewMergeQuerier(std::vector<std::unique_ptr<Querier>> sources) {
  if (sources.size() == 1) return std::move(sources.front());
  return std::make_unique<MergeQuerier>(std::move(sources));
}

}  // namespace tidewright::tsdb
