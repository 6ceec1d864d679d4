#include "tsdb/head.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_set>

#include "base/log.h"

namespace tidewright::tsdb {

namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::min();   // max_time_ of an empty head.
constexpr int64_t kNoTime = std::numeric_limits<int64_t>::max();  // min_time_ of an empty head.

// What the text formats append to a family's name to get the names of its series.
constexpr std::string_view kSuffixes[] = {"", "_total", "_bucket", "_sum", "_count", "_info", "_created"};

constexpr char kRejected[] = "tidewright_tsdb_samples_rejected_total";
constexpr char kRejectedHelp[] = "Samples that the store refused, by reason.";

bool SameMetadata(const Metadata& a, const Metadata& b) {
  return a.type == b.type && a.unit == b.unit && a.help == b.help;
}

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
      skipped_records(registry.GetCounter("tidewright_tsdb_wal_skipped_total",
                                          "Records, or samples of unknown series, that replay passed over.")),
      checkpoints(registry.GetCounter("tidewright_tsdb_checkpoints_total", "Checkpoints written.")),
      failed_checkpoints(registry.GetCounter("tidewright_tsdb_checkpoints_failed_total", "Checkpoints that failed.")) {}

Head::Head(const DbOptions& options, base::Clock& clock, base::MetricRegistry* metrics)
    : options_(options),
      clock_(clock),
      instruments_(metrics != nullptr ? *metrics : own_registry_),
      min_valid_time_(kNever),
      min_time_(kNoTime),
      max_time_(kNever) {}

SeriesPtr Head::ByRef(SeriesRef ref) const {
  const RefStripe& stripe = by_ref_[ref % kStripes];
  base::MutexLock lock(stripe.mu);
  auto it = stripe.series.find(ref);
  return it == stripe.series.end() ? nullptr : it->second;
}

void Head::NoteTime(int64_t t) {
  StoreMin(&min_time_, t);
  StoreMax(&max_time_, t);
}

// `wanted_ref` is 0 or the reference that the log gave the series.
base::Result<SeriesPtr> Head::GetOrCreate(const Labels& labels, SeriesRef wanted_ref, bool* created) {
  *created = false;
  const uint64_t hash = labels.Hash();
  HashStripe& stripe = by_hash_[hash % kStripes];
  base::MutexLock lock(stripe.mu);
  auto [begin, end] = stripe.series.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (it->second->labels() == labels && !it->second->forgotten()) return it->second;
  }
  if (options_.max_series > 0 && series_count_.load(std::memory_order_relaxed) >= options_.max_series) {
    instruments_.series_limit.Add();
    return base::ResourceExhaustedError(
        "series limit of " + std::to_string(options_.max_series) +
        " reached; raise it or drop labels with many values by relabelling: " + labels.ToString());
  }
  SeriesRef ref = wanted_ref != 0 ? wanted_ref : next_ref_.fetch_add(1, std::memory_order_relaxed);
  auto series = std::make_shared<MemorySeries>(ref, hash, labels);
  stripe.series.emplace(hash, series);
  {
    RefStripe& refs = by_ref_[ref % kStripes];
    base::MutexLock ref_lock(refs.mu);
    refs.series.emplace(ref, series);
  }
  postings_.Add(ref, labels);
  instruments_.series.Set(static_cast<double>(series_count_.fetch_add(1, std::memory_order_relaxed) + 1));
  *created = true;
  return series;
}

base::Status Head::Refuse(MemorySeries::Admission admission, const MemorySeries& series, const Sample& sample) {
  std::string where = series.labels().ToString() + " at " + std::to_string(sample.t) + " ms";
  if (admission == MemorySeries::Admission::kConflict) {
    instruments_.conflicting.Add();
    return base::AlreadyExistsError("another value is already stored for " + where);
  }
  instruments_.out_of_order.Add();
  return base::OutOfRangeError("a newer sample is already stored for " + where);
}

base::Result<SeriesRef> Head::Admit(HeadBatch* batch, SeriesRef ref, const Labels& labels, const Sample& sample) {
  if (sample.t < MinValidTime()) {
    instruments_.too_old.Add();
    return base::OutOfRangeError("the sample at " + std::to_string(sample.t) +
                                 " ms is older than the retention still takes");
  }
  SeriesPtr series = ref != 0 ? ByRef(ref) : nullptr;
  while (true) {
    if (series == nullptr) {
      if (labels.empty()) return base::InvalidArgumentError("a series needs at least one label with a value");
      bool created = false;
      TW_ASSIGN_OR_RETURN(series, GetOrCreate(labels, 0, &created));
      if (created) batch->created.push_back(series);
    }
    MemorySeries::Admission admission = series->Admit(sample, batch->id);
    SeriesRef known = series->ref();
    switch (admission) {
      case MemorySeries::Admission::kAdmitted: batch->entries.push_back({std::move(series), sample}); return known;
      case MemorySeries::Admission::kRepeated: return known;
      case MemorySeries::Admission::kForgotten: series = nullptr; continue;
      default: return Refuse(admission, *series, sample);
    }
  }
}

