// The head's side of the log: replay and checkpoints.
#include <algorithm>
#include <unordered_map>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

namespace {

// Bounds the records of a checkpoint, and with them the memory that reading one takes.
constexpr size_t kRecordBytes = 1 << 20;

// References above this are not continued from, so that the counter never wraps to 0.
constexpr SeriesRef kMaxRef = SeriesRef{1} << 62;

// The family of a series whose metadata came without one: Prometheus names the series, whose parts of a histogram or
// summary belong to one family.
std::string FamilyOf(std::string_view metric, MetricType type) {
  bool histogram = type == MetricType::kHistogram || type == MetricType::kGaugeHistogram;
  bool summary = type == MetricType::kSummary;
  for (std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    bool applies = histogram || (summary && suffix != "_bucket");
    bool ends = metric.size() > suffix.size() && metric.substr(metric.size() - suffix.size()) == suffix;
    if (applies && ends) return std::string(metric.substr(0, metric.size() - suffix.size()));
  }
  return std::string(metric);
}

// Passes records on to a writer, each about kRecordBytes long.
template <typename Encoder>
class RecordStream {
 public:
  explicit RecordStream(WalWriter& writer) : writer_(writer) {}

  template <typename... Args>
  base::Status Add(const Args&... args) {
    encoder_.Add(args...);
    return encoder_.bytes().size() < kRecordBytes ? base::Status::Ok() : Flush();
  }
  base::Status Flush() {
    std::vector<std::string> one = {encoder_.bytes()};
    encoder_ = Encoder();
    return one.front().size() > 1 ? writer_.Append(one) : base::Status::Ok();  // The type byte alone says nothing.
  }

 private:
  WalWriter& writer_;
  Encoder encoder_;
};

}  // namespace

struct Head::ReplayState {
  std::unordered_map<SeriesRef, SeriesPtr> by_ref;  // More than one reference may lead to a series.
  uint64_t samples = 0;
  uint64_t unknown_series = 0;
  uint64_t not_newer = 0;
  uint64_t skipped_records = 0;
};

base::Status Head::ReplaySeries(std::string_view record, ReplayState* state) {
  TW_ASSIGN_OR_RETURN(std::vector<SeriesRecord> all, DecodeSeries(record));
  for (SeriesRecord& one : all) {
    if (one.labels.empty() || one.ref == 0) continue;
    SeriesPtr& known = state->by_ref[one.ref];
    if (known != nullptr && known->labels() == one.labels) continue;
    bool created = false;
    bool usable = one.ref <= kMaxRef && ByRef(one.ref) == nullptr;
    base::Result<SeriesPtr> series = GetOrCreate(one.labels, usable ? one.ref : 0, &created);
    if (!series.ok()) {  // The limit was lowered since.
      state->by_ref.erase(one.ref);
      continue;
    }
    (*series)->logged = true;
    known = *series;
    SeriesRef next = next_ref_.load(std::memory_order_relaxed);
    if (usable && one.ref >= next) next_ref_.store(one.ref + 1, std::memory_order_relaxed);
  }
  return base::Status::Ok();
}

base::Status Head::ReplaySamples(std::string_view record, ReplayState* state) {
  TW_ASSIGN_OR_RETURN(std::vector<SampleRecord> all, DecodeSamples(record));
  for (const SampleRecord& one : all) {
    auto series = state->by_ref.find(one.ref);
    if (series == state->by_ref.end()) {
      ++state->unknown_series;
    } else if (!series->second->Replay(one.sample)) {
      ++state->not_newer;
    } else {
      ++state->samples;
      NoteTime(one.sample.t);
    }
  }
  return base::Status::Ok();
}

base::Status Head::ReplayMetadata(std::string_view record, ReplayState* state) {
  TW_ASSIGN_OR_RETURN(std::vector<MetadataRecord> all, DecodeMetadata(record));
  base::MutexLock lock(metadata_mu_);
  for (MetadataRecord& one : all) {
    auto series = state->by_ref.find(one.ref);
    if (series == state->by_ref.end()) continue;
    std::string metric(series->second->labels().MetricName());
    std::string family = one.family.empty() ? FamilyOf(metric, one.metadata.type) : one.family;
    families_[family] = Family{std::move(one.metadata), series->second->ref(), std::move(metric)};
  }
  return base::Status::Ok();
}

base::Status Head::ApplyRecord(std::string_view record, ReplayState* state) {
  if (record.empty()) return base::DataLossError("log record: empty");
  switch (static_cast<RecordType>(record.front())) {
    case RecordType::kSeries: return ReplaySeries(record, state);
    case RecordType::kSamples:
    case RecordType::kSamplesV2: return ReplaySamples(record, state);
    case RecordType::kMetadata: return ReplayMetadata(record, state);
  }
  ++state->skipped_records;  // Its checksum is right, so another program wrote it on purpose.
  return base::Status::Ok();
}

