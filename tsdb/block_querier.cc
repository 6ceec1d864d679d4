#include "tsdb/block_querier.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "tsdb/packed_cache.h"

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

// How many of the first `count` samples are left.
size_t DropDeleted(const TimeIntervals& deleted, size_t count, ColumnBuffer* buffer) {
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    if (Covers(deleted, buffer->t[i])) continue;
    buffer->t[kept] = buffer->t[i];
    buffer->v[kept++] = buffer->v[i];
  }
  return kept;
}

// Where in ascending times the range is.
struct Part {
  size_t begin;
  size_t end;
};
Part PartOf(std::span<const int64_t> t, int64_t mint, int64_t maxt) {
  const auto begin = std::lower_bound(t.begin(), t.end(), mint);
  const auto end = std::upper_bound(begin, t.end(), maxt);
  return {static_cast<size_t>(begin - t.begin()), static_cast<size_t>(end - t.begin())};
}

// The samples of `chunks`, ascending, as ChunksIterator gives them. False when there are histograms.
bool DecodeChunks(const std::vector<ChunkView>& chunks, const TimeIntervals* deleted, int64_t mint, int64_t maxt,
                  ColumnBuffer* buffer, SampleColumns* columns) {
  auto has_floats = [](const ChunkView& chunk) { return ValueTypeOf(chunk.encoding) == ValueType::kFloat; };
  if (!std::all_of(chunks.begin(), chunks.end(), has_floats)) return false;
  buffer->timeline = 0;
  size_t total = DecodeFloatChunks(chunks, &buffer->t, &buffer->v);
  if (deleted != nullptr) total = DropDeleted(*deleted, total, buffer);
  const auto all = std::span<const int64_t>(buffer->t).first(total);
  const auto [begin, end] = PartOf(all, mint, maxt);
  *columns = {all.subspan(begin, end - begin), std::span<const double>(buffer->v).subspan(begin, end - begin), 0};
  return true;
}

// Gives the times of series names, the same where the times are the same, as those of one scrape's series are.
class Timelines {
 public:
  // 0: there are too many. Comparing times is much cheaper than what is saved where they are the same.
  uint64_t NameOf(std::span<const int64_t> t) {
    if (t.empty()) return 0;
    if (last_ != nullptr && IsOf(*last_, t)) return last_->name;
    const uint64_t hash = static_cast<uint64_t>(t.front()) ^ std::rotl(static_cast<uint64_t>(t[t.size() / 2]), 21) ^
                          std::rotl(static_cast<uint64_t>(t.back()), 42) ^ (uint64_t{t.size()} << 48);
    auto found = known_.find(hash);
    if (found == known_.end()) {
      if (known_.size() == kMost) return 0;
      found = known_.emplace(hash, Known{{t.begin(), t.end()}, NewTimesName()}).first;
    } else if (!IsOf(found->second, t)) {
      return 0;
    }
    last_ = &found->second;
    return last_->name;
  }

 private:
  static constexpr size_t kMost = 256;
  struct Known {
    std::vector<int64_t> t;
    uint64_t name;
  };
  static bool IsOf(const Known& known, std::span<const int64_t> t) {
    return known.t.size() == t.size() && std::memcmp(known.t.data(), t.data(), t.size_bytes()) == 0;
  }

  std::unordered_map<uint64_t, Known> known_;  // By a hash of the times.
  const Known* last_ = nullptr;
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
    return DecodeChunks(chunks_, deleted_, mint_, maxt_, buffer, columns);
  }

 private:
  const Labels labels_;
  const std::vector<ChunkView> chunks_;
  const TimeIntervals* const deleted_;
  const int64_t mint_;
  const int64_t maxt_;
};

// Series of a block that somebody else keeps open while the set is in use.
class BlockSeriesSet : public SeriesSet {
 public:
  BlockSeriesSet(const std::shared_ptr<const Block>& block, std::vector<uint32_t> ids)
      : block_(*block), alive_(block), ids_(std::move(ids)) {}

  size_t size() const override { return ids_.size(); }
  Labels labels(size_t i) const override {
    Labels labels;
    (void)block_.index().Series(ids_[i], &labels, nullptr);  // It could be read when it was found.
    return labels;
  }
  std::string_view Value(size_t i, std::string_view name) const override {
    auto value = block_.index().SeriesValue(ids_[i], name);
    return value.ok() ? *value : std::string_view();
  }
  size_t bytes() const override { return ids_.size() * sizeof(uint32_t); }

