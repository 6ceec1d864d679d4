#include "tsdb/histogram_layout.h"

#include <bit>
#include <cmath>

namespace tidewright::tsdb {

namespace {

// Zero thresholds that are powers of two from 2^-243 to 2^10 are one byte: the exponent plus 244.
constexpr int kThresholdBias = 244;
constexpr uint64_t kThresholdZero = 0;
constexpr uint64_t kThresholdExplicit = 255;

// Custom bounds that are multiples of 0.001 up to this are integers.
constexpr double kBoundScale = 1000;
constexpr double kMaxScaledBound = 33554430;

void WriteZeroThreshold(double threshold, BitWriter* out) {
  if (threshold == 0) return out->Write(kThresholdZero, 8);
  int exponent = 0;
  if (std::frexp(threshold, &exponent) == 0.5) {
    int code = exponent - 1 + kThresholdBias;
    if (code > 0 && code < static_cast<int>(kThresholdExplicit)) return out->Write(code, 8);
  }
  out->Write(kThresholdExplicit, 8);
  out->Write(std::bit_cast<uint64_t>(threshold), 64);
}

double ReadZeroThreshold(BitReader* in) {
  uint64_t code = in->Read(8);
  if (code == kThresholdZero) return 0;
  if (code == kThresholdExplicit) return std::bit_cast<double>(in->Read(64));
  return std::ldexp(1.0, static_cast<int>(code) - kThresholdBias);
}

void WriteBound(double bound, BitWriter* out) {
  double scaled = std::round(bound * kBoundScale);
  bool integral = scaled >= 0 && scaled <= kMaxScaledBound && scaled / kBoundScale == bound;
  if (integral) return out->VarbitUint(static_cast<uint64_t>(scaled) + 1);
  out->Write(0, 1);
  out->Write(std::bit_cast<uint64_t>(bound), 64);
}

double ReadBound(BitReader* in) {
  uint64_t code = in->VarbitUint();
  return code == 0 ? std::bit_cast<double>(in->Read(64)) : static_cast<double>(code - 1) / kBoundScale;
}

void WriteSpans(const BucketSpans& spans, BitWriter* out) {
  out->VarbitUint(spans.size());
  for (const BucketSpan& span : spans) {
    out->VarbitUint(span.length);
    out->VarbitInt(span.offset);
  }
}

bool ReadSpans(BitReader* in, BucketSpans* spans) {
  uint64_t count = in->VarbitUint();
  if (count > in->remaining()) return false;
  int64_t end = 0;
  uint64_t buckets = 0;
  for (uint64_t i = 0; i < count && in->ok(); ++i) {
    uint64_t length = in->VarbitUint();
    int64_t offset = in->VarbitInt();
    buckets += length;
    if (length > in->remaining() || buckets > in->remaining()) return false;  // A bucket is at least a bit.
    if (offset < INT32_MIN || offset > INT32_MAX) return false;
    end += offset;
    if (end < -kMaxBucketIndex || end + static_cast<int64_t>(length) > kMaxBucketIndex) return false;
    end += static_cast<int64_t>(length);
    spans->push_back({static_cast<int32_t>(offset), static_cast<uint32_t>(length)});
  }
  return in->ok();
}

std::vector<int32_t> Indexes(const BucketSpans& spans) {
  std::vector<int32_t> indexes;
  indexes.reserve(BucketCount(spans));
  int64_t next = 0;
  for (const BucketSpan& span : spans) {
    next += span.offset;
    for (uint32_t i = 0; i < span.length; ++i) indexes.push_back(static_cast<int32_t>(next++));
  }
  return indexes;
}

BucketSpans SpansOf(const std::vector<int32_t>& indexes) {
  BucketSpans spans;
  int64_t next = 0;
  for (int32_t index : indexes) {
    if (spans.empty() || index != next) {
      spans.push_back({static_cast<int32_t>(index - next), 0});
      next = index;
    }
    ++spans.back().length;
    ++next;
  }
  return spans;
}

}  // namespace

void HistogramLayout::Write(BitWriter* out) const {
  WriteZeroThreshold(zero_threshold, out);
  out->VarbitInt(schema);
  WriteSpans(positive_spans, out);
  WriteSpans(negative_spans, out);
  if (schema != kCustomBucketsSchema) return;
  out->VarbitUint(custom_values.size());
  for (double bound : custom_values) WriteBound(bound, out);
}

bool HistogramLayout::Read(BitReader* in) {
  *this = {};
  zero_threshold = ReadZeroThreshold(in);
  int64_t number = in->VarbitInt();
  if (number < INT32_MIN || number > INT32_MAX) return false;
  schema = static_cast<int32_t>(number);
  if (!ReadSpans(in, &positive_spans) || !ReadSpans(in, &negative_spans)) return false;
  if (schema != kCustomBucketsSchema) return in->ok();
  uint64_t bounds = in->VarbitUint();
  if (bounds > in->remaining()) return false;
  for (uint64_t i = 0; i < bounds && in->ok(); ++i) custom_values.push_back(ReadBound(in));
  return in->ok();
}

uint64_t BucketCount(const BucketSpans& spans) {
  uint64_t count = 0;
  for (const BucketSpan& span : spans) count += span.length;
  return count;
}

BucketMerge MergeBuckets(const BucketSpans& chunk, const BucketSpans& sample) {
  if (chunk == sample) return {chunk, {}, {}};
  const std::vector<int32_t> a = Indexes(chunk);
  const std::vector<int32_t> b = Indexes(sample);
  std::vector<int32_t> merged;
  BucketMerge merge;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    bool in_chunk = i < a.size() && (j == b.size() || a[i] <= b[j]);
    bool in_sample = j < b.size() && (i == a.size() || b[j] <= a[i]);
    merged.push_back(in_chunk ? a[i] : b[j]);
    merge.from_chunk.push_back(in_chunk ? static_cast<int>(i++) : -1);
    merge.from_sample.push_back(in_sample ? static_cast<int>(j++) : -1);
  }
  // Spans can be cut in more than one way; one side's own cut is kept where it has all the buckets.
  if (merged.size() == a.size()) merge.from_chunk.clear();
  if (merged.size() == b.size()) merge.from_sample.clear();
  merge.spans = !merge.chunk_grows() ? chunk : !merge.sample_grows() ? sample : SpansOf(merged);
  return merge;
}

std::vector<double> Spread(const std::vector<double>& counts, const std::vector<int>& from) {
  std::vector<double> spread;
  spread.reserve(from.size());
  for (int position : from) spread.push_back(position < 0 ? 0 : counts[position]);
  return spread;
}

std::vector<int64_t> Spread(const std::vector<int64_t>& deltas, const std::vector<int>& from) {
  std::vector<int64_t> spread;
  spread.reserve(from.size());
  uint64_t count = 0;     // Of the source's bucket. Unsigned, since hostile differences may overflow.
  uint64_t previous = 0;  // Of the result's bucket before.
  for (int position : from) {
    uint64_t next = 0;
    if (position >= 0) next = count += static_cast<uint64_t>(deltas[position]);
    spread.push_back(static_cast<int64_t>(next - previous));
    previous = next;
  }
  return spread;
}

}  // namespace tidewright::tsdb
