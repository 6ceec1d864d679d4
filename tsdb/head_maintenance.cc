// Head: chunks on their way to files, checkpoints, and the start from what is on disk.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kFlushBytes = 1 << 20;    // Of chunks collected in memory before they are written.
constexpr size_t kRecordBytes = 64 << 10;  // About the size of a checkpoint's records.
constexpr uint64_t kMaxChunkSamples = Timelines::kSegmentEntries;

void PutPart(LogPart part, std::string_view body, std::string* out) {
  PutU8(out, static_cast<uint8_t>(part));
  PutString(out, body);
}

base::Status Corrupt(std::string_view what) { return base::DataLossError("checkpoint: " + std::string(what)); }

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
// one are larger than that copy was: at any time the log is at most about twice as large as what it holds, plus a
// segment.
bool Head::CheckpointDue() NO_THREAD_SAFETY_ANALYSIS {
  base::MutexLock lock(commit_mu_);
  uint64_t since = replayed_bytes_ + log_->bytes_written() - checkpoint_mark_;
  return flush_failed_ || since > std::max(checkpoint_bytes_, 2 * options_.wal_segment_bytes);
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
    if (!series.histogram) return;
    for (const HistogramSample& sample : head_.histograms_.Read(ref, INT64_MIN, INT64_MAX, UINT64_MAX)) {
      std::string one;
      PutUvarint(&one, ref);
      one += EncodeHistogramSample(sample);
      PutPart(LogPart::kHistogram, one, &states_);
    }
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

// Applies the records of a log to an empty head. Every call is made with commit_mu_ held.
class Head::ReplayHandler : public LogHandler {
 public:
  explicit ReplayHandler(Head& head) : head_(head) {}
  ~ReplayHandler() override NO_THREAD_SAFETY_ANALYSIS {
    for (auto& [serial, timeline] : timelines_) head_.chunks_.timelines().Release(timeline.segment);
    for (Symbol symbol : symbols_) head_.index_.ReleaseSymbol(symbol);
  }

  void StartFile() { decoder_.StartSegment(); }
  base::Status Apply(std::string_view record) {
    ++sequence_;
    return decoder_.Decode(record, this);
  }
  uint64_t samples() const { return samples_; }
  CommitSequence sequence() const { return sequence_; }
  uint32_t last_file() const { return last_file_; }

  Symbol OnSymbol(std::string_view text) override {
    Symbol symbol = head_.index_.AcquireSymbol(text);
    if (symbol != 0) symbols_.push_back(symbol);
    return symbol;
  }

  base::Status OnSeries(SeriesRef ref, std::span<const SymbolPair> labels) override {
    if (ref == 0 || ref > SeriesPages::kMaxRef) return base::Status::Ok();
    const uint64_t limit = head_.options_.max_series;
    bool created = false;
    IndexedSeries series = head_.index_.GetOrCreate(labels, ref, &created, [&](const IndexedSeries& one) {
      bool full = limit > 0 && head_.series_count_.load(std::memory_order_relaxed) >= limit;
      return !full && head_.PublishSeries(one);
    });
    head_.index_.ReserveRefs(ref + 1);
    if (series.ref == 0) return base::Status::Ok();  // The limit was lowered since.
    if (series.ref != ref) other_refs_[ref] = series.ref;
    Page* page = head_.pages_.Find(series.ref);
    base::MutexLock lock(page->mu);
    page->Find(series.ref)->logged = true;
    return base::Status::Ok();
  }

  base::Status OnMetadata(std::string family, Metadata metadata) override {
    base::MutexLock lock(head_.metadata_mu_);
    head_.families_[std::move(family)] = Family{std::move(metadata), true};
    return base::Status::Ok();
  }

  base::Status OnSamples(int64_t t, std::span<const SeriesRef> refs,
                         std::span<const double> values) override NO_THREAD_SAFETY_ANALYSIS {
    std::vector<SeriesRef> known;
    if (!other_refs_.empty()) {
      known.assign(refs.begin(), refs.end());
      for (SeriesRef& ref : known) {
        auto other = other_refs_.find(ref);
        if (other != other_refs_.end()) ref = other->second;
      }
      refs = known;
    }
    samples_ += head_.Apply(t, refs, values, sequence_, /*release=*/false);
    return base::Status::Ok();
  }

  base::Status OnOther(LogPart part, std::string_view bytes) override {
    ByteReader reader(bytes);
    switch (part) {
      case LogPart::kInfo:
        last_file_ = static_cast<uint32_t>(reader.Uvarint());
        head_.index_.ReserveRefs(std::min<SeriesRef>(reader.Uvarint(), SeriesPages::kMaxRef));
        return base::Status::Ok();
      case LogPart::kTimeline: return OnTimeline(&reader);
      case LogPart::kState: return OnState(&reader);
      case LogPart::kHistogram: return OnHistogram(&reader);
      case LogPart::kExemplar: return OnExemplar(bytes);
      default: return base::DataLossError("record of the head's log: part of unknown kind");
    }
  }

 private:
  struct Restored {
    uint32_t segment = 0;
    uint32_t size = 0;
  };
  struct Part {
    uint8_t first = 0;
    uint8_t count = 0;
    uint64_t tail = 0;
    std::string_view bytes;
  };

  base::Status OnTimeline(ByteReader* reader) NO_THREAD_SAFETY_ANALYSIS {
    uint64_t serial = reader->U64(), count = reader->Uvarint(), last = 0;
    if (!reader->ok() || count == 0 || count > kMaxChunkSamples) return Corrupt("length of a timeline");
    std::vector<int64_t> times;
    for (uint64_t i = 0; i < count; ++i) {
      last += static_cast<uint64_t>(reader->Varint());
      times.push_back(static_cast<int64_t>(last));
      bool ascending = i == 0 || (times[i] > times[i - 1] &&
                                  static_cast<uint64_t>(times[i]) - static_cast<uint64_t>(times[0]) <= UINT32_MAX);
      if (!ascending) return Corrupt("timeline out of order");
    }
    if (!reader->ok()) return Corrupt("timeline cut short");
    Timelines& timelines = head_.chunks_.timelines();
    uint32_t segment = timelines.Restore(serial, times);
    if (segment == 0) return base::ResourceExhaustedError("too many timelines");
    Restored& restored = timelines_[serial];
    if (restored.segment != 0) timelines.Release(restored.segment);
    restored = {segment, static_cast<uint32_t>(times.size())};
    return base::Status::Ok();
  }

  static Part ReadPart(ByteReader* reader) {
    Part part;
    part.first = reader->U8();
    part.count = reader->U8();
    part.tail = reader->Uvarint();
    part.bytes = reader->String();
    return part;
  }
  bool Fits(const Part& part, const Restored& timeline, size_t behind_tail) const {
    return uint32_t{part.first} + part.count <= timeline.size && part.bytes.size() <= UINT16_MAX &&
           (part.tail == 0 || part.tail + behind_tail <= part.bytes.size());
  }

  base::Status OnHistogram(ByteReader* reader) {
    SeriesRef ref = reader->Uvarint();
    TW_ASSIGN_OR_RETURN(HistogramSample sample, DecodeHistogramSample(reader->Bytes(reader->remaining())));
    auto other = other_refs_.find(ref);
    if (other != other_refs_.end()) ref = other->second;
    Page* page = head_.pages_.Find(ref);
    if (page == nullptr) return base::Status::Ok();
    {
      base::MutexLock lock(page->mu);
      SeriesData* series = page->Find(ref);
      if (series == nullptr) return base::Status::Ok();
      series->histogram = true;
    }
    if (head_.histograms_.LastTime(ref).value_or(INT64_MIN) >= sample.t) return base::Status::Ok();
    head_.NoteTime(sample.t);
    head_.histograms_.Append(ref, sequence_, std::move(sample));
    ++samples_;
    return base::Status::Ok();
  }

  base::Status OnExemplar(std::string_view bytes) {
    TW_ASSIGN_OR_RETURN(LoggedExemplar logged, DecodeExemplar(bytes));
    auto other = other_refs_.find(logged.ref);
    if (other != other_refs_.end()) logged.ref = other->second;
    if (logged.ref != 0) {
      Slab::Handle labels = head_.LabelsOf(logged.ref);
      if (labels == 0) return base::Status::Ok();
      logged.series = head_.index_.Materialize(labels);
    }
    head_.exemplars_.Add(logged.ref, logged.series, std::move(logged.exemplar));
    return base::Status::Ok();
  }

  base::Status OnState(ByteReader* reader) NO_THREAD_SAFETY_ANALYSIS {
    SeriesRef ref = reader->Uvarint();
    auto other = other_refs_.find(ref);
    if (other != other_refs_.end()) ref = other->second;
    Page* page = head_.pages_.Find(ref);
    if (page == nullptr) return base::Status::Ok();
    base::MutexLock lock(page->mu);
    SeriesData* series = page->Find(ref);
    if (series == nullptr || series->segment != 0) return base::Status::Ok();
    uint64_t bits = reader->U64(), serial = reader->Uvarint();
    double last;
    std::memcpy(&last, &bits, sizeof last);
    Restored timeline;
    if (serial != 0) timeline = timelines_[serial];
    Part open = ReadPart(reader);
    bool usable = serial == 0
                      ? open.count == 0 && open.first == 0
                      : timeline.segment != 0 && Fits(open, timeline, 8) && (open.count == 0 || !open.bytes.empty());
    if (!reader->ok() || !usable) return Corrupt("open chunk");
    uint64_t closed = reader->Uvarint();
    for (uint64_t i = 0; i < closed && reader->ok(); ++i) {
      if (!RestoreClosed(series, reader)) return Corrupt("finished chunk");
    }
    if (!reader->ok()) return Corrupt("series cut short");
    if (serial == 0) return base::Status::Ok();
    if (!head_.chunks_.RestoreOpen(series, timeline.segment, open.first, open.count, static_cast<uint16_t>(open.tail),
                                   last, open.bytes)) {
      return base::ResourceExhaustedError("no memory for the head");
    }
    head_.NoteState(*series);
    return base::Status::Ok();
  }

  bool RestoreClosed(SeriesData* series, ByteReader* reader) NO_THREAD_SAFETY_ANALYSIS {
    if (reader->U8() == 0) {
      ClosedChunk chunk;
      chunk.place = reader->Uvarint();
      chunk.min_second = static_cast<uint32_t>(reader->Uvarint());
      chunk.max_second = static_cast<uint32_t>(reader->Uvarint());
      return reader->ok() && !chunk.in_memory() && head_.chunks_.RestoreClosed(series, chunk);
    }
    Restored timeline = timelines_[reader->Uvarint()];
    Part part = ReadPart(reader);
    if (!reader->ok() || timeline.segment == 0 || part.count == 0 || !Fits(part, timeline, 0)) return false;
    MemoryChunk chunk{timeline.segment, static_cast<uint16_t>(part.bytes.size()), static_cast<uint16_t>(part.tail),
                      part.first, part.count};
    return head_.chunks_.RestoreClosedInMemory(series, chunk, part.bytes);
  }

  Head& head_;
  LogDecoder decoder_;
  CommitSequence sequence_ = 0;
  uint64_t samples_ = 0;
  uint32_t last_file_ = 0;
  std::vector<Symbol> symbols_;
  std::unordered_map<uint64_t, Restored> timelines_;     // By serial.
  std::unordered_map<SeriesRef, SeriesRef> other_refs_;  // Of series that the log knows by more than one.
};

base::Status Head::OpenLog(const std::string& directory) {
  const std::string log_directory = directory + "/log";
  TW_RETURN_IF_ERROR(base::MakeDirectories(log_directory));
  const int64_t start = base::MonotonicNanos();
  base::MutexLock maintain(maintain_mu_);
  LogReplay replay;
  uint64_t samples = 0;
  {
    base::MutexLock lock(commit_mu_);
    ReplayHandler handler(*this);
    TW_ASSIGN_OR_RETURN(replay, ReplayLog(
                                    log_directory, [&] { handler.StartFile(); },
                                    [&](std::string_view record) { return handler.Apply(record); }));
    samples = handler.samples();
    TW_ASSIGN_OR_RETURN(files_, HeadChunkFiles::Open(directory + "/head_chunks", handler.last_file()));
    TW_ASSIGN_OR_RETURN(log_, LogWriter::Open(log_directory, options_.wal_segment_bytes));
    directory_ = directory;
    last_sync_ms_ = clock_.NowMs();
    encoder_stale_ = false;
    base::MutexLock readers(readers_mu_);
    committed_ = handler.sequence();
  }
  instruments_.corruptions.Add(static_cast<double>(replay.corruptions));
  base::LogInfo("tsdb", "replayed the log",
                {{"directory", directory},
                 {"series", std::to_string(series_count_.load())},
                 {"samples", std::to_string(samples)},
                 {"corruptions", std::to_string(replay.corruptions)},
                 {"ms", std::to_string((base::MonotonicNanos() - start) / 1'000'000)}});
  checkpoint_bytes_ = replay.checkpoint_bytes;
  replayed_bytes_ = replay.segment_bytes;
  return base::Status::Ok();
}

base::Status Head::CloseLog() {
  base::MutexLock maintain(maintain_mu_);
  base::MutexLock lock(commit_mu_);
  closed_ = true;
  return log_ != nullptr ? log_->Close() : base::Status::Ok();
}

}  // namespace tidewright::tsdb
