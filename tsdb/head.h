// Head: the series in memory, their samples, and the log that makes them durable. What Db is made of.
//
// A commit is serialized: it is checked, written to the log as one record, put into the series, and then made visible
// by one number. How samples are held is described in tsdb/docs/head.md, the log in tsdb/docs/log.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/block_meta.h"
#include "tsdb/db.h"
#include "tsdb/exemplar_ring.h"
#include "tsdb/found_sets.h"
#include "tsdb/head_chunk_files.h"
#include "tsdb/histogram_store.h"
#include "tsdb/late_samples.h"
#include "tsdb/log.h"
#include "tsdb/log_codec.h"
#include "tsdb/series_chunks.h"
#include "tsdb/series_index.h"
#include "tsdb/series_pages.h"

namespace tidewright::tsdb {

class BlockWriter;

// What an Appender collected.
struct HeadBatch {
  struct Entry {
    SeriesRef ref = 0;
    int64_t t = 0;
    double v = 0;
  };
  std::vector<Entry> entries;
  struct HistogramEntry {
    SeriesRef ref = 0;
    HistogramSample sample;
  };
  std::vector<HistogramEntry> histograms;
  std::unordered_map<SeriesRef, int64_t> newest_histograms;
  // Out of order.
  std::vector<Entry> late;
  std::vector<HistogramEntry> late_histograms;
  struct ExemplarEntry {
    SeriesRef ref = 0;
    Labels series;
    Exemplar exemplar;
  };
  std::vector<ExemplarEntry> exemplars;
  std::vector<SeriesRef> created;
  std::map<std::string, Metadata> families;
  bool repeats = false;  // Some series occurs more than once.
  // The newest sample of each series in `entries`, once somebody had to know.
  bool indexed = false;
  std::unordered_map<SeriesRef, Sample> newest;
  std::vector<std::string> logged_families;  // Those that the record of the commit names.

  void Clear() {
    entries.clear();
    histograms.clear();
    newest_histograms.clear();
    late.clear();
    late_histograms.clear();
    exemplars.clear();
    created.clear();
    families.clear();
    newest.clear();
    logged_families.clear();
    repeats = indexed = false;
  }
};

// Samples for the log: how many; of each, less what the one before has, reference and time; the bits of the value.
std::string EncodeLate(std::span<const HeadBatch::Entry> samples);

// Thread-safe. Locks are taken in this order: maintenance, commit, index (inside SeriesIndex), one page of series;
// metadata and readers are taken last and alone.
class Head {
 public:
  Head(const DbOptions& options, base::Clock& clock, base::MetricRegistry* metrics);
  ~Head();

  // Replays the log in `directory`/log and goes on writing to it. Call once, before anything else; never with "".
  base::Status OpenLog(const std::string& directory);
  base::Status CloseLog();

  // For Appenders.
  base::Result<SeriesRef> Admit(HeadBatch* batch, SeriesRef ref, const Labels& labels, const Sample& sample);
  void AdmitAll(HeadBatch* batch, std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                std::vector<BatchRejection>* rejected);
  base::Result<SeriesRef> AdmitHistogram(HeadBatch* batch, SeriesRef ref, const Labels& labels, HistogramSample sample);
  base::Status AdmitExemplar(HeadBatch* batch, SeriesRef ref, const Exemplar& exemplar);
  base::Status Commit(HeadBatch* batch);
  void Rollback(HeadBatch* batch);

  void SetOutOfOrderWindow(int64_t ms) { out_of_order_window_.store(ms, std::memory_order_relaxed); }

  // Samples in order, those that came out of order, or both.
  enum class Part { kAll, kInOrder, kLate };

