#include "tsdb/head.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/log.h"

namespace tidewright::tsdb {

namespace {

constexpr char kRejected[] = "tidewright_tsdb_samples_rejected_total";
constexpr char kRejectedHelp[] = "Samples that the store refused, by reason.";

void StoreMin(std::atomic<int64_t>* value, int64_t t) {
  int64_t current = value->load(std::memory_order_relaxed);
  while (t < current && !value->compare_exchange_weak(current, t, std::memory_order_relaxed)) {
  }
}

void StoreMax(std::atomic<int64_t>* value, int64_t t) {
  int64_t current = value->load(std::memory_order_relaxed);
  while (t > current && !value->compare_exchange_weak(current, t, std::memory_order_relaxed)) {
  }
}

uint64_t RandomNumber() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

Head::Instruments::Instruments(base::MetricRegistry& registry)
    : series(registry.GetGauge("tidewright_tsdb_series", "Series in memory.")),
      appended(registry.GetCounter("tidewright_tsdb_samples_appended_total", "Samples committed.")),
      out_of_order(registry.GetCounter(kRejected, kRejectedHelp, {{"reason", "out_of_order"}})),
      conflicting(registry.GetCounter(kRejected, kRejectedHelp, {{"reason", "duplicate_time"}})),
      too_old(registry.GetCounter(kRejected, kRejectedHelp, {{"reason", "too_old"}})),
      series_limit(registry.GetCounter(kRejected, kRejectedHelp, {{"reason", "series_limit"}})),
      failed_commits(registry.GetCounter("tidewright_tsdb_commits_failed_total",
                                         "Batches that were dropped because the log could not be written.")),
      corruptions(registry.GetCounter("tidewright_tsdb_wal_corruptions_total", "Damage found in the log.")),
      skipped_samples(registry.GetCounter("tidewright_tsdb_samples_skipped_total",
                                          "Samples of series that the store does not know or has no memory for.")),
      checkpoints(registry.GetCounter("tidewright_tsdb_checkpoints_total", "Checkpoints written.")),
      failed_checkpoints(registry.GetCounter("tidewright_tsdb_checkpoints_failed_total", "Checkpoints that failed.")),
      damaged_chunks(registry.GetCounter("tidewright_tsdb_chunks_damaged_total",
                                         "Times that a chunk could not be read and was left out of an answer.")),
      failed_chunk_writes(registry.GetCounter("tidewright_tsdb_chunk_writes_failed_total",
                                              "Times that finished chunks could not be written to a file.")),
      exemplars(registry.GetCounter("tidewright_tsdb_exemplars_appended_total", "Exemplars committed.")),
      late_exemplars(registry.GetCounter("tidewright_tsdb_exemplars_out_of_order_total",
                                         "Exemplars that the store refused because a newer one is there.")),
      late_samples(registry.GetCounter("tidewright_tsdb_out_of_order_samples_appended_total",
                                       "Samples committed that were older than the newest of their series.")) {}

Head::Head(const DbOptions& options, base::Clock& clock, base::MetricRegistry* metrics)
    : options_(options),
      clock_(clock),
      instruments_(metrics != nullptr ? *metrics : own_registry_),
      index_([this](SeriesRef ref) { return LabelsOf(ref); }),
      exemplars_(options.max_exemplars),
      chunks_(RandomNumber()),
      min_valid_time_(kNever),
      write_floor_(kNever),
      min_time_(kNoTime),
      max_time_(kNever),
      out_of_order_window_(options.out_of_order_window_ms),
      encoder_(index_.symbols()) {}

Head::~Head() = default;

void Head::NoteTime(int64_t t) {
  StoreMin(&min_time_, t);
  StoreMax(&max_time_, t);
}

// The times of a series that a checkpoint had.
void Head::NoteState(const SeriesData& series) {
  if (auto newest = chunks_.LastTime(series)) StoreMax(&max_time_, *newest);
  if (auto oldest = chunks_.MinTime(series)) StoreMin(&min_time_, *oldest);
}

// Makes the place of a new series.
bool Head::PublishSeries(const IndexedSeries& series) {
  Page* page = pages_.FindOrCreate(series.ref);
  if (page == nullptr) return false;
  base::MutexLock lock(page->mu);
  page->Create(series.ref)->labels = series.labels;
  instruments_.series.Set(static_cast<double>(series_count_.fetch_add(1, std::memory_order_relaxed) + 1));
  return true;
}

// Labels change with the index locked for writing, and this is called with it locked for reading.
Slab::Handle Head::LabelsOf(SeriesRef ref) const {
  const Page* page = pages_.Find(ref);
  return page == nullptr || page->places == nullptr ? 0 : (*page->places)[ref % SeriesPages::kPageSeries].labels;
}

CommitSequence Head::OldestReader() const {
  base::MutexLock lock(readers_mu_);
  return readers_.empty() ? committed_ : std::min(committed_, *readers_.begin());
}

CommitSequence Head::BeginRead() {
  base::MutexLock lock(readers_mu_);
  readers_.insert(committed_);
  return committed_;
}

void Head::EndRead(CommitSequence reader) {
  base::MutexLock lock(readers_mu_);
  readers_.erase(readers_.find(reader));
  readers_changed_.NotifyAll();
}

std::vector<IndexedSeries> Head::Select(const Matchers& matchers, int64_t mint, int64_t maxt, CommitSequence reader,
                                        Part part) const {
  std::vector<IndexedSeries> found = index_.Select(matchers);
  std::erase_if(found, [&](const IndexedSeries& one) { return !MayHave(one.ref, mint, maxt, reader, part); });
  return found;
}

bool Head::MayHave(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, Part part) const {
  Page* page = pages_.Find(ref);
  base::MutexLock lock(page->mu);
  const SeriesData* series = page->Find(ref);
  if (series == nullptr) return false;
  if (part != Part::kInOrder && series->late) {
    if (late_.MayHave(ref, mint, maxt, reader) || late_histograms_.MayHave(ref, mint, maxt, reader)) return true;
  }
  if (part == Part::kLate) return false;
  if (series->histogram && histograms_.MayHave(ref, mint, maxt, reader)) return true;
  return chunks_.MayHave(*series, mint, maxt, reader);
}

bool Head::Read(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, ChunkFileReader* files,
                ColumnBuffer* buffer, SampleColumns* columns, Part part) const {
  size_t damaged = 0;
  bool histograms = false, late = false;
  *columns = {};
  Page* page = pages_.Find(ref);
  if (page == nullptr) return false;
  {
    base::MutexLock lock(page->mu);
    const SeriesData* series = page->Find(ref);
    late = series != nullptr && series->late && part != Part::kInOrder;
    histograms = late || (series != nullptr && series->histogram);
    if (series != nullptr && part != Part::kLate) {
      chunks_.Read(*series, mint, maxt, reader, files, buffer, columns, &damaged);
    }
  }
  if (damaged > 0) instruments_.damaged_chunks.Add(static_cast<double>(damaged));
  if (late) AddLate(ref, mint, maxt, reader, buffer, columns);
  return histograms;
}

void Head::Prefetch(const Ahead& ahead, int64_t mint, int64_t maxt, ChunkFileReader* files) const {
  Page* const far = pages_.Find(ahead.far);
  Page* const near = pages_.Find(ahead.near);
  Page* const next = pages_.Find(ahead.next);
  Page* const pages[] = {far, near == far ? nullptr : near, next == far || next == near ? nullptr : next};
  for (Page* page : pages) {  // Mostly one that all three are in.
    if (page == nullptr) continue;
    base::MutexLock lock(page->mu);
    if (page == far && page->places != nullptr) {
      __builtin_prefetch(&(*page->places)[ahead.far % SeriesPages::kPageSeries]);
    }
    const SeriesData* const soon = page == near ? page->Find(ahead.near) : nullptr;
    if (soon != nullptr) chunks_.Prefetch(*soon, mint);
    const SeriesData* const sooner = page == next ? page->Find(ahead.next) : nullptr;
    if (sooner != nullptr) chunks_.PrefetchClosed(*sooner, mint, maxt, files);
  }
}

std::vector<HistogramSample> Head::ReadHistograms(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader,
                                                  Part part) const {
  Page* page = pages_.Find(ref);
  if (page == nullptr) return {};
  bool in_order, late;
  {
    base::MutexLock lock(page->mu);
    const SeriesData* series = page->Find(ref);
    in_order = series != nullptr && series->histogram && part != Part::kLate;
    late = series != nullptr && series->late && part != Part::kInOrder;
  }
  std::vector<HistogramSample> samples;
  if (in_order) samples = histograms_.Read(ref, mint, maxt, reader);
  if (!late) return samples;
  for (auto& entry : late_histograms_.Read(ref, mint, maxt, reader)) {
    samples.push_back({entry.t, std::move(entry.value)});
  }
  auto before = [](const HistogramSample& a, const HistogramSample& b) { return a.t < b.t; };
  auto same = [](const HistogramSample& a, const HistogramSample& b) { return a.t == b.t; };
  std::stable_sort(samples.begin(), samples.end(), before);
  samples.erase(std::unique(samples.begin(), samples.end(), same), samples.end());
  return samples;
}

std::map<std::string, Metadata> Head::AllMetadata() const {
  base::MutexLock lock(metadata_mu_);
  std::map<std::string, Metadata> all;
  for (const auto& [name, family] : families_) all.emplace(name, family.metadata);
  return all;
}

DbStats Head::Stats() const {
  DbStats stats;
  stats.series = series_count_.load(std::memory_order_relaxed);
  stats.samples_appended = samples_appended_.load(std::memory_order_relaxed);
  stats.wal_corruptions = static_cast<uint64_t>(instruments_.corruptions.Value());
  if (MinTime() != kNoTime) stats.min_time = std::max(MinTime(), MinValidTime());
  if (MaxTime() != kNever) stats.max_time = MaxTime();
  return stats;
}

void Head::SetMinValidTime(int64_t mint) { StoreMax(&min_valid_time_, mint); }

void Head::SetWriteFloor(int64_t floor) { StoreMax(&write_floor_, floor); }

CommitSequence Head::MarkReaders() {
  base::MutexLock commit(commit_mu_);  // A commit under way already has its number.
  base::MutexLock lock(readers_mu_);
  return committed_++;
}

bool Head::WaitForReaders(CommitSequence mark, int64_t patience_ms) {
  const int64_t deadline = base::MonotonicNanos() + patience_ms * 1'000'000;
  base::MutexLock lock(readers_mu_);
  while (!readers_.empty() && *readers_.begin() <= mark) {
    int64_t left = (deadline - base::MonotonicNanos()) / 1'000'000;
    if (left <= 0) return false;
    readers_changed_.WaitFor(readers_mu_, std::chrono::milliseconds(left));
  }
  return true;
}

// Calls `use` with each series, commits and its page being locked.
template <typename Use>
void Head::ChangeEachSeries(Use&& use) {
  const SeriesRef end = index_.next_ref();
  for (SeriesRef first = 0; first < end; first += SeriesPages::kPageSeries) {
    Page* page = pages_.Find(first);
    if (page == nullptr) continue;
    base::MutexLock commit(commit_mu_);
    base::MutexLock lock(page->mu);
    for (SeriesRef ref = first; page->live > 0 && ref < first + SeriesPages::kPageSeries; ++ref) {
      SeriesData* series = page->Find(ref);
      if (series != nullptr) use(ref, series);
    }
  }
}

void Head::Truncate(int64_t mint) {
  base::MutexLock maintain(maintain_mu_);
  int64_t oldest = kNoTime;
  uint32_t oldest_file = UINT32_MAX;
  std::vector<SeriesRef> empty;
  ChangeEachSeries([&](SeriesRef ref, SeriesData* series) {
    chunks_.Truncate(series, mint);
    oldest = std::min(oldest, chunks_.MinTime(*series).value_or(kNoTime));
    if (series->histogram) {
      histograms_.Truncate(ref, mint);
      oldest = std::min(oldest, histograms_.NextTime(ref, kNever));
    }
    if (IsEmpty(*series, ref)) empty.push_back(ref);
    if (series->closed_count > 0 && !chunks_.closed(*series)->in_memory()) {
      oldest_file = std::min(oldest_file, FileOf(chunks_.closed(*series)->place));
    }
  });
  if (!empty.empty()) {
    {
      base::MutexLock commit(commit_mu_);
      Forget(empty);
    }
    ForgetFamilies();
  }
  min_time_.store(oldest, std::memory_order_relaxed);
  oldest_file_ = oldest_file;
  Reclaim();
}

// Removes those series that have no samples and that no batch under way uses.
void Head::Forget(const std::vector<SeriesRef>& candidates) {
  auto remove = [this](SeriesRef ref) {
    Page* page = pages_.Find(ref);
    base::MutexLock lock(page->mu);
    SeriesData* series = page->Find(ref);
    if (series->pending > 0 || !IsEmpty(*series, ref)) return false;
    if (series->histogram) histograms_.Forget(ref);
    if (series->late) {
      late_.Forget(ref);
      late_histograms_.Forget(ref);
    }
    chunks_.Free(series);
    page->Remove(ref);
    return true;
  };
  size_t removed = index_.Remove(candidates, remove);
  instruments_.series.Set(static_cast<double>(series_count_.fetch_sub(removed, std::memory_order_relaxed) - removed));
}

// Frees the labels of removed series once no query is left that may have found them.
void Head::Reclaim() {
  base::MutexLock commit(commit_mu_);
  if (OldestReader() <= retired_at_) return;
  std::vector<Symbol> freed;
  index_.Reclaim(retired_, &freed);
  for (Symbol symbol : freed) encoder_.ForgetSymbol(symbol);
  retired_ = index_.Retire();
  base::MutexLock lock(readers_mu_);
  retired_at_ = committed_++;  // Whoever reads from now on has a higher number.
}

void Head::Empty() {
  base::MutexLock maintain(maintain_mu_);
  ChangeEachSeries([&](SeriesRef ref, SeriesData* series) {
    chunks_.Truncate(series, INT64_MAX);
    if (series->histogram) histograms_.Truncate(ref, INT64_MAX);
  });
  DropLate(INT64_MIN, INT64_MAX, UINT64_MAX);
  min_time_.store(kNoTime, std::memory_order_relaxed);
  oldest_file_ = UINT32_MAX;
}

int64_t Head::NextTime(int64_t t) const {
  int64_t next = kNoTime;
  const SeriesRef end = index_.next_ref();
  for (SeriesRef first = 0; first < end; first += SeriesPages::kPageSeries) {
    Page* page = pages_.Find(first);
    if (page == nullptr) continue;
    base::MutexLock lock(page->mu);
    for (SeriesRef ref = first; page->live > 0 && ref < first + SeriesPages::kPageSeries; ++ref) {
      const SeriesData* series = page->Find(ref);
      if (series == nullptr) continue;
      next = std::min(next, chunks_.NextTime(*series, t));
      if (series->histogram) next = std::min(next, histograms_.NextTime(ref, t));
    }
  }
  return next;
}

std::set<int64_t> Head::LateWindows() const {
  std::set<int64_t> windows;
  late_.AddWindows(&windows);
  late_histograms_.AddWindows(&windows);
  return windows;
}

void Head::DropLate(int64_t mint, int64_t maxt, CommitSequence seen) {
  late_.Drop(mint, maxt, seen);
  late_histograms_.Drop(mint, maxt, seen);
}

void Head::HoldCommits(bool hold) {
  base::MutexLock lock(commit_mu_);
  held_ = hold;
  let_go_.NotifyAll();
}

void Head::RefuseCommits() {
  base::MutexLock lock(commit_mu_);
  closed_ = true;
}

bool Head::closed() {
  base::MutexLock lock(commit_mu_);
  return closed_;
}

base::Status Head::Maintain(bool checkpoint) {
  base::MutexLock maintain(maintain_mu_);
  if (files_ == nullptr) return base::Status::Ok();
  TW_RETURN_IF_ERROR(files_->RemoveBelow(std::exchange(oldest_file_, 0)));  // Before new files come into being.
  base::Status moved = MoveChunks();
  if (!moved.ok()) {
    instruments_.failed_chunk_writes.Add();
    base::LogError("tsdb", "writing finished chunks failed; they stay in memory", {{"error", moved.ToString()}});
  }
  if (!checkpoint && !CheckpointDue()) return base::Status::Ok();
  base::Status written = Checkpoint();
  (written.ok() ? instruments_.checkpoints : instruments_.failed_checkpoints).Add();
  return written;
}

}  // namespace tidewright::tsdb
