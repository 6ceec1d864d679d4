#include "tsdb/index_writer.h"

#include <algorithm>

#include "tsdb/encoding.h"
#include "tsdb/index_format.h"

namespace tidewright::tsdb {

namespace {

constexpr uint64_t kSymbolsLengthOffset = kIndexHeaderBytes;
constexpr uint64_t kSymbolsCountOffset = kSymbolsLengthOffset + 4;
constexpr uint64_t kMaxSymbolBytes = UINT32_MAX - 64;

base::Status TooLarge(const std::string& path, const char* what) {
  return base::ResourceExhaustedError("write " + path + ": " + what + "; write the series into several blocks");
}

// Calls visit(id, name, value) for each label of each series in the bytes of the index up to the end of its series.
// They are what this program just wrote.
template <class Visit>
void ForEachLabel(std::string_view index, uint64_t position, Visit visit) {
  for (;;) {
    position = (position + kSeriesAlignment - 1) / kSeriesAlignment * kSeriesAlignment;
    if (position >= index.size()) return;
    ByteReader in(index.substr(position));
    const uint64_t size = in.Uvarint();
    const uint64_t header = index.size() - position - in.remaining();
    const auto id = static_cast<uint32_t>(position / kSeriesAlignment);
    for (uint64_t labels = in.Uvarint(); labels > 0 && in.ok(); --labels) {
      const auto name = static_cast<uint32_t>(in.Uvarint());
      visit(id, name, static_cast<uint32_t>(in.Uvarint()));
    }
    position += header + size + kChecksumBytes;
  }
}

}  // namespace

size_t PairMap::Slot(uint64_t pair) const {
  size_t mask = pairs_.size() - 1;
  size_t slot = (pair * 0x9e3779b97f4a7c15) >> 20 & mask;
  while (pairs_[slot] != 0 && pairs_[slot] != pair) slot = (slot + 1) & mask;
  return slot;
}

void PairMap::Grow() {
  std::vector<uint64_t> pairs(std::max<size_t>(64, pairs_.size() * 2));
  std::vector<uint32_t> values(pairs.size());
  pairs.swap(pairs_);
  values.swap(values_);
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (pairs[i] == 0) continue;
    size_t slot = Slot(pairs[i]);
    pairs_[slot] = pairs[i];
    values_[slot] = values[i];
  }
}

uint32_t& PairMap::operator[](uint64_t pair) {
  if (used_ * 4 >= pairs_.size() * 3) Grow();
  size_t slot = Slot(pair);
  used_ += pairs_[slot] == 0;
  pairs_[slot] = pair;
  return values_[slot];
}

std::vector<uint64_t> PairMap::SortedPairs() const {
  std::vector<uint64_t> sorted;
  sorted.reserve(used_);
  std::copy_if(pairs_.begin(), pairs_.end(), std::back_inserter(sorted), [](uint64_t pair) { return pair != 0; });
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

base::Result<std::unique_ptr<IndexWriter>> IndexWriter::Create(const std::string& path, size_t postings_buffer_bytes) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> file, FileWriter::Create(path));
  std::string header;
  PutU32(&header, kIndexMagic);
  PutU8(&header, kIndexVersion);
  PutU64(&header, 0);  // Length and number of symbols, known later.
  TW_RETURN_IF_ERROR(file->Append(header));
  return std::unique_ptr<IndexWriter>(new IndexWriter(std::move(file), postings_buffer_bytes));
}

base::Status IndexWriter::AddSymbol(std::string_view symbol) {
  if (file_->offset() + symbol.size() > kMaxSymbolBytes) return TooLarge(file_->path(), "the symbols exceed 4 GiB");
  symbol_offsets_.push_back(static_cast<uint32_t>(file_->offset()));
  last_symbol_ = symbol;
  buffer_.clear();
  PutString(&buffer_, symbol);
  return file_->Append(buffer_);
}

