#include "tsdb/appender.h"

namespace tidewright::tsdb {

base::Result<SeriesRef> Appender::AppendHistogram(SeriesRef, const Labels&, int64_t, const Histogram&) {
  return base::UnimplementedError("this store takes no native histograms");
}

base::Result<SeriesRef> Appender::AppendFloatHistogram(SeriesRef, const Labels&, int64_t, const FloatHistogram&) {
  return base::UnimplementedError("this store takes no native histograms");
}

void Appender::AppendBatch(std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                           std::vector<BatchRejection>* rejected) {
  const Labels none;
  for (size_t i = 0; i < refs.size(); ++i) {
    base::Result<SeriesRef> appended = Append(refs[i], none, t, values[i]);
    if (!appended.ok()) rejected->push_back({i, appended.status().code()});
  }
}

base::Status Appender::AppendExemplar(SeriesRef, const Exemplar&) {
  return base::UnimplementedError("this store takes no exemplars");
}

}  // namespace tidewright::tsdb
