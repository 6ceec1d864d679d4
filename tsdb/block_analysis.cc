#include "tsdb/block_analysis.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace tidewright::tsdb {

namespace {

struct PairFigures {
  uint64_t series = 0;
  uint64_t uncovered = 0;  // ms
};
struct NameFigures {
  uint64_t values = 0;
  uint64_t value_bytes = 0;
  uint64_t uncovered = 0;
};

void SortAndCut(std::vector<NamedCount>* counts, size_t limit) {
  std::sort(counts->begin(), counts->end(), [](const NamedCount& a, const NamedCount& b) {
    return a.count != b.count ? a.count > b.count : a.name < b.name;
  });
  if (counts->size() > limit) counts->resize(limit);
}

// Collects the figures of label pairs, by positions in the symbol table, and then names them.
class Analysis {
 public:
  Analysis(const Block& block, size_t limit)
      : index_(block.index()), length_(static_cast<uint64_t>(block.meta().maxt - block.meta().mint)), limit_(limit) {}

  base::Status AddSeries(uint32_t id) {
    TW_RETURN_IF_ERROR(index_.SeriesSymbols(id, &labels_, &chunks_));
    const uint64_t covered =
        chunks_.empty() ? 0 : static_cast<uint64_t>(chunks_.back().maxt) - static_cast<uint64_t>(chunks_.front().mint);
    for (const auto& [name, value] : labels_) {
      PairFigures& pair = pairs_[uint64_t{name} << 32 | value];
      ++pair.series;
      pair.uncovered += length_ - covered;
    }
    ++result_.series;
    result_.entries += labels_.size();
    return base::Status::Ok();
  }

  base::Result<BlockAnalysis> Finish() {
    for (const auto& [key, pair] : pairs_) TW_RETURN_IF_ERROR(AddPair(key, pair));
    for (const auto& [name, figures] : names_) {
      result_.churning_names.push_back({name, Lengths(figures.uncovered)});
      result_.value_lengths.push_back({name, figures.value_bytes});
      result_.cardinalities.push_back({name, figures.values});
    }
    result_.label_pairs = pairs_.size();
    result_.label_names = names_.size();
    for (auto* list : {&result_.churning_pairs, &result_.churning_names, &result_.common_pairs, &result_.value_lengths,
                       &result_.cardinalities, &result_.metric_names}) {
      SortAndCut(list, limit_);
    }
    return std::move(result_);
  }

 private:
  base::Status AddPair(uint64_t key, const PairFigures& pair) {
    TW_ASSIGN_OR_RETURN(const std::string_view name, index_.Symbol(static_cast<uint32_t>(key >> 32)));
    TW_ASSIGN_OR_RETURN(const std::string_view value, index_.Symbol(static_cast<uint32_t>(key)));
    const std::string text = std::string(name) + "=" + std::string(value);
    result_.churning_pairs.push_back({text, Lengths(pair.uncovered)});
    result_.common_pairs.push_back({text, pair.series});
    if (name == kMetricName) result_.metric_names.push_back({std::string(value), pair.series});
    NameFigures& figures = names_[std::string(name)];
    ++figures.values;
    figures.value_bytes += value.size();
    figures.uncovered += pair.uncovered;
    return base::Status::Ok();
  }

  uint64_t Lengths(uint64_t uncovered) const {
    return length_ == 0 ? 0 : static_cast<uint64_t>(static_cast<double>(uncovered) / static_cast<double>(length_));
  }

  const IndexReader& index_;
  const uint64_t length_;  // ms
  const size_t limit_;
  std::unordered_map<uint64_t, PairFigures> pairs_;
  std::map<std::string, NameFigures> names_;
  std::vector<std::pair<uint32_t, uint32_t>> labels_;
  std::vector<IndexedChunk> chunks_;
  BlockAnalysis result_;
};

uint32_t CountBuckets(ChunkReader& reader) {
  size_t buckets = 0;
  for (ValueType type = reader.Next(); type != ValueType::kNone; type = reader.Next()) {
    FloatHistogram histogram;
    reader.At(&histogram);
    buckets += histogram.positive_buckets.size() + histogram.negative_buckets.size();
  }
  return static_cast<uint32_t>(std::min<size_t>(buckets, UINT32_MAX));
}

base::Status MeasureChunk(const ChunkView& chunk, ChunkFigures* figures) {
  const uint32_t samples = ChunkSampleCount(chunk.encoding, chunk.bytes);
  const auto bytes = static_cast<uint32_t>(chunk.bytes.size());
  if (ValueTypeOf(chunk.encoding) == ValueType::kFloat) {
    figures->float_samples.push_back(samples);
    figures->float_bytes.push_back(bytes);
    return base::Status::Ok();
  }
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<ChunkReader> reader, NewChunkReader(chunk.encoding, chunk.bytes));
  figures->histogram_samples.push_back(samples);
  figures->histogram_bytes.push_back(bytes);
  figures->histogram_buckets.push_back(CountBuckets(*reader));
  return base::Status::Ok();
}

}  // namespace

base::Result<BlockAnalysis> AnalyzeBlock(const Block& block, const Matchers& matchers, size_t limit) {
  TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, block.index().Select(matchers));
  Analysis analysis(block, limit);
  for (uint32_t id : ids) TW_RETURN_IF_ERROR(analysis.AddSeries(id));
  return analysis.Finish();
}

base::Result<ChunkFigures> MeasureChunks(const Block& block, const Matchers& matchers) {
  TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, block.index().Select(matchers));
  ChunkFigures figures;
  std::vector<IndexedChunk> entries;
  for (uint32_t id : ids) {
    TW_RETURN_IF_ERROR(block.index().Series(id, nullptr, &entries));
    for (const IndexedChunk& entry : entries) {
      TW_ASSIGN_OR_RETURN(const ChunkView chunk, block.Chunk(entry));
      TW_RETURN_IF_ERROR(MeasureChunk(chunk, &figures));
    }
  }
  return figures;
}

}  // namespace tidewright::tsdb
