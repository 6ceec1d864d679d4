#include "tsdb/series_chunks.h"

#include <algorithm>
#include <cstring>

#include "tsdb/value_codec.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kPreviousBytes = 8;       // The last packed value, in front of the single values.
constexpr uint8_t kForkSamples = 32;       // A chunk this long ends rather than taking its timeline along.
constexpr uint8_t kPrivateSamples = 64;    // A timeline that a series has for itself is not let grow longer.
constexpr int64_t kMaxMs = INT64_MAX / 2;  // Keeps arithmetic on bounds from overflowing.

const uint8_t* Bytes(const char* text) { return reinterpret_cast<const uint8_t*>(text); }

// Where the single values begin in the bytes of an open chunk.
size_t CodesAt(const SeriesData& series) { return series.tail == 0 ? 0 : series.tail + kPreviousBytes; }

uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15) * (b ^ 0xd6e8feb86659fd93);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint32_t FloorSecond(int64_t t) {
  return static_cast<uint32_t>(std::clamp<int64_t>(t < 0 ? 0 : t / 1000, 0, UINT32_MAX - 1));
}
uint32_t CeilSecond(int64_t t) {
  return static_cast<uint32_t>(std::clamp<int64_t>(t < 0 ? 0 : t / 1000 + 1, 0, UINT32_MAX));
}

}  // namespace

int64_t ChunkWindow(int64_t t) { return t >= 0 ? t / kChunkWindowMs : -1 - (-1 - t) / kChunkWindowMs; }

base::Result<const HeadChunkFile*> ChunkFileReader::File(uint32_t number) {
  if (last_ != nullptr && number == last_number_) return last_;
  auto it = held_.find(number);
  if (it == held_.end()) {
    std::shared_ptr<const HeadChunkFile> file = files_ == nullptr ? nullptr : files_->File(number);
    if (file == nullptr) return base::DataLossError("chunk file " + std::to_string(number) + " is gone");
    it = held_.emplace(number, std::move(file)).first;
  }
  last_number_ = number;
  return last_ = it->second.get();
}

void ChunkFileReader::Prefetch(ChunkPlace place) {
  auto file = File(FileOf(place));
  if (file.ok()) HeadChunkFiles::Prefetch(**file, place);
}

base::Result<const StoredTimeline*> ChunkFileReader::Timeline(ChunkPlace place) {
  Near& near = near_[place * 0x9e3779b97f4a7c15 >> 60];
  if (near.timeline != nullptr && near.place == place) return near.timeline;
  auto known = timelines_.find(place);
  if (known == timelines_.end()) {
    StoredTimeline read;
    TW_ASSIGN_OR_RETURN(const HeadChunkFile* file, File(FileOf(place)));
    TW_RETURN_IF_ERROR(HeadChunkFiles::ReadTimeline(*file, place, &read));
    known = timelines_.emplace(place, std::move(read)).first;
  }
  near = {place, &known->second};
  return near.timeline;
}

base::Status ChunkFileReader::Read(ChunkPlace place, StoredChunk* chunk, const StoredTimeline** timeline) {
  TW_ASSIGN_OR_RETURN(const HeadChunkFile* file, File(FileOf(place)));
  TW_RETURN_IF_ERROR(HeadChunkFiles::ReadChunk(*file, place, chunk));
  TW_ASSIGN_OR_RETURN(*timeline, Timeline(chunk->timeline));
  if (size_t{chunk->first} + chunk->count > (*timeline)->times.size()) {
    return base::DataLossError("chunk is longer than its timeline");
  }
  return base::Status::Ok();
}

std::optional<int64_t> SeriesChunks::MinTime(const SeriesData& series) const {
  if (series.closed_count > 0) {
    const ClosedChunk& oldest = closed(series)[0];
    if (!oldest.in_memory()) return int64_t{oldest.min_second} * 1000;
    return timelines_.Time({At(oldest).segment, At(oldest).first});
  }
  if (series.count == 0) return std::nullopt;
  return timelines_.Time({series.segment, series.first});
}

