#include "tsdb/db.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/block_set.h"
#include "tsdb/head.h"
#include "tsdb/head_querier.h"
#include "tsdb/merge_querier.h"
#include "tsdb/prometheus_takeover.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

class HeadAppender : public Appender {
 public:
  HeadAppender(Head& head, Arrivals& arrivals) : head_(head), arrivals_(arrivals) {}
  ~HeadAppender() override { head_.Rollback(&batch_); }

  base::Result<SeriesRef> Append(SeriesRef ref, const Labels& labels, int64_t t, double value) override {
    return Met(labels, head_.Admit(&batch_, ref, labels, {t, value}));
  }
  base::Result<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels, int64_t t,
                                          const Histogram& histogram) override {
    TW_RETURN_IF_ERROR(Validate(histogram));
    return Met(labels, head_.AdmitHistogram(&batch_, ref, labels, {t, histogram}));
  }
  base::Result<SeriesRef> AppendFloatHistogram(SeriesRef ref, const Labels& labels, int64_t t,
                                               const FloatHistogram& histogram) override {
    TW_RETURN_IF_ERROR(Validate(histogram));
    return Met(labels, head_.AdmitHistogram(&batch_, ref, labels, {t, histogram}));
  }
  void AppendBatch(std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                   std::vector<BatchRejection>* rejected) override {
    head_.AdmitAll(&batch_, refs, values, t, rejected);
  }
  base::Status AppendExemplar(SeriesRef ref, const Exemplar& exemplar) override {
    return head_.AdmitExemplar(&batch_, ref, exemplar);
  }
  void UpdateMetadata(const std::string& family, const Metadata& metadata) override {
    batch_.families[family] = metadata;
  }
  base::Status Commit() override {
    if (!arrivals_.watched()) return head_.Commit(&batch_);
    std::vector<uint32_t> metrics;
    arrivals_.Find(batch_.entries, &metrics);
    arrivals_.Find(batch_.histograms, &metrics);
    base::Status committed = head_.Commit(&batch_);
    if (committed.ok()) arrivals_.Told(metrics);
    return committed;
  }
  void Rollback() override { head_.Rollback(&batch_); }

 private:
  base::Result<SeriesRef> Met(const Labels& labels, base::Result<SeriesRef> ref) {
    if (ref.ok() && arrivals_.watched() && !labels.empty()) arrivals_.Meet(*ref, labels);
    return ref;
  }

  Head& head_;
  Arrivals& arrivals_;
  HeadBatch batch_;
};

// Holds the directory for this process.
class DirectoryLock {
 public:
  static base::Result<DirectoryLock> Acquire(const std::string& directory) {
    const std::string path = directory + "/lock";
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FileError("open lock file", path, errno);
    DirectoryLock lock(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK) return FileError("lock", path, errno);
    return base::FailedPreconditionError("database " + directory +
                                         " is in use by another process; stop it or choose another directory");
  }
  DirectoryLock() = default;
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~DirectoryLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

constexpr int64_t kPatienceMs = 30'000;  // For queries that hold on to what is to be dropped.
constexpr char kEmptyWal[] = "/wal";     // promtool insists on one.
constexpr int kMaxCuts = 64;             // Blocks that one Maintain() writes.
constexpr size_t kMaxLate = 1'000'000;   // Samples out of order that do not wait for the next cut of the head.

int64_t WindowStart(int64_t t) { return t < INT64_MIN + kChunkWindowMs ? INT64_MIN : ChunkWindow(t) * kChunkWindowMs; }
int64_t WindowEnd(int64_t t) { return t > INT64_MAX - kChunkWindowMs ? INT64_MAX : WindowStart(t) + kChunkWindowMs; }

class DbImpl : public Db {
 public:
  DbImpl(DirectoryLock lock, std::string directory, std::unique_ptr<BlockSet> blocks, const DbOptions& options,
         base::Clock& clock, base::MetricRegistry* metrics)
      : lock_(std::move(lock)),
        directory_(std::move(directory)),
        options_(options),
        clock_(clock),
        blocks_(std::move(blocks)),
        head_(options, clock, metrics) {
    if (metrics == nullptr) return;
    metrics
        ->GetCounter("tidewright_tsdb_blocks_damaged_total",
                     "Blocks that could not be read when the store was opened, and are left out.")
        .Add(static_cast<double>(blocks_->damaged()));
  }
  ~DbImpl() override {
    base::Status status = Close();
    if (!status.ok()) base::LogError("tsdb", "closing the database failed", {{"error", status.ToString()}});
  }

