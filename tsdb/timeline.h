// Timelines: the timestamps of samples, held once for all series that were scraped together, together with the commit
// that brought them.
//
// A segment is a run of up to 128 (time, commit) pairs. The open chunk of a series is a segment, the position of its
// first sample, and a count: when a scrape is committed, its first series adds an entry to the segment that it is at
// the end of, and every other series of the target merely moves on by one. So timestamps cost a target 8 bytes a scrape
// however many series it has, and isolation costs nothing: the commit in the entry says who may see the samples.
//
// A series that missed a scrape finds the entry of another commit where its next sample should go. It then either ends
// its chunk and joins the others at their position, or, when its chunk is short, takes a copy of the segment up to here
// (a fork), which is shared by all series that part at the same place in the same commit.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace tidewright::tsdb {

// Counts commits; a query sees the commits up to the one that was the last when it began.
using CommitSequence = uint64_t;

// A place in a timeline. `segment` 0 is none.
struct TimelinePosition {
  uint32_t segment = 0;
  uint32_t index = 0;
  friend bool operator==(const TimelinePosition&, const TimelinePosition&) = default;
};

// Changed by one thread at a time (the one that commits). Readers may look at entries of segments that they know to be
// referenced, as long as something else (the lock of the series' page) orders them after the commit that wrote those
// entries: what is written is never changed or moved.
class Timelines {
 public:
  static constexpr uint32_t kSegmentEntries = 128;

  // `serial_base` makes serials differ from those of earlier lives of the store.
  explicit Timelines(uint64_t serial_base) : next_serial_(serial_base | 1) {}
  Timelines(const Timelines&) = delete;
  Timelines& operator=(const Timelines&) = delete;
  ~Timelines();

  int64_t Time(TimelinePosition at) const {
    const Segment& segment = At(at.segment);
    return segment.base_time + EntryAt(segment, at.index).time;
  }
  CommitSequence Commit(TimelinePosition at) const {
    const Segment& segment = At(at.segment);
    return segment.base_commit + EntryAt(segment, at.index).commit;
  }
  // Names the segment uniquely, across restarts too. Never 0.
  uint64_t Serial(uint32_t segment) const { return At(segment).serial; }
  // Appends the times of `count` entries from `first` on.
  void Times(uint32_t segment, uint32_t first, uint32_t count, std::vector<int64_t>* out) const;
  // How many of `count` entries from `first` on belong to commits up to `reader`.
  uint32_t VisibleTo(CommitSequence reader, uint32_t segment, uint32_t first, uint32_t count) const;
  // How many of `count` entries from `first` on are before `t`.
  uint32_t CountBefore(int64_t t, uint32_t segment, uint32_t first, uint32_t count) const;

  // Begins a segment with one entry. {} when there are too many segments. The caller owns a reference.
  TimelinePosition Begin(int64_t t, CommitSequence commit);
  // The position after `at` (the last sample of a series) if the entry there is (t, commit) or can become it: by adding
  // to the end of the segment, or by taking a fork. {} when the segment is full, spans too much, or nothing fits. The
  // caller's reference moves along to the segment that is returned.
  TimelinePosition Advance(TimelinePosition at, int64_t t, CommitSequence commit, bool may_fork);

  void Reference(uint32_t segment) { ++At(segment).references; }
  void Release(uint32_t segment);
  uint32_t references(uint32_t segment) const { return At(segment).references; }
  // A segment with these entries, for a store that starts. The caller owns a reference.
  uint32_t Restore(uint64_t serial, const std::vector<int64_t>& times);
  uint32_t size(uint32_t segment) const { return At(segment).size; }
  uint64_t live_segments() const { return live_; }

 private:
  static constexpr uint32_t kPieceEntries = 32;
  static constexpr uint32_t kBlockSegments = 1024;
  static constexpr uint32_t kMaxBlocks = 8 * 1024;  // 8 million segments.

  struct Entry {
    uint32_t time;    // After the segment's base, in ms.
    uint32_t commit;  // After the segment's base.
  };
  using Piece = std::array<Entry, kPieceEntries>;
  struct Segment {
    int64_t base_time = 0;
    CommitSequence base_commit = 0;
    uint64_t serial = 0;
    std::array<std::unique_ptr<Piece>, kSegmentEntries / kPieceEntries> pieces;
    uint32_t size = 0;
    uint32_t references = 0;
    uint32_t fork = 0;        // The latest fork, which keeps no reference: `fork_serial` says whether it still exists.
    uint32_t fork_index = 0;  // Where it parts.
    uint64_t fork_serial = 0;
  };
  using Block = std::array<Segment, kBlockSegments>;

  Segment& At(uint32_t id) {
    return (*blocks_[id / kBlockSegments].load(std::memory_order_acquire))[id % kBlockSegments];
  }
  const Segment& At(uint32_t id) const {
    return (*blocks_[id / kBlockSegments].load(std::memory_order_acquire))[id % kBlockSegments];
  }
  static const Entry& EntryAt(const Segment& segment, uint32_t index) {
    return (*segment.pieces[index / kPieceEntries])[index % kPieceEntries];
  }
  static bool Holds(const Segment& segment, uint32_t index, int64_t t, CommitSequence commit);
  static bool Fits(const Segment& segment, int64_t t, CommitSequence commit);
  static void Push(Segment* segment, int64_t t, CommitSequence commit);
  uint32_t Take();
  TimelinePosition Fork(TimelinePosition at, int64_t t, CommitSequence commit);

  std::array<std::atomic<Block*>, kMaxBlocks> blocks_{};
  uint32_t next_ = 1;
  std::vector<uint32_t> free_;
  uint64_t next_serial_;
  uint64_t live_ = 0;
};

}  // namespace tidewright::tsdb
