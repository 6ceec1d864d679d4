#include "tsdb/head_chunk_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

constexpr std::string_view kMagic = "TWCHUNK\x01";
constexpr char kTimelineTag = 'T';
constexpr char kChunkTag = 'C';
constexpr size_t kEntryHeader = 1 + 4 + 4;  // Tag, checksum, length of the body.
constexpr uint64_t kMaxTimes = 4096;
constexpr uint64_t kMaxBody = 1 << 20;
constexpr size_t kUsualEntry = 192;  // Of a chunk of a counter or gauge.
constexpr size_t kCacheLine = 64;
// Room behind kFileBytes for what one Flush() may bring; a file is finished when it passes kFileBytes.
constexpr uint64_t kMappedBytes = HeadChunkFiles::kFileBytes * 2;

base::Status WriteFully(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write to", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return base::Status::Ok();
}

}  // namespace

class HeadChunkFile {
 public:
  HeadChunkFile(std::string path, const char* bytes, void* verified, uint64_t size)
      : path_(std::move(path)), bytes_(bytes), verified_(static_cast<std::atomic<uint64_t>*>(verified)), size_(size) {}
  ~HeadChunkFile() {
    munmap(const_cast<char*>(bytes_), kMappedBytes);
    munmap(verified_, kVerifiedBytes);
  }