  // For Queriers. Every BeginRead() is paired with an EndRead(). Series found in between stay readable until then.
  CommitSequence BeginRead();
  void EndRead(CommitSequence reader);
  // The series that match and have samples that the reader sees, sorted by labels.
  std::vector<IndexedSeries> Select(const Matchers& matchers, int64_t mint, int64_t maxt, CommitSequence reader,
                                    Part part = Part::kAll) const;
  // Whether a series has samples between mint and maxt (inclusive) that the reader sees; true for some that have none.
  bool MayHave(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, Part part = Part::kAll) const;
  // What Queriers selected, for the next ones.
  FoundSets& found_sets() { return found_sets_; }
  // The floats of a series. True when it may have histograms, too.
  bool Read(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, ChunkFileReader* files,
            ColumnBuffer* buffer, SampleColumns* columns, Part part = Part::kAll) const;
  // Brings memory near for series that are read soon, between mint and maxt: for `far` where it is kept, then for
  // `near` its newest samples, then for `next` those in files.
  struct Ahead {
    SeriesRef far = 0;
    SeriesRef near = 0;
    SeriesRef next = 0;
  };
  void Prefetch(const Ahead& ahead, int64_t mint, int64_t maxt, ChunkFileReader* files) const;
  // The histograms of a series; most have none.
  std::vector<HistogramSample> ReadHistograms(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader,
                                              Part part = Part::kAll) const;
  ChunkFileReader NewFileReader() const { return ChunkFileReader(files_.get()); }
  const SeriesIndex& index() const { return index_; }
  std::map<std::string, Metadata> AllMetadata() const;
  ExemplarRing& exemplars() { return exemplars_; }
  const ExemplarRing& exemplars() const { return exemplars_; }
  // Samples before this are gone for readers and refused from writers.
  int64_t MinValidTime() const { return min_valid_time_.load(std::memory_order_relaxed); }

  // For maintenance, which is one at a time.
  static constexpr size_t kFoundSetsBytes = 1 << 20;  // Of sets of series that were selected last.
  static constexpr int64_t kNever = INT64_MIN;        // MaxTime() of an empty head.
  static constexpr int64_t kNoTime = INT64_MAX;       // MinTime() of an empty head.
  int64_t MinTime() const { return min_time_.load(std::memory_order_relaxed); }
  int64_t MaxTime() const { return max_time_.load(std::memory_order_relaxed); }
  // Raises MinValidTime().
  void SetMinValidTime(int64_t mint);
  // Samples before this are refused from writers, because their time has been written to a block.
  void SetWriteFloor(int64_t floor);
  // Writes the samples in [mint, maxt) to a new block; nullopt when there are none. `*seen` becomes the last commit
  // whose samples are there.
  base::Result<std::optional<BlockMeta>> WriteBlock(const std::string& parent_directory, int64_t mint, int64_t maxt,
                                                    const std::string& ulid, Part part, CommitSequence* seen);
  // Samples that came out of order: how many, the beginnings of the two-hour windows that have some; and dropping those
  // in [mint, maxt) of commits up to `seen`.
  size_t LateCount() const { return late_.size() + late_histograms_.size(); }
  std::set<int64_t> LateWindows() const;
  void DropLate(int64_t mint, int64_t maxt, CommitSequence seen);
  // Whoever reads from now on has a number above the one that this returns.
  CommitSequence MarkReaders();
  // Waits until nobody reads with a number up to `mark`, at most `patience_ms`; whether that is so.
  bool WaitForReaders(CommitSequence mark, int64_t patience_ms);
  // Drops the samples before `mint` (all with INT64_MAX) and series that have none.
  void Truncate(int64_t mint);
  // Drops all samples and keeps the series.
  void Empty();
  // A time at or after `t` before which there is no sample at or after `t`; kNoTime when there is none at all.
  int64_t NextTime(int64_t t) const;
  // Damage found elsewhere.
  void CountCorruptions(uint64_t count) { instruments_.corruptions.Add(static_cast<double>(count)); }
  // No Commit() succeeds any more.
  void RefuseCommits();
  // Every Commit() waits, and those under way have ended, from here until commits are no longer held.
  void HoldCommits(bool hold);
  // Moves finished chunks to files, removes old files, and writes a checkpoint when one is due (or `checkpoint` asks).
  base::Status Maintain(bool checkpoint);
  bool closed();
  DbStats Stats() const;  // What it says of time is of the head.