void Head::Rollback(HeadBatch* batch) {
  for (HeadBatch::Entry& entry : batch->entries) entry.series->Release();
  // A series that nobody else has begun to use leaves no trace.
  std::vector<SeriesPtr> unused;
  for (SeriesPtr& series : batch->created) {
    if (series->ForgetIfEmpty()) unused.push_back(series);
  }
  Forget(unused);
  batch->Clear();
}

base::Status Head::Commit(HeadBatch* batch) {
  base::Status written;
  {
    base::MutexLock lock(commit_mu_);
    written = WriteLog(batch);
    if (written.ok()) Publish(batch);
  }
  if (!written.ok()) {
    instruments_.failed_commits.Add();
    Rollback(batch);
  }
  return written;
}

std::vector<std::string> Head::EncodeBatch(HeadBatch* batch) {
  std::vector<std::string> records;
  SeriesEncoder series;
  SamplesEncoder samples;
  std::unordered_set<SeriesRef> named;
  for (const HeadBatch::Entry& entry : batch->entries) {
    const MemorySeries& one = *entry.series;
    if (!one.logged && named.insert(one.ref()).second) series.Add(one.ref(), one.labels());
    samples.Add(one.ref(), entry.sample);
  }
  if (!named.empty()) records.push_back(series.bytes());
  std::string families = EncodeFamilies(batch);
  if (!families.empty()) records.push_back(std::move(families));
  if (!batch->entries.empty()) records.push_back(samples.bytes());
  return records;
}

// Only what is new, since scrapes repeat their metadata each time; "" when nothing is. A record names a family by one
// of its series, so a family that comes without series waits until it has one.
std::string Head::EncodeFamilies(HeadBatch* batch) {
  std::vector<std::pair<const std::string, Family>*> changed;
  {
    base::MutexLock lock(metadata_mu_);
    for (auto& entry : batch->families) {
      auto known = families_.find(entry.first);
      bool same = known != families_.end() && known->second.ref != 0 &&
                  SameMetadata(known->second.metadata, entry.second.metadata);
      if (!same) changed.push_back(&entry);
    }
  }
  if (changed.empty()) return "";
  std::unordered_map<std::string_view, SeriesRef> by_metric;
  for (const HeadBatch::Entry& entry : batch->entries) {
    by_metric.emplace(entry.series->labels().MetricName(), entry.series->ref());
  }
  MetadataEncoder encoder;
  bool any = false;
  for (auto* entry : changed) {
    auto& [name, family] = *entry;
    for (std::string_view suffix : kSuffixes) {
      std::string metric = name + std::string(suffix);
      auto series = by_metric.find(metric);
      if (series == by_metric.end()) continue;
      family.ref = series->second;
      family.metric = std::move(metric);
      encoder.Add({family.ref, suffix.empty() ? "" : name, family.metadata});
      any = true;
      break;
    }
  }
  return any ? encoder.bytes() : "";
}

base::Status Head::WriteLog(HeadBatch* batch) {
  if (closed_) return base::FailedPreconditionError("the database is closed");
  if (log_ == nullptr) return base::Status::Ok();
  std::vector<std::string> records = EncodeBatch(batch);
  if (records.empty()) return base::Status::Ok();
  TW_RETURN_IF_ERROR(log_->Append(records));
  int64_t now = clock_.NowMs();
  if (now - last_sync_ms_ < options_.fsync_interval_ms && now >= last_sync_ms_) return base::Status::Ok();
  last_sync_ms_ = now;
  base::Status flushed = log_->Sync();
  if (!flushed.ok()) {
    flush_failed_ = true;
    base::LogError("tsdb", "flushing the log failed; a checkpoint will write everything again",
                   {{"error", flushed.ToString()}});
  }
  return base::Status::Ok();
}

void Head::Publish(HeadBatch* batch) {
  CommitSequence sequence;
  {
    base::MutexLock lock(readers_mu_);
    sequence = committed_ + 1;
  }
  const CommitSequence oldest = OldestReader();
  uint64_t appended = 0;
  for (HeadBatch::Entry& entry : batch->entries) {
    entry.series->logged = true;
    if (!entry.series->Commit(entry.sample, sequence, oldest)) {
      instruments_.out_of_order.Add();
      continue;
    }
    ++appended;
    NoteTime(entry.sample.t);
  }
  samples_appended_.fetch_add(appended, std::memory_order_relaxed);
  instruments_.appended.Add(static_cast<double>(appended));
  {
    base::MutexLock lock(metadata_mu_);
    for (auto& [name, family] : batch->families) {
      Family& stored = families_[name];
      stored.metadata = std::move(family.metadata);
      if (family.ref == 0) continue;
      stored.ref = family.ref;
      stored.metric = std::move(family.metric);
    }
  }
  batch->Clear();
  base::MutexLock lock(readers_mu_);
  committed_ = sequence;
}

