#include "tsdb/block_querier.h"

#include <algorithm>
#include <set>
#include <utility>

namespace tidewright::tsdb {

namespace {

class ChunksIterator : public SampleIterator {
 public:
  ChunksIterator(std::vector<ChunkView> chunks, const TimeIntervals* deleted, int64_t mint, int64_t maxt)
      : chunks_(std::move(chunks)), deleted_(deleted), mint_(mint), maxt_(maxt) {}

  bool Next() override {
    do {
      if (!Advance()) return false;
    } while (reader_->time() < mint_ || (deleted_ != nullptr && Covers(*deleted_, reader_->time())));
    if (reader_->time() > maxt_) return End();
    Load();
    return true;
  }

  bool Seek(int64_t t) override {
    if (type_ != ValueType::kNone && reader_->time() >= t) return true;
    mint_ = std::max(mint_, t);
    return Next();
  }

  Sample At() const override {
    return {reader_->time(), type_ == ValueType::kFloat ? reader_->value() : histogram_.sum};
  }
  ValueType type() const override { return type_; }
  const FloatHistogram* AtHistogram() const override {
    return type_ == ValueType::kFloatHistogram ? &histogram_ : nullptr;
  }

 private:
  bool End() {
    type_ = ValueType::kNone;
    reader_.reset();
    next_ = chunks_.size();
    return false;
  }

  // To the next sample of any chunk that reaches mint_.
  bool Advance() {
    for (;;) {
      if (reader_ != nullptr) {
        type_ = reader_->Next();
        if (type_ != ValueType::kNone) return true;
        reader_.reset();
      }
      while (next_ < chunks_.size() && chunks_[next_].maxt < mint_) ++next_;
      if (next_ == chunks_.size()) return End();
      auto reader = NewChunkReader(chunks_[next_].encoding, chunks_[next_].bytes);
      ++next_;
      if (reader.ok()) reader_ = std::move(reader).value();
    }
  }

  void Load() {
    if (type_ == ValueType::kFloat) return;
    reader_->At(&histogram_);
    type_ = ValueType::kFloatHistogram;
  }

  const std::vector<ChunkView> chunks_;
  const TimeIntervals* const deleted_;
  int64_t mint_;
  const int64_t maxt_;
  size_t next_ = 0;  // The chunk to read after the current one.
  std::unique_ptr<ChunkReader> reader_;
  ValueType type_ = ValueType::kNone;
  FloatHistogram histogram_;
};

class BlockSeries : public Series {
 public:
  BlockSeries(Labels labels, std::vector<ChunkView> chunks, const TimeIntervals* deleted, int64_t mint, int64_t maxt)
      : labels_(std::move(labels)), chunks_(std::move(chunks)), deleted_(deleted), mint_(mint), maxt_(maxt) {}

  const Labels& labels() const override { return labels_; }

  std::unique_ptr<SampleIterator> Iterator() const override {
    return NewChunksIterator(chunks_, deleted_, mint_, maxt_);
  }

  bool Columns(ColumnBuffer* buffer, SampleColumns* columns) const override {
    buffer->t.clear();
    buffer->v.clear();
    for (const ChunkView& chunk : chunks_) {
      if (ValueTypeOf(chunk.encoding) != ValueType::kFloat) return false;
      (void)DecodeFloatChunk(chunk.encoding, chunk.bytes, &buffer->t, &buffer->v);
    }
    if (deleted_ != nullptr) DropDeleted(buffer);
    const auto begin = std::lower_bound(buffer->t.begin(), buffer->t.end(), mint_);
    const auto end = std::upper_bound(begin, buffer->t.end(), maxt_);
    const auto first = static_cast<size_t>(begin - buffer->t.begin());
    const auto count = static_cast<size_t>(end - begin);
    *columns = {std::span(buffer->t).subspan(first, count), std::span(buffer->v).subspan(first, count), 0};
    return true;
  }