  // Maps `path`, including room for what will be appended.
  static base::Result<std::shared_ptr<HeadChunkFile>> Map(const std::string& path, uint64_t size) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return FileError("open", path, errno);
    void* bytes = mmap(nullptr, kMappedBytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    int failed = errno;
    close(fd);
    if (bytes == MAP_FAILED) return FileError("map", path, failed);
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* verified = mmap(nullptr, kVerifiedBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (verified == MAP_FAILED) {
      failed = errno;
      munmap(bytes, kMappedBytes);
      return FileError("make room for what is verified of", path, failed);
    }
    return std::make_shared<HeadChunkFile>(path, static_cast<const char*>(bytes), verified, size);
  }

  void set_size(uint64_t size) { size_.store(size, std::memory_order_release); }
  // What comes back is verified again.
  void DropPages() const {
    madvise(const_cast<char*>(bytes_), kMappedBytes, MADV_DONTNEED);
    madvise(verified_, kVerifiedBytes, MADV_DONTNEED);
  }

  bool HasMagic() const { return size_ >= kMagic.size() && std::string_view(bytes_, kMagic.size()) == kMagic; }
  // Where the entry at `offset` says that it ends, and its tag; nowhere when that is beyond the end.
  std::optional<uint64_t> EndOf(uint64_t offset, char* tag) const {
    if (offset + kEntryHeader > size_) return std::nullopt;
    ByteReader header(std::string_view(bytes_ + offset, kEntryHeader));
    *tag = static_cast<char>(header.U8());
    (void)header.U32();
    const uint64_t end = offset + kEntryHeader + header.U32();
    return end <= size_ ? std::optional(end) : std::nullopt;
  }

  // The body of the entry at `offset`.
  base::Result<std::string_view> Body(uint64_t offset, char tag) const {
    const uint64_t size = size_.load(std::memory_order_acquire);
    auto damaged = [&](std::string_view what) { return Damaged(offset, what); };
    if (offset < kMagic.size() || offset + kEntryHeader > size) return damaged("no entry there");
    ByteReader header(std::string_view(bytes_ + offset, kEntryHeader));
    char found = static_cast<char>(header.U8());
    uint32_t crc = header.U32(), length = header.U32();
    if (found != tag || length > kMaxBody || offset + kEntryHeader + length > size) return damaged("wrong entry");
    std::string_view body(bytes_ + offset + kEntryHeader, length);
    std::atomic<uint64_t>& verified = verified_[offset / kGranule / 64];
    const uint64_t bit = uint64_t{1} << (offset / kGranule % 64);
    if ((verified.load(std::memory_order_relaxed) & bit) != 0) return body;
    if (Crc32c(body) != crc) return damaged("wrong checksum");
    verified.fetch_or(bit, std::memory_order_relaxed);
    return body;
  }

  void Prefetch(uint64_t offset, size_t count) const {
    const uint64_t size = size_.load(std::memory_order_acquire);
    for (uint64_t at = offset; at < std::min(offset + count, size); at += kCacheLine) __builtin_prefetch(bytes_ + at);
  }

  base::Status Damaged(uint64_t offset, std::string_view what) const {
    return base::DataLossError(path_ + " at byte " + std::to_string(offset) + ": " + std::string(what));
  }

 private:
  // A bit for each granule of the file, set when the entry that begins in it was verified.
  static constexpr uint64_t kGranule = 8;
  static_assert(kGranule <= kEntryHeader, "no two entries begin in the same granule");
  static constexpr uint64_t kVerifiedBytes = kMappedBytes / kGranule / 8;

  const std::string path_;
  const char* const bytes_;
  std::atomic<uint64_t>* const verified_;
  std::atomic<uint64_t> size_;
};

base::Result<std::unique_ptr<HeadChunkFiles>> HeadChunkFiles::Open(const std::string& directory, uint32_t last_file) {
  TW_RETURN_IF_ERROR(base::MakeDirectories(directory));
  std::unique_ptr<HeadChunkFiles> files(new HeadChunkFiles(directory));
  TW_ASSIGN_OR_RETURN(WalListing listing, ListWal(directory));
  base::MutexLock lock(files->mu_);
  for (int number : listing.segments) {
    const std::string path = SegmentFile(directory, number);
    const uint64_t size = SizeOnDisk(path);
    if (static_cast<uint32_t>(number) > last_file || size > kMappedBytes) {
      TW_RETURN_IF_ERROR(RemoveTree(path));
      continue;
    }
    TW_ASSIGN_OR_RETURN(files->files_[static_cast<uint32_t>(number)], HeadChunkFile::Map(path, size));
  }
  files->current_number_ = last_file;
  return files;
}

HeadChunkFiles::~HeadChunkFiles() {
  if (fd_ >= 0) close(fd_);
}

base::Status HeadChunkFiles::StartFile() {
  const std::string path = SegmentFile(directory_, static_cast<int>(current_number_ + 1));
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return FileError("create", path, errno);
  base::Status status = WriteFully(fd, path, kMagic);
  auto mapped = status.ok() ? HeadChunkFile::Map(path, kMagic.size()) : status;
  if (mapped.ok()) status = SyncDirectory(directory_);
  if (!mapped.ok() || !status.ok()) {
    close(fd);
    return mapped.ok() ? status : mapped.status();
  }
  fd_ = fd;
  ++current_number_;
  offset_ = kMagic.size();
  base::MutexLock lock(mu_);
  files_[current_number_] = std::move(mapped).value();
  return base::Status::Ok();
}

// What is added while no file is open will go to the next one.
ChunkPlace HeadChunkFiles::Add(char tag, std::string_view body) {
  const bool open = fd_ >= 0;
  const uint64_t number = open ? current_number_ : current_number_ + 1;
  const uint64_t offset = (open ? offset_ : kMagic.size()) + buffer_.size();
  PutU8(&buffer_, static_cast<uint8_t>(tag));
  PutU32(&buffer_, Crc32c(body));
  PutU32(&buffer_, static_cast<uint32_t>(body.size()));
  buffer_ += body;
  return number << 40 | offset;
}

ChunkPlace HeadChunkFiles::AddTimeline(const StoredTimeline& timeline) {
  std::string body;
  PutU64(&body, timeline.serial);
  PutUvarint(&body, timeline.times.size());
  uint64_t last = 0, step = 0;
  for (int64_t t : timeline.times) {  // Differences of differences: one byte each for a steady rhythm.
    uint64_t next_step = static_cast<uint64_t>(t) - last;
    PutVarint(&body, static_cast<int64_t>(next_step - step));
    last = static_cast<uint64_t>(t);
    step = next_step;
  }
  return Add(kTimelineTag, body);
}

ChunkPlace HeadChunkFiles::AddChunk(const StoredChunk& chunk) {
  std::string body;
  PutUvarint(&body, chunk.timeline);
  PutUvarint(&body, chunk.ref);
  PutU8(&body, static_cast<uint8_t>(chunk.first));
  PutU8(&body, static_cast<uint8_t>(chunk.count));
  PutUvarint(&body, chunk.tail);
  body += chunk.bytes;
  return Add(kChunkTag, body);
}

base::Status HeadChunkFiles::Flush() {
  if (buffer_.empty()) return base::Status::Ok();
  base::Status status = fd_ < 0 ? StartFile() : base::Status::Ok();
  if (status.ok()) status = WriteFully(fd_, SegmentFile(directory_, static_cast<int>(current_number_)), buffer_);
  if (!status.ok()) {
    // A torn end is nothing that anybody refers to; the next chunks go to a file of their own.
    buffer_.clear();
    if (fd_ >= 0) close(std::exchange(fd_, -1));
    return status;
  }
  offset_ += buffer_.size();
  bytes_written_ += buffer_.size();
  buffer_.clear();
  unsynced_ = true;
  {
    base::MutexLock lock(mu_);
    const_cast<HeadChunkFile&>(*files_[current_number_]).set_size(offset_);
  }
  if (offset_ < kFileBytes) return base::Status::Ok();
  status = Sync();
  close(std::exchange(fd_, -1));
  return status;
}

base::Status HeadChunkFiles::Sync() {
  if (fd_ < 0 || !unsynced_) return base::Status::Ok();
  if (fdatasync(fd_) != 0) {
    return FileError("flush", SegmentFile(directory_, static_cast<int>(current_number_)), errno);
  }
  unsynced_ = false;
  return base::Status::Ok();
}

std::shared_ptr<const HeadChunkFile> HeadChunkFiles::File(uint32_t number) const {
  base::MutexLock lock(mu_);
  auto it = files_.find(number);
  return it == files_.end() ? nullptr : it->second;
}

base::Status HeadChunkFiles::ReadChunk(const HeadChunkFile& file, ChunkPlace place, StoredChunk* chunk) {
  TW_ASSIGN_OR_RETURN(std::string_view body, file.Body(OffsetOf(place), kChunkTag));
  ByteReader reader(body);
  chunk->timeline = reader.Uvarint();
  chunk->ref = reader.Uvarint();
  chunk->first = reader.U8();
  chunk->count = reader.U8();
  uint64_t tail = reader.Uvarint();
  chunk->bytes = reader.Bytes(reader.remaining());
  if (!reader.ok() || tail > chunk->bytes.size()) return file.Damaged(OffsetOf(place), "chunk entry cut short");
  chunk->tail = static_cast<uint32_t>(tail);
  return base::Status::Ok();
}

void HeadChunkFiles::Prefetch(const HeadChunkFile& file, ChunkPlace place) {
  file.Prefetch(OffsetOf(place), kUsualEntry);
}

base::Status HeadChunkFiles::ReadTimeline(const HeadChunkFile& file, ChunkPlace place, StoredTimeline* timeline) {
  TW_ASSIGN_OR_RETURN(std::string_view body, file.Body(OffsetOf(place), kTimelineTag));
  ByteReader reader(body);
  timeline->serial = reader.U64();
  uint64_t count = reader.Uvarint();
  timeline->times.clear();
  uint64_t last = 0, step = 0;
  for (uint64_t i = 0; i < count && count <= kMaxTimes && reader.ok(); ++i) {
    step += static_cast<uint64_t>(reader.Varint());
    last += step;
    timeline->times.push_back(static_cast<int64_t>(last));
  }
  if (!reader.ok() || timeline->times.size() != count) return file.Damaged(OffsetOf(place), "timeline entry cut short");
  return base::Status::Ok();
}

base::Status HeadChunkFiles::Verify(const std::string& path, const std::function<void(base::Status)>& fault) {
  const uint64_t size = SizeOnDisk(path);
  const auto damaged = [&](uint64_t offset, const char* what) {
    fault(base::DataLossError(path + " at byte " + std::to_string(offset) + ": " + what));
    return base::Status::Ok();
  };
  if (size > kMappedBytes) return damaged(kMappedBytes, "the file is longer than any such file");
  TW_ASSIGN_OR_RETURN(const std::shared_ptr<HeadChunkFile> file, HeadChunkFile::Map(path, size));
  if (!file->HasMagic()) return damaged(0, "not a file of the head's chunks");
  for (uint64_t offset = kMagic.size(); offset < size;) {
    char tag = 0;
    const std::optional<uint64_t> end = file->EndOf(offset, &tag);
    if (!end) return damaged(offset, "an entry ends beyond the end");
    StoredChunk chunk;
    StoredTimeline timeline;
    base::Status status =
        tag == kTimelineTag ? ReadTimeline(*file, offset, &timeline) : ReadChunk(*file, offset, &chunk);
    if (!status.ok()) fault(std::move(status));
    offset = *end;
  }
  return base::Status::Ok();
}

base::Status HeadChunkFiles::RemoveBelow(uint32_t number) {
  std::vector<uint32_t> gone;
  if (number > current_number_ && buffer_.empty() && fd_ >= 0) close(std::exchange(fd_, -1));
  {
    base::MutexLock lock(mu_);
    for (auto it = files_.begin(); it != files_.end() && it->first < number;) {
      if (it->first == current_number_ && fd_ >= 0) break;
      gone.push_back(it->first);
      it = files_.erase(it);
    }
  }
  for (uint32_t one : gone) TW_RETURN_IF_ERROR(RemoveTree(SegmentFile(directory_, static_cast<int>(one))));
  return base::Status::Ok();
}

std::vector<uint32_t> HeadChunkFiles::Numbers() const {
  base::MutexLock lock(mu_);
  std::vector<uint32_t> numbers;
  for (const auto& [number, file] : files_) numbers.push_back(number);
  return numbers;
}

void HeadChunkFiles::DropPages() const {
  base::MutexLock lock(mu_);
  for (const auto& [number, file] : files_) file->DropPages();
}

}  // namespace tidewright::tsdb
