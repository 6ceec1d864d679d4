// Merging blocks.
#include "tsdb/compactor.h"

#include <algorithm>
#include <deque>
#include <span>
#include <utility>

#include "tsdb/block_writer.h"
#include "tsdb/chunk_merge.h"

namespace tidewright::tsdb {

namespace {

// One of the blocks to be merged, walked through by series.
class Source {
 public:
  explicit Source(const Block& block) : block_(block), tombstones_(block.tombstones()) {}

  base::Status Start() {
    TW_ASSIGN_OR_RETURN(ids_, block_.index().Select({}));
    return Load();
  }

  const IndexReader& index() const { return block_.index(); }
  // Where a symbol of this block is in the merged one.
  void MapSymbol(uint32_t position) { symbols_.push_back(position); }
  uint32_t mapped_symbols() const { return static_cast<uint32_t>(symbols_.size()); }

  bool done() const { return next_ == ids_.size(); }
  // Of the current series, as positions in the merged block.
  const std::vector<LabelSymbols>& labels() const { return labels_; }

  // Adds the current series' chunks, and moves to the next series.
  base::Status Take(ChunkMerge* merge) {
    const TimeIntervals* deleted = tombstones_->Of(ids_[next_]);
    for (const IndexedChunk& entry : entries_) {
      TW_ASSIGN_OR_RETURN(const ChunkView chunk, block_.Chunk(entry));
      TW_RETURN_IF_ERROR(merge->Add(chunk, deleted));
    }
    ++next_;
    return Load();
  }

 private:
  base::Status Load() {
    labels_.clear();
    if (done()) return base::Status::Ok();
    TW_RETURN_IF_ERROR(index().SeriesSymbols(ids_[next_], &pairs_, &entries_));
    for (const auto& [name, value] : pairs_) {
      if (name >= symbols_.size() || value >= symbols_.size()) {
        return base::DataLossError(block_.directory() + ": series " + std::to_string(ids_[next_]) +
                                   ": a label's symbol does not exist");
      }
      labels_.push_back({symbols_[name], symbols_[value]});
    }
    return base::Status::Ok();
  }

  const Block& block_;
  const std::shared_ptr<const Tombstones> tombstones_;
  std::vector<uint32_t> symbols_;
  std::vector<uint32_t> ids_;
  size_t next_ = 0;
  std::vector<std::pair<uint32_t, uint32_t>> pairs_;
  std::vector<LabelSymbols> labels_;
  std::vector<IndexedChunk> entries_;
};

bool Less(const LabelSymbols& a, const LabelSymbols& b) {
  return a.name != b.name ? a.name < b.name : a.value < b.value;
}

bool LabelsLess(const std::vector<LabelSymbols>& a, const std::vector<LabelSymbols>& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), Less);
}

// Writes the symbols of all sources, also those that no series will use any more, as Prometheus does.
base::Status MergeSymbols(std::deque<Source>* sources, BlockWriter* writer) {
  for (;;) {
    const Source* smallest = nullptr;
    std::string_view symbol;
    for (const Source& source : *sources) {
      if (source.mapped_symbols() == source.index().symbol_count()) continue;
      TW_ASSIGN_OR_RETURN(const std::string_view candidate, source.index().Symbol(source.mapped_symbols()));
      if (smallest != nullptr && candidate >= symbol) continue;
      smallest = &source;
      symbol = candidate;
    }
    if (smallest == nullptr) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(const uint32_t position, writer->AddSymbol(symbol));
    for (Source& source : *sources) {
      if (source.mapped_symbols() == source.index().symbol_count()) continue;
      TW_ASSIGN_OR_RETURN(const std::string_view candidate, source.index().Symbol(source.mapped_symbols()));
      if (candidate == symbol) source.MapSymbol(position);
    }
  }
}

// Merges the smallest series of all sources; sets `written` if any of its samples is left.
base::Status MergeNextSeries(std::deque<Source>* sources, BlockWriter* writer, bool* written) {
  std::vector<LabelSymbols> labels;
  for (const Source& source : *sources) {
    if (source.done()) continue;
    if (labels.empty() || LabelsLess(source.labels(), labels)) labels = source.labels();
  }
  ChunkMerge merge;
  for (Source& source : *sources) {
    if (source.done() || LabelsLess(labels, source.labels())) continue;
    TW_RETURN_IF_ERROR(source.Take(&merge));
  }
  TW_ASSIGN_OR_RETURN(const std::vector<ChunkView> chunks, merge.Finish());
  if (chunks.empty()) return base::Status::Ok();
  *written = true;
  return writer->AddSeries(labels, chunks);
}

}  // namespace

base::Result<std::optional<BlockMeta>> CompactBlocks(const std::string& parent_directory,
                                                     const std::vector<std::shared_ptr<Block>>& blocks,
                                                     std::string ulid, const CompactionOptions& options) {
  std::vector<std::shared_ptr<Block>> ordered = blocks;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a->meta().mint < b->meta().mint; });
  std::vector<BlockMeta> parents;
  std::deque<Source> sources;
  for (const auto& block : ordered) {
    parents.push_back(block->meta());
    sources.emplace_back(*block);
  }
  TW_ASSIGN_OR_RETURN(std::unique_ptr<BlockWriter> writer,
                      BlockWriter::Create(parent_directory, CompactedMeta(parents, std::move(ulid))));
  TW_RETURN_IF_ERROR(MergeSymbols(&sources, writer.get()));
  for (Source& source : sources) TW_RETURN_IF_ERROR(source.Start());
  bool written = false;
  const auto done = [](const Source& source) { return source.done(); };
  while (!std::all_of(sources.begin(), sources.end(), done)) {
    if (options.cancelled && options.cancelled()) return base::CancelledError("the compaction was asked to stop");
    TW_RETURN_IF_ERROR(MergeNextSeries(&sources, writer.get(), &written));
  }
  if (!written) return std::optional<BlockMeta>();
  TW_ASSIGN_OR_RETURN(BlockMeta meta, writer->Finish());
  return std::optional<BlockMeta>(std::move(meta));
}

}  // namespace tidewright::tsdb
