#include "scrape/histogram_limits.h"

#include <cmath>
#include <string>
#include <vector>

#include "scrape/classic_histogram.h"

namespace tidewright::scrape {
namespace {

// The index that a bucket has in a schema that is coarser by `steps`: each step joins two neighbours.
int32_t Coarsened(int64_t index, int32_t steps) { return static_cast<int32_t>(((index - 1) >> steps) + 1); }

template <typename Count>
void AddTo(std::vector<IndexedBucket<Count>>* buckets, int32_t index, Count count) {
  if (!buckets->empty() && buckets->back().index == index) {
    buckets->back().count += count;
  } else {
    buckets->push_back({index, count});
  }
}

// Calls add(index, position) for each bucket of the spans.
template <typename Add>
void ForEachIndex(const tsdb::BucketSpans& spans, Add add) {
  int64_t index = 0;
  size_t position = 0;
  for (const tsdb::BucketSpan& span : spans) {
    index += span.offset;
    for (uint32_t i = 0; i < span.length; ++i) add(index++, position++);
  }
}

void Coarsen(int32_t steps, tsdb::BucketSpans* spans, std::vector<int64_t>* deltas) {
  std::vector<IndexedBucket<int64_t>> buckets;
  int64_t count = 0;
  ForEachIndex(*spans, [&](int64_t index, size_t position) {
    count += (*deltas)[position];
    AddTo(&buckets, Coarsened(index, steps), count);
  });
  spans->clear();
  deltas->clear();
  BuildBuckets(buckets, 0, spans, deltas);
}

void Coarsen(int32_t steps, tsdb::BucketSpans* spans, std::vector<double>* counts) {
  std::vector<IndexedBucket<double>> buckets;
  ForEachIndex(*spans,
               [&](int64_t index, size_t position) { AddTo(&buckets, Coarsened(index, steps), (*counts)[position]); });
  spans->clear();
  counts->clear();
  BuildBuckets(buckets, 0, spans, counts);
}

template <typename AnyHistogram>
void CoarsenTo(int32_t schema, AnyHistogram* histogram) {
  const int32_t steps = histogram->schema - schema;
  Coarsen(steps, &histogram->positive_spans, &histogram->positive_buckets);
  Coarsen(steps, &histogram->negative_spans, &histogram->negative_buckets);
  histogram->schema = schema;
}

template <typename AnyHistogram>
base::Status Limit(int64_t max_buckets, int32_t max_schema, AnyHistogram* histogram) {
  auto buckets = [histogram] {
    return static_cast<int64_t>(histogram->positive_buckets.size() + histogram->negative_buckets.size());
  };
  const bool exponential = histogram->schema != tsdb::kCustomBucketsSchema;
  if (exponential && histogram->schema > max_schema) CoarsenTo(max_schema, histogram);
  while (max_buckets > 0 && buckets() > max_buckets) {
    if (!exponential || histogram->schema <= tsdb::kMinExponentialSchema) {
      return base::ResourceExhaustedError("native_histogram_bucket_limit exceeded: " + std::to_string(buckets()) +
                                          " buckets, limit " + std::to_string(max_buckets));
    }
    CoarsenTo(histogram->schema - 1, histogram);
  }
  return base::Status::Ok();
}

}  // namespace

// Neighbouring bounds of schema s have the factor 2^(2^-s), so that s is -log2(log2(factor)), rounded down.
int32_t MaxSchemaFor(double min_factor) {
  if (!(min_factor > 1)) return tsdb::kMaxExponentialSchema;
  const double schema = std::floor(-std::log2(std::log2(min_factor)));
  if (schema >= tsdb::kMaxExponentialSchema) return tsdb::kMaxExponentialSchema;
  if (schema <= tsdb::kMinExponentialSchema) return tsdb::kMinExponentialSchema;
  return static_cast<int32_t>(schema);
}

base::Status LimitResolution(int64_t max_buckets, int32_t max_schema, tsdb::Histogram* histogram) {
  return Limit(max_buckets, max_schema, histogram);
}

base::Status LimitResolution(int64_t max_buckets, int32_t max_schema, tsdb::FloatHistogram* histogram) {
  return Limit(max_buckets, max_schema, histogram);
}

}  // namespace tidewright::scrape