  base::Status Start();

  std::unique_ptr<Appender> NewAppender() override { return std::make_unique<HeadAppender>(head_, arrivals_); }
  Arrivals& arrivals() override { return arrivals_; }
  base::Result<std::unique_ptr<Querier>> NewQuerier(int64_t mint, int64_t maxt) override;
  std::map<std::string, Metadata> AllMetadata() const override { return head_.AllMetadata(); }
  base::Result<std::vector<SeriesExemplars>> SelectExemplars(int64_t start, int64_t end,
                                                             std::span<const Matchers> any) const override {
    return head_.exemplars().Select(start, end, any);
  }
  void SetMaxExemplars(size_t count) override { head_.exemplars().Resize(count); }
  void SetOutOfOrderWindow(int64_t ms) override { head_.SetOutOfOrderWindow(ms); }
  uint64_t SeriesEpoch() const override { return head_.index().epoch(); }
  base::Status Maintain() override;
  DbStats Stats() const override;
  base::Result<uint64_t> Delete(int64_t mint, int64_t maxt, const Matchers& matchers) override;
  base::Status CleanTombstones() override { return blocks_->CleanTombstones(); }
  base::Status Snapshot(const std::string& directory, bool without_head) override;
  base::Status Close() override;

 private:
  void NoteBlocks();
  int64_t Newest() const;
  void Retain();
  int64_t BeginOfCut(int64_t oldest) REQUIRES_LOCK(work_mu_);
  base::Status CutBlocks() REQUIRES_LOCK(work_mu_);
  base::Result<bool> Cut(int64_t mint, int64_t maxt, Head::Part part, CommitSequence* seen) REQUIRES_LOCK(work_mu_);
  bool DropLate() REQUIRES_LOCK(work_mu_);
  base::Status CutLate() REQUIRES_LOCK(work_mu_);
  base::Status CutAll() REQUIRES_LOCK(work_mu_);
  base::Status EmptyHead() REQUIRES_LOCK(work_mu_);
  using WritePart = std::function<base::Status(int64_t mint, int64_t maxt, Head::Part part)>;
  base::Status WriteAll(const WritePart& write) REQUIRES_LOCK(work_mu_);
  base::Status WriteLate(const WritePart& write) REQUIRES_LOCK(work_mu_);
  int64_t LongestBlock() const {
    return options_.max_block_ms > 0 ? options_.max_block_ms : options_.retention_ms / 10;
  }