int64_t SeriesChunks::NextTime(const SeriesData& series, int64_t t) const {
  for (size_t i = 0; i < series.closed_count; ++i) {
    const ClosedChunk& chunk = closed(series)[i];
    if (chunk.EndsBefore(t)) continue;
    int64_t begin =
        chunk.in_memory() ? timelines_.Time({At(chunk).segment, At(chunk).first}) : int64_t{chunk.min_second} * 1000;
    return std::max(t, begin);
  }
  if (series.count == 0) return INT64_MAX;
  const uint32_t before = timelines_.CountBefore(t, series.segment, series.first, series.count);
  return before == series.count ? INT64_MAX : timelines_.Time({series.segment, series.first + before});
}

TimelinePosition SeriesChunks::Step(const SeriesData& series, TimelinePosition at, CommitCursor* cursor) {
  if (ChunkWindow(timelines_.Time(at)) != ChunkWindow(cursor->t)) return {};
  if (series.count >= kPrivateSamples && timelines_.references(at.segment) == 1) return {};
  return timelines_.Advance(at, cursor->t, cursor->sequence, series.count < kForkSamples);
}

bool SeriesChunks::Append(SeriesData* series, double value, CommitCursor* cursor) {
  if (series->count > 0) {
    const TimelinePosition at{series->segment, series->first + series->count - 1u};
    TimelinePosition next = at == cursor->from ? cursor->to : Step(*series, at, cursor);
    if (next.segment != 0) {
      series->segment = next.segment;
      if (next.segment == at.segment) {
        cursor->from = at;
        cursor->to = next;
      }
      if (cursor->current.segment == 0) cursor->current = next;
      if (!Push(series, value)) return false;
      ++series->count;
      return true;
    }
    if (!Close(series)) return false;
  }
  if (!StartChunk(series, cursor) || !Push(series, value)) return false;
  series->count = 1;
  return true;
}

bool SeriesChunks::StartChunk(SeriesData* series, CommitCursor* cursor) {
  const uint32_t before = series->segment;
  if (cursor->current.segment == 0) {
    cursor->current = timelines_.Begin(cursor->t, cursor->sequence);
    if (cursor->current.segment == 0) return false;
  } else {
    timelines_.Reference(cursor->current.segment);
  }
  series->segment = cursor->current.segment;
  series->first = static_cast<uint8_t>(cursor->current.index);
  if (before != 0) timelines_.Release(before);
  return true;
}

bool SeriesChunks::Resize(SeriesData* series, size_t used) {
  if (series->chunk == 0 || Slab::Capacity(used) != Slab::Capacity(series->used)) {
    Slab::Handle place = slab_.Allocate(used);
    if (place == 0) return false;
    if (series->chunk != 0) {
      std::memcpy(slab_.At(place), slab_.At(series->chunk), std::min<size_t>(used, series->used));
      slab_.Free(series->chunk, series->used);
    }
    series->chunk = place;
  }
  series->used = static_cast<uint16_t>(used);
  return true;
}

bool SeriesChunks::Push(SeriesData* series, double value) {
  uint8_t code[kMaxCodeBytes];
  size_t size = EncodeValue(series->count == 0 ? 0.0 : series->last, value, code);
  if ((series->count + 1) % kBlockValues == 0) {
    if (!Pack(series, code, size)) return false;
  } else {
    size_t at = series->chunk == 0 ? 0 : series->used;
    if (!Resize(series, at + size)) return false;
    char* out = slab_.At(series->chunk) + at;
    *out = static_cast<char>(code[0]);
    if (size > 1) std::memcpy(out + 1, code + 1, size - 1);  // Most values take a single byte.
  }
  series->last = value;
  return true;
}

// Same as Push() for each.
bool SeriesChunks::PushAll(SeriesData* series, std::span<const double> values) {
  constexpr size_t kMaxValues = kBlockValues + Timelines::kSegmentEntries;
  double all[kMaxValues];
  size_t count = 0;
  double previous = 0;
  const uint8_t* bytes = series->chunk == 0 ? nullptr : Bytes(slab_.At(series->chunk));
  if (series->tail > 0) std::memcpy(&previous, bytes + series->tail, kPreviousBytes);
  double last = previous;
  for (size_t at = CodesAt(*series); count < series->count % kBlockValues; ++count) {
    all[count] = last;
    if (at < series->used) at += DecodeValue(bytes + at, series->used - at, last, &all[count]);
    last = all[count];
  }
  std::copy(values.begin(), values.end(), all + count);
  count += values.size();
  uint8_t packed[(kMaxValues / kBlockValues) * kMaxBlockBytes + kPreviousBytes + kBlockValues * kMaxCodeBytes];
  size_t size = 0, done = 0;
  for (; done + kBlockValues <= count; done += kBlockValues) {
    size += EncodeBlock(all + done, previous, packed + size);
    previous = all[done + kBlockValues - 1];
  }
  const size_t tail = series->tail + size;
  if (tail > 0) {
    std::memcpy(packed + size, &previous, kPreviousBytes);
    size += kPreviousBytes;
  }
  for (; done < count; ++done) {
    size += EncodeValue(previous, all[done], packed + size);
    previous = all[done];
  }
  if (!Resize(series, series->tail + size)) return false;
  std::memcpy(slab_.At(series->chunk) + series->tail, packed, size);
  series->tail = static_cast<uint16_t>(tail);
  series->last = values.back();
  return true;
}

