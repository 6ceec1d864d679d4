// Results of PromQL queries.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "tsdb/labels.h"

namespace tidewright::promql {

using Labels = tsdb::Labels;
using Matcher = tsdb::Matcher;
using Matchers = tsdb::Matchers;

// A value at a time (ms since the epoch).
using Point = tsdb::Sample;

// One element of an instant vector. `t` is the evaluation time.
struct VectorSample {
  Labels labels;
  Point point;
};
using Vector = std::vector<VectorSample>;

// One series of a range query or a range selector: points in time order.
struct MatrixSeries {
  Labels labels;
  std::vector<Point> points;
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

// What a query returned, and what it noticed on the way.
struct QueryResult {
  Value value;
  std::vector<std::string> warnings;
  std::vector<std::string> infos;
};

}  // namespace tidewright::promql