base::Status Head::OpenLog(const std::string& directory) {
  TW_RETURN_IF_ERROR(base::MakeDirectories(directory));
  const int64_t start = base::MonotonicNanos();
  ReplayState state;
  TW_ASSIGN_OR_RETURN(ReplayStats stats,
                      ReplayWal(directory, [&](std::string_view record) { return ApplyRecord(record, &state); }));
  instruments_.corruptions.Add(static_cast<double>(stats.corruptions));
  instruments_.skipped_records.Add(static_cast<double>(state.skipped_records + state.unknown_series));
  if (state.skipped_records > 0) {
    base::LogWarn("tsdb", "the log has records that this build does not use; the next checkpoint drops them",
                  {{"records", std::to_string(state.skipped_records)}});
  }
  base::LogInfo("tsdb", "replayed the log",
                {{"directory", directory},
                 {"series", std::to_string(series_count_.load())},
                 {"samples", std::to_string(state.samples)},
                 {"repeated", std::to_string(state.not_newer)},
                 {"unknown_series", std::to_string(state.unknown_series)},
                 {"corruptions", std::to_string(stats.corruptions)},
                 {"ms", std::to_string((base::MonotonicNanos() - start) / 1'000'000)}});
  TW_ASSIGN_OR_RETURN(std::unique_ptr<WalWriter> log,
                      WalWriter::Open(directory, WalOptions{.segment_bytes = options_.wal_segment_bytes}));
  base::MutexLock maintain(maintain_mu_);
  base::MutexLock lock(commit_mu_);
  directory_ = directory;
  checkpoint_bytes_ = stats.checkpoint_bytes;
  replayed_bytes_ = stats.segment_bytes;
  log_ = std::move(log);
  last_sync_ms_ = clock_.NowMs();
  Truncate();
  return base::Status::Ok();
}

base::Status Head::CloseLog() {
  base::MutexLock maintain(maintain_mu_);
  base::MutexLock lock(commit_mu_);
  if (closed_) return base::Status::Ok();
  closed_ = true;
  return log_ != nullptr ? log_->Close() : base::Status::Ok();
}

// A checkpoint is a copy of the head, so it is written when the segments since the last one are larger than that copy
// was: at any time the log is at most about twice as large as what it holds, plus a segment.
bool Head::CheckpointDue() {
  base::MutexLock lock(commit_mu_);
  uint64_t since = replayed_bytes_ + log_->bytes_written() - checkpoint_mark_;
  return flush_failed_ || since > std::max(checkpoint_bytes_, 2 * options_.wal_segment_bytes);
}

base::Status Head::Checkpoint() {
  int finished;
  uint64_t written;
  {
    // Whatever was committed before the cut is in the head now; whatever comes later goes to later segments.
    base::MutexLock lock(commit_mu_);
    if (closed_) return base::FailedPreconditionError("the database is closed");
    TW_ASSIGN_OR_RETURN(finished, log_->Cut());
    written = log_->bytes_written();
  }
  TW_ASSIGN_OR_RETURN(checkpoint_bytes_,
                      WriteCheckpoint(directory_, finished, WalOptions{.segment_bytes = options_.wal_segment_bytes},
                                      [this](WalWriter& writer) { return WriteSnapshot(writer); }));
  replayed_bytes_ = 0;
  checkpoint_mark_ = written;
  base::MutexLock lock(commit_mu_);
  flush_failed_ = false;
  return base::Status::Ok();
}

base::Status Head::WriteSnapshot(WalWriter& writer) const {
  std::vector<SeriesPtr> all;
  for (const RefStripe& stripe : by_ref_) {
    base::MutexLock lock(stripe.mu);
    for (const auto& [ref, series] : stripe.series) all.push_back(series);
  }
  RecordStream<SeriesEncoder> series_records(writer);
  // Also those without samples: a batch under way may have samples of them, which only name the reference.
  for (const SeriesPtr& series : all) TW_RETURN_IF_ERROR(series_records.Add(series->ref(), series->labels()));
  TW_RETURN_IF_ERROR(series_records.Flush());

  RecordStream<MetadataEncoder> metadata_records(writer);
  {
    base::MutexLock lock(metadata_mu_);
    for (const auto& [name, family] : families_) {
      if (family.ref == 0) continue;
      MetadataRecord record{family.ref, family.metric == name ? "" : name, family.metadata};
      TW_RETURN_IF_ERROR(metadata_records.Add(record));
    }
  }
  TW_RETURN_IF_ERROR(metadata_records.Flush());

  RecordStream<SamplesEncoder> sample_records(writer);
  const int64_t mint = MinValidTime();
  for (const SeriesPtr& series : all) {
    for (const MemorySeries::View& view : series->Read(mint, INT64_MAX, UINT64_MAX)) {
      XorChunkReader samples(view.chunk->bytes, view.visible);
      while (samples.Next()) {
        if (samples.At().t >= mint) TW_RETURN_IF_ERROR(sample_records.Add(series->ref(), samples.At()));
      }
    }
  }
  return sample_records.Flush();
}

}  // namespace tidewright::tsdb