// Moves the series to where the samples of the one before went, if that is where its own go; false if not.
bool SeriesChunks::JoinRun(SeriesData* series, CommitCursor* cursor, const Run& run) {
  if (run.first.segment == 0) return false;
  const TimelinePosition next{series->segment, uint32_t{series->first} + series->count};
  if (series->count > 0 && next == run.first) return true;
  if (cursor->current != run.first) return false;
  const bool ends =
      series->count > 0 && run.ends && next.segment == run.before.segment && next.index == run.before.index + 1;
  if (series->count > 0 && !(ends && Close(series))) return false;
  return StartChunk(series, cursor);
}

size_t SeriesChunks::AppendRun(SeriesData* series, std::span<const double> values, std::span<CommitCursor> cursors,
                               Run* run) {
  if (JoinRun(series, &cursors[0], *run)) {
    if (!PushAll(series, values)) return 0;
    series->count = static_cast<uint8_t>(series->count + values.size());
    return values.size();
  }
  const TimelinePosition before{series->segment, uint32_t{series->first} + series->count - 1u};
  run->before = series->count > 0 ? before : TimelinePosition();
  run->ends = series->count > 0 && (before.index + 1 == Timelines::kSegmentEntries ||
                                    ChunkWindow(timelines_.Time(before)) != ChunkWindow(cursors[0].t));
  TimelinePosition first;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!Append(series, values[i], &cursors[i])) return i;
    if (i == 0) first = {series->segment, uint32_t{series->first} + series->count - 1u};
  }
  const TimelinePosition last{series->segment, uint32_t{series->first} + series->count - 1u};
  const bool together = last.segment == first.segment && last.index == first.index + values.size() - 1;
  run->first = together ? first : TimelinePosition();
  return values.size();
}

// Makes a block of the 15 single values and the one that comes.
bool SeriesChunks::Pack(SeriesData* series, const uint8_t* code, size_t code_size) {
  uint8_t codes[kBlockValues * kMaxCodeBytes];
  const char* bytes = slab_.At(series->chunk);
  const size_t codes_at = CodesAt(*series);
  size_t codes_size = series->used - codes_at;
  std::memcpy(codes, bytes + codes_at, codes_size);
  std::memcpy(codes + codes_size, code, code_size);
  codes_size += code_size;
  double previous = 0, last;
  if (series->tail > 0) std::memcpy(&previous, bytes + series->tail, kPreviousBytes);
  double values[kBlockValues];
  last = previous;
  for (size_t i = 0, at = 0; i < kBlockValues; ++i) {
    at += DecodeValue(codes + at, codes_size - at, last, &values[i]);
    last = values[i];
  }
  uint8_t block[kMaxBlockBytes];
  const size_t packed = EncodeBlock(values, previous, codes, codes_size, block);
  const size_t tail = series->tail + packed;
  if (!Resize(series, tail + kPreviousBytes)) return false;
  std::memcpy(slab_.At(series->chunk) + series->tail, block, packed);
  std::memcpy(slab_.At(series->chunk) + tail, &last, kPreviousBytes);
  series->tail = static_cast<uint16_t>(tail);
  return true;
}

ClosedChunk SeriesChunks::Bounds(uint32_t segment, uint32_t first, uint32_t count) const {
  ClosedChunk chunk;
  chunk.min_second = FloorSecond(timelines_.Time({segment, first}));
  chunk.max_second = CeilSecond(timelines_.Time({segment, first + count - 1}));
  return chunk;
}

