// SeriesChunks: how samples get into a series of the head and out of it.
//
// The open chunk of a series is packed blocks of 16 values followed by up to 15 single values. Between the two stand 8
// bytes with the last packed value, once there is a block. A chunk ends when its timeline segment is full (128
// samples), at a multiple of two hours, or when the series parts from the others of its scrape; it then waits in memory
// until maintenance moves it to a file.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tsdb/head_chunk_files.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"
#include "tsdb/series_pages.h"
#include "tsdb/slab.h"
#include "tsdb/timeline.h"

namespace tidewright::tsdb {

inline constexpr size_t kCacheLine = 64;
inline constexpr int64_t kChunkWindowMs = 2 * 3600 * 1000;  // No chunk crosses a multiple of this.
// The number of the window that `t` is in.
int64_t ChunkWindow(int64_t t);

// A finished chunk: where it is, and the seconds its samples lie in, rounded outwards.
struct ClosedChunk {
  static constexpr ChunkPlace kInMemory = uint64_t{1} << 63;  // The rest is a handle of the slab.

  ChunkPlace place = 0;
  uint32_t min_second = 0;  // 0 and UINT32_MAX also stand for whatever lies beyond.
  uint32_t max_second = 0;

  bool in_memory() const { return (place & kInMemory) != 0; }
  Slab::Handle handle() const { return static_cast<Slab::Handle>(place); }
  bool EndsBefore(int64_t t) const { return max_second != UINT32_MAX && int64_t{max_second} * 1000 < t; }
  bool BeginsAfter(int64_t t) const { return min_second != 0 && int64_t{min_second} * 1000 > t; }
};

// A finished chunk that is still in memory; its bytes follow.
struct MemoryChunk {
  uint32_t segment = 0;  // Of which it has a reference.
  uint16_t size = 0;
  uint16_t tail = 0;
  uint8_t first = 0;
  uint8_t count = 0;
};

// What the samples of one commit have in common. `t` and `current` change with SetTime().
struct CommitCursor {
  CommitSequence sequence = 0;
  int64_t t = 0;
  TimelinePosition current;   // Where the first series of this time went: new chunks join it.
  TimelinePosition from, to;  // The last step within a segment: nearly always that of the next series, too.

  void SetTime(int64_t time) {
    t = time;
    current = from = to = {};
  }
};

// A part of a chunk that a reader wants.
struct ChunkSlice {
  std::string_view blocks;  // Of packed values, and the single values behind them.
  std::string_view codes;
  uint32_t from;  // Of the chunk's samples, those from `from` up to before `to`.
  uint32_t to;
  uint64_t serial;  // Of the timeline, and where in it `from` is.
  uint32_t position;
  uint32_t segment;                // In memory, or
  const StoredTimeline* timeline;  // in a file.
};

// What a reader wants of a run of samples, for series that are looked at one after the other: those of a scrape have
// the same run.
struct WantedRun {
  uint64_t serial = 0;  // Of the segment.
  uint32_t first = 0;
  uint32_t count = 0;
  int64_t mint = 0;
  int64_t maxt = 0;
  CommitSequence reader = 0;
  friend bool operator==(const WantedRun&, const WantedRun&) = default;
};

// Chunk files and timelines as one reader uses them: nothing is looked up or decoded twice. Not thread-safe.
class ChunkFileReader {
 public:
  explicit ChunkFileReader(const HeadChunkFiles* files) : files_(files) {}

  // The chunk and its timeline; kDataLoss when the file is damaged or gone.
  base::Status Read(ChunkPlace place, StoredChunk* chunk, const StoredTimeline** timeline);
  // Asks for the memory of a chunk that is read soon.
  void Prefetch(ChunkPlace place);
  // For the reader's own use, kept to save allocations.
  std::vector<ChunkSlice>& slices() { return slices_; }
  // The run looked at last, and which of its samples are wanted.
  struct Run {
    WantedRun run;
    uint32_t from = 0;
    uint32_t to = 0;
  };
  Run& last_run() { return last_run_; }

