// Head: the start from what is on disk.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/head.h"
#include "tsdb/sample_replay.h"

namespace tidewright::tsdb {

namespace {

constexpr uint64_t kMaxChunkSamples = Timelines::kSegmentEntries;
constexpr size_t kMaxChunkBytes = 4096;  // More than the values of a chunk ever take.

base::Status Corrupt(std::string_view what) { return base::DataLossError("checkpoint: " + std::string(what)); }

}  // namespace

// Applies the records of a log to an empty head. Every call is made with commit_mu_ held.
class Head::ReplayHandler : public LogHandler, private ReplayTarget {
 public:
  explicit ReplayHandler(Head& head) : head_(head), replay_(*this) { head_.index_.PostponePostings(); }
  ~ReplayHandler() override NO_THREAD_SAFETY_ANALYSIS {
    head_.index_.AddPostponed();
    for (auto& [serial, timeline] : timelines_) head_.chunks_.timelines().Release(timeline.segment);
    for (Symbol symbol : symbols_) head_.index_.ReleaseSymbol(symbol);
  }

  void StartFile() {
    Finish();
    replay_.StartSegment();
    decoder_.StartSegment();
  }
  void Finish() {
    base::Status flushed = replay_.Flush();
    if (flushed.ok()) return;
    ++damaged_;
    base::LogError("tsdb", "samples of the log cannot be decoded", {{"error", flushed.ToString()}});
  }
  uint64_t damaged() const { return damaged_; }
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

  base::Result<bool> OnPackedSamples(const PackedSamples& samples) override {
    TW_RETURN_IF_ERROR(replay_.Add(samples, sequence_));
    return true;
  }
  base::Status OnSamples(int64_t, std::span<const SeriesRef>, std::span<const double>) override {
    return base::InternalError("samples are taken packed");
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
      case LogPart::kHistogram: return OnHistogram(&reader, /*late=*/false);
      case LogPart::kLateHistogram: return OnHistogram(&reader, /*late=*/true);
      case LogPart::kLate: return OnLate(&reader);
      case LogPart::kExemplar: return OnExemplar(bytes);
      default: return base::DataLossError("record of the head's log: part of unknown kind");
    }
  }

 private:
  void BeginSteps(std::span<const ReplayStep> steps) override {
    cursors_.assign(steps.size(), {});
    run_ = {};
    newest_time_ = {};
    for (size_t i = 0; i < steps.size(); ++i) {
      cursors_[i].sequence = steps[i].sequence;
      cursors_[i].SetTime(steps[i].t);
    }
  }

  // What a series has already was in the checkpoint, too.
  void TakeSeries(SeriesRef ref, std::span<const double> values) override NO_THREAD_SAFETY_ANALYSIS {
    if (!other_refs_.empty()) ref = Known(ref);
    Page* page = head_.pages_.Find(ref);
    size_t known = 0, appended = 0;
    if (page != nullptr) {
      base::MutexLock lock(page->mu);
      if (SeriesData* series = page->Find(ref)) {
        const std::optional<int64_t> newest = head_.chunks_.LastTime(*series, &newest_time_);
        while (known < values.size() && newest && *newest >= cursors_[known].t) ++known;
        if (known > 0) run_ = {};
        std::span<CommitCursor> cursors(cursors_);
        appended = head_.chunks_.AppendRun(series, values.subspan(known), cursors.subspan(known), &run_);
        if (known > 0) run_ = {};
      }
    }
    samples_ += appended;
    if (appended > 0) head_.NoteTime(cursors_[known].t);
    if (appended > 1) head_.NoteTime(cursors_[known + appended - 1].t);
    if (known + appended == values.size()) return;
    head_.instruments_.skipped_samples.Add(static_cast<double>(values.size() - known - appended));
  }

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
    return uint32_t{part.first} + part.count <= timeline.size && part.bytes.size() <= kMaxChunkBytes &&
           (part.tail == 0 || part.tail + behind_tail <= part.bytes.size());
  }

  SeriesRef Known(SeriesRef logged) const {
    auto other = other_refs_.find(logged);
    return other == other_refs_.end() ? logged : other->second;
  }
  // Marks the series as one that has something beside it; false when there is no such series.
  bool Mark(SeriesRef ref, bool SeriesData::*mark) {
    Page* page = head_.pages_.Find(ref);
    if (page == nullptr) return false;
    base::MutexLock lock(page->mu);
    SeriesData* series = page->Find(ref);
    if (series != nullptr) series->*mark = true;
    return series != nullptr;
  }

  base::Status OnLate(ByteReader* reader) {
    const uint64_t count = reader->Uvarint();
    uint64_t ref = 0, t = 0;
    for (uint64_t i = 0; i < count && reader->ok(); ++i) {
      ref += static_cast<uint64_t>(reader->Varint());
      t += static_cast<uint64_t>(reader->Varint());
      const auto value = std::bit_cast<double>(reader->U64());
      const SeriesRef known = Known(ref);
      if (!reader->ok() || !Mark(known, &SeriesData::late)) continue;
      samples_ += head_.late_.Insert(known, sequence_, static_cast<int64_t>(t), value) ? 1 : 0;
    }
    return reader->ok() ? base::Status::Ok() : Corrupt("samples out of order cut short");
  }

  base::Status OnHistogram(ByteReader* reader, bool late) {
    const SeriesRef ref = Known(reader->Uvarint());
    TW_ASSIGN_OR_RETURN(HistogramSample sample, DecodeHistogramSample(reader->Bytes(reader->remaining())));
    if (!Mark(ref, late ? &SeriesData::late : &SeriesData::histogram)) return base::Status::Ok();
    if (late) {
      samples_ += head_.late_histograms_.Insert(ref, sequence_, sample.t, std::move(sample.value)) ? 1 : 0;
      return base::Status::Ok();
    }
    if (head_.histograms_.LastTime(ref).value_or(INT64_MIN) >= sample.t) return base::Status::Ok();
    head_.NoteTime(sample.t);
    head_.histograms_.Append(ref, sequence_, std::move(sample));
    ++samples_;
    return base::Status::Ok();
  }

  base::Status OnExemplar(std::string_view bytes) {
    TW_ASSIGN_OR_RETURN(LoggedExemplar logged, DecodeExemplar(bytes));
    logged.ref = Known(logged.ref);
    if (logged.ref != 0) {
      Slab::Handle labels = head_.LabelsOf(logged.ref);
      if (labels == 0) return base::Status::Ok();
      logged.series = head_.index_.Materialize(labels);
    }
    head_.exemplars_.Add(logged.ref, logged.series, std::move(logged.exemplar));
    return base::Status::Ok();
  }

  base::Status OnState(ByteReader* reader) NO_THREAD_SAFETY_ANALYSIS {
    const SeriesRef ref = Known(reader->Uvarint());
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
  SampleReplay replay_;
  uint64_t damaged_ = 0;
  std::vector<CommitCursor> cursors_;  // Of the steps at hand.
  SeriesChunks::Run run_;
  SeriesChunks::NewestTime newest_time_;
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
    handler.Finish();
    replay.corruptions += handler.damaged();
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

}  // namespace tidewright::tsdb
