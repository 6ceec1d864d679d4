#include "tsdb/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

constexpr std::string_view kSegmentMagic = "TWLOG\x01\r\n";
constexpr std::string_view kCheckpointMagic = "TWCHK\x01\r\n";
static_assert(kSegmentMagic.size() == kLogHeaderBytes && kCheckpointMagic.size() == kLogHeaderBytes);
constexpr size_t kReadBytes = 1 << 20;

std::string CheckpointFile(const std::string& directory, int last_segment) {
  return CheckpointDirectory(directory, last_segment);
}

// A file that is closed when this goes.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

base::Status WriteFully(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write to", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return base::Status::Ok();
}

// Length and checksum of a record.
void PutFrame(std::string_view record, std::string* out) {
  PutU32(out, static_cast<uint32_t>(record.size()));
  PutU32(out, Crc32c(record));
}

// Reads the records of one file in pieces.
class RecordReader {
 public:
  RecordReader(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  // True: `record` is the next one, valid until the next call. False: the file ended properly. kDataLoss: it is damaged
  // from valid_end() on. Others: the disk.
  base::Result<bool> Next(std::string_view* record) {
    TW_RETURN_IF_ERROR(Want(kLogFrameBytes));
    if (Left() == 0) return false;
    if (Left() < kLogFrameBytes) return Damaged("cut short");
    ByteReader frame(std::string_view(buffer_).substr(at_, kLogFrameBytes));
    uint32_t size = frame.U32(), crc = frame.U32();
    if (size == 0 || size > kMaxLogRecord) return Damaged("wrong length");
    TW_RETURN_IF_ERROR(Want(kLogFrameBytes + size));
    if (Left() < kLogFrameBytes + size) return Damaged("cut short");
    *record = std::string_view(buffer_).substr(at_ + kLogFrameBytes, size);
    if (Crc32c(*record) != crc) return Damaged("wrong checksum");
    at_ += kLogFrameBytes + size;
    return true;
  }

  // Reads the header; false when the file is empty.
  base::Result<bool> Header(std::string_view magic) {
    TW_RETURN_IF_ERROR(Want(magic.size()));
    if (Left() == 0) return false;
    if (std::string_view(buffer_).substr(at_, magic.size()) != magic) return Damaged("not a file of this kind");
    at_ += magic.size();
    valid_end_ = magic.size();
    return true;
  }

  // Call once a record was applied.
  void Accept() { valid_end_ = file_offset_ - Left(); }
  uint64_t valid_end() const { return valid_end_; }

 private:
  size_t Left() const { return buffer_.size() - at_; }

  // Has at least `size` bytes ready, unless the file ends before.
  base::Status Want(size_t size) {
    if (Left() >= size) return base::Status::Ok();
    buffer_.erase(0, at_);
    at_ = 0;
    while (buffer_.size() < size) {
      size_t had = buffer_.size();
      buffer_.resize(had + kReadBytes);
      ssize_t got = pread(fd_, buffer_.data() + had, kReadBytes, static_cast<off_t>(file_offset_));
      buffer_.resize(had + (got > 0 ? static_cast<size_t>(got) : 0));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FileError("read", path_, errno);
      if (got == 0) break;
      file_offset_ += static_cast<uint64_t>(got);
    }
    return base::Status::Ok();
  }
  base::Status Damaged(std::string_view what) const {
    return base::DataLossError(path_ + " at byte " + std::to_string(valid_end_) + ": " + std::string(what));
  }

  const int fd_;
  const std::string path_;
  std::string buffer_;
  size_t at_ = 0;
  uint64_t file_offset_ = 0;
  uint64_t valid_end_ = 0;
};

using Apply = std::function<base::Status(std::string_view record)>;

// Reads one file; kDataLoss says that only the first `*valid_end` bytes are good.
base::Status ReadRecords(const std::string& path, std::string_view magic, const Apply& apply, uint64_t* records,
                         uint64_t* valid_end) {
  File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) return FileError("open", path, errno);
  RecordReader reader(file.fd(), path);
  base::Status status;
  base::Result<bool> more = reader.Header(magic);
  while (more.ok() && *more) {
    std::string_view record;
    more = reader.Next(&record);
    if (!more.ok() || !*more) break;
    status = apply(record);
    if (!status.ok()) break;
    reader.Accept();
    ++*records;
  }
  *valid_end = reader.valid_end();
  if (!more.ok()) return more.status();
  return status.ok() ? status : status.Annotate(path + " at byte " + std::to_string(reader.valid_end()));
}

void NoteDamage(const base::Status& status, LogReplay* replay) {
  ++replay->corruptions;
  base::LogError("tsdb", "the log is damaged; what follows is cut off", {{"error", status.ToString()}});
}