 private:
  base::Result<const HeadChunkFile*> File(uint32_t number);
  base::Result<const StoredTimeline*> Timeline(ChunkPlace place);

  const HeadChunkFiles* const files_;  // Null: there are none.
  std::map<uint32_t, std::shared_ptr<const HeadChunkFile>> held_;
  const HeadChunkFile* last_ = nullptr;  // The file used last.
  uint32_t last_number_ = 0;
  std::unordered_map<ChunkPlace, StoredTimeline> timelines_;
  // Some of them, where they are found without a search: series that were scraped together have the same few.
  struct Near {
    ChunkPlace place = 0;
    const StoredTimeline* timeline = nullptr;
  };
  std::array<Near, 16> near_{};
  std::vector<ChunkSlice> slices_;
  Run last_run_;
};

// Every call that takes a series is made with its page locked. What changes a series is called by one thread at a time.
class SeriesChunks {
 public:
  explicit SeriesChunks(uint64_t serial_base) : timelines_(serial_base) {}

  // The time of the newest sample, if there ever was one.
  std::optional<int64_t> LastTime(const SeriesData& series) const {
    const uint32_t end = uint32_t{series.first} + series.count;
    if (series.segment == 0 || end == 0) return std::nullopt;
    return timelines_.Time({series.segment, end - 1});
  }
  // The same for series that are looked at one after the other: those of a scrape have it from the same place.
  struct NewestTime {
    uint32_t segment = 0;
    uint32_t end = 0;
    int64_t t = 0;
  };
  std::optional<int64_t> LastTime(const SeriesData& series, NewestTime* before) const {
    const uint32_t end = uint32_t{series.first} + series.count;
    if (series.segment == 0 || end == 0) return std::nullopt;
    if (series.segment != before->segment || end != before->end) {
      *before = {series.segment, end, timelines_.Time({series.segment, end - 1})};
    }
    return before->t;
  }
  // The time of the oldest sample, if there is one; of samples in files only the second, rounded down.
  std::optional<int64_t> MinTime(const SeriesData& series) const;

  // A time at or after `t` before which the series has no sample at or after `t`; INT64_MAX when it has none at all.
  int64_t NextTime(const SeriesData& series, int64_t t) const;

  // Has the processor load where the next sample of the series will go.
  void PrefetchEnd(const SeriesData& series) const {
    __builtin_prefetch(slab_.At(series.chunk) + series.used, /*rw=*/1);
  }
  // Appends a sample that is newer than what is there, at cursor->t. False when memory is exhausted, or the series has
  // as many chunks as it may; it is unchanged then.
  bool Append(SeriesData* series, double value, CommitCursor* cursor);
  // Appends several samples, the i-th at cursors[i].t, ascending, to one series after the other: `*run` remembers where
  // those of the one before went, which is nearly always where the next ones go. Returns how many were appended: all,
  // unless Append() would have failed.
  struct Run {
    TimelinePosition first;   // The samples are at this place of a timeline and those that follow. {}: not known.
    TimelinePosition before;  // Where the series was. {}: it had no open chunk.
    bool ends = false;        // Every chunk ends that was there.
  };
  size_t AppendRun(SeriesData* series, std::span<const double> values, std::span<CommitCursor> cursors, Run* run);
  // Ends the open chunk. False when memory is exhausted.
  bool Close(SeriesData* series);
  // Drops the chunks that end before `mint`.
  void Truncate(SeriesData* series, int64_t mint);
  // Gives back what the series holds.
  void Free(SeriesData* series);

  // Whether Read() may find something.
  bool MayHave(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader) const;
  // The samples between mint and maxt (inclusive) that `reader` sees. Chunks that cannot be read are passed over and
  // counted in `*damaged`.
  void Read(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader, ChunkFileReader* files,
            ColumnBuffer* buffer, SampleColumns* columns, size_t* damaged) const;

