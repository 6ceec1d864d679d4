#include "tsdb/querier.h"

#include <utility>

namespace tidewright::tsdb {

namespace {

// What one Querier selected.
class BoundSet : public SeriesSet {
 public:
  explicit BoundSet(std::vector<std::unique_ptr<Series>> series) : series_(std::move(series)) {}
  size_t size() const override { return series_.size(); }
  Labels labels(size_t i) const override { return series_[i]->labels(); }
  std::string_view Value(size_t i, std::string_view name) const override { return series_[i]->labels().Get(name); }
  size_t bytes() const override { return series_.size() * sizeof(Series); }
  const Series& at(size_t i) const { return *series_[i]; }

 private:
  const std::vector<std::unique_ptr<Series>> series_;
};

}  // namespace

bool ReadColumns(SampleIterator& iterator, ColumnBuffer* buffer, SampleColumns* columns) {
  buffer->t.clear();
  buffer->v.clear();
  buffer->timeline = 0;
  while (iterator.Next()) {
    if (iterator.type() != ValueType::kFloat) return false;
    Sample sample = iterator.At();
    buffer->t.push_back(sample.t);
    buffer->v.push_back(sample.v);
  }
  *columns = {buffer->t, buffer->v, 0};
  return true;
}

base::Result<std::vector<SeriesExemplars>> Queryable::SelectExemplars(int64_t, int64_t,
                                                                      std::span<const Matchers>) const {
  return std::vector<SeriesExemplars>();
}

bool Series::Columns(ColumnBuffer* buffer, SampleColumns* columns) const {
  return ReadColumns(*Iterator(), buffer, columns);
}

base::Result<SeriesSetPtr> Querier::Find(const SelectHints& hints, const Matchers& matchers) {
  TW_ASSIGN_OR_RETURN(auto series, Select(hints, matchers));
  return SeriesSetPtr(std::make_shared<BoundSet>(std::move(series)));
}

bool Querier::Holds(const SeriesSet&) const { return false; }

base::Result<std::unique_ptr<SampleIterator>> Querier::Iterator(const SeriesSet& set, size_t i) {
  return static_cast<const BoundSet&>(set).at(i).Iterator();
}

base::Result<bool> Querier::Columns(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns) {
  return static_cast<const BoundSet&>(set).at(i).Columns(buffer, columns);
}

}  // namespace tidewright::tsdb
