// Head: the series in memory, their index, and the log that makes them durable. What Db is made of.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/db.h"
#include "tsdb/memory_series.h"
#include "tsdb/postings.h"
#include "tsdb/record.h"
#include "tsdb/wal.h"

namespace tidewright::tsdb {

using SeriesPtr = std::shared_ptr<MemorySeries>;

// What is known of a metric family.
struct Family {
  Metadata metadata;
  SeriesRef ref = 0;   // A series of the family, so that the log can name it; 0 when none is known.
  std::string metric;  // The metric name of that series.
};

// What an Appender collected.
struct HeadBatch {
  struct Entry {
    SeriesPtr series;
    Sample sample;
  };
  uint64_t id = 0;
  std::vector<Entry> entries;
  std::map<std::string, Family> families;
  std::vector<SeriesPtr> created;

  void Clear() {
    entries.clear();
    families.clear();
    created.clear();
  }
};

// Thread-safe. Locks are taken in this order: maintenance, commit, one stripe, one series; postings, metadata and
// readers are taken last and alone.
class Head {
 public:
  Head(const DbOptions& options, base::Clock& clock, base::MetricRegistry* metrics);

  // Replays the log in `directory` and goes on writing to it. Call once, before anything else; never with "".
  base::Status OpenLog(const std::string& directory);
  base::Status CloseLog();

  // For Appenders.
  uint64_t NewBatchId() { return next_batch_.fetch_add(1, std::memory_order_relaxed); }
  base::Result<SeriesRef> Admit(HeadBatch* batch, SeriesRef ref, const Labels& labels, const Sample& sample);
  base::Status Commit(HeadBatch* batch);
  void Rollback(HeadBatch* batch);

  // For Queriers. Every BeginRead() is paired with an EndRead().
  CommitSequence BeginRead();
  void EndRead(CommitSequence reader);
  // The series that match, in no order.
  std::vector<SeriesPtr> Find(const Matchers& matchers) const;
  std::vector<std::string> LabelNames() const { return postings_.Names(); }
  std::vector<std::string> LabelValues(const std::string& name) const { return postings_.Values(name); }
  std::map<std::string, Metadata> AllMetadata() const;
  // Samples before this are gone for readers and refused from writers.
  int64_t MinValidTime() const { return min_valid_time_.load(std::memory_order_relaxed); }

  base::Status Maintain();
  DbStats Stats() const;

 private:
  static constexpr size_t kStripes = 64;
  struct alignas(64) RefStripe {
    mutable base::Mutex mu;
    std::unordered_map<SeriesRef, SeriesPtr> series GUARDED_BY(mu);
  };
  struct alignas(64) HashStripe {
    base::Mutex mu;
    std::unordered_multimap<uint64_t, SeriesPtr> series GUARDED_BY(mu);
  };
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
    base::Counter& skipped_records;
    base::Counter& checkpoints;
    base::Counter& failed_checkpoints;
  };
  struct ReplayState;

  SeriesPtr ByRef(SeriesRef ref) const;
  base::Result<SeriesPtr> GetOrCreate(const Labels& labels, SeriesRef wanted_ref, bool* created);
  base::Status Refuse(MemorySeries::Admission admission, const MemorySeries& series, const Sample& sample);
  void NoteTime(int64_t t);
  CommitSequence OldestReader();

  std::vector<std::string> EncodeBatch(HeadBatch* batch) REQUIRES_LOCK(commit_mu_);
  std::string EncodeFamilies(HeadBatch* batch) REQUIRES_LOCK(commit_mu_);
  base::Status WriteLog(HeadBatch* batch) REQUIRES_LOCK(commit_mu_);
  void Publish(HeadBatch* batch) REQUIRES_LOCK(commit_mu_);

  base::Status ApplyRecord(std::string_view record, ReplayState* state);
  base::Status ReplaySeries(std::string_view record, ReplayState* state);
  base::Status ReplaySamples(std::string_view record, ReplayState* state);
  base::Status ReplayMetadata(std::string_view record, ReplayState* state);

  void Truncate() REQUIRES_LOCK(maintain_mu_);
  void Forget(const std::vector<SeriesPtr>& series);
  void ForgetFamilies();
  bool CheckpointDue() REQUIRES_LOCK(maintain_mu_);
  base::Status Checkpoint() REQUIRES_LOCK(maintain_mu_);
  base::Status WriteSnapshot(WalWriter& writer) const;

  const DbOptions options_;
  base::Clock& clock_;
  base::MetricRegistry own_registry_;  // Used when the owner gave none.
  Instruments instruments_;

  std::array<RefStripe, kStripes> by_ref_;
  std::array<HashStripe, kStripes> by_hash_;
  Postings postings_;
  std::atomic<SeriesRef> next_ref_{1};
  std::atomic<uint64_t> next_batch_{1};
  std::atomic<uint64_t> series_count_{0};
  std::atomic<uint64_t> samples_appended_{0};
  std::atomic<int64_t> min_valid_time_;
  std::atomic<int64_t> min_time_;
  std::atomic<int64_t> max_time_;

  mutable base::Mutex readers_mu_;
  CommitSequence committed_ GUARDED_BY(readers_mu_) = 0;
  std::multiset<CommitSequence> readers_ GUARDED_BY(readers_mu_);

  mutable base::Mutex metadata_mu_;
  std::map<std::string, Family> families_ GUARDED_BY(metadata_mu_);

  base::Mutex commit_mu_;
  std::unique_ptr<WalWriter> log_ GUARDED_BY(commit_mu_);
  bool closed_ GUARDED_BY(commit_mu_) = false;
  int64_t last_sync_ms_ GUARDED_BY(commit_mu_) = 0;
  // Set when a flush failed: the kernel may have dropped what it held, and only a checkpoint has all of it again.
  bool flush_failed_ GUARDED_BY(commit_mu_) = false;

  base::Mutex maintain_mu_;
  std::string directory_;  // Of the log; "": none. Written by OpenLog() only.
  uint64_t checkpoint_bytes_ GUARDED_BY(maintain_mu_) = 0;
  uint64_t replayed_bytes_ GUARDED_BY(maintain_mu_) = 0;   // Of segments that this process did not write.
  uint64_t checkpoint_mark_ GUARDED_BY(maintain_mu_) = 0;  // bytes_written() of the log at the last checkpoint.
};

}  // namespace tidewright::tsdb