bool SeriesChunks::AddClosed(SeriesData* series, const ClosedChunk& chunk) {
  if (series->closed_count == UINT16_MAX) return false;
  const size_t had = series->closed_count * sizeof(ClosedChunk), wanted = had + sizeof(ClosedChunk);
  if (had == 0 || Slab::Capacity(had) != Slab::Capacity(wanted)) {
    Slab::Handle place = slab_.Allocate(wanted);
    if (place == 0) return false;
    if (had > 0) {
      std::memcpy(slab_.At(place), slab_.At(series->closed), had);
      slab_.Free(series->closed, had);
    }
    series->closed = place;
  }
  std::memcpy(slab_.At(series->closed) + had, &chunk, sizeof chunk);
  ++series->closed_count;
  return true;
}

bool SeriesChunks::RestoreClosed(SeriesData* series, const ClosedChunk& chunk) { return AddClosed(series, chunk); }

bool SeriesChunks::RestoreClosedInMemory(SeriesData* series, const MemoryChunk& chunk, std::string_view bytes) {
  Slab::Handle place = slab_.Allocate(sizeof(MemoryChunk) + bytes.size());
  if (place == 0) return false;
  std::memcpy(slab_.At(place), &chunk, sizeof chunk);
  std::memcpy(slab_.At(place) + sizeof chunk, bytes.data(), bytes.size());
  ClosedChunk closed_chunk = Bounds(chunk.segment, chunk.first, chunk.count);
  closed_chunk.place = ClosedChunk::kInMemory | place;
  if (AddClosed(series, closed_chunk)) {
    timelines_.Reference(chunk.segment);
    return true;
  }
  slab_.Free(place, sizeof chunk + bytes.size());
  return false;
}

bool SeriesChunks::Close(SeriesData* series) {
  const char* open = slab_.At(series->chunk);
  const size_t codes_at = CodesAt(*series);
  std::string bytes(open, series->tail);
  bytes.append(open + codes_at, series->used - codes_at);
  MemoryChunk chunk{series->segment, static_cast<uint16_t>(bytes.size()), series->tail, series->first, series->count};
  if (!RestoreClosedInMemory(series, chunk, bytes)) return false;
  slab_.Free(series->chunk, series->used);
  series->chunk = 0;
  series->used = series->tail = 0;
  series->first = static_cast<uint8_t>(series->first + series->count);
  series->count = 0;
  return true;
}

void SeriesChunks::FreeClosed(const ClosedChunk& chunk) {
  if (!chunk.in_memory()) return;
  timelines_.Release(At(chunk).segment);
  slab_.Free(chunk.handle(), sizeof(MemoryChunk) + At(chunk).size);
}

bool SeriesChunks::Moved(SeriesData* series, size_t index, ChunkPlace was, ChunkPlace now) {
  if (index >= series->closed_count) return false;
  auto* chunk = reinterpret_cast<ClosedChunk*>(slab_.At(series->closed)) + index;
  if (chunk->place != was) return false;
  FreeClosed(*chunk);
  chunk->place = now;
  return true;
}

void SeriesChunks::Truncate(SeriesData* series, int64_t mint) {
  // At a border of windows, which no chunk crosses, its beginning tells more exactly.
  const bool border = mint > 0 && mint % kChunkWindowMs == 0;
  auto is_gone = [&](const ClosedChunk& chunk) {
    return mint == INT64_MAX || chunk.EndsBefore(mint) || (border && int64_t{chunk.min_second} * 1000 < mint);
  };
  size_t gone = 0;
  while (gone < series->closed_count && is_gone(closed(*series)[gone])) ++gone;
  if (gone > 0) {
    for (size_t i = 0; i < gone; ++i) FreeClosed(closed(*series)[i]);
    std::vector<ClosedChunk> left(closed(*series) + gone, closed(*series) + series->closed_count);
    slab_.Free(series->closed, series->closed_count * sizeof(ClosedChunk));
    series->closed = 0;
    series->closed_count = 0;
    for (const ClosedChunk& chunk : left) AddClosed(series, chunk);  // In what was just freed, so that there is room.
  }
  if (series->count == 0 || *LastTime(*series) >= mint) return;
  slab_.Free(series->chunk, series->used);
  series->chunk = 0;
  series->used = series->tail = 0;
  series->first = static_cast<uint8_t>(series->first + series->count);
  series->count = 0;
}