// A file that nothing needs for a restart. Somebody who reads the log may still want it; when it cannot be handed over,
// it goes all the same, so that nobody's reading makes the log grow.
base::Status Retire(const std::string& directory, const std::string& path) {
  const std::string retired = RetiredLogDirectory(directory);
  if (access(retired.c_str(), W_OK) != 0) return RemoveTree(path);
  base::Status moved = RenameDirectory(path, retired + path.substr(path.rfind('/')));
  if (moved.ok()) return moved;
  base::LogWarn("tsdb", "a part of the log is not kept for its readers", {{"error", moved.ToString()}});
  return RemoveTree(path);
}

base::Status RemoveLeftovers(const std::string& directory, const WalListing& listing) {
  for (const std::string& name : listing.unfinished) TW_RETURN_IF_ERROR(RemoveTree(directory + "/" + name));
  if (listing.checkpoints.empty()) return base::Status::Ok();
  for (size_t i = 0; i + 1 < listing.checkpoints.size(); ++i) {
    TW_RETURN_IF_ERROR(Retire(directory, CheckpointFile(directory, listing.checkpoints[i])));
  }
  for (int segment : listing.segments) {
    if (segment > listing.checkpoints.back()) break;
    TW_RETURN_IF_ERROR(Retire(directory, SegmentFile(directory, segment)));
  }
  return base::Status::Ok();
}

// Cuts a segment off where it is damaged and removes those behind it.
base::Status Repair(const std::string& directory, const std::vector<int>& segments, size_t damaged,
                    uint64_t valid_end) {
  const std::string path = SegmentFile(directory, segments[damaged]);
  TW_RETURN_IF_ERROR(valid_end < kLogHeaderBytes ? RemoveTree(path) : TruncateFile(path, valid_end));
  for (size_t i = damaged + 1; i < segments.size(); ++i) {
    TW_RETURN_IF_ERROR(RemoveTree(SegmentFile(directory, segments[i])));
  }
  return SyncDirectory(directory);
}

}  // namespace

std::string RetiredLogDirectory(const std::string& log_directory) { return log_directory + "/retired"; }

base::Status ReadLogFile(const std::string& path, bool checkpoint, const Apply& apply) {
  uint64_t records = 0, valid_end = 0;
  return ReadRecords(path, checkpoint ? kCheckpointMagic : kSegmentMagic, apply, &records, &valid_end);
}

base::Result<LogReplay> ReplayLog(const std::string& directory, const std::function<void()>& start,
                                  const Apply& apply) {
  LogReplay replay;
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  TW_RETURN_IF_ERROR(RemoveLeftovers(directory, listing));
  TW_ASSIGN_OR_RETURN(listing, ListWal(directory));
  uint64_t valid_end = 0;
  int expected = listing.segments.empty() ? 0 : listing.segments.front();
  if (!listing.checkpoints.empty()) {
    const std::string path = CheckpointFile(directory, listing.checkpoints.back());
    start();
    base::Status status = ReadRecords(path, kCheckpointMagic, apply, &replay.records, &valid_end);
    if (!status.ok() && status.code() != base::Code::kDataLoss) return status;
    if (!status.ok()) {
      NoteDamage(status, &replay);
      TW_RETURN_IF_ERROR(valid_end < kLogHeaderBytes ? RemoveTree(path) : TruncateFile(path, valid_end));
    }
    replay.checkpoint_bytes = SizeOnDisk(path);
    expected = listing.checkpoints.back() + 1;
  }
  for (size_t i = 0; i < listing.segments.size(); ++i) {
    if (listing.segments[i] != expected) {
      NoteDamage(
          base::DataLossError(directory + ": segments before " + std::to_string(listing.segments[i]) + " are missing"),
          &replay);
    }
    expected = listing.segments[i] + 1;
    const std::string path = SegmentFile(directory, listing.segments[i]);
    start();
    base::Status status = ReadRecords(path, kSegmentMagic, apply, &replay.records, &valid_end);
    if (!status.ok() && status.code() != base::Code::kDataLoss) return status;
    replay.segment_bytes += valid_end;
    if (status.ok()) continue;
    NoteDamage(status, &replay);
    TW_RETURN_IF_ERROR(Repair(directory, listing.segments, i, valid_end));
    break;
  }
  return replay;
}

base::Result<std::unique_ptr<LogWriter>> LogWriter::Open(const std::string& directory, uint64_t segment_bytes) {
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  int next = listing.checkpoints.empty() ? 0 : listing.checkpoints.back() + 1;
  if (!listing.segments.empty()) {
    // A segment without records is used again.
    bool empty = SizeOnDisk(SegmentFile(directory, listing.segments.back())) <= kLogHeaderBytes;
    next = std::max(next, listing.segments.back() + (empty ? 0 : 1));
  }
  return std::unique_ptr<LogWriter>(new LogWriter(directory, segment_bytes, next));
}

