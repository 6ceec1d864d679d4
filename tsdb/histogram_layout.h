// Which buckets the histograms of a chunk have: written once at its beginning, and merged when a sample brings others.
// Private to tsdb.
#pragma once

#include <cstdint>
#include <vector>

#include "tsdb/bits.h"
#include "tsdb/histogram.h"

namespace tidewright::tsdb {

// What all samples of a histogram chunk share.
struct HistogramLayout {
  int32_t schema = 0;
  double zero_threshold = 0;
  BucketSpans positive_spans;
  BucketSpans negative_spans;
  std::vector<double> custom_values;

  void Write(BitWriter* out) const;
  // False when the bits are no layout, or one with more buckets than bits are left.
  bool Read(BitReader* in);
};

template <class H>
HistogramLayout LayoutOf(const H& h) {
  return {h.schema, h.zero_threshold, h.positive_spans, h.negative_spans, h.custom_values};
}

// The number of buckets of spans.
uint64_t BucketCount(const BucketSpans& spans);

// How the buckets of one side of a chunk and of a sample become one layout.
struct BucketMerge {
  BucketSpans spans;
  std::vector<int> from_chunk;   // Per merged bucket its position among the chunk's, or -1. Empty when nothing changes.
  std::vector<int> from_sample;  // The same for the sample's.
  bool chunk_grows() const { return !from_chunk.empty(); }
  bool sample_grows() const { return !from_sample.empty(); }
};

BucketMerge MergeBuckets(const BucketSpans& chunk, const BucketSpans& sample);

// The buckets with empty ones put in, as `from` of a BucketMerge says; the first for counts, the second for
// differences.
std::vector<double> Spread(const std::vector<double>& counts, const std::vector<int>& from);
std::vector<int64_t> Spread(const std::vector<int64_t>& deltas, const std::vector<int>& from);

}  // namespace tidewright::tsdb