void SeriesChunks::Free(SeriesData* series) {
  for (size_t i = 0; i < series->closed_count; ++i) FreeClosed(closed(*series)[i]);
  if (series->closed_count > 0) slab_.Free(series->closed, series->closed_count * sizeof(ClosedChunk));
  if (series->chunk != 0) slab_.Free(series->chunk, series->used);
  if (series->segment != 0) timelines_.Release(series->segment);
  series->closed = series->chunk = series->segment = 0;
  series->closed_count = 0;
  series->count = 0;
}

bool SeriesChunks::RestoreOpen(SeriesData* series, uint32_t segment, uint8_t first, uint8_t count, uint16_t tail,
                               double last, std::string_view bytes) {
  if (count > 0) {
    Slab::Handle place = slab_.Allocate(bytes.size());
    if (place == 0) return false;
    std::memcpy(slab_.At(place), bytes.data(), bytes.size());
    series->chunk = place;
    series->used = static_cast<uint16_t>(bytes.size());
    series->tail = tail;
  }
  series->segment = segment;
  series->first = first;
  series->count = count;
  series->last = last;
  if (segment != 0) timelines_.Reference(segment);
  return true;
}

void SeriesChunks::AddSlice(uint32_t segment, uint32_t first, uint32_t count, std::string_view blocks,
                            std::string_view codes, int64_t mint, int64_t maxt, CommitSequence reader,
                            ChunkFileReader* files) const {
  const WantedRun run{timelines_.Serial(segment), first, count, mint, maxt, reader};
  ChunkFileReader::Run& last = files->last_run();
  if (last.run != run) {
    uint32_t to = timelines_.VisibleTo(reader, segment, first, count);
    const uint32_t from = timelines_.CountBefore(mint, segment, first, to);
    if (maxt < kMaxMs) to = timelines_.CountBefore(maxt + 1, segment, first, to);
    last = {run, from, to};
  }
  if (last.from >= last.to) return;
  files->slices().push_back({blocks, codes, last.from, last.to, run.serial, first + last.from, segment, nullptr});
}

bool SeriesChunks::AddFileSlice(ChunkPlace place, int64_t mint, int64_t maxt, ChunkFileReader* files,
                                std::vector<ChunkSlice>* slices) const {
  StoredChunk chunk;
  const StoredTimeline* timeline = nullptr;
  if (!files->Read(place, &chunk, &timeline).ok()) return false;
  auto begin = timeline->times.begin() + chunk.first, end = begin + chunk.count;
  ptrdiff_t from = 0, to = chunk.count;
  const bool all = begin != end && *begin >= mint && *(end - 1) <= maxt;  // As mostly.
  if (!all) {
    from = std::lower_bound(begin, end, mint) - begin;
    to = std::upper_bound(begin, end, maxt) - begin;
  }
  if (from >= to) return true;
  slices->push_back({chunk.bytes.substr(0, chunk.tail), chunk.bytes.substr(chunk.tail), static_cast<uint32_t>(from),
                     static_cast<uint32_t>(to), timeline->serial, chunk.first + static_cast<uint32_t>(from), 0,
                     timeline});
  return true;
}

bool SeriesChunks::Overlaps(uint32_t segment, uint32_t first, uint32_t count, int64_t mint, int64_t maxt,
                            CommitSequence reader) const {
  const uint32_t visible = timelines_.VisibleTo(reader, segment, first, count);
  if (visible == 0 || timelines_.Time({segment, first + visible - 1}) < mint) return false;
  const uint32_t before = timelines_.CountBefore(mint, segment, first, visible);
  return timelines_.Time({segment, first + before}) <= maxt;
}

bool SeriesChunks::MayHave(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader) const {
  if (series.count > 0 && Overlaps(series.segment, series.first, series.count, mint, maxt, reader)) return true;
  for (size_t i = series.closed_count; i-- > 0;) {
    const ClosedChunk& chunk = closed(series)[i];
    if (chunk.BeginsAfter(maxt)) continue;
    if (chunk.EndsBefore(mint)) break;
    if (!chunk.in_memory()) return true;
    const MemoryChunk& memory = At(chunk);
    if (Overlaps(memory.segment, memory.first, memory.count, mint, maxt, reader)) return true;
  }
  return false;
}

