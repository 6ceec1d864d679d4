#include "tsdb/histogram.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "tsdb/labels.h"

namespace tidewright::tsdb {

namespace {

bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

template <class H>
bool SameLayout(const H& a, const H& b) {
  return a.hint == b.hint && a.schema == b.schema && SameBits(a.zero_threshold, b.zero_threshold) &&
         a.positive_spans == b.positive_spans && a.negative_spans == b.negative_spans &&
         SameBits(a.custom_values, b.custom_values);
}

base::Status Invalid(const std::string& what) { return base::InvalidArgumentError("histogram: " + what); }

base::Status ValidateSpans(const BucketSpans& spans, size_t buckets, bool custom, const std::string& side) {
  uint64_t total = 0;
  int64_t end = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    if ((i > 0 || custom) && spans[i].offset < 0) {
      return Invalid(side + " span " + std::to_string(i + 1) + " has the negative offset " +
                     std::to_string(spans[i].offset));
    }
    total += spans[i].length;
    end += spans[i].offset;
    const bool begins_inside = end >= -kMaxBucketIndex;
    end += spans[i].length;
    if (!begins_inside || end > kMaxBucketIndex) {
      return Invalid(side + " spans reach beyond bucket " + std::to_string(kMaxBucketIndex));
    }
  }
  if (total == buckets) return base::Status::Ok();
  return Invalid(side + " spans name " + std::to_string(total) + " buckets, but there are " + std::to_string(buckets));
}

base::Status ValidateBounds(const std::vector<double>& bounds) {
  for (size_t i = 0; i < bounds.size(); ++i) {
    if (std::isnan(bounds[i])) return Invalid("a custom bound is NaN");
    if (i > 0 && bounds[i] <= bounds[i - 1]) {
      return Invalid("custom bounds must ascend, but bound " + std::to_string(i + 1) + " does not");
    }
  }
  if (!bounds.empty() && std::isinf(bounds.back()) && bounds.back() > 0) {
    return Invalid("the last custom bound is +Inf, which is implied and must not be given");
  }
  return base::Status::Ok();
}

// The rules about which fields a schema allows.
template <class H>
base::Status ValidateLayout(const H& h) {
  const bool custom = h.schema == kCustomBucketsSchema;
  if (!custom && (h.schema < kMinExponentialSchema || h.schema > kMaxExponentialSchema)) {
    return Invalid("schema " + std::to_string(h.schema) + " is neither -4 to 8 nor -53 (custom buckets)");
  }
  if (custom) {
    TW_RETURN_IF_ERROR(ValidateBounds(h.custom_values));
    uint64_t end = 0;
    for (const BucketSpan& span : h.positive_spans) end += static_cast<uint64_t>(span.offset) + span.length;
    if (end > h.custom_values.size() + 1) return Invalid("spans reach beyond the custom bounds");
    if (h.zero_count != 0 || h.zero_threshold != 0) return Invalid("custom buckets have no zero bucket");
    if (!h.negative_spans.empty() || !h.negative_buckets.empty())
      return Invalid("custom buckets have no negative side");
  } else if (!h.custom_values.empty()) {
    return Invalid("custom bounds are given, but the schema is " + std::to_string(h.schema));
  }
  if (std::isnan(h.zero_threshold) || h.zero_threshold < 0) return Invalid("the zero threshold is negative or NaN");
  TW_RETURN_IF_ERROR(ValidateSpans(h.positive_spans, h.positive_buckets.size(), custom, "positive"));
  return ValidateSpans(h.negative_spans, h.negative_buckets.size(), custom, "negative");
}

base::Status AddCounts(const std::vector<int64_t>& deltas, uint64_t* total) {
  int64_t count = 0;
  for (int64_t delta : deltas) {
    if (__builtin_add_overflow(count, delta, &count) || count < 0) return Invalid("a bucket count is negative");
    if (__builtin_add_overflow(*total, static_cast<uint64_t>(count), total)) return Invalid("counts overflow");
  }
  return base::Status::Ok();
}

std::vector<double> Absolute(const std::vector<int64_t>& deltas) {
  std::vector<double> counts;
  counts.reserve(deltas.size());
  uint64_t count = 0;
  for (int64_t delta : deltas) {
    count += static_cast<uint64_t>(delta);
    counts.push_back(static_cast<double>(static_cast<int64_t>(count)));
  }
  return counts;
}

}  // namespace

bool operator==(const Histogram& a, const Histogram& b) {
  return SameLayout(a, b) && a.zero_count == b.zero_count && a.count == b.count && SameBits(a.sum, b.sum) &&
         a.positive_buckets == b.positive_buckets && a.negative_buckets == b.negative_buckets;
}

bool operator==(const FloatHistogram& a, const FloatHistogram& b) {
  return SameLayout(a, b) && SameBits(a.zero_count, b.zero_count) && SameBits(a.count, b.count) &&
         SameBits(a.sum, b.sum) && SameBits(a.positive_buckets, b.positive_buckets) &&
         SameBits(a.negative_buckets, b.negative_buckets);
}

base::Status Validate(const Histogram& h) {
  if (IsStale(h)) return base::Status::Ok();
  TW_RETURN_IF_ERROR(ValidateLayout(h));
  uint64_t total = h.zero_count;
  TW_RETURN_IF_ERROR(AddCounts(h.positive_buckets, &total));
  TW_RETURN_IF_ERROR(AddCounts(h.negative_buckets, &total));
  // Observations of NaN are counted but are in no bucket; they make the sum NaN.
  bool fits = std::isnan(h.sum) ? total <= h.count : total == h.count;
  if (fits) return base::Status::Ok();
  return Invalid("the buckets hold " + std::to_string(total) + " observations, but the count is " +
                 std::to_string(h.count));
}

base::Status Validate(const FloatHistogram& h) {
  if (IsStale(h)) return base::Status::Ok();
  TW_RETURN_IF_ERROR(ValidateLayout(h));
  for (const auto* buckets : {&h.positive_buckets, &h.negative_buckets}) {
    for (double count : *buckets) {
      if (count < 0) return Invalid("a bucket count is negative");
    }
  }
  if (h.zero_count < 0) return Invalid("the zero bucket's count is negative");
  if (h.count < 0) return Invalid("the count is negative");
  return base::Status::Ok();
}

FloatHistogram ToFloat(const Histogram& h) {
  FloatHistogram result;
  result.hint = h.hint;
  result.schema = h.schema;
  result.zero_threshold = h.zero_threshold;
  result.zero_count = static_cast<double>(h.zero_count);
  result.count = static_cast<double>(h.count);
  result.sum = h.sum;
  result.positive_spans = h.positive_spans;
  result.negative_spans = h.negative_spans;
  result.positive_buckets = Absolute(h.positive_buckets);
  result.negative_buckets = Absolute(h.negative_buckets);
  result.custom_values = h.custom_values;
  return result;
}

Histogram StaleHistogram() {
  Histogram h;
  h.sum = StaleNan();
  return h;
}

FloatHistogram StaleFloatHistogram() {
  FloatHistogram h;
  h.sum = StaleNan();
  return h;
}

bool IsStale(const Histogram& h) { return IsStaleNan(h.sum); }
bool IsStale(const FloatHistogram& h) { return IsStaleNan(h.sum); }

}  // namespace tidewright::tsdb
