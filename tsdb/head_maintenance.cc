// Head: chunks on their way to files, and checkpoints.
#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kFlushBytes = 1 << 20;         // Of chunks collected in memory before they are written.
constexpr size_t kRecordBytes = 64 << 10;       // About the size of a checkpoint's records.
constexpr uint64_t kReplayedQuickly = 8 << 20;  // Six million samples, which take a tenth of a second.

void PutPart(LogPart part, std::string_view body, std::string* out) {
  PutU8(out, static_cast<uint8_t>(part));
  PutString(out, body);
}

}  // namespace

// Adds the finished chunks of one page that every reader sees whole to the files' buffer.
void Head::CollectChunks(SeriesRef first, CommitSequence oldest, StoredTimelines* timelines,
                         std::vector<PendingMove>* moves) {
  Page* page = pages_.Find(first);
  if (page == nullptr) return;
  base::MutexLock lock(page->mu);
  for (SeriesRef ref = first; page->live > 0 && ref < first + SeriesPages::kPageSeries; ++ref) {
    const SeriesData* series = page->Find(ref);
    if (series == nullptr) continue;
    for (size_t i = 0; i < series->closed_count; ++i) {
      const ClosedChunk& closed = chunks_.closed(*series)[i];
      if (!closed.in_memory()) continue;
      const MemoryChunk& chunk = chunks_.At(closed);
      if (chunks_.timelines().VisibleTo(oldest, chunk.segment, chunk.first, chunk.count) < chunk.count) continue;
      // A segment that a chunk refers to keeps its number as long as the chunk is in memory, and its moves are
      // finished before the next is collected.
      auto& [timeline, entries] = (*timelines)[chunk.segment];
      const uint32_t end = uint32_t{chunk.first} + chunk.count;
      if (entries < end || FileOf(timeline) != files_->next_file()) {
        StoredTimeline stored{chunks_.timelines().Serial(chunk.segment), {}};
        chunks_.timelines().Times(chunk.segment, 0, end, &stored.times);
        timeline = files_->AddTimeline(stored);
        entries = end;
      }
      StoredChunk stored{ref, timeline, chunk.first, chunk.count, chunk.tail, chunks_.BytesOf(closed)};
      moves->push_back({ref, i, closed.place, files_->AddChunk(stored)});
    }
  }
}

base::Status Head::FinishMoves(std::vector<PendingMove>* moves) {
  std::vector<PendingMove> all;
  all.swap(*moves);
  TW_RETURN_IF_ERROR(files_->Flush());
  for (size_t i = 0; i < all.size();) {
    const uint64_t number = all[i].ref / SeriesPages::kPageSeries;
    Page* page = pages_.Find(all[i].ref);
    base::MutexLock commit(commit_mu_);
    base::MutexLock lock(page->mu);
    for (; i < all.size() && all[i].ref / SeriesPages::kPageSeries == number; ++i) {
      SeriesData* series = page->Find(all[i].ref);
      if (series != nullptr) chunks_.Moved(series, all[i].index, all[i].was, all[i].now);
    }
  }
  return base::Status::Ok();
}

base::Status Head::MoveChunks() {
  const CommitSequence oldest = OldestReader();
  StoredTimelines timelines;
  std::vector<PendingMove> moves;
  const SeriesRef end = index_.next_ref();
  for (SeriesRef first = 0; first < end; first += SeriesPages::kPageSeries) {
    CollectChunks(first, oldest, &timelines, &moves);
    if (files_->buffered_bytes() < kFlushBytes) continue;
    TW_RETURN_IF_ERROR(FinishMoves(&moves));
    timelines.clear();
  }
  return FinishMoves(&moves);
}

// A checkpoint is a copy of the head without what is in chunk files, so it is written when the segments since the last
// one are twice as large as that copy was: a start never reads much more than three times what there is, and what is
// written is half as much again as the segments.
bool Head::CheckpointDue() NO_THREAD_SAFETY_ANALYSIS {
  base::MutexLock lock(commit_mu_);
  uint64_t since = replayed_bytes_ + log_->bytes_written() - checkpoint_mark_;
  return flush_failed_ ||
         since > std::max(2 * checkpoint_bytes_, std::min(kReplayedQuickly, 2 * options_.wal_segment_bytes));
}