  DirectoryLock lock_;
  const std::string directory_;  // "": everything is in memory.
  const DbOptions options_;
  base::Clock& clock_;
  const std::unique_ptr<BlockSet> blocks_;
  Head head_;
  Arrivals arrivals_{head_.index()};
  base::Mutex work_mu_;  // Maintenance, deletion and closing are one at a time.
  // The head up to here is in blocks, but is dropped only when nobody is left who may not see those blocks.
  int64_t cut_end_ GUARDED_BY(work_mu_) = INT64_MIN;
  CommitSequence cut_mark_ GUARDED_BY(work_mu_) = 0;
  // The same for samples out of order: windows, each up to a commit.
  std::vector<std::pair<int64_t, CommitSequence>> late_cuts_ GUARDED_BY(work_mu_);
  CommitSequence late_mark_ GUARDED_BY(work_mu_) = 0;
};

base::Status DbImpl::Start() {
  if (directory_.empty()) return base::Status::Ok();
  TW_RETURN_IF_ERROR(head_.OpenLog(directory_));
  NoteBlocks();
  TW_RETURN_IF_ERROR(TakeOverPrometheus(directory_, *blocks_, head_, *this, clock_));
  Retain();
  return base::Status::Ok();
}

// Where the head begins, as far as blocks say.
void DbImpl::NoteBlocks() {
  base::MutexLock work(work_mu_);
  // Only whole windows: a clean stop leaves the last one unfinished.
  for (const auto& block : blocks_->List()) cut_end_ = std::max(cut_end_, WindowStart(block->meta().maxt));
  if (cut_end_ != INT64_MIN) head_.SetWriteFloor(cut_end_);
}

// The retention counts from the newest sample, so that a store which was off for a while keeps what it has, but never
// from a time in the future.
int64_t DbImpl::Newest() const {
  int64_t newest = head_.MaxTime();
  for (const auto& block : blocks_->List()) newest = std::max(newest, block->meta().maxt - 1);
  return std::min(newest, clock_.NowMs());
}

void DbImpl::Retain() {
  const int64_t newest = Newest();
  if (newest == Head::kNever || newest < INT64_MIN + options_.retention_ms) return;
  head_.SetMinValidTime(newest - options_.retention_ms);
}

// The head's view is made before the blocks are listed, so that what a cut moves between the two is seen.
base::Result<std::unique_ptr<Querier>> DbImpl::NewQuerier(int64_t mint, int64_t maxt) {
  mint = std::max(mint, head_.MinValidTime());
  std::unique_ptr<Querier> head = NewHeadQuerier(head_, mint, maxt);
  std::vector<std::unique_ptr<Querier>> sources;
  for (const auto& block : blocks_->List()) {
    if (block->mint() <= maxt && block->maxt() > mint) sources.push_back(block->NewQuerier(mint, maxt));
  }
  sources.push_back(std::move(head));
  return NewMergeQuerier(std::move(sources));
}

DbStats DbImpl::Stats() const {
  DbStats stats = head_.Stats();
  const int64_t oldest = std::min(blocks_->MinTime(), head_.MinTime());
  if (oldest != INT64_MAX) stats.min_time = std::max(oldest, head_.MinValidTime());
  for (const auto& block : blocks_->List()) {
    ++stats.blocks;
    stats.block_bytes += block->size_bytes();
    int64_t end = block->meta().maxt - 1;
    stats.max_time = stats.blocks == 1 && head_.MaxTime() == Head::kNever ? end : std::max(stats.max_time, end);
  }
  return stats;
}

// Writes a block of the head's samples in [mint, maxt) and shows it to queries. False when there are none.
base::Result<bool> DbImpl::Cut(int64_t mint, int64_t maxt, Head::Part part, CommitSequence* seen) {
  const std::string ulid = NewUlid(clock_.NowMs());
  TW_ASSIGN_OR_RETURN(std::optional<BlockMeta> meta, head_.WriteBlock(directory_, mint, maxt, ulid, part, seen));
  if (!meta) return false;
  TW_RETURN_IF_ERROR(blocks_->Add(ulid));
  return true;
}

// Blocks follow each other where they can: a clean stop ends one within a window.
int64_t DbImpl::BeginOfCut(int64_t oldest) {
  int64_t begin = std::max(WindowStart(oldest), cut_end_);
  for (const auto& block : blocks_->List()) {
    int64_t end = block->meta().maxt;
    if (end > begin && end <= oldest) begin = end;
  }
  return begin;
}

// Windows that ended an hour ago become blocks, once the head has three hours.
base::Status DbImpl::CutBlocks() {
  const int64_t newest = std::min(head_.MaxTime(), clock_.NowMs());
  for (int i = 0; i < kMaxCuts; ++i) {
    if (cut_end_ != INT64_MIN && head_.WaitForReaders(cut_mark_, 0)) head_.Truncate(cut_end_);
    const int64_t oldest = head_.MinTime();
    if (oldest == Head::kNoTime) return base::Status::Ok();
    const int64_t end = std::max(WindowEnd(oldest), cut_end_);
    if (newest < INT64_MIN + 2 * kChunkWindowMs || newest - kChunkWindowMs / 2 < end) return base::Status::Ok();
    // As in Prometheus, what a store begins with is no block of its own when it is less than a window.
    if (newest < oldest + kChunkWindowMs / 2 * 3) return base::Status::Ok();
    // No sample of this window is taken from now on, and those that were are committed.
    head_.SetWriteFloor(end);
    head_.MarkReaders();
    CommitSequence seen = 0;
    TW_RETURN_IF_ERROR(Cut(BeginOfCut(oldest), end, Head::Part::kInOrder, &seen).status());
    cut_end_ = end;
    cut_mark_ = head_.MarkReaders();
  }
  return base::Status::Ok();
}

// Drops what CutLate() wrote; whether it did.
bool DbImpl::DropLate() {
  if (late_cuts_.empty() || !head_.WaitForReaders(late_mark_, 0)) return false;
  for (const auto& [window, seen] : late_cuts_) head_.DropLate(window, WindowEnd(window), seen);
  late_cuts_.clear();
  return true;
}

// Writes samples out of order to blocks of their own, which compaction merges with the others of their time. Only such
// windows as the head was cut from: the newest block says where the rest of the head begins.
base::Status DbImpl::CutLate() {
  if (!late_cuts_.empty()) return base::Status::Ok();
  for (int64_t window : head_.LateWindows()) {
    if (WindowEnd(window) > cut_end_) break;
    CommitSequence seen = 0;
    TW_RETURN_IF_ERROR(Cut(window, WindowEnd(window), Head::Part::kLate, &seen).status());
    late_cuts_.emplace_back(window, seen);
  }
  late_mark_ = head_.MarkReaders();
  return base::Status::Ok();
}

// Calls `write` for each window of the head, and for each of samples out of order.
base::Status DbImpl::WriteAll(const WritePart& write) {
  const int64_t newest = std::min(head_.MaxTime(), INT64_MAX - 1);
  int64_t oldest = head_.NextTime(cut_end_);
  while (oldest <= newest) {
    const int64_t end = std::min(WindowEnd(oldest), newest + 1);
    TW_RETURN_IF_ERROR(write(BeginOfCut(oldest), end, Head::Part::kInOrder));
    oldest = head_.NextTime(end);
  }
  return WriteLate(write);
}

base::Status DbImpl::WriteLate(const WritePart& write) {
  const int64_t newest = std::min(head_.MaxTime(), INT64_MAX - 1);
  for (int64_t window : head_.LateWindows()) {
    TW_RETURN_IF_ERROR(write(window, std::min(WindowEnd(window), newest + 1), Head::Part::kLate));
  }
  return base::Status::Ok();
}

// Writes the whole head to blocks.
base::Status DbImpl::CutAll() {
  return WriteAll([this](int64_t mint, int64_t maxt, Head::Part part) NO_THREAD_SAFETY_ANALYSIS {
    CommitSequence seen = 0;
    return Cut(mint, maxt, part, &seen).status();
  });
}

// Moves everything from the head to blocks.
base::Status DbImpl::EmptyHead() {
  TW_RETURN_IF_ERROR(CutAll());
  if (!head_.WaitForReaders(head_.MarkReaders(), kPatienceMs)) {
    return base::UnavailableError("queries are running for too long; try the deletion again later");
  }
  head_.DropLate(INT64_MIN, INT64_MAX, UINT64_MAX);
  late_cuts_.clear();
  head_.Truncate(INT64_MAX);
  return head_.Maintain(/*checkpoint=*/true);
}

base::Status DbImpl::Maintain() {
  base::MutexLock work(work_mu_);
  if (head_.closed()) return base::FailedPreconditionError("the database is closed");
  Retain();
  head_.DropLate(INT64_MIN, head_.MinValidTime(), UINT64_MAX);
  head_.Truncate(head_.MinValidTime());
  if (directory_.empty()) return base::Status::Ok();
  const int64_t cut_before = cut_end_;
  base::Status cut = CutBlocks();
  const bool dropped = DropLate();
  if (cut.ok() && (cut_end_ != cut_before || head_.LateCount() > kMaxLate)) cut = CutLate();
  // What was dropped must not come back with the log.
  TW_RETURN_IF_ERROR(head_.Maintain(/*checkpoint=*/dropped));
  TW_RETURN_IF_ERROR(cut);
  TW_RETURN_IF_ERROR(blocks_->Retain(head_.MinValidTime(), options_.retention_bytes));
  return blocks_->Compact(LongestBlock(), [] { return false; });
}

base::Result<uint64_t> DbImpl::Delete(int64_t mint, int64_t maxt, const Matchers& matchers) {
  if (directory_.empty()) return base::UnimplementedError("a store in memory deletes nothing");
  base::MutexLock work(work_mu_);
  // Nothing may come in between writing the head and dropping it.
  head_.HoldCommits(true);
  base::Status emptied = EmptyHead();
  head_.HoldCommits(false);
  TW_RETURN_IF_ERROR(emptied);
  return blocks_->Delete(mint, maxt, matchers);
}

base::Status DbImpl::Snapshot(const std::string& directory, bool without_head) {
  if (directory_.empty()) return base::UnimplementedError("a store in memory has no snapshots");
  TW_RETURN_IF_ERROR(base::MakeDirectories(directory + kEmptyWal));
  base::MutexLock work(work_mu_);
  TW_RETURN_IF_ERROR(blocks_->CopyTo(directory));
  if (without_head) return base::Status::Ok();
  auto write = [&](int64_t mint, int64_t maxt, Head::Part part) {
    CommitSequence seen = 0;
    return head_.WriteBlock(directory, mint, maxt, NewUlid(clock_.NowMs()), part, &seen).status();
  };
  // As in Prometheus one block, so that there is one index.
  const int64_t newest = std::min(head_.MaxTime(), INT64_MAX - 1), oldest = head_.NextTime(cut_end_);
  if (oldest <= newest) TW_RETURN_IF_ERROR(write(BeginOfCut(oldest), newest + 1, Head::Part::kInOrder));
  return WriteLate(write);
}

base::Status DbImpl::Close() {
  base::MutexLock work(work_mu_);
  if (head_.closed()) return base::Status::Ok();
  if (directory_.empty()) return head_.CloseLog();
  head_.RefuseCommits();
  base::Status status = CutAll();
  if (status.ok() && head_.WaitForReaders(head_.MarkReaders(), 0)) head_.Empty();
  if (status.ok()) status = head_.Maintain(/*checkpoint=*/true);
  if (status.ok()) status = base::MakeDirectories(directory_ + kEmptyWal);
  if (!status.ok()) {
    base::LogError("tsdb", "writing the head to blocks failed; the log has it all and is replayed at the next start",
                   {{"error", status.ToString()}});
  }
  return head_.CloseLog();
}

}  // namespace

base::Result<std::unique_ptr<Db>> Db::Open(const std::string& directory, const DbOptions& options, base::Clock& clock,
                                           base::MetricRegistry* metrics) {
  DirectoryLock lock;
  if (!directory.empty()) {
    TW_RETURN_IF_ERROR(base::MakeDirectories(directory));
    TW_ASSIGN_OR_RETURN(lock, DirectoryLock::Acquire(directory));
  }
  TW_ASSIGN_OR_RETURN(std::unique_ptr<BlockSet> blocks, BlockSet::Open(directory, clock));
  auto db = std::make_unique<DbImpl>(std::move(lock), directory, std::move(blocks), options, clock, metrics);
  TW_RETURN_IF_ERROR(db->Start());
  return std::unique_ptr<Db>(std::move(db));
}

}  // namespace tidewright::tsdb
