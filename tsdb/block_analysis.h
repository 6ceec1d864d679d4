// What a block is made of: which labels cost most, how full its chunks are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tsdb/block_reader.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

struct NamedCount {
  std::string name;  // Of a label, or "name=value" of a pair.
  uint64_t count = 0;
};

// Lists descend by count, then ascend by name.
struct BlockAnalysis {
  uint64_t series = 0;  // That match.
  uint64_t label_names = 0;
  uint64_t label_pairs = 0;  // Distinct ones.
  uint64_t entries = 0;      // Label pairs of all series.
  // How many times the block's length the series that have it are missing from it, together: a pair that is in a
  // hundred series of half the length each has 50.
  std::vector<NamedCount> churning_pairs;
  std::vector<NamedCount> churning_names;
  std::vector<NamedCount> common_pairs;   // Series.
  std::vector<NamedCount> value_lengths;  // Bytes of all values of a name.
  std::vector<NamedCount> cardinalities;  // Values of a name.
  std::vector<NamedCount> metric_names;   // Series of a metric.
};

// Of the series that satisfy `matchers` (all of none); each list has at most `limit` items. Time and memory grow with
// the number of distinct label pairs. kDataLoss when the index is damaged.
base::Result<BlockAnalysis> AnalyzeBlock(const Block& block, const Matchers& matchers, size_t limit);

// One number for each chunk, in no order.
struct ChunkFigures {
  std::vector<uint32_t> float_samples;
  std::vector<uint32_t> float_bytes;
  std::vector<uint32_t> histogram_samples;
  std::vector<uint32_t> histogram_bytes;
  std::vector<uint32_t> histogram_buckets;
};

// Reads all chunks of the series that satisfy `matchers`.
base::Result<ChunkFigures> MeasureChunks(const Block& block, const Matchers& matchers);

}  // namespace tidewright::tsdb