base::Status Head::Checkpoint() {
  int finished;
  uint64_t written;
  TW_RETURN_IF_ERROR(files_->Sync());
  {
    // Whatever was committed before the cut is in the head now; whatever comes later goes to later segments.
    base::MutexLock lock(commit_mu_);
    TW_ASSIGN_OR_RETURN(finished, log_->Cut());
    written = log_->bytes_written();
  }
  TW_ASSIGN_OR_RETURN(checkpoint_bytes_, WriteLogCheckpoint(directory_ + "/log", finished,
                                                            [this](const RecordSink& sink) NO_THREAD_SAFETY_ANALYSIS {
                                                              return WriteState(sink);
                                                            }));
  replayed_bytes_ = 0;
  checkpoint_mark_ = written;
  base::MutexLock lock(commit_mu_);
  flush_failed_ = false;
  return base::Status::Ok();
}

// Puts series, with their chunks and the timelines of these, into records.
class Head::StateWriter {
 public:
  StateWriter(const Head& head, const RecordSink& sink) : head_(head), sink_(sink), encoder_(head.index_.symbols()) {
    encoder_.StartSegment();
  }

  void AddInfo() {
    std::string body;
    PutUvarint(&body, head_.files_->last_file());
    PutUvarint(&body, head_.index_.next_ref());
    PutPart(LogPart::kInfo, body, &encoder_.record());
  }

  void AddMetadata(const std::string& name, const Metadata& metadata) { encoder_.AddMetadata(name, metadata); }

  // Both are called with the page of the series locked.
  void AddSeries(SeriesRef ref, const SeriesData& series) { series_.push_back({ref, series.labels}); }
  void AddState(SeriesRef ref, const SeriesData& series) {
    std::string body;
    PutUvarint(&body, ref);
    uint64_t bits;
    std::memcpy(&bits, &series.last, sizeof bits);
    PutU64(&body, bits);
    uint32_t end = uint32_t{series.first} + series.count;
    PutUvarint(&body, series.segment == 0 ? 0 : AddTimeline(series.segment, end));
    PutChunk(series.first, series.count, series.tail,
             series.count > 0 ? head_.chunks_.OpenBytes(series) : std::string_view(), &body);
    PutUvarint(&body, series.closed_count);
    for (size_t i = 0; i < series.closed_count; ++i) PutClosed(head_.chunks_.closed(series)[i], &body);
    PutPart(LogPart::kState, body, &states_);
    if (series.histogram) {
      for (const HistogramSample& sample : head_.histograms_.Read(ref, INT64_MIN, INT64_MAX, UINT64_MAX)) {
        PutHistogram(LogPart::kHistogram, ref, sample);
      }
    }
    if (series.late) AddLate(ref);
  }

  base::Status Flush(bool force) {
    head_.index_.WithSymbols(
        series_, [this](SeriesRef ref, std::span<const SymbolPair> labels) { encoder_.AddSeries(ref, labels); });
    series_.clear();
    encoder_.record() += timelines_;
    encoder_.record() += states_;
    timelines_.clear();
    states_.clear();
    if (encoder_.record().empty() || (!force && encoder_.record().size() < kRecordBytes)) return base::Status::Ok();
    base::Status status = sink_(encoder_.record());
    encoder_.StartRecord();
    return status;
  }

 private:
  void PutHistogram(LogPart part, SeriesRef ref, const HistogramSample& sample) {
    std::string body;
    PutUvarint(&body, ref);
    body += EncodeHistogramSample(sample);
    PutPart(part, body, &states_);
  }
  void AddLate(SeriesRef ref) {
    std::vector<HeadBatch::Entry> samples;
    for (const auto& entry : head_.late_.Read(ref, INT64_MIN, INT64_MAX, UINT64_MAX)) {
      samples.push_back({ref, entry.t, entry.value});
    }
    if (!samples.empty()) PutPart(LogPart::kLate, EncodeLate(samples), &states_);
    for (auto& entry : head_.late_histograms_.Read(ref, INT64_MIN, INT64_MAX, UINT64_MAX)) {
      PutHistogram(LogPart::kLateHistogram, ref, {entry.t, std::move(entry.value)});
    }
  }