void SeriesChunks::PrefetchClosed(const SeriesData& series, int64_t mint, int64_t maxt, ChunkFileReader* files) const {
  if (!ReachesClosed(series, mint)) return;
  for (const ClosedChunk& chunk : std::span(closed(series), series.closed_count)) {
    const bool wanted = !chunk.in_memory() && !chunk.EndsBefore(mint) && !chunk.BeginsAfter(maxt);
    if (wanted) files->Prefetch(chunk.place);
  }
}

void SeriesChunks::AddClosedSlices(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader,
                                   ChunkFileReader* files, size_t* damaged) const {
  if (!ReachesClosed(series, mint)) return;
  for (const ClosedChunk& chunk : std::span(closed(series), series.closed_count)) {
    if (chunk.EndsBefore(mint) || chunk.BeginsAfter(maxt)) continue;
    if (!chunk.in_memory()) {
      *damaged += !AddFileSlice(chunk.place, mint, maxt, files, &files->slices());
      continue;
    }
    const MemoryChunk& memory = At(chunk);
    const std::string_view bytes = BytesOf(chunk);
    AddSlice(memory.segment, memory.first, memory.count, bytes.substr(0, memory.tail), bytes.substr(memory.tail), mint,
             maxt, reader, files);
  }
}

void SeriesChunks::Read(const SeriesData& series, int64_t mint, int64_t maxt, CommitSequence reader,
                        ChunkFileReader* files, ColumnBuffer* buffer, SampleColumns* columns, size_t* damaged) const {
  std::vector<ChunkSlice>& slices = files->slices();
  slices.clear();
  AddClosedSlices(series, mint, maxt, reader, files, damaged);
  if (series.count > 0) {
    const std::string_view bytes = OpenBytes(series);  // Without what only the writer needs.
    AddSlice(series.segment, series.first, series.count, bytes.substr(0, series.tail), bytes.substr(CodesAt(series)),
             mint, maxt, reader, files);
  }
  *columns = Decode(slices, buffer, damaged);
}

namespace {

bool DecodeSlice(const ChunkSlice& slice, double* values) {
  return DecodeValues(Bytes(slice.blocks.data()), slice.blocks.size(), Bytes(slice.codes.data()), slice.codes.size(),
                      0.0, slice.to, values);
}

// Chunks that begin before the range but not before others are rare.
bool DecodeSliceAside(const ChunkSlice& slice, double* values) {
  double all[UINT8_MAX + kBlockValues];
  if (!DecodeSlice(slice, all)) return false;
  std::copy(all + slice.from, all + slice.to, values);
  return true;
}

}  // namespace

SampleColumns SeriesChunks::Decode(std::vector<ChunkSlice>& slices, ColumnBuffer* buffer, size_t* damaged) const {
  uint64_t timeline = 0;
  size_t room = kBlockValues;
  for (const ChunkSlice& slice : slices) room += slice.to;
  if (buffer->v.size() < room) buffer->v.resize(room);
  // What the first chunk has in front of the range is decoded, too, and left out.
  const size_t begin = slices.empty() ? 0 : slices.front().from;
  size_t end = begin;
  for (ChunkSlice& slice : slices) {
    double* const out = buffer->v.data() + end;
    const bool first = &slice == slices.data();
    const bool in_place = first || slice.from == 0;
    if (!(in_place ? DecodeSlice(slice, first ? out - begin : out) : DecodeSliceAside(slice, out))) {
      ++*damaged;
      slice.to = slice.from;
      continue;
    }
    const size_t count = slice.to - slice.from;
    end += count;
    timeline = Fold(timeline ^ slice.serial, uint64_t{slice.position} << 32 | count);
  }
  if (timeline == 0 || timeline != buffer->timeline) {
    buffer->t.clear();
    for (const ChunkSlice& slice : slices) {
      const uint32_t count = slice.to - slice.from;
      if (slice.timeline == nullptr) {
        timelines_.Times(slice.segment, slice.position, count, &buffer->t);
      } else {
        auto times = slice.timeline->times.begin() + slice.position;
        buffer->t.insert(buffer->t.end(), times, times + count);
      }
    }
    buffer->timeline = timeline;
  }
  return {buffer->t, std::span<const double>(buffer->v).subspan(begin, end - begin), timeline};
}

}  // namespace tidewright::tsdb
