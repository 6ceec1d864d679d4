#include "tsdb/log_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <deque>
#include <unordered_map>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/log.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kReadBytes = 256 << 10;

std::string LogOf(const std::string& directory) { return directory + "/log"; }

int64_t LastWrittenMs(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return INT64_MAX;
  return int64_t{found.st_mtim.tv_sec} * 1000 + found.st_mtim.tv_nsec / 1'000'000;
}

// Which series a checkpoint has. They precede all else but what applies to the whole.
class SeriesOfCheckpoint : public LogHandler {
 public:
  explicit SeriesOfCheckpoint(RefBits* found) : found_(found) {}
  Symbol OnSymbol(std::string_view) override { return 1; }
  base::Status OnSeries(SeriesRef ref, std::span<const SymbolPair>) override {
    found_->TestAndSet(ref);
    return base::Status::Ok();
  }
  base::Status OnMetadata(std::string, Metadata) override { return base::Status::Ok(); }
  base::Status OnSamples(int64_t, std::span<const SeriesRef>, std::span<const double>) override {
    return base::Status::Ok();
  }
  base::Status OnOther(LogPart part, std::string_view) override {
    return part == LogPart::kInfo ? base::Status::Ok() : base::AbortedError("the rest is not wanted");
  }

 private:
  RefBits* found_;
};

}  // namespace

void LogCommit::Clear() {
  floats.clear();
  histograms.clear();
  exemplars.clear();
}