 private:
  using Page = SeriesPages::Page;
  struct Instruments {
    explicit Instruments(base::MetricRegistry& registry);
    base::Gauge& series;
    base::Counter& appended;
    base::Counter& out_of_order;
    base::Counter& conflicting;
    base::Counter& too_old;
    base::Counter& series_limit;
    base::Counter& failed_commits;
    base::Counter& corruptions;
    base::Counter& skipped_samples;
    base::Counter& checkpoints;
    base::Counter& failed_checkpoints;
    base::Counter& damaged_chunks;
    base::Counter& failed_chunk_writes;
    base::Counter& exemplars;
    base::Counter& late_exemplars;
    base::Counter& late_samples;
  };
  enum class Admission { kAdmitted, kLate, kRepeated, kOutOfOrder, kTooOld, kConflict, kUnknownSeries };
  // Samples of one time that are about to be committed, and what the commit needs to know of their series.
  struct Group {
    int64_t t = 0;
    std::vector<SeriesRef> refs;
    std::vector<double> values;
    std::vector<double> previous;
  };
  class ReplayHandler;
  // A chunk on its way from memory to a file.
  struct PendingMove {
    SeriesRef ref = 0;
    size_t index = 0;
    ChunkPlace was = 0;
    ChunkPlace now = 0;
  };
  // By segment: where its timeline was put, and how many entries of it.
  using StoredTimelines = std::unordered_map<uint32_t, std::pair<ChunkPlace, uint32_t>>;

  // head.cc
  void NoteTime(int64_t t);
  void NoteState(const SeriesData& series);
  CommitSequence OldestReader() const;
  bool PublishSeries(const IndexedSeries& series);
  template <typename Use>
  void ChangeEachSeries(Use&& use) REQUIRES_LOCK(maintain_mu_);
  Slab::Handle LabelsOf(SeriesRef ref) const NO_THREAD_SAFETY_ANALYSIS;
  void Forget(const std::vector<SeriesRef>& candidates) REQUIRES_LOCK(commit_mu_);
  void ForgetFamilies();
  base::Status WriteSeries(std::span<const IndexedSeries> series, int64_t mint, int64_t maxt, CommitSequence reader,
                           Part part, BlockWriter* writer);
  void Reclaim() REQUIRES_LOCK(maintain_mu_);

  // head_append.cc
  base::Result<SeriesRef> GetOrCreate(HeadBatch* batch, const Labels& labels);
  Admission AdmitTo(HeadBatch* batch, const SeriesData& series, SeriesRef ref, const Sample& sample,
                    SeriesChunks::NewestTime* newest_time) const;
  void Take(HeadBatch* batch, SeriesData* series, SeriesRef ref, const Sample& sample);
  void TakeLate(HeadBatch* batch, SeriesData* series, SeriesRef ref, const Sample& sample);
  bool TooOld(int64_t t) const;
  bool TakesLate(int64_t t) const;
  Admission Judge(std::optional<int64_t> newest, int64_t t) const;
  base::Status Refuse(Admission admission, const std::string& labels, const Sample& sample);
  std::vector<Group> MakeGroups(HeadBatch* batch, std::vector<IndexedSeries>* unlogged) REQUIRES_LOCK(commit_mu_);
  base::Status WriteLog(HeadBatch* batch, const std::vector<Group>& groups, const std::vector<IndexedSeries>& unlogged)
      REQUIRES_LOCK(commit_mu_);
  void EncodeFamilies(HeadBatch* batch) REQUIRES_LOCK(commit_mu_);
  uint64_t Apply(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values, CommitSequence sequence)
      REQUIRES_LOCK(commit_mu_);
  void Publish(HeadBatch* batch, const std::vector<Group>& groups) REQUIRES_LOCK(commit_mu_);
  bool IsEmpty(const SeriesData& series, SeriesRef ref) const {
    return series.count == 0 && series.closed_count == 0 && (!series.histogram || histograms_.Empty(ref)) &&
           (!series.late || (late_.Empty(ref) && late_histograms_.Empty(ref)));
  }
  void StoreFamilies(HeadBatch* batch);
  void LetGo(SeriesRef ref);

  // head_side.cc: what is kept beside the series.
  Admission AdmitHistogramTo(HeadBatch* batch, SeriesData* series, SeriesRef ref, HistogramSample* sample);
  void AddLate(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, ColumnBuffer* buffer,
               SampleColumns* columns) const;
  void CheckSide(HeadBatch* batch, std::vector<IndexedSeries>* unlogged) REQUIRES_LOCK(commit_mu_);
  void EncodeSide(const HeadBatch& batch) REQUIRES_LOCK(commit_mu_);
  uint64_t PublishSide(HeadBatch* batch, CommitSequence sequence) REQUIRES_LOCK(commit_mu_);
  void SyncLog() REQUIRES_LOCK(commit_mu_);

