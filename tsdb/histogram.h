// Native histograms: the value types. A sample is a double, a Histogram (integer counts) or a FloatHistogram.
//
// Buckets are sparse: spans say which bucket indexes are present. With an exponential schema s, bucket i of the
// positive side holds (2^(2^-s))^(i-1) < v <= (2^(2^-s))^i; the negative side mirrors it; the zero bucket holds |v| <=
// zero_threshold. With custom buckets, bucket i holds custom_values[i-1] < v <= custom_values[i], the one past the last
// bound reaches to +Inf, and there is neither a zero bucket nor a negative side.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

enum class ValueType : uint8_t { kNone, kFloat, kHistogram, kFloatHistogram };

// What is known about whether counts went down since the sample before. The numbers are those of the log.
enum class CounterResetHint : uint8_t { kUnknown = 0, kCounterReset = 1, kNotCounterReset = 2, kGauge = 3 };

// `length` neighbouring buckets, `offset` buckets after the end of the span before (of the first span: after bucket 0).
struct BucketSpan {
  int32_t offset = 0;
  uint32_t length = 0;
  friend bool operator==(const BucketSpan&, const BucketSpan&) = default;
};
using BucketSpans = std::vector<BucketSpan>;

// Buckets have indexes of at most this size, far beyond what doubles need; so their distances fit 32 bits.
inline constexpr int64_t kMaxBucketIndex = 1 << 30;

inline constexpr int32_t kMinExponentialSchema = -4;
inline constexpr int32_t kMaxExponentialSchema = 8;
inline constexpr int32_t kCustomBucketsSchema = -53;

// Integer counts. Value type; equality compares doubles by their bits.
struct Histogram {
  CounterResetHint hint = CounterResetHint::kUnknown;
  int32_t schema = 0;
  double zero_threshold = 0;
  uint64_t zero_count = 0;
  uint64_t count = 0;
  double sum = 0;
  BucketSpans positive_spans;
  BucketSpans negative_spans;
  std::vector<int64_t> positive_buckets;  // The first count, then differences to the bucket before.
  std::vector<int64_t> negative_buckets;
  std::vector<double> custom_values;  // Upper bounds, ascending, without +Inf; only with kCustomBucketsSchema.

  friend bool operator==(const Histogram& a, const Histogram& b);
};

// Counts as doubles. Value type; equality compares doubles by their bits.
struct FloatHistogram {
  CounterResetHint hint = CounterResetHint::kUnknown;
  int32_t schema = 0;
  double zero_threshold = 0;
  double zero_count = 0;
  double count = 0;
  double sum = 0;
  BucketSpans positive_spans;
  BucketSpans negative_spans;
  std::vector<double> positive_buckets;  // Counts as such.
  std::vector<double> negative_buckets;
  std::vector<double> custom_values;

  friend bool operator==(const FloatHistogram& a, const FloatHistogram& b);
};

// OK when spans, buckets, counts and bounds fit together; else kInvalidArgument with the field that does not. What is
// appended to the store must be valid.
base::Status Validate(const Histogram& histogram);
base::Status Validate(const FloatHistogram& histogram);

// The same histogram with counts as doubles, exact up to 2^53.
FloatHistogram ToFloat(const Histogram& histogram);

// The end of a series is marked by a sum that is the staleness NaN; nothing else of such a sample counts.
Histogram StaleHistogram();
FloatHistogram StaleFloatHistogram();
bool IsStale(const Histogram& histogram);
bool IsStale(const FloatHistogram& histogram);

}  // namespace tidewright::tsdb
