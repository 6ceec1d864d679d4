#include "tsdb/chunk_merge.h"

#include <algorithm>
#include <memory>
#include <span>

namespace tidewright::tsdb {

namespace {

bool Overlaps(const TimeIntervals& intervals, int64_t mint, int64_t maxt) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const TimeInterval& interval) { return interval.mint <= maxt && interval.maxt >= mint; });
}

base::Status Torn(const ChunkView& chunk) {
  return base::DataLossError("the chunk of " + std::to_string(chunk.mint) + " to " + std::to_string(chunk.maxt) +
                             " ends before its last sample");
}

// A chunk being read, at a sample.
struct Cursor {
  const ChunkView* chunk = nullptr;
  std::unique_ptr<ChunkReader> reader;
  ValueType type = ValueType::kNone;

  base::Status Advance() {
    type = reader->Next();
    return reader->corrupt() ? Torn(*chunk) : base::Status::Ok();
  }
};

// Encodes the samples of chunks, which ascend by their first time and overlap, in order.
class Merger {
 public:
  explicit Merger(std::span<const ChunkView> chunks) : waiting_(chunks) {}

  base::Result<std::vector<EncodedChunk>> Run() {
    for (;;) {
      TW_RETURN_IF_ERROR(OpenWaiting());
      if (open_.empty()) return encoder_.Take();
      // The chunks are in the order in which they were opened: the first of equal times wins.
      auto earliest = std::min_element(open_.begin(), open_.end(), [](const Cursor& a, const Cursor& b) {
        return a.reader->time() < b.reader->time();
      });
      const int64_t t = earliest->reader->time();
      CopySample(*earliest->reader, earliest->type, &encoder_);
      TW_RETURN_IF_ERROR(PassOver(t));
    }
  }

 private:
  // Opens the chunks that may have the next sample.
  base::Status OpenWaiting() {
    while (!waiting_.empty() && (open_.empty() || waiting_.front().mint <= EarliestOpen())) {
      Cursor cursor;
      cursor.chunk = &waiting_.front();
      TW_ASSIGN_OR_RETURN(cursor.reader, NewChunkReader(cursor.chunk->encoding, cursor.chunk->bytes));
      TW_RETURN_IF_ERROR(cursor.Advance());
      waiting_ = waiting_.subspan(1);
      if (cursor.type != ValueType::kNone) open_.push_back(std::move(cursor));
    }
    return base::Status::Ok();
  }

  int64_t EarliestOpen() const {
    int64_t earliest = INT64_MAX;
    for (const Cursor& cursor : open_) earliest = std::min(earliest, cursor.reader->time());
    return earliest;
  }

  // Moves all chunks beyond `t`.
  base::Status PassOver(int64_t t) {
    for (Cursor& cursor : open_) {
      while (cursor.type != ValueType::kNone && cursor.reader->time() <= t) TW_RETURN_IF_ERROR(cursor.Advance());
    }
    std::erase_if(open_, [](const Cursor& cursor) { return cursor.type == ValueType::kNone; });
    return base::Status::Ok();
  }

  std::span<const ChunkView> waiting_;
  std::vector<Cursor> open_;
  ChunkEncoder encoder_;
};

}  // namespace

void CopySample(const ChunkReader& reader, ValueType type, ChunkEncoder* encoder) {
  if (type == ValueType::kFloat) return encoder->Append(reader.time(), reader.value());
  if (type == ValueType::kHistogram) {
    Histogram histogram;
    reader.At(&histogram);
    return encoder->Append(reader.time(), histogram);
  }
  FloatHistogram histogram;
  reader.At(&histogram);
  encoder->Append(reader.time(), histogram);
}

void ChunkMerge::Keep(std::vector<EncodedChunk> chunks, std::vector<ChunkView>* views) {
  for (EncodedChunk& chunk : chunks) {
    encoded_.push_back(std::move(chunk));
    views->push_back(encoded_.back().View());
  }
}

base::Status ChunkMerge::Add(const ChunkView& chunk, const TimeIntervals* deleted) {
  if (deleted == nullptr || !Overlaps(*deleted, chunk.mint, chunk.maxt)) {
    chunks_.push_back(chunk);
    return base::Status::Ok();
  }
  if (CoversRange(*deleted, chunk.mint, chunk.maxt)) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<ChunkReader> reader, NewChunkReader(chunk.encoding, chunk.bytes));
  ChunkEncoder encoder;
  for (ValueType type = reader->Next(); type != ValueType::kNone; type = reader->Next()) {
    if (!Covers(*deleted, reader->time())) CopySample(*reader, type, &encoder);
  }
  if (reader->corrupt()) return Torn(chunk);
  Keep(encoder.Take(), &chunks_);
  return base::Status::Ok();
}

base::Result<std::vector<ChunkView>> ChunkMerge::Finish() {
  std::stable_sort(chunks_.begin(), chunks_.end(),
                   [](const ChunkView& a, const ChunkView& b) { return a.mint < b.mint; });
  // Replicas have chunks in common.
  const auto same = [](const ChunkView& a, const ChunkView& b) {
    return a.mint == b.mint && a.maxt == b.maxt && a.encoding == b.encoding && a.bytes == b.bytes;
  };
  chunks_.erase(std::unique(chunks_.begin(), chunks_.end(), same), chunks_.end());
  std::vector<ChunkView> result;
  for (size_t begin = 0, end = 0; begin < chunks_.size(); begin = end) {
    int64_t reach = chunks_[begin].maxt;
    for (end = begin + 1; end < chunks_.size() && chunks_[end].mint <= reach; ++end) {
      reach = std::max(reach, chunks_[end].maxt);
    }
    if (end == begin + 1) {
      result.push_back(chunks_[begin]);
      continue;
    }
    TW_ASSIGN_OR_RETURN(std::vector<EncodedChunk> merged, Merger(std::span(chunks_).subspan(begin, end - begin)).Run());
    Keep(std::move(merged), &result);
  }
  return result;
}

}  // namespace tidewright::tsdb