base::Status IndexWriter::FinishSymbols() {
  buffer_.clear();
  PutU32(&buffer_, static_cast<uint32_t>(file_->offset() - kSymbolsCountOffset));
  PutU32(&buffer_, symbol_count());
  TW_RETURN_IF_ERROR(file_->Overwrite(kSymbolsLengthOffset, buffer_));
  TW_ASSIGN_OR_RETURN(symbols_, MappedFile::Open(file_->path()));
  // The checksum covers the number, which was not known at first, so it is taken from the file.
  const uint32_t checksum = Crc32c(symbols_.bytes().substr(kSymbolsCountOffset));
  buffer_.clear();
  PutU32(&buffer_, checksum);
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  series_offset_ = series_end_ = file_->offset();
  return base::Status::Ok();
}

std::string_view IndexWriter::SymbolAt(uint32_t position) const {
  return ByteReader(symbols_.bytes().substr(symbol_offsets_[position])).String();
}

base::Result<uint32_t> IndexWriter::FindSymbol(std::string_view symbol) const {
  uint32_t low = 0;
  uint32_t high = symbol_count();
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (SymbolAt(middle) < symbol) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low < symbol_count() && SymbolAt(low) == symbol) return low;
  return base::InvalidArgumentError("write " + file_->path() + ": \"" + std::string(symbol) +
                                    "\" is in a series but was not given as a symbol");
}

void IndexWriter::EncodeSeries(std::span<const LabelSymbols> labels, std::span<const IndexedChunk> chunks) {
  buffer_.clear();
  PutUvarint(&buffer_, labels.size());
  for (const LabelSymbols& label : labels) {
    PutUvarint(&buffer_, label.name);
    PutUvarint(&buffer_, label.value);
  }
  PutUvarint(&buffer_, chunks.size());
  const IndexedChunk* previous = nullptr;
  for (const IndexedChunk& chunk : chunks) {
    const auto duration = static_cast<uint64_t>(chunk.maxt) - static_cast<uint64_t>(chunk.mint);
    if (previous == nullptr) {
      PutVarint(&buffer_, chunk.mint);
      PutUvarint(&buffer_, duration);
      PutUvarint(&buffer_, chunk.ref);
    } else {
      PutUvarint(&buffer_, static_cast<uint64_t>(chunk.mint) - static_cast<uint64_t>(previous->maxt));
      PutUvarint(&buffer_, duration);
      PutVarint(&buffer_, static_cast<int64_t>(chunk.ref - previous->ref));
    }
    previous = &chunk;
  }
}

base::Status IndexWriter::AddSeries(std::span<const LabelSymbols> labels, std::span<const IndexedChunk> chunks) {
  TW_RETURN_IF_ERROR(file_->Align(kSeriesAlignment));
  if (file_->offset() / kSeriesAlignment > UINT32_MAX) return TooLarge(file_->path(), "the series exceed 64 GiB");
  EncodeSeries(labels, chunks);
  std::string length;
  PutUvarint(&length, buffer_.size());
  TW_RETURN_IF_ERROR(file_->Append(length));
  file_->StartChecksum();
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  TW_RETURN_IF_ERROR(file_->AppendChecksum());
  for (const LabelSymbols& label : labels) ++pairs_[PairMap::Pair(label.name, label.value)];
  ++series_count_;
  series_end_ = file_->offset();
  return base::Status::Ok();
}

base::Status IndexWriter::WriteList(uint64_t pair, std::span<const uint32_t> ids) {
  TW_RETURN_IF_ERROR(file_->Align(kPostingsAlignment));
  table_.push_back({static_cast<uint32_t>(pair >> 32), static_cast<uint32_t>(pair), file_->offset()});
  if (ids.size() >= UINT32_MAX / 4) return TooLarge(file_->path(), "a list of series exceeds 4 GiB");
  buffer_.clear();
  PutU32(&buffer_, static_cast<uint32_t>(4 + 4 * ids.size()));
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  file_->StartChecksum();
  buffer_.clear();
  PutU32(&buffer_, static_cast<uint32_t>(ids.size()));
  for (uint32_t id : ids) PutU32(&buffer_, id);
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  return file_->AppendChecksum();
}

// The list of all series is under the pair of two empty strings, which no series has.
base::Status IndexWriter::WriteAllSeries(std::string_view series) {
  std::vector<uint32_t> ids;
  ids.reserve(series_count_);
  ForEachLabel(series, series_offset_, [&ids](uint32_t id, uint32_t, uint32_t) {
    if (ids.empty() || ids.back() != id) ids.push_back(id);
  });
  return WriteList(0, ids);
}

