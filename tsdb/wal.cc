#include "tsdb/wal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

// Closes a descriptor at the end of a scope.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

base::Result<size_t> ReadFully(int fd, const std::string& path, uint64_t offset, char* page) {
  size_t done = 0;
  while (done < kWalPageBytes) {
    ssize_t n = pread(fd, page + done, kWalPageBytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError("read log segment", path, errno);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

// Replays one directory of segments: the log itself or a checkpoint.
class Replayer {
 public:
  using Apply = std::function<base::Status(std::string_view)>;
  Replayer(std::string directory, const Apply& apply) : directory_(std::move(directory)), apply_(apply) {}

  // Applies the segments in order. Returns the position in `segments` at which the valid prefix ends (its size when all
  // is well); `valid_end()` is then the position in that segment.
  base::Result<size_t> Run(const std::vector<int>& segments) {
    for (size_t i = 0; i < segments.size(); ++i) {
      base::Status status = OneSegment(SegmentFile(directory_, segments[i]));
      if (status.code() == base::Code::kDataLoss) {
        base::LogError("tsdb", "the log is damaged; what follows is dropped",
                       {{"segment", SegmentFile(directory_, segments[i])}, {"error", status.message()}});
        return i;
      }
      if (!status.ok()) return status;
    }
    return segments.size();
  }

  uint64_t records() const { return records_; }
  uint64_t valid_end() const { return valid_end_; }

 private:
  base::Status OneSegment(const std::string& path) {
    FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return FileError("open log segment", path, errno);
    FrameReader reader([&](uint64_t offset, char* page) { return ReadFully(file.get(), path, offset, page); });
    std::string record;
    valid_end_ = 0;
    while (true) {
      base::Result<bool> more = reader.Next(&record);
      if (!more.ok()) return more.status().Annotate(path);
      if (!*more) return base::Status::Ok();
      base::Status applied = apply_(record);
      if (!applied.ok()) return applied.Annotate(path);
      valid_end_ = reader.valid_end();
      ++records_;
    }
  }

  const std::string directory_;
  const Apply& apply_;
  uint64_t records_ = 0;
  uint64_t valid_end_ = 0;
};

// Cuts the log at `position` of segments[bad] and removes the segments after it.
base::Status CutOff(const std::string& directory, const std::vector<int>& segments, size_t bad, uint64_t position) {
  TW_RETURN_IF_ERROR(TruncateFile(SegmentFile(directory, segments[bad]), position));
  for (size_t i = bad + 1; i < segments.size(); ++i)
    TW_RETURN_IF_ERROR(RemoveTree(SegmentFile(directory, segments[i])));
  return SyncDirectory(directory);
}

// Removes what an interrupted checkpoint left, and keeps the newest checkpoint and the segments after it.
base::Status Tidy(const std::string& directory, WalListing* listing) {
  for (const std::string& name : listing->unfinished) TW_RETURN_IF_ERROR(RemoveTree(directory + "/" + name));
  if (listing->checkpoints.empty()) return base::Status::Ok();
  const int newest = listing->checkpoints.back();
  for (int checkpoint : listing->checkpoints) {
    if (checkpoint != newest) TW_RETURN_IF_ERROR(RemoveTree(CheckpointDirectory(directory, checkpoint)));
  }
  std::vector<int> kept;
  for (int segment : listing->segments) {
    if (segment > newest) {
      kept.push_back(segment);
    } else {
      TW_RETURN_IF_ERROR(RemoveTree(SegmentFile(directory, segment)));
    }
  }
  listing->segments = std::move(kept);
  return base::Status::Ok();
}

}  // namespace

base::Result<ReplayStats> ReplayWal(const std::string& directory,
                                    const std::function<base::Status(std::string_view record)>& apply) {
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  TW_RETURN_IF_ERROR(Tidy(directory, &listing));
  ReplayStats stats;
  if (!listing.checkpoints.empty()) {
    std::string checkpoint = CheckpointDirectory(directory, listing.checkpoints.back());
    TW_ASSIGN_OR_RETURN(WalListing inside, ListWal(checkpoint));
    Replayer replayer(checkpoint, apply);
    TW_ASSIGN_OR_RETURN(size_t good, replayer.Run(inside.segments));
    // The segments after a damaged checkpoint are still worth reading: each series in them is in order by itself.
    if (good < inside.segments.size()) {
      ++stats.corruptions;
      TW_RETURN_IF_ERROR(CutOff(checkpoint, inside.segments, good, replayer.valid_end()));
    }
    stats.records += replayer.records();
    stats.checkpoint_bytes = SizeOnDisk(checkpoint);
  }
  for (size_t i = 1; i < listing.segments.size(); ++i) {
    if (listing.segments[i] == listing.segments[i - 1] + 1) continue;
    ++stats.corruptions;
    base::LogError("tsdb", "the log has a gap; samples of series that were created in it are lost",
                   {{"before", SegmentFile(directory, listing.segments[i])}});
  }
  Replayer replayer(directory, apply);
  TW_ASSIGN_OR_RETURN(size_t good, replayer.Run(listing.segments));
  if (good < listing.segments.size()) {
    ++stats.corruptions;
    TW_RETURN_IF_ERROR(CutOff(directory, listing.segments, good, replayer.valid_end()));
  }
  stats.records += replayer.records();
  for (int segment : listing.segments) stats.segment_bytes += SizeOnDisk(SegmentFile(directory, segment));
  return stats;
}

base::Result<std::unique_ptr<WalWriter>> WalWriter::Open(const std::string& directory, const WalOptions& options) {
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  int next = 0;
  if (!listing.checkpoints.empty()) next = listing.checkpoints.back() + 1;
  if (!listing.segments.empty()) {
    int last = listing.segments.back();
    // An empty segment is used again, so that restarts without samples leave no trace.
    bool empty = SizeOnDisk(SegmentFile(directory, last)) == 0;
    next = std::max(next, empty ? last : last + 1);
  }
  auto writer = std::unique_ptr<WalWriter>(new WalWriter(directory, options, next));
  TW_RETURN_IF_ERROR(writer->StartSegment());
  return writer;
}

WalWriter::~WalWriter() {
  base::Status status = Close();
  if (!status.ok()) base::LogError("tsdb", "closing the log failed", {{"error", status.ToString()}});
}

std::string WalWriter::SegmentPath() const { return SegmentFile(directory_, segment_); }

base::Status WalWriter::StartSegment() {
  std::string path = SegmentFile(directory_, segment_ + 1);
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return FileError("create log segment", path, errno);
  base::Status synced = SyncDirectory(directory_);
  if (!synced.ok()) {
    close(fd);
    return synced;
  }
  ++segment_;
  fd_ = fd;
  offset_ = 0;
  torn_ = false;
  return base::Status::Ok();
}

base::Status WalWriter::WriteAll(std::string_view bytes) {
  uint64_t position = offset_;
  while (!bytes.empty()) {
    ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError("write log segment", SegmentPath(), errno);
    position += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  bytes_written_ += position - offset_;
  offset_ = position;
  return base::Status::Ok();
}

base::Status WalWriter::Append(const std::vector<std::string>& records) {
  if (fd_ < 0 || offset_ >= options_.segment_bytes) {
    base::Result<int> cut = Cut();
    if (!cut.ok()) return cut.status();
  }
  if (torn_) {
    if (ftruncate(fd_, static_cast<off_t>(offset_)) != 0) return FileError("repair log segment", SegmentPath(), errno);
    torn_ = false;
  }
  buffer_.clear();
  for (const std::string& record : records) {
    FrameRecord(offset_ + buffer_.size(), record, options_.compress, &buffer_);
  }
  base::Status written = WriteAll(buffer_);
  if (!written.ok()) torn_ = ftruncate(fd_, static_cast<off_t>(offset_)) != 0;
  return written;
}

base::Status WalWriter::Sync() {
  if (fd_ >= 0 && fdatasync(fd_) != 0) return FileError("flush log segment", SegmentPath(), errno);
  return base::Status::Ok();
}

// The last page is filled up with zeros: a reader takes a segment that is not a whole number of pages for torn.
base::Status WalWriter::FinishSegment() {
  if (fd_ < 0) return base::Status::Ok();
  if (torn_ && ftruncate(fd_, static_cast<off_t>(offset_)) != 0) {
    return FileError("repair log segment", SegmentPath(), errno);
  }
  torn_ = false;
  uint64_t used = offset_ % kWalPageBytes;
  if (used != 0) {
    base::Status padded = WriteAll(std::string(kWalPageBytes - used, '\0'));
    if (!padded.ok()) {
      torn_ = ftruncate(fd_, static_cast<off_t>(offset_)) != 0;
      return padded;
    }
  }
  TW_RETURN_IF_ERROR(Sync());
  if (close(std::exchange(fd_, -1)) != 0) return FileError("close log segment", SegmentPath(), errno);
  return base::Status::Ok();
}

base::Result<int> WalWriter::Cut() {
  TW_RETURN_IF_ERROR(FinishSegment());
  int finished = segment_;
  TW_RETURN_IF_ERROR(StartSegment());
  return finished;
}

base::Status WalWriter::Close() {
  base::Status status = FinishSegment();
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  return status;
}

base::Result<uint64_t> WriteCheckpoint(const std::string& directory, int last_segment, const WalOptions& options,
                                       const std::function<base::Status(WalWriter&)>& write) {
  const std::string final_path = CheckpointDirectory(directory, last_segment);
  const std::string temporary = final_path + ".tmp";
  TW_RETURN_IF_ERROR(RemoveTree(temporary));
  TW_RETURN_IF_ERROR(base::MakeDirectories(temporary));
  base::Status written = [&]() -> base::Status {
    TW_ASSIGN_OR_RETURN(std::unique_ptr<WalWriter> writer, WalWriter::Open(temporary, options));
    TW_RETURN_IF_ERROR(write(*writer));
    TW_RETURN_IF_ERROR(writer->Close());
    TW_RETURN_IF_ERROR(SyncDirectory(temporary));
    TW_RETURN_IF_ERROR(RenameDirectory(temporary, final_path));
    return SyncDirectory(directory);
  }();
  if (!written.ok()) {
    base::Status removed = RemoveTree(temporary);  // Its space may be what the log needs now.
    if (!removed.ok()) base::LogWarn("tsdb", "an unfinished checkpoint stays", {{"error", removed.ToString()}});
    return written.Annotate("checkpoint");
  }
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  TW_RETURN_IF_ERROR(Tidy(directory, &listing));
  return SizeOnDisk(final_path);
}

}  // namespace tidewright::tsdb