  // head_maintenance.cc and head_replay.cc
  base::Status MoveChunks() REQUIRES_LOCK(maintain_mu_);
  void CollectChunks(SeriesRef first, CommitSequence oldest, StoredTimelines* timelines,
                     std::vector<PendingMove>* moves) REQUIRES_LOCK(maintain_mu_);
  base::Status FinishMoves(std::vector<PendingMove>* moves) REQUIRES_LOCK(maintain_mu_);
  bool CheckpointDue();
  base::Status Checkpoint() REQUIRES_LOCK(maintain_mu_);
  base::Status WriteState(const RecordSink& sink) REQUIRES_LOCK(maintain_mu_);
  base::Status WriteExemplars(const RecordSink& sink) REQUIRES_LOCK(maintain_mu_);
  class StateWriter;

  const DbOptions options_;
  base::Clock& clock_;
  base::MetricRegistry own_registry_;  // Used when the owner gave none.
  Instruments instruments_;

  SeriesPages pages_;
  SeriesIndex index_;
  FoundSets found_sets_{kFoundSetsBytes};
  HistogramStore histograms_;
  ExemplarRing exemplars_;
  LateSamples<double> late_;
  LateSamples<HistogramValue> late_histograms_;
  SeriesChunks chunks_;  // Changed with commit_mu_ and the page of the series locked.
  std::atomic<uint64_t> series_count_{0};
  std::atomic<uint64_t> samples_appended_{0};
  std::atomic<int64_t> min_valid_time_;
  std::atomic<int64_t> write_floor_;
  std::atomic<int64_t> min_time_;
  std::atomic<int64_t> max_time_;
  std::atomic<int64_t> out_of_order_window_;

  mutable base::Mutex readers_mu_;
  base::CondVar readers_changed_;
  CommitSequence committed_ GUARDED_BY(readers_mu_) = 0;
  std::multiset<CommitSequence> readers_ GUARDED_BY(readers_mu_);

  mutable base::Mutex metadata_mu_;
  struct Family {
    Metadata metadata;
    bool logged = false;
  };
  std::map<std::string, Family> families_ GUARDED_BY(metadata_mu_);

  base::Mutex commit_mu_;
  std::unique_ptr<LogWriter> log_ GUARDED_BY(commit_mu_);
  LogEncoder encoder_ GUARDED_BY(commit_mu_);
  bool closed_ GUARDED_BY(commit_mu_) = false;
  bool held_ GUARDED_BY(commit_mu_) = false;
  base::CondVar let_go_;
  int64_t last_sync_ms_ GUARDED_BY(commit_mu_) = 0;
  // The encoder and the series disagree on a value: the next record begins a segment.
  bool encoder_stale_ GUARDED_BY(commit_mu_) = false;
  // Set when a flush failed: the kernel may have dropped what it held, and only a checkpoint has all of it again.
  bool flush_failed_ GUARDED_BY(commit_mu_) = false;

  base::Mutex maintain_mu_;
  std::string directory_;                  // Of the log; "": none. Written by OpenLog() only.
  std::unique_ptr<HeadChunkFiles> files_;  // Null without a directory. Set by OpenLog(); written to by maintenance.
  uint64_t checkpoint_bytes_ GUARDED_BY(maintain_mu_) = 0;
  uint64_t replayed_bytes_ GUARDED_BY(maintain_mu_) = 0;   // Of segments that this process did not write.
  uint64_t checkpoint_mark_ GUARDED_BY(maintain_mu_) = 0;  // bytes_written() of the log at the last checkpoint.
  uint32_t oldest_file_ GUARDED_BY(maintain_mu_) = 0;      // The lowest chunk file that a series refers to.
  uint64_t retired_ GUARDED_BY(maintain_mu_) = 0;
  CommitSequence retired_at_ GUARDED_BY(maintain_mu_) = 0;
};

}  // namespace tidewright::tsdb