// Takes one segment apart, as far as it is written.
class LogTail::Reader {
 public:
  Reader(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~Reader() { close(fd_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next whole record, good until the next call; nothing when there is none, or only a part of it yet. What is not
  // whole is read again then, as the writer may cut it off and write something else.
  base::Result<std::optional<std::string_view>> Next() {
    const std::optional<std::string_view> none;
    if (offset_ == 0) {
      TW_ASSIGN_OR_RETURN(const bool header, Want(kLogHeaderBytes));
      if (!header) return none;
      Take(kLogHeaderBytes);
    }
    TW_ASSIGN_OR_RETURN(const bool framed, Want(kLogFrameBytes));
    if (!framed) return none;
    ByteReader frame(std::string_view(buffer_).substr(at_, kLogFrameBytes));
    const uint32_t size = frame.U32(), checksum = frame.U32();
    const bool possible = size > 0 && size <= kMaxLogRecord;
    bool whole = false;
    if (possible) {
      TW_ASSIGN_OR_RETURN(whole, Want(kLogFrameBytes + size));
    }
    const std::string_view record = std::string_view(buffer_).substr(at_, whole ? kLogFrameBytes + size : 0);
    if (!whole || Crc32c(record.substr(kLogFrameBytes)) != checksum) {
      buffer_.clear();
      at_ = 0;
      return none;
    }
    Take(record.size());
    return std::optional(record.substr(kLogFrameBytes));
  }
  uint64_t offset() const { return offset_; }

 private:
  void Take(size_t size) {
    at_ += size;
    offset_ += size;
  }
  // Whether as much is there, from at_ on.
  base::Result<bool> Want(size_t size) {
    if (buffer_.size() - at_ >= size) return true;
    buffer_.erase(0, at_);
    at_ = 0;
    while (buffer_.size() < size) {
      const size_t had = buffer_.size();
      buffer_.resize(had + kReadBytes);
      const ssize_t got = pread(fd_, buffer_.data() + had, kReadBytes, static_cast<off_t>(offset_ + had));
      buffer_.resize(had + (got > 0 ? static_cast<size_t>(got) : 0));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FileError("read", path_, errno);
      if (got == 0) break;
    }
    const bool there = buffer_.size() >= size;
    if (!there) buffer_.clear();
    return there;
  }

  const int fd_;
  const std::string path_;
  std::string buffer_;
  size_t at_ = 0;
  uint64_t offset_ = 0;  // Behind the last record.
};

// What the log says of series, and a commit while it is decoded.
class LogTail::Definitions : public LogHandler {
 public:
  // Where samples go from now on; null: nowhere. Without `values` they are not even decoded, which a segment that more
  // is to be read of does not stand.
  void Into(LogCommit* commit, bool values = true) {
    commit_ = commit;
    values_ = values;
  }
  void Segment(int segment) { segment_ = segment; }

  Symbol OnSymbol(std::string_view text) override {
    auto known = symbols_.find(text);
    if (known != symbols_.end()) return known->second;
    texts_.emplace_back(text);
    const auto symbol = static_cast<Symbol>(texts_.size());
    symbols_.emplace(texts_.back(), symbol);
    return symbol;
  }
  base::Status OnSeries(SeriesRef ref, std::span<const SymbolPair> labels) override {
    Series& series = series_[ref];
    const SymbolPair* before = pairs_.data() + series.first;
    if (!std::equal(labels.begin(), labels.end(), before, before + series.count)) {
      series.first = pairs_.size();
      series.count = static_cast<uint32_t>(labels.size());
      pairs_.insert(pairs_.end(), labels.begin(), labels.end());
    }
    series.segment = segment_;
    return base::Status::Ok();
  }
  base::Status OnMetadata(std::string, Metadata) override { return base::Status::Ok(); }
  base::Result<bool> OnPackedSamples(const PackedSamples&) override { return !values_; }
  base::Status OnSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values) override {
    if (commit_ == nullptr) return base::Status::Ok();
    for (size_t i = 0; i < refs.size(); ++i) commit_->floats.push_back({refs[i], t, values[i]});
    return base::Status::Ok();
  }
  base::Status OnOther(LogPart part, std::string_view bytes) override {
    if (commit_ == nullptr) return base::Status::Ok();
    ByteReader reader(bytes);
    if (part == LogPart::kLate) return OnLate(&reader);
    if (part == LogPart::kHistogram || part == LogPart::kLateHistogram) {
      const SeriesRef ref = reader.Uvarint();
      TW_ASSIGN_OR_RETURN(HistogramSample sample, DecodeHistogramSample(reader.Bytes(reader.remaining())));
      commit_->histograms.push_back({ref, std::move(sample)});
    }
    if (part == LogPart::kExemplar) {
      TW_ASSIGN_OR_RETURN(LoggedExemplar exemplar, DecodeExemplar(bytes));
      commit_->exemplars.push_back(std::move(exemplar));
    }
    return base::Status::Ok();
  }

  bool LabelsOf(SeriesRef ref, LabelViews* labels) const {
    labels->clear();
    auto known = series_.find(ref);
    if (known == series_.end()) return false;
    for (uint32_t i = 0; i < known->second.count; ++i) {
      const SymbolPair& pair = pairs_[known->second.first + i];
      labels->emplace_back(texts_[pair.name - 1], texts_[pair.value - 1]);
    }
    return true;
  }
  size_t size() const { return series_.size(); }

  // The same without the series that were last defined in a segment up to `checkpoint` and are not in it any more.
  // Symbols are others then.
  std::unique_ptr<Definitions> Without(int checkpoint, const RefBits& left) const {
    auto rest = std::make_unique<Definitions>();
    std::vector<SymbolPair> labels;
    for (const auto& [ref, series] : series_) {
      if (series.segment <= checkpoint && !left.Test(ref)) continue;
      labels.clear();
      for (uint32_t i = 0; i < series.count; ++i) {
        const SymbolPair& pair = pairs_[series.first + i];
        labels.push_back({rest->OnSymbol(texts_[pair.name - 1]), rest->OnSymbol(texts_[pair.value - 1])});
      }
      rest->Segment(series.segment);
      base::Status added = rest->OnSeries(ref, labels);
      if (!added.ok()) return nullptr;
    }
    return rest;
  }

 private:
  struct Series {
    size_t first = 0;  // In pairs_.
    uint32_t count = 0;
    int segment = 0;
  };

  base::Status OnLate(ByteReader* reader) {
    const uint64_t count = reader->Uvarint();
    uint64_t ref = 0, t = 0;
    for (uint64_t i = 0; i < count && reader->ok(); ++i) {
      ref += static_cast<uint64_t>(reader->Varint());
      t += static_cast<uint64_t>(reader->Varint());
      const auto value = std::bit_cast<double>(reader->U64());
      if (reader->ok()) commit_->floats.push_back({ref, static_cast<int64_t>(t), value});
    }
    return reader->ok() ? base::Status::Ok() : base::DataLossError("samples out of order cut short");
  }

  std::deque<std::string> texts_;
  std::unordered_map<std::string_view, Symbol> symbols_;  // Of texts_.
  std::vector<SymbolPair> pairs_;
  std::unordered_map<SeriesRef, Series> series_;
  int segment_ = 0;
  LogCommit* commit_ = nullptr;
  bool values_ = true;
};

LogTail::LogTail(const std::string& directory)
    : log_(LogOf(directory)), definitions_(std::make_unique<Definitions>()) {}

LogTail::~LogTail() = default;

base::Status LogTail::Keep(const std::string& directory, bool keep) {
  const std::string retired = RetiredLogDirectory(LogOf(directory));
  return keep ? base::MakeDirectories(retired) : RemoveTree(retired);
}

base::Result<int> LogTail::Release(const std::string& directory, int segment, uint64_t max_bytes, int64_t oldest_ms) {
  const std::string retired = RetiredLogDirectory(LogOf(directory));
  LogTail tail(directory);
  const int explained = tail.Checkpoint(segment).number;
  TW_ASSIGN_OR_RETURN(const WalListing listing, ListWal(retired));
  for (int checkpoint : listing.checkpoints) {
    if (checkpoint < explained) TW_RETURN_IF_ERROR(RemoveTree(CheckpointDirectory(retired, checkpoint)));
  }
  uint64_t bytes = SizeOnDisk(retired);
  int lost = 0;
  for (int one : listing.segments) {
    const std::string path = SegmentFile(retired, one);
    if (one > explained && bytes <= max_bytes && LastWrittenMs(path) >= oldest_ms) break;
    bytes -= std::min(bytes, SizeOnDisk(path));
    TW_RETURN_IF_ERROR(RemoveTree(path));
    lost += one >= segment ? 1 : 0;
  }
  if (bytes <= max_bytes) return lost;
  for (int checkpoint : listing.checkpoints) TW_RETURN_IF_ERROR(RemoveTree(CheckpointDirectory(retired, checkpoint)));
  return lost;
}

LogTail::Place LogTail::Checkpoint(int before) const {
  Place newest{log_, -1};
  for (const std::string& directory : {log_, RetiredLogDirectory(log_)}) {
    auto listing = ListWal(directory);
    if (!listing.ok()) continue;
    for (int number : listing->checkpoints) {
      if (number < before && number > newest.number) newest = {directory, number};
    }
  }
  return newest;
}

std::vector<int> LogTail::Segments() const {
  std::vector<int> segments;
  // In this order, as a segment moves from the first to the second.
  for (const std::string& directory : {log_, RetiredLogDirectory(log_)}) {
    auto listing = ListWal(directory);
    if (listing.ok()) segments.insert(segments.end(), listing->segments.begin(), listing->segments.end());
  }
  std::sort(segments.begin(), segments.end());
  segments.erase(std::unique(segments.begin(), segments.end()), segments.end());
  return segments;
}

base::Result<bool> LogTail::OpenSegment(int segment) {
  for (const std::string& directory : {log_, RetiredLogDirectory(log_)}) {
    const std::string path = SegmentFile(directory, segment);
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) return FileError("open", path, errno);
    if (fd < 0) continue;
    reader_ = std::make_unique<Reader>(fd, path);
    decoder_.StartSegment();
    definitions_->Segment(segment);
    position_ = {segment, 0};
    complete_ = false;
    return true;
  }
  return false;
}

base::Status LogTail::ReadDefinitions(const Place& checkpoint) {
  forgotten_ = checkpoint.number;
  if (checkpoint.number < 0) return base::Status::Ok();
  definitions_->Into(nullptr, /*values=*/false);
  definitions_->Segment(checkpoint.number);
  LogDecoder decoder;
  decoder.StartSegment();
  base::Status read = ReadLogFile(CheckpointDirectory(checkpoint.directory, checkpoint.number), /*checkpoint=*/true,
                                  [&](std::string_view record) { return decoder.Decode(record, definitions_.get()); });
  return read.code() == base::Code::kDataLoss ? base::Status::Ok() : read;
}

// Reads a segment for the series that it defines, up to a position in it or to its end.
base::Status LogTail::PassOver(int segment, const std::optional<LogPosition>& until) {
  TW_ASSIGN_OR_RETURN(const bool opened, OpenSegment(segment));
  if (!opened) return base::Status::Ok();
  const bool last = !until || segment == until->segment;  // More of it may be read.
  definitions_->Into(nullptr, last);
  while (!until || segment < until->segment || position_.offset < until->offset) {
    TW_ASSIGN_OR_RETURN(const auto record, reader_->Next());
    if (!record || !decoder_.Decode(*record, definitions_.get()).ok()) break;
    position_.offset = reader_->offset();
  }
  return base::Status::Ok();
}

base::Status LogTail::Start(const std::optional<LogPosition>& position, bool* lost) {
  const Place checkpoint = Checkpoint(position ? position->segment : INT_MAX);
  TW_RETURN_IF_ERROR(ReadDefinitions(checkpoint));
  const std::vector<int> segments = Segments();
  *lost = position && !segments.empty() && segments.front() > position->segment;
  for (int segment : segments) {
    if (*lost || (position && segment > position->segment)) break;
    if (segment > checkpoint.number) TW_RETURN_IF_ERROR(PassOver(segment, position));
  }
  if (reader_ == nullptr && !*lost) position_ = {checkpoint.number + 1, 0};
  return base::Status::Ok();
}

// At the beginning of a segment: a checkpoint before it says which of the series there still are.
void LogTail::Forget() {
  auto listing = ListWal(log_);
  if (!listing.ok() || listing->checkpoints.empty()) return;
  const int newest = listing->checkpoints.back();
  if (newest <= forgotten_ || newest >= position_.segment) return;
  RefBits left;
  SeriesOfCheckpoint handler(&left);
  LogDecoder decoder;
  decoder.StartSegment();
  base::Status read = ReadLogFile(CheckpointDirectory(log_, newest), /*checkpoint=*/true,
                                  [&](std::string_view record) { return decoder.Decode(record, &handler); });
  forgotten_ = newest;
  // Of a damaged one, nobody knows what is missing.
  if (!read.ok() && read.code() != base::Code::kAborted) return;
  if (auto rest = definitions_->Without(newest, left)) definitions_ = std::move(rest);
  definitions_->Segment(position_.segment);
}

base::Result<bool> LogTail::OpenNext() {
  for (int segment : Segments()) {
    if (reader_ != nullptr ? segment <= position_.segment : segment < position_.segment) continue;
    TW_ASSIGN_OR_RETURN(const bool opened, OpenSegment(segment));
    if (!opened) continue;
    Forget();
    return true;
  }
  return false;
}

base::Result<bool> LogTail::Next(LogCommit* commit) {
  if (reader_ == nullptr) {
    TW_ASSIGN_OR_RETURN(const bool opened, OpenNext());
    if (!opened) return false;
  }
  while (true) {
    TW_ASSIGN_OR_RETURN(const auto record, reader_->Next());
    if (record) {
      definitions_->Into(commit);
      base::Status decoded = decoder_.Decode(*record, definitions_.get());
      definitions_->Into(nullptr);
      position_.offset = reader_->offset();
      return decoded.ok() ? base::Result<bool>(true) : decoded;
    }
    if (complete_) {
      TW_ASSIGN_OR_RETURN(const bool opened, OpenNext());
      if (!opened) return false;
      continue;
    }
    // What was added between the read above and the answer to this is read in the next round.
    const std::vector<int> segments = Segments();
    complete_ = !segments.empty() && segments.back() > position_.segment;
    if (!complete_) return false;
  }
}

bool LogTail::LabelsOf(SeriesRef ref, LabelViews* labels) const { return definitions_->LabelsOf(ref, labels); }

size_t LogTail::series() const { return definitions_->size(); }

}  // namespace tidewright::tsdb
