#include "tsdb/querier.h"

namespace tidewright::tsdb {

bool Series::Columns(ColumnBuffer* buffer, SampleColumns* columns) const {
  buffer->t.clear();
  buffer->v.clear();
  buffer->timeline = 0;
  auto iterator = Iterator();
  while (iterator->Next()) {
    if (iterator->type() != ValueType::kFloat) return false;
    Sample sample = iterator->At();
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

}  // namespace tidewright::tsdb
