// MemorySeries: one series of the head, its samples in compressed chunks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"
#include "tsdb/xor_chunk.h"

namespace tidewright::tsdb {

// An immutable run of samples.
struct Chunk {
  int64_t min_time = 0;
  int64_t max_time = 0;
  size_t count = 0;
  std::string bytes;  // XOR encoding.
};

// Counts commits; a query sees the commits up to the one that was the last when it began.
using CommitSequence = uint64_t;

// Thread-safe. Samples go through two steps: Admit() when an Appender takes one, Commit() or Release() when its batch
// ends. In between the series counts as in use and is not forgotten.
class MemorySeries {
 public:
  MemorySeries(SeriesRef ref, uint64_t hash, Labels labels) : ref_(ref), hash_(hash), labels_(std::move(labels)) {}

  SeriesRef ref() const { return ref_; }
  uint64_t hash() const { return hash_; }
  const Labels& labels() const { return labels_; }

  enum class Admission {
    kAdmitted,
    kRepeated,    // The very sample that is already there; nothing to do.
    kOutOfOrder,  // Older than the newest sample.
    kConflict,    // The time of the newest sample with another value.
    kForgotten,   // The head has dropped this series; look it up again by its labels.
  };
  // Decides on a sample of the batch with number `batch` (never 0), in view of what the series has and of what the same
  // batch brought before.
  Admission Admit(const Sample& sample, uint64_t batch);
  // Ends the use that an admission began, without or with the sample. Commit() returns false when a batch that
  // committed in between has made the sample too old. `oldest_reader` is the lowest sequence that any open query sees.
  void Release();
  bool Commit(const Sample& sample, CommitSequence sequence, CommitSequence oldest_reader);
  // Appends a sample of the log; false if it is not newer than what is there.
  bool Replay(const Sample& sample);

  // A run of samples as a query sees it: the first `visible` of the chunk.
  struct View {
    std::shared_ptr<const Chunk> chunk;
    size_t visible = 0;
  };
  std::vector<View> Read(int64_t mint, int64_t maxt, CommitSequence reader) const;
  // Whether Read() may find something, without copying.
  bool MayHave(int64_t mint, int64_t maxt, CommitSequence reader) const;

  // Drops the chunks that end before `mint`.
  void Truncate(int64_t mint);
  // Marks a series without samples that is not in use as forgotten; returns whether it is.
  bool ForgetIfEmpty();
  bool forgotten() const;
  // The time of the oldest sample, if there is one.
  std::optional<int64_t> MinTime() const;

  // Whether the log knows this series. Guarded by the lock that serializes commits, which its owner holds.
  bool logged = false;

 private:
  struct OpenChunk {
    XorChunkWriter writer;
    int64_t min_time = 0;
    int64_t end = 0;  // A sample at or after this begins the next chunk.
  };
  // "The commit `sequence` found `samples` samples": kept while an open query may need to know.
  struct CommitMark {
    CommitSequence sequence;
    uint64_t samples;
  };

  bool Append(const Sample& sample) REQUIRES_LOCK(mu_);
  uint64_t VisibleTo(CommitSequence reader) const REQUIRES_LOCK(mu_);
  bool Empty() const REQUIRES_LOCK(mu_) { return dropped_ == total_; }

  const SeriesRef ref_;
  const uint64_t hash_;
  const Labels labels_;

  mutable base::Mutex mu_;
  std::vector<std::shared_ptr<const Chunk>> full_ GUARDED_BY(mu_);
  std::unique_ptr<OpenChunk> open_ GUARDED_BY(mu_);
  Sample last_ GUARDED_BY(mu_);         // Meaningful when total_ > 0; stays after its chunk was dropped.
  uint64_t total_ GUARDED_BY(mu_) = 0;  // Samples ever appended.
  uint64_t dropped_ GUARDED_BY(mu_) = 0;
  std::vector<CommitMark> marks_ GUARDED_BY(mu_);  // Ascending.
  uint64_t pending_batch_ GUARDED_BY(mu_) = 0;     // The batch that was the last to bring pending_last_.
  Sample pending_last_ GUARDED_BY(mu_);
  uint32_t pending_ GUARDED_BY(mu_) = 0;
  bool forgotten_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::tsdb
