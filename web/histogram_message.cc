#include "web/histogram_message.h"

#include "scrape/wire_writer.h"

namespace tidewright::web {

namespace {

using scrape::WireWriter;

void AppendSpans(uint32_t field, const tsdb::BucketSpans& spans, WireWriter* out) {
  for (const tsdb::BucketSpan& span : spans) {
    WireWriter message;
    if (span.offset != 0) message.ZigZag(1, span.offset);
    message.NonZero(2, span.length);
    out->Bytes(field, message.bytes());
  }
}

}  // namespace

std::string HistogramMessage(const tsdb::FloatHistogram& histogram, int64_t t) {
  WireWriter out;
  out.Double(2, histogram.count).NonZeroDouble(3, histogram.sum);
  if (histogram.schema != 0) out.ZigZag(4, histogram.schema);
  out.NonZeroDouble(5, histogram.zero_threshold).Double(7, histogram.zero_count);
  AppendSpans(8, histogram.negative_spans, &out);
  out.Doubles(10, histogram.negative_buckets);
  AppendSpans(11, histogram.positive_spans, &out);
  out.Doubles(13, histogram.positive_buckets);
  out.NonZero(14, static_cast<uint64_t>(histogram.hint)).Int64(15, t).Doubles(16, histogram.custom_values);
  return out.Take();
}

}  // namespace tidewright::web