LogWriter::~LogWriter() {
  base::Status status = Close();
  if (!status.ok()) base::LogError("tsdb", "closing the log failed", {{"error", status.ToString()}});
}

base::Status LogWriter::StartSegment() {
  const std::string path = SegmentFile(directory_, segment_ + 1);
  File file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
  if (file.fd() < 0) return FileError("create log segment", path, errno);
  TW_RETURN_IF_ERROR(WriteFully(file.fd(), path, kSegmentMagic));
  TW_RETURN_IF_ERROR(SyncDirectory(directory_));
  ++segment_;
  fd_ = file.Release();
  offset_ = kLogHeaderBytes;
  fresh_ = true;
  return base::Status::Ok();
}

base::Status LogWriter::FinishSegment() {
  TW_RETURN_IF_ERROR(Sync());
  close(std::exchange(fd_, -1));
  return base::Status::Ok();
}

base::Result<bool> LogWriter::Prepare() {
  if (fd_ >= 0 && torn_) {
    if (ftruncate(fd_, static_cast<off_t>(offset_)) != 0) {
      return FileError("cut off the end of", SegmentFile(directory_, segment_), errno);
    }
    torn_ = false;
  }
  // Records of a segment refer to what was said before them in it; after a failure the encoder no longer knows what
  // was.
  bool useless = fresh_ && offset_ > kLogHeaderBytes;
  if (fd_ >= 0 && (offset_ >= segment_bytes_ || useless) && offset_ > kLogHeaderBytes) {
    TW_RETURN_IF_ERROR(FinishSegment());
  }
  if (fd_ < 0) TW_RETURN_IF_ERROR(StartSegment());
  return fresh_;
}

base::Status LogWriter::Append(std::string_view record) {
  frame_.clear();
  PutFrame(record, &frame_);
  frame_ += record;
  base::Status written = WriteFully(fd_, SegmentFile(directory_, segment_), frame_);
  if (!written.ok()) {
    torn_ = ftruncate(fd_, static_cast<off_t>(offset_)) != 0;
    fresh_ = true;
    return written;
  }
  fresh_ = false;
  offset_ += frame_.size();
  bytes_written_ += frame_.size();
  if (frame_.capacity() > (4 << 20)) std::string().swap(frame_);
  return base::Status::Ok();
}

base::Status LogWriter::Sync() {
  if (fd_ < 0) return base::Status::Ok();
  return fdatasync(fd_) == 0 ? base::Status::Ok() : FileError("flush", SegmentFile(directory_, segment_), errno);
}

base::Result<int> LogWriter::Cut() {
  if (fd_ >= 0) TW_RETURN_IF_ERROR(FinishSegment());
  segment_ = std::max(segment_, 0);  // A number to name a checkpoint by, even before the first segment.
  return segment_;
}

base::Status LogWriter::Close() {
  if (fd_ < 0) return base::Status::Ok();
  base::Status synced = Sync();
  close(std::exchange(fd_, -1));
  return synced;
}

base::Result<uint64_t> WriteLogCheckpoint(const std::string& directory, int last_segment,
                                          const std::function<base::Status(const RecordSink&)>& write) {
  const std::string path = CheckpointFile(directory, last_segment);
  const std::string unfinished = path + ".tmp";
  uint64_t size = kLogHeaderBytes;
  auto write_all = [&]() -> base::Status {
    File file(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.fd() < 0) return FileError("create", unfinished, errno);
    std::string buffer(kCheckpointMagic);
    auto flush = [&] {
      base::Status status = WriteFully(file.fd(), unfinished, buffer);
      buffer.clear();
      return status;
    };
    TW_RETURN_IF_ERROR(write([&](std::string_view record) {
      PutFrame(record, &buffer);
      buffer += record;
      size += kLogFrameBytes + record.size();
      return buffer.size() < kReadBytes ? base::Status::Ok() : flush();
    }));
    TW_RETURN_IF_ERROR(flush());
    if (fsync(file.fd()) != 0) return FileError("flush", unfinished, errno);
    return base::Status::Ok();
  };
  base::Status written = write_all();
  if (written.ok()) written = RenameDirectory(unfinished, path);
  if (written.ok()) written = SyncDirectory(directory);
  if (!written.ok()) {
    base::Status removed = RemoveTree(unfinished);
    if (!removed.ok())
      base::LogWarn("tsdb", "removing an unfinished checkpoint failed", {{"error", removed.ToString()}});
    return written;
  }
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  TW_RETURN_IF_ERROR(RemoveLeftovers(directory, listing));
  return size;
}

}  // namespace tidewright::tsdb
