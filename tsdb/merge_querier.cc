#include "tsdb/merge_querier.h"

#include <algorithm>
#include <set>
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

class MergeSeries : public Series {
 public:
  explicit MergeSeries(SeriesList sources) : sources_(std::move(sources)) {}

  const Labels& labels() const override { return sources_.front()->labels(); }

  std::unique_ptr<SampleIterator> Iterator() const override {
    std::vector<std::unique_ptr<SampleIterator>> iterators;
    for (const auto& source : sources_) iterators.push_back(source->Iterator());
    return std::make_unique<MergeIterator>(std::move(iterators));
  }

  // Sources that follow each other in time, as blocks and the head do, are appended; others are merged.
  bool Columns(ColumnBuffer* buffer, SampleColumns* columns) const override {
    buffer->t.clear();
    buffer->v.clear();
    buffer->timeline = 0;
    uint64_t timeline = 1;
    ColumnBuffer part;
    for (const auto& source : sources_) {
      SampleColumns some;
      if (!source->Columns(&part, &some)) return false;
      if (some.t.empty()) continue;
      if (!buffer->t.empty() && some.t.front() <= buffer->t.back()) return Series::Columns(buffer, columns);
      buffer->t.insert(buffer->t.end(), some.t.begin(), some.t.end());
      buffer->v.insert(buffer->v.end(), some.v.begin(), some.v.end());
      timeline = timeline == 0 || some.timeline == 0 ? 0 : (timeline ^ some.timeline) * 0x9e3779b97f4a7c15 + timeline;
    }
    *columns = {buffer->t, buffer->v, timeline};
    return true;
  }

 private:
  const SeriesList sources_;
};

class MergeQuerier : public Querier {
 public:
  explicit MergeQuerier(std::vector<std::unique_ptr<Querier>> sources) : sources_(std::move(sources)) {}

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
};

}  // namespace

std::unique_ptr<Querier> NewMergeQuerier(std::vector<std::unique_ptr<Querier>> sources) {
  if (sources.size() == 1) return std::move(sources.front());
  return std::make_unique<MergeQuerier>(std::move(sources));
}

}  // namespace tidewright::tsdb