  // Blocks never change, but their address may be that of one that is gone.
  bool IsOf(const Block& block) const { return alive_.lock().get() == &block; }
  uint32_t id(size_t i) const { return ids_[i]; }

 private:
  const Block& block_;
  const std::weak_ptr<const Block> alive_;
  const std::vector<uint32_t> ids_;
};

class BlockQuerier : public Querier {
 public:
  BlockQuerier(std::shared_ptr<const Block> block, int64_t mint, int64_t maxt)
      : block_(std::move(block)),
        cache_(block_->cache()),
        tombstones_(block_->tombstones()),
        mint_(mint),
        maxt_(maxt) {}
  ~BlockQuerier() override {
    if (packed_any_) block_->DropChunkPages();
  }

  base::Result<std::vector<std::unique_ptr<Series>>> Select(const SelectHints& hints,
                                                            const Matchers& matchers) override {
    TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, block_->index().Select(matchers));
    std::vector<std::unique_ptr<Series>> selected;
    for (uint32_t id : ids) {  // Ascending ids are ascending labels.
      Labels labels;
      TW_RETURN_IF_ERROR(block_->index().Series(id, &labels, &entries_));
      const TimeIntervals* deleted = tombstones_->Of(id);
      TW_ASSIGN_OR_RETURN(std::vector<ChunkView> chunks, ChunksInRange(deleted, mint_, maxt_, !hints.no_samples));
      if (chunks.empty()) continue;
      if (hints.no_samples) chunks.clear();
      selected.push_back(std::make_unique<BlockSeries>(std::move(labels), std::move(chunks), deleted, mint_, maxt_));
    }
    return selected;
  }

  base::Result<SeriesSetPtr> Find(const SelectHints& hints, const Matchers& matchers) override {
    TW_ASSIGN_OR_RETURN(std::vector<uint32_t> ids, block_->index().Select(matchers));
    Labels readable;
    size_t kept = 0;
    for (uint32_t id : ids) {
      TW_RETURN_IF_ERROR(block_->index().Series(id, &readable, &entries_));
      // Who wants labels only asks for those of the range.
      if (hints.no_samples) {
        TW_ASSIGN_OR_RETURN(const auto chunks, ChunksInRange(tombstones_->Of(id), mint_, maxt_, false));
        if (chunks.empty()) continue;
      }
      ids[kept++] = id;
    }
    ids.resize(kept);
    return SeriesSetPtr(std::make_shared<BlockSeriesSet>(block_, std::move(ids)));
  }
  bool Holds(const SeriesSet& set) const override {
    const auto* own = dynamic_cast<const BlockSeriesSet*>(&set);
    return own != nullptr && own->IsOf(*block_);
  }
  base::Result<std::unique_ptr<SampleIterator>> Iterator(const SeriesSet& set, size_t i) override {
    const uint32_t id = static_cast<const BlockSeriesSet&>(set).id(i);
    TW_RETURN_IF_ERROR(block_->index().SeriesSymbols(id, nullptr, &entries_));
    const TimeIntervals* deleted = tombstones_->Of(id);
    TW_ASSIGN_OR_RETURN(std::vector<ChunkView> chunks, ChunksInRange(deleted, mint_, maxt_, true));
    return NewChunksIterator(std::move(chunks), deleted, mint_, maxt_);
  }
  base::Result<bool> Columns(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns) override {
    const uint32_t id = static_cast<const BlockSeriesSet&>(set).id(i);
    const TimeIntervals* deleted = tombstones_->Of(id);
    bool pack = false;
    if (cache_ != nullptr && deleted == nullptr) {
      const PackedCache::Found& found = InCache(static_cast<const BlockSeriesSet&>(set), i);
      if (found.series != nullptr) {
        *columns = Unpack(*found.series, buffer);
        return true;
      }
      pack = found.wanted;
    }
    TW_RETURN_IF_ERROR(block_->index().SeriesSymbols(id, nullptr, &entries_));
    if (pack) TW_RETURN_IF_ERROR(Pack(id, buffer));
    TW_ASSIGN_OR_RETURN(const std::vector<ChunkView> chunks, ChunksInRange(deleted, mint_, maxt_, true));
    if (!DecodeChunks(chunks, deleted, mint_, maxt_, buffer, columns)) return false;
    columns->timeline = timelines_.NameOf(columns->t);
    return true;
  }

  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) override {
    if (matchers.empty()) return block_->index().LabelNames();
    return block_->index().SymbolsOf(matchers, nullptr);
  }

  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) override {
    if (matchers.empty()) return block_->index().LabelValues(name);
    return block_->index().SymbolsOf(matchers, &name);
  }

 private:
  // Series i of the set, looked for together with those that come behind it.
  const PackedCache::Found& InCache(const BlockSeriesSet& set, size_t i) {
    const uint64_t key = block_->CacheKey(set.id(i));
    if (next_ == ahead_ || keys_[next_] != key) {
      ahead_ = std::min(keys_.size(), set.size() - i);
      for (size_t k = 0; k < ahead_; ++k) keys_[k] = block_->CacheKey(set.id(i + k));
      cache_->Find(std::span(keys_).first(ahead_), now_ms_, found_);
      next_ = 0;
    }
    const size_t far = next_ + kFar;
    if (far < ahead_ && found_[far].series != nullptr) found_[far].series->Prefetch();
    return found_[next_++];
  }

  // Of the entries just read, the chunks that have samples in the range; their bytes only when they are wanted.
  base::Result<std::vector<ChunkView>> ChunksInRange(const TimeIntervals* deleted, int64_t mint, int64_t maxt,
                                                     bool with_bytes) const {
    std::vector<ChunkView> chunks;
    for (const IndexedChunk& entry : entries_) {
      if (entry.maxt < mint || entry.mint > maxt) continue;
      if (deleted != nullptr && CoversRange(*deleted, entry.mint, entry.maxt)) continue;
      ChunkView chunk;
      if (with_bytes) {
        TW_ASSIGN_OR_RETURN(chunk, block_->Chunk(entry));
      }
      chunks.push_back(chunk);
    }
    return chunks;
  }

  // Takes a series into the cache, unless most of it is out of the range: `entries_` are its own.
  base::Status Pack(uint32_t id, ColumnBuffer* buffer) {
    const auto in_range = [&](const IndexedChunk& entry) { return entry.maxt >= mint_ && entry.mint <= maxt_; };
    const auto wanted = std::count_if(entries_.begin(), entries_.end(), in_range);
    if (static_cast<size_t>(wanted) * 2 < entries_.size()) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(const std::vector<ChunkView> chunks, ChunksInRange(nullptr, INT64_MIN, INT64_MAX, true));
    SampleColumns all;
    if (!DecodeChunks(chunks, nullptr, INT64_MIN, INT64_MAX, buffer, &all)) return base::Status::Ok();
    cache_->Add(block_->CacheKey(id), now_ms_, all.t, all.v);
    packed_any_ = true;
    return base::Status::Ok();
  }

  SampleColumns Unpack(const PackedSeries& packed, ColumnBuffer* buffer) const {
    const NamedTimes& times = packed.times();
    const auto [begin, end] = PartOf(times.t, mint_, maxt_);
    if (begin == end) return {};
    if (buffer->timeline != times.name) {  // In this Querier the range is always the same.
      buffer->t.assign(times.t.begin() + static_cast<ptrdiff_t>(begin), times.t.begin() + static_cast<ptrdiff_t>(end));
      buffer->timeline = times.name;
    }
    const size_t at = packed.Decode(begin, end, &buffer->v);
    return {buffer->t, std::span<const double>(buffer->v).subspan(at, end - begin), times.name};
  }

  const std::shared_ptr<const Block> block_;
  PackedCache* const cache_;  // Null: there is none.
  const int64_t now_ms_ = base::MonotonicNanos() / 1'000'000;
  bool packed_any_ = false;
  const std::shared_ptr<const Tombstones> tombstones_;
  const int64_t mint_;
  const int64_t maxt_;
  std::vector<IndexedChunk> entries_;
  Timelines timelines_;
  static constexpr size_t kFar = 2;  // How many series ahead memory is asked for.
  // What was looked for in the cache, and how much of it was read.
  std::array<uint64_t, PackedCache::kMostAtOnce> keys_;
  std::array<PackedCache::Found, PackedCache::kMostAtOnce> found_;
  size_t ahead_ = 0;
  size_t next_ = 0;
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