// One walk over all series, which collects the lists of the pairs whose ranks begin with `first_rank`.
base::Status IndexWriter::WritePass(std::string_view series, std::span<const uint64_t> pairs, uint32_t first_rank,
                                    std::span<const uint32_t> counts) {
  std::vector<size_t> next(pairs.size() + 1);  // Where the next id of a pair goes.
  for (size_t i = 0; i < pairs.size(); ++i) next[i + 1] = next[i] + counts[i];
  std::vector<uint32_t> ids(next.back());
  ForEachLabel(series, series_offset_, [&](uint32_t id, uint32_t name, uint32_t value) {
    const uint32_t rank = pairs_.At(PairMap::Pair(name, value)) - first_rank;  // Wraps around below it.
    if (rank < pairs.size()) ids[next[rank]++] = id;
  });
  size_t begin = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    TW_RETURN_IF_ERROR(WriteList(pairs[i], std::span(ids).subspan(begin, counts[i])));
    begin += counts[i];
  }
  return base::Status::Ok();
}

base::Status IndexWriter::WritePostings() {
  TW_RETURN_IF_ERROR(file_->Flush());
  TW_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(file_->path()));
  const std::string_view series = file.bytes().substr(0, series_end_);
  TW_RETURN_IF_ERROR(WriteAllSeries(series));
  const std::vector<uint64_t> pairs = pairs_.SortedPairs();
  std::vector<uint32_t> counts(pairs.size());
  for (uint32_t rank = 0; rank < pairs.size(); ++rank) counts[rank] = std::exchange(pairs_[pairs[rank]], rank);
  const size_t most = std::max<size_t>(1, postings_buffer_bytes_ / sizeof(uint32_t));
  for (size_t begin = 0, end = 0; begin < pairs.size(); begin = end) {
    for (size_t total = 0; end < pairs.size() && (end == begin || total + counts[end] <= most); ++end) {
      total += counts[end];
    }
    TW_RETURN_IF_ERROR(WritePass(series, std::span(pairs).subspan(begin, end - begin), static_cast<uint32_t>(begin),
                                 std::span(counts).subspan(begin, end - begin)));
  }
  return base::Status::Ok();
}

base::Status IndexWriter::WriteTable() {
  table_offset_ = file_->offset();
  // Length first, which is known when the rest is written; then the checksum over everything behind the length.
  TW_RETURN_IF_ERROR(file_->Append(std::string(4, '\0')));
  file_->StartChecksum();
  buffer_.clear();
  PutU32(&buffer_, static_cast<uint32_t>(table_.size()));
  for (const PostingsEntry& entry : table_) {
    PutU8(&buffer_, kPostingsKeyFields);
    PutString(&buffer_, SymbolAt(entry.name));
    PutString(&buffer_, SymbolAt(entry.value));
    PutUvarint(&buffer_, entry.offset);
    if (buffer_.size() < 64 << 10) continue;
    TW_RETURN_IF_ERROR(file_->Append(buffer_));
    buffer_.clear();
  }
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  const uint64_t length = file_->offset() - table_offset_ - 4;
  if (length > UINT32_MAX) return TooLarge(file_->path(), "the table of label pairs exceeds 4 GiB");
  TW_RETURN_IF_ERROR(file_->AppendChecksum());
  buffer_.clear();
  PutU32(&buffer_, static_cast<uint32_t>(length));
  return file_->Overwrite(table_offset_, buffer_);
}

base::Status IndexWriter::WriteToc() {
  buffer_.clear();
  PutU64(&buffer_, kSymbolsLengthOffset);
  PutU64(&buffer_, series_offset_);
  // The label indices and their table are not written any more; their entries point at what stands in their places.
  PutU64(&buffer_, series_end_);
  PutU64(&buffer_, table_offset_);
  PutU64(&buffer_, series_end_);
  PutU64(&buffer_, table_offset_);
  file_->StartChecksum();
  TW_RETURN_IF_ERROR(file_->Append(buffer_));
  return file_->AppendChecksum();
}

base::Status IndexWriter::Finish() {
  TW_RETURN_IF_ERROR(WritePostings());
  TW_RETURN_IF_ERROR(WriteTable());
  TW_RETURN_IF_ERROR(WriteToc());
  return file_->Close();
}

}  // namespace tidewright::tsdb
