#include "remote/histogram_message.h"

#include "base/wire_writer.h"

namespace tidewright::remote {

namespace {

using base::WireWriter;

void AppendSpans(uint32_t field, const tsdb::BucketSpans& spans, WireWriter* out) {
  for (const tsdb::BucketSpan& span : spans) {
    WireWriter message;
    if (span.offset != 0) message.ZigZag(1, span.offset);
    message.NonZero(2, span.length);
    out->Bytes(field, message.bytes());
  }
}

void AppendBuckets(uint32_t deltas, const std::vector<int64_t>& buckets, WireWriter* out) {
  out->ZigZags(deltas, buckets);
}
void AppendBuckets(uint32_t deltas, const std::vector<double>& counts, WireWriter* out) {
  out->Doubles(deltas + 1, counts);
}

// What follows the count and what precedes the reset hint is alike, but for the fields of the counts.
template <typename AnyHistogram>
void AppendRest(const AnyHistogram& histogram, int64_t t, const WireWriter& zero_count, WireWriter* out) {
  out->NonZeroDouble(3, histogram.sum);
  if (histogram.schema != 0) out->ZigZag(4, histogram.schema);
  out->NonZeroDouble(5, histogram.zero_threshold).Raw(zero_count.bytes());
  AppendSpans(8, histogram.negative_spans, out);
  AppendBuckets(9, histogram.negative_buckets, out);
  AppendSpans(11, histogram.positive_spans, out);
  AppendBuckets(12, histogram.positive_buckets, out);
  out->NonZero(14, static_cast<uint64_t>(histogram.hint)).Int64(15, t).Doubles(16, histogram.custom_values);
}

}  // namespace

std::string HistogramMessage(const tsdb::Histogram& histogram, int64_t t) {
  WireWriter out, zero_count;
  out.Varint(1, histogram.count);
  zero_count.Varint(6, histogram.zero_count);
  AppendRest(histogram, t, zero_count, &out);
  return out.Take();
}

std::string HistogramMessage(const tsdb::FloatHistogram& histogram, int64_t t) {
  WireWriter out, zero_count;
  out.Double(2, histogram.count);
  zero_count.Double(7, histogram.zero_count);
  AppendRest(histogram, t, zero_count, &out);
  return out.Take();
}

}  // namespace tidewright::remote