CommitSequence Head::OldestReader() {
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
}

std::vector<SeriesPtr> Head::Find(const Matchers& matchers) const {
  Matchers untested;
  std::vector<SeriesPtr> found;
  for (SeriesRef ref : postings_.Candidates(matchers, &untested)) {
    SeriesPtr series = ByRef(ref);
    bool matches = series != nullptr && std::all_of(untested.begin(), untested.end(), [&](const Matcher& matcher) {
                     return matcher.Matches(series->labels().Get(matcher.name()));
                   });
    if (matches) found.push_back(std::move(series));
  }
  return found;
}

std::map<std::string, Metadata> Head::AllMetadata() const {
  base::MutexLock lock(metadata_mu_);
  std::map<std::string, Metadata> all;
  for (const auto& [family, entry] : families_) all.emplace(family, entry.metadata);
  return all;
}

DbStats Head::Stats() const {
  DbStats stats;
  stats.series = series_count_.load(std::memory_order_relaxed);
  stats.samples_appended = samples_appended_.load(std::memory_order_relaxed);
  stats.wal_corruptions = static_cast<uint64_t>(instruments_.corruptions.Value());
  int64_t oldest = min_time_.load(std::memory_order_relaxed);
  if (oldest != kNoTime) {
    stats.min_time = std::max(oldest, MinValidTime());
    stats.max_time = max_time_.load(std::memory_order_relaxed);
  }
  return stats;
}

// Drops what is older than the retention. The retention counts from the newest sample, so that a store which was off
// for a while keeps what it has, but never from a time in the future.
void Head::Truncate() {
  int64_t newest = max_time_.load(std::memory_order_relaxed);
  if (newest == kNever) return;
  int64_t from = std::min(newest, clock_.NowMs());
  int64_t mint = from < kNever + options_.retention_ms ? kNever : from - options_.retention_ms;
  mint = std::max(mint, MinValidTime());
  min_valid_time_.store(mint, std::memory_order_relaxed);

  int64_t oldest = kNoTime;
  std::vector<SeriesPtr> empty;
  for (RefStripe& stripe : by_ref_) {
    base::MutexLock lock(stripe.mu);
    for (auto& [ref, series] : stripe.series) {
      series->Truncate(mint);
      if (series->ForgetIfEmpty()) empty.push_back(series);
      oldest = std::min(oldest, series->MinTime().value_or(kNoTime));
    }
  }
  Forget(empty);
  if (!empty.empty()) ForgetFamilies();
  min_time_.store(oldest, std::memory_order_relaxed);
}

// Removes series that are marked as forgotten from the indexes.
void Head::Forget(const std::vector<SeriesPtr>& series) {
  if (series.empty()) return;
  std::unordered_set<SeriesRef> refs;
  std::vector<const Labels*> labels;
  for (const SeriesPtr& one : series) {
    {
      RefStripe& stripe = by_ref_[one->ref() % kStripes];
      base::MutexLock lock(stripe.mu);
      if (stripe.series.erase(one->ref()) == 0) continue;  // Another thread was faster.
    }
    refs.insert(one->ref());
    labels.push_back(&one->labels());
    HashStripe& stripe = by_hash_[one->hash() % kStripes];
    base::MutexLock lock(stripe.mu);
    auto [begin, end] = stripe.series.equal_range(one->hash());
    auto it = std::find_if(begin, end, [&](const auto& entry) { return entry.second == one; });
    if (it != end) stripe.series.erase(it);
  }
  postings_.Remove(refs, labels);
  instruments_.series.Set(
      static_cast<double>(series_count_.fetch_sub(refs.size(), std::memory_order_relaxed) - refs.size()));
}

// Metadata lives as long as a series of its family.
void Head::ForgetFamilies() {
  base::MutexLock lock(metadata_mu_);
  for (auto it = families_.begin(); it != families_.end();) {
    Family& family = it->second;
    family.ref = 0;
    for (std::string_view suffix : kSuffixes) {
      family.metric = it->first + std::string(suffix);
      family.ref = postings_.Any(kMetricName, family.metric);
      if (family.ref != 0) break;
    }
    it = family.ref == 0 ? families_.erase(it) : std::next(it);
  }
}

base::Status Head::Maintain() {
  base::MutexLock maintain(maintain_mu_);
  Truncate();
  if (directory_.empty()) return base::Status::Ok();
  {
    base::MutexLock lock(commit_mu_);
    if (closed_) return base::FailedPreconditionError("the database is closed");
    base::Status flushed = log_->Sync();
    if (!flushed.ok()) flush_failed_ = true;
    last_sync_ms_ = clock_.NowMs();
  }
  if (!CheckpointDue()) return base::Status::Ok();
  base::Status status = Checkpoint();
  (status.ok() ? instruments_.checkpoints : instruments_.failed_checkpoints).Add();
  return status;
}

}  // namespace tidewright::tsdb