  // Brings the bytes of the open chunk near, for a reader that comes to the series soon and wants what is at `mint` and
  // later; and where the finished chunks are, if it wants them.
  void Prefetch(const SeriesData& series, int64_t mint) const {
    const char* bytes = slab_.At(series.chunk);
    for (size_t at = 0; at < series.used; at += kCacheLine) __builtin_prefetch(bytes + at);
    if (ReachesClosed(series, mint)) __builtin_prefetch(closed(series));
  }
  // Afterwards: brings near the finished chunks that lie in files.
  void PrefetchClosed(const SeriesData& series, int64_t mint, int64_t maxt, ChunkFileReader* files) const;

  // The finished chunks, and one in memory with its bytes.
  const ClosedChunk* closed(const SeriesData& series) const {
    return reinterpret_cast<const ClosedChunk*>(slab_.At(series.closed));
  }
  const MemoryChunk& At(const ClosedChunk& chunk) const {
    return *reinterpret_cast<const MemoryChunk*>(slab_.At(chunk.handle()));
  }
  std::string_view BytesOf(const ClosedChunk& chunk) const {
    return {slab_.At(chunk.handle()) + sizeof(MemoryChunk), At(chunk).size};
  }
  std::string_view OpenBytes(const SeriesData& series) const { return {slab_.At(series.chunk), series.used}; }
  // Says that a finished chunk is in a file now. `was` is the place it had; false if it is no longer there.
  bool Moved(SeriesData* series, size_t index, ChunkPlace was, ChunkPlace now);

  // For a store that starts: puts back what a checkpoint has. False when memory is exhausted.
  bool RestoreClosed(SeriesData* series, const ClosedChunk& chunk);
  bool RestoreClosedInMemory(SeriesData* series, const MemoryChunk& chunk, std::string_view bytes);
  bool RestoreOpen(SeriesData* series, uint32_t segment, uint8_t first, uint8_t count, uint16_t tail, double last,
                   std::string_view bytes);

  Timelines& timelines() { return timelines_; }
  const Timelines& timelines() const { return timelines_; }
  size_t memory_bytes() const { return slab_.resident_bytes(); }
  size_t used_bytes() const { return slab_.used_bytes(); }

 private:
  TimelinePosition Step(const SeriesData& series, TimelinePosition at, CommitCursor* cursor);
  bool StartChunk(SeriesData* series, CommitCursor* cursor);
  bool Push(SeriesData* series, double value);
  bool PushAll(SeriesData* series, std::span<const double> values);
  bool JoinRun(SeriesData* series, CommitCursor* cursor, const Run& run);
  bool Pack(SeriesData* series, const uint8_t* code, size_t code_size);
  bool Resize(SeriesData* series, size_t used);
  bool AddClosed(SeriesData* series, const ClosedChunk& chunk);
  void FreeClosed(const ClosedChunk& chunk);
  ClosedChunk Bounds(uint32_t segment, uint32_t first, uint32_t count) const;
  void AddSlice(uint32_t segment, uint32_t first, uint32_t count, std::string_view blocks, std::string_view codes,
                int64_t mint, int64_t maxt, CommitSequence reader, ChunkFileReader* files) const;
  bool Overlaps(uint32_t segment, uint32_t first, uint32_t count, int64_t mint, int64_t maxt,
                CommitSequence reader) const;
  // Whether there may be something at `mint` or later in finished chunks. The open chunk is the newest, and often all
  // that is wanted: the others are not even looked at then.
  bool ReachesClosed(const SeriesData& series, int64_t mint) const {
    return series.closed_count > 0 && (series.count == 0 || timelines_.Time({series.segment, series.first}) > mint);
  }
  void AddClosedSlices(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader,
                       ChunkFileReader* files, size_t* damaged) const;
  bool AddFileSlice(ChunkPlace place, int64_t mint, int64_t maxt, ChunkFileReader* files,
                    std::vector<ChunkSlice>* slices) const;
  SampleColumns Decode(std::vector<ChunkSlice>& slices, ColumnBuffer* buffer, size_t* damaged) const;

  Slab slab_;
  Timelines timelines_;
};

}  // namespace tidewright::tsdb
