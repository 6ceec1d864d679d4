// The messages of Prometheus' protobuf exposition format, decoded: io.prometheus.client.MetricFamily and its parts.
// Source: metrics.proto of prometheus/client_model; field numbers are in the implementation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "scrape/exposition.h"
#include "tsdb/histogram.h"

namespace tidewright::scrape {

// A family without its metrics; views point into the body.
struct MetricFamily {
  std::string_view name;
  std::string_view help;
  std::string_view unit;
  tsdb::MetricType type = tsdb::MetricType::kCounter;
  bool has_metrics = false;
};

// A bucket of a classic histogram, or a quantile of a summary.
struct MetricPoint {
  double bound = 0;  // Upper bound, or quantile.
  double value = 0;  // Cumulative count, or the quantile's value.
  std::vector<Exemplar> exemplars;
};

struct NativeBuckets {
  int32_t schema = 0;
  double zero_threshold = 0;
  uint64_t zero_count = 0;
  double zero_count_float = 0;
  tsdb::BucketSpans positive_spans, negative_spans;
  std::vector<int64_t> positive_deltas, negative_deltas;
  std::vector<double> positive_counts, negative_counts;
  // Whether anything of it was there; otherwise the histogram is a classic one.
  bool present() const {
    return !positive_spans.empty() || !negative_spans.empty() || zero_threshold > 0 || zero_count > 0;
  }
};

struct Metric {
  std::vector<tsdb::Label> labels;
  int64_t timestamp_ms = 0;  // 0 for none.
  int64_t start_ms = 0;      // 0 for none.
  double value = 0;          // Counter, gauge, untyped.
  // Summary and histogram.
  uint64_t sample_count = 0;
  double sample_count_float = 0;
  double sample_sum = 0;
  std::vector<MetricPoint> points;
  NativeBuckets native;
  std::vector<Exemplar> exemplars;  // Of a counter or a native histogram.

  double count() const { return sample_count > 0 ? static_cast<double>(sample_count) : sample_count_float; }
};

// The field of MetricFamily that holds its metrics.
inline constexpr uint32_t kMetricField = 4;

// kInvalidArgument when the bytes are no such message, or contain names or texts that are not valid; for a metric also
// when they are more than 4 MiB, because decoding takes many times as much.
base::Status DecodeMetricFamily(std::string_view bytes, MetricFamily* family);
base::Status DecodeMetric(std::string_view bytes, tsdb::MetricType type, Metric* metric);

}  // namespace tidewright::scrape