  static void PutChunk(uint8_t first, uint8_t count, uint32_t tail, std::string_view bytes, std::string* body) {
    PutU8(body, first);
    PutU8(body, count);
    PutUvarint(body, tail);
    PutString(body, bytes);
  }

  void PutClosed(const ClosedChunk& closed, std::string* body) {
    PutU8(body, closed.in_memory() ? 1 : 0);
    if (!closed.in_memory()) {
      PutUvarint(body, closed.place);
      PutUvarint(body, closed.min_second);
      PutUvarint(body, closed.max_second);
      return;
    }
    const MemoryChunk& chunk = head_.chunks_.At(closed);
    PutUvarint(body, AddTimeline(chunk.segment, uint32_t{chunk.first} + chunk.count));
    PutChunk(chunk.first, chunk.count, chunk.tail, head_.chunks_.BytesOf(closed), body);
  }

  // Has a timeline with at least the first `end` entries of the segment in the record, or in one before; its serial.
  uint64_t AddTimeline(uint32_t segment, uint32_t end) {
    const uint64_t serial = head_.chunks_.timelines().Serial(segment);
    uint32_t& known = known_[serial];
    if (known >= end) return serial;
    std::vector<int64_t> times;
    head_.chunks_.timelines().Times(segment, 0, end, &times);
    std::string body;
    PutU64(&body, serial);
    PutUvarint(&body, times.size());
    int64_t last = 0;
    for (int64_t t : times) {
      PutVarint(&body, static_cast<int64_t>(static_cast<uint64_t>(t) - static_cast<uint64_t>(last)));
      last = t;
    }
    PutPart(LogPart::kTimeline, body, &timelines_);
    known = end;
    return serial;
  }

  const Head& head_;
  const RecordSink& sink_;
  LogEncoder encoder_;
  std::vector<IndexedSeries> series_;
  std::string timelines_;
  std::string states_;
  std::unordered_map<uint64_t, uint32_t> known_;  // By serial: how many entries were written.
};

base::Status Head::WriteState(const RecordSink& sink) {
  StateWriter writer(*this, sink);
  writer.AddInfo();
  {
    base::MutexLock lock(metadata_mu_);
    for (const auto& [name, family] : families_) {
      if (family.logged) writer.AddMetadata(name, family.metadata);
    }
  }
  // First which series there are, so that damage to a state leaves what the log has of the series useful.
  for (bool states : {false, true}) {
    const SeriesRef end = index_.next_ref();
    for (SeriesRef first = 0; first < end; first += SeriesPages::kPageSeries) {
      Page* page = pages_.Find(first);
      if (page == nullptr) continue;
      {
        base::MutexLock lock(page->mu);
        for (SeriesRef ref = first; page->live > 0 && ref < first + SeriesPages::kPageSeries; ++ref) {
          // Also those without samples: a batch under way may have samples of them, which only name the reference.
          const SeriesData* series = page->Find(ref);
          if (series != nullptr) states ? writer.AddState(ref, *series) : writer.AddSeries(ref, *series);
        }
      }
      TW_RETURN_IF_ERROR(writer.Flush(/*force=*/false));
    }
    TW_RETURN_IF_ERROR(writer.Flush(/*force=*/true));
  }
  return WriteExemplars(sink);
}

// By reference if the series is still there, else with its labels.
base::Status Head::WriteExemplars(const RecordSink& sink) {
  std::vector<std::string> records;
  exemplars_.ForEach([&](SeriesRef ref, const Labels& series, const Exemplar& exemplar) {
    if (records.empty() || records.back().size() >= kRecordBytes) records.emplace_back();
    PutPart(LogPart::kExemplar, EncodeExemplar(index_.Find(series).ref == ref ? ref : 0, series, exemplar),
            &records.back());
  });
  for (const std::string& record : records) TW_RETURN_IF_ERROR(sink(record));
  return base::Status::Ok();
}

base::Status Head::CloseLog() {
  base::MutexLock maintain(maintain_mu_);
  base::MutexLock lock(commit_mu_);
  closed_ = true;
  return log_ != nullptr ? log_->Close() : base::Status::Ok();
}

}  // namespace tidewright::tsdb