 private:
  void DropDeleted(ColumnBuffer* buffer) const {
    size_t kept = 0;
    for (size_t i = 0; i < buffer->t.size(); ++i) {
      if (Covers(*deleted_, buffer->t[i])) continue;
      buffer->t[kept] = buffer->t[i];
      buffer->v[kept++] = buffer->v[i];
    }
    buffer->t.resize(kept);
    buffer->v.resize(kept);
  }

  const Labels labels_;
  const std::vector<ChunkView> chunks_;
  const TimeIntervals* const deleted_;
  const int64_t mint_;
  const int64_t maxt_;
};

class BlockQuerier : public Querier {
 public:
  BlockQuerier(std::shared_ptr<const Block> block, int64_t mint, int64_t maxt)
      : block_(std::move(block)), tombstones_(block_->tombstones()), mint_(mint), maxt_(maxt) {}

  base::Result<std::vector<std::unique_ptr<Series>>> Select(const SelectHints& hints,
                                                            const Matchers& matchers) override {
    TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, block_->index().Select(matchers));
    std::vector<std::unique_ptr<Series>> selected;
    for (uint32_t id : ids) {  // Ascending ids are ascending labels.
      Labels labels;
      TW_RETURN_IF_ERROR(block_->index().Series(id, &labels, &entries_));
      const TimeIntervals* deleted = tombstones_->Of(id);
      TW_ASSIGN_OR_RETURN(std::vector<ChunkView> chunks, ChunksInRange(deleted, !hints.no_samples));
      if (chunks.empty()) continue;
      if (hints.no_samples) chunks.clear();
      selected.push_back(std::make_unique<BlockSeries>(std::move(labels), std::move(chunks), deleted, mint_, maxt_));
    }
    return selected;
  }

  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) override {
    if (matchers.empty()) return block_->index().LabelNames();
    return Collect(
        matchers, [](const Label&) { return true; }, [](const Label& label) { return label.name; });
  }

  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) override {
    if (matchers.empty()) return block_->index().LabelValues(name);
    return Collect(
        matchers, [&name](const Label& label) { return label.name == name; },
        [](const Label& label) { return label.value; });
  }

 private:
  // Of the entries just read, the chunks that have samples in the range; their bytes only when they are wanted.
  base::Result<std::vector<ChunkView>> ChunksInRange(const TimeIntervals* deleted, bool with_bytes) const {
    std::vector<ChunkView> chunks;
    for (const IndexedChunk& entry : entries_) {
      if (entry.maxt < mint_ || entry.mint > maxt_) continue;
      if (deleted != nullptr && CoversRange(*deleted, entry.mint, entry.maxt)) continue;
      ChunkView chunk;
      if (with_bytes) {
        TW_ASSIGN_OR_RETURN(chunk, block_->Chunk(entry));
      }
      chunks.push_back(chunk);
    }
    return chunks;
  }

  template <class Wanted, class Text>
  base::Result<std::vector<std::string>> Collect(const Matchers& matchers, Wanted wanted, Text text) {
    TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, block_->index().Select(matchers));
    std::set<std::string> found;
    for (uint32_t id : ids) {
      Labels labels;
      TW_RETURN_IF_ERROR(block_->index().Series(id, &labels, nullptr));
      for (const Label& label : labels) {
        if (wanted(label)) found.insert(text(label));
      }
    }
    return std::vector<std::string>(found.begin(), found.end());
  }

  const std::shared_ptr<const Block> block_;
  const std::shared_ptr<const Tombstones> tombstones_;
  const int64_t mint_;
  const int64_t maxt_;
  std::vector<IndexedChunk> entries_;
};

}  // namespace

std::unique_ptr<Querier> NewBlockQuerier(std::shared_ptr<const Block> block, int64_t mint, int64_t maxt) {
  return std::make_unique<BlockQuerier>(std::move(block), mint, maxt);
}

std::unique_ptr<SampleIterator> NewChunksIterator(std::vector<ChunkView> chunks, const TimeIntervals* deleted,
                                                  int64_t mint, int64_t maxt) {
  return std::make_unique<ChunksIterator>(std::move(chunks), deleted, mint, maxt);
}

}  // namespace tidewright::tsdb
