#include "tsdb/timeline.h"

#include <algorithm>

namespace tidewright::tsdb {

Timelines::~Timelines() {
  for (std::atomic<Block*>& block : blocks_) {
    Block* one = block.load(std::memory_order_relaxed);
    if (one == nullptr) return;
    delete one;
  }
}

void Timelines::Times(uint32_t segment, uint32_t first, uint32_t count, std::vector<int64_t>* out) const {
  const Segment& one = At(segment);
  for (uint32_t i = first; i < first + count; ++i) out->push_back(one.base_time + EntryAt(one, i).time);
}

uint32_t Timelines::VisibleTo(CommitSequence reader, uint32_t segment, uint32_t first, uint32_t count) const {
  const Segment& one = At(segment);
  // From the end: nearly always the last entry is visible.
  while (count > 0 && one.base_commit + EntryAt(one, first + count - 1).commit > reader) --count;
  return count;
}

uint32_t Timelines::CountBefore(int64_t t, uint32_t segment, uint32_t first, uint32_t count) const {
  const Segment& one = At(segment);
  uint32_t low = 0;
  while (count > 0) {
    uint32_t half = count / 2;
    if (one.base_time + EntryAt(one, first + low + half).time < t) {
      low += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return low;
}

uint32_t Timelines::Take() {
  uint32_t id = next_;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else {
    if (id / kBlockSegments >= kMaxBlocks) return 0;
    std::atomic<Block*>& block = blocks_[id / kBlockSegments];
    if (block.load(std::memory_order_relaxed) == nullptr) block.store(new Block(), std::memory_order_release);
    ++next_;
  }
  ++live_;
  Segment& segment = At(id);
  segment.serial = next_serial_;
  next_serial_ += 2;  // Odd, so that it is never 0.
  segment.size = 0;
  segment.references = 1;
  segment.fork = 0;
  return id;
}

void Timelines::Push(Segment* segment, int64_t t, CommitSequence commit) {
  std::unique_ptr<Piece>& piece = segment->pieces[segment->size / kPieceEntries];
  if (piece == nullptr) piece = std::make_unique<Piece>();
  (*piece)[segment->size % kPieceEntries] = {static_cast<uint32_t>(t - segment->base_time),
                                             static_cast<uint32_t>(commit - segment->base_commit)};
  ++segment->size;
}

bool Timelines::Holds(const Segment& segment, uint32_t index, int64_t t, CommitSequence commit) {
  const Entry& entry = EntryAt(segment, index);
  return segment.base_time + entry.time == t && segment.base_commit + entry.commit == commit;
}

bool Timelines::Fits(const Segment& segment, int64_t t, CommitSequence commit) {
  return static_cast<uint64_t>(t) - static_cast<uint64_t>(segment.base_time) <= UINT32_MAX &&
         commit - segment.base_commit <= UINT32_MAX;
}

TimelinePosition Timelines::Begin(int64_t t, CommitSequence commit) {
  uint32_t id = Take();
  if (id == 0) return {};
  Segment& segment = At(id);
  segment.base_time = t;
  segment.base_commit = commit;
  Push(&segment, t, commit);
  return {id, 0};
}

TimelinePosition Timelines::Advance(TimelinePosition at, int64_t t, CommitSequence commit, bool may_fork) {
  Segment& segment = At(at.segment);
  const uint32_t next = at.index + 1;
  if (next >= kSegmentEntries || !Fits(segment, t, commit)) return {};
  if (next == segment.size) {
    Push(&segment, t, commit);
    return {at.segment, next};
  }
  if (Holds(segment, next, t, commit)) return {at.segment, next};
  return may_fork ? Fork(at, t, commit) : TimelinePosition();
}

TimelinePosition Timelines::Fork(TimelinePosition at, int64_t t, CommitSequence commit) {
  const uint32_t next = at.index + 1;
  uint32_t id = At(at.segment).fork;
  bool known = id != 0 && At(at.segment).fork_index == next && At(id).serial == At(at.segment).fork_serial &&
               At(id).references > 0 && At(id).size > next && Holds(At(id), next, t, commit);
  if (known) {
    ++At(id).references;
    Release(at.segment);
    return {id, next};
  }
  id = Take();
  if (id == 0) return {};
  Segment& from = At(at.segment);
  Segment& to = At(id);
  to.base_time = from.base_time;
  to.base_commit = from.base_commit;
  for (uint32_t i = 0; i < next; ++i) {
    const Entry& entry = EntryAt(from, i);
    Push(&to, from.base_time + entry.time, from.base_commit + entry.commit);
  }
  Push(&to, t, commit);
  from.fork = id;
  from.fork_index = next;
  from.fork_serial = to.serial;
  Release(at.segment);
  return {id, next};
}

void Timelines::Release(uint32_t id) {
  Segment& segment = At(id);
  if (--segment.references > 0) return;
  for (std::unique_ptr<Piece>& piece : segment.pieces) piece.reset();
  free_.push_back(id);
  --live_;
}

uint32_t Timelines::Restore(uint64_t serial, const std::vector<int64_t>& times) {
  uint32_t id = Take();
  if (id == 0) return 0;
  Segment& segment = At(id);
  segment.serial = serial;
  segment.base_time = times.front();
  segment.base_commit = 0;
  for (int64_t t : times) Push(&segment, t, 0);
  return id;
}

}  // namespace tidewright::tsdb
