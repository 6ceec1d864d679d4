#include "tsdb/block_writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "tsdb/chunk_files.h"
#include "tsdb/index_writer.h"
#include "tsdb/tombstones.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

constexpr std::string_view kUnfinishedSuffix = ".tmp-for-creation";

base::Status MakeDirectory(const std::string& path) {
  return mkdir(path.c_str(), 0755) == 0 ? base::Status::Ok() : FileError("create", path, errno);
}

bool Less(const LabelSymbols& a, const LabelSymbols& b) {
  return a.name != b.name ? a.name < b.name : a.value < b.value;
}

class BlockWriterImpl : public BlockWriter {
 public:
  BlockWriterImpl(std::string parent, const BlockMeta& meta)
      : parent_(std::move(parent)),
        unfinished_(parent_ + "/" + meta.ulid + std::string(kUnfinishedSuffix)),
        meta_(meta) {
    meta_.stats = {};
  }

  ~BlockWriterImpl() override {
    if (!finished_) (void)RemoveTree(unfinished_);
  }

  base::Status Start(const BlockWriterOptions& options) {
    TW_RETURN_IF_ERROR(RemoveTree(unfinished_));
    TW_RETURN_IF_ERROR(MakeDirectory(unfinished_));
    TW_RETURN_IF_ERROR(MakeDirectory(unfinished_ + "/chunks"));
    chunks_ = std::make_unique<ChunkFilesWriter>(unfinished_ + "/chunks", options.chunk_segment_bytes);
    TW_ASSIGN_OR_RETURN(index_, IndexWriter::Create(unfinished_ + "/index", options.postings_buffer_bytes));
    return index_->AddSymbol("");
  }

  base::Result<uint32_t> AddSymbol(std::string_view symbol) override {
    if (in_series_) return Misuse("a symbol follows series");
    if (symbol.empty() && index_->symbol_count() == 1) return 0;
    if (symbol <= index_->last_symbol()) {
      return Misuse("symbol \"" + std::string(symbol) + "\" does not follow \"" + std::string(index_->last_symbol()) +
                    "\"");
    }
    TW_RETURN_IF_ERROR(index_->AddSymbol(symbol));
    return index_->symbol_count() - 1;
  }

  base::Status AddSeries(std::span<const LabelSymbols> labels, std::span<const ChunkView> chunks) override {
    TW_RETURN_IF_ERROR(BeginSeries());
    TW_RETURN_IF_ERROR(CheckLabels(labels));
    TW_RETURN_IF_ERROR(CheckChunks(chunks));
    entries_.clear();
    for (const ChunkView& chunk : chunks) {
      TW_ASSIGN_OR_RETURN(const uint64_t ref, chunks_->Append(chunk.encoding, chunk.bytes));
      entries_.push_back({chunk.mint, chunk.maxt, ref});
      CountChunk(chunk);
    }
    TW_RETURN_IF_ERROR(index_->AddSeries(labels, entries_));
    ++meta_.stats.series;
    last_labels_.assign(labels.begin(), labels.end());
    return base::Status::Ok();
  }

  base::Status AddSeries(const Labels& labels, std::span<const ChunkView> chunks) override {
    TW_RETURN_IF_ERROR(BeginSeries());
    symbols_.clear();
    for (const Label& label : labels) {
      TW_ASSIGN_OR_RETURN(const uint32_t name, index_->FindSymbol(label.name));
      TW_ASSIGN_OR_RETURN(const uint32_t value, index_->FindSymbol(label.value));
      symbols_.push_back({name, value});
    }
    return AddSeries(symbols_, chunks);
  }

  base::Result<BlockMeta> Finish() override {
    if (meta_.stats.series == 0) {
      return base::FailedPreconditionError("write block " + unfinished_ + ": it would have no series");
    }
    TW_RETURN_IF_ERROR(chunks_->Finish());
    TW_RETURN_IF_ERROR(index_->Finish());
    TW_RETURN_IF_ERROR(WriteTombstones(unfinished_, {}));
    TW_RETURN_IF_ERROR(WriteBlockMeta(unfinished_, meta_));
    TW_RETURN_IF_ERROR(SyncDirectory(unfinished_ + "/chunks"));
    TW_RETURN_IF_ERROR(SyncDirectory(unfinished_));
    TW_RETURN_IF_ERROR(RenameDirectory(unfinished_, parent_ + "/" + meta_.ulid));
    finished_ = true;
    TW_RETURN_IF_ERROR(SyncDirectory(parent_));
    return meta_;
  }

 private:
  base::Status Misuse(const std::string& what) const {
    return base::InvalidArgumentError("write block " + unfinished_ + ": " + what);
  }

  base::Status BeginSeries() {
    if (in_series_) return base::Status::Ok();
    in_series_ = true;
    return index_->FinishSymbols();
  }

  base::Status CheckLabels(std::span<const LabelSymbols> labels) const {
    uint32_t previous_name = 0;
    for (const LabelSymbols& label : labels) {
      if (label.name >= index_->symbol_count() || label.value >= index_->symbol_count()) {
        return Misuse("a label names a symbol that was not added");
      }
      if (label.name <= previous_name) return Misuse("the names of a series' labels do not ascend");
      previous_name = label.name;
    }
    if (labels.empty()) return Misuse("a series has no labels");
    const bool ascends =
        meta_.stats.series == 0 ||
        std::lexicographical_compare(last_labels_.begin(), last_labels_.end(), labels.begin(), labels.end(), Less);
    return ascends ? base::Status::Ok() : Misuse("the series do not ascend by labels");
  }

  base::Status CheckChunks(std::span<const ChunkView> chunks) const {
    const ChunkView* previous = nullptr;
    for (const ChunkView& chunk : chunks) {
      if (chunk.mint > chunk.maxt || (previous != nullptr && chunk.mint <= previous->maxt)) {
        return Misuse("the chunks of a series overlap or do not ascend");
      }
      if (ChunkSampleCount(chunk.encoding, chunk.bytes) == 0) return Misuse("a chunk is empty");
      previous = &chunk;
    }
    return chunks.empty() ? Misuse("a series has no chunks") : base::Status::Ok();
  }

  void CountChunk(const ChunkView& chunk) {
    const uint32_t samples = ChunkSampleCount(chunk.encoding, chunk.bytes);
    const bool floats = ValueTypeOf(chunk.encoding) == ValueType::kFloat;
    meta_.stats.samples += samples;
    (floats ? meta_.stats.float_samples : meta_.stats.histogram_samples) += samples;
    ++meta_.stats.chunks;
  }

  const std::string parent_;
  const std::string unfinished_;
  BlockMeta meta_;
  bool in_series_ = false;
  bool finished_ = false;
  std::unique_ptr<ChunkFilesWriter> chunks_;
  std::unique_ptr<IndexWriter> index_;
  std::vector<IndexedChunk> entries_;
  std::vector<LabelSymbols> symbols_;
  std::vector<LabelSymbols> last_labels_;
};

}  // namespace

base::Result<std::unique_ptr<BlockWriter>> BlockWriter::Create(const std::string& parent_directory,
                                                               const BlockMeta& meta,
                                                               const BlockWriterOptions& options) {
  if (!IsUlid(meta.ulid)) return base::InvalidArgumentError("write block: \"" + meta.ulid + "\" is not a ULID");
  auto writer = std::make_unique<BlockWriterImpl>(parent_directory, meta);
  TW_RETURN_IF_ERROR(writer->Start(options));
  return std::unique_ptr<BlockWriter>(std::move(writer));
}

}  // namespace tidewright::tsdb
