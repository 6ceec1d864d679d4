// Results of PromQL queries.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::promql {

using Labels = tsdb::Labels;
using Matcher = tsdb::Matcher;
using Matchers = tsdb::Matchers;

// A value at a time (ms since the epoch).
using Point = tsdb::Sample;

// A native histogram. Values are immutable and shared, never null unless said so.
using Histogram = tsdb::FloatHistogram;
using HistogramPtr = std::shared_ptr<const Histogram>;

// A native histogram at a time.
struct HistogramPoint {
  int64_t t = 0;
  HistogramPtr h;
};

// One element of an instant vector. `point.t` is the evaluation time.
struct VectorSample {
  Labels labels;
  Point point;             // Its value is NaN when there is a histogram, so that nobody takes it for a number.
  HistogramPtr histogram;  // Null: the value is a float.
  // When the newest of the samples was taken that the value was computed from, as the engine knows it; 0: unknown, or
  // of none, as for vector(1).
  int64_t sampled_ms = 0;
};
using Vector = std::vector<VectorSample>;

// One series of a range query or a range selector: floats and histograms, each in time order.
struct MatrixSeries {
  Labels labels;
  std::vector<Point> points;
  std::vector<HistogramPoint> histograms;
};
using Matrix = std::vector<MatrixSeries>;

struct Scalar {
  Point point;
};
struct StringValue {
  int64_t t = 0;
  std::string text;
};

using Value = std::variant<Vector, Matrix, Scalar, StringValue>;

// What a query cost.
struct QueryStatistics {
  int64_t queue_nanos = 0;    // Waiting for its turn.
  int64_t prepare_nanos = 0;  // Parsing, planning and selecting series.
  int64_t eval_nanos = 0;
  uint64_t series = 0;        // Selected.
  uint64_t samples = 0;       // Read.
  uint64_t peak_samples = 0;  // Held at one time.
};

// What a query returned, and what it noticed on the way.
struct QueryResult {
  Value value;
  std::vector<std::string> warnings;
  std::vector<std::string> infos;
  QueryStatistics statistics;
};

}  // namespace tidewright::promql
