// HeadChunkFiles: finished chunks of the head, on disk in append-only files, mapped for reading.
//
// A file holds timelines and chunks; a chunk says which timeline its timestamps are in, so that the chunks of all
// series of a scrape target share one copy. What a chunk costs in memory is its place, a number. The format is
// described in tsdb/docs/head.md. What is read has its checksum verified the
// first time, and again when its pages were dropped.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/appender.h"

namespace tidewright::tsdb {

// Where something is: the file's number in the upper bits, the position in the lower 40. 0 is nowhere.
using ChunkPlace = uint64_t;

// Timestamps of a run of samples, and a number that names them.
struct StoredTimeline {
  uint64_t serial = 0;
  std::vector<int64_t> times;
};

// The values of a chunk, as the value codec wrote them; the timestamps are `count` of its timeline from `first` on.
struct StoredChunk {
  SeriesRef ref = 0;
  ChunkPlace timeline = 0;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t tail = 0;
  std::string_view bytes;  // Valid as long as the file is held.
};

// One file, mapped. Immutable from a reader's view.
class HeadChunkFile;

class HeadChunkFiles {
 public:
  static constexpr uint64_t kFileBytes = 64 << 20;

  // Opens the directory (made if need be). Files numbered above `last_file` are leftovers that nothing refers to: they
  // are removed. Damage is noticed by whoever reads the damaged chunk.
  static base::Result<std::unique_ptr<HeadChunkFiles>> Open(const std::string& directory, uint32_t last_file);
  ~HeadChunkFiles();

  // Writing, by one thread at a time. Places become readable with the next Flush(). After a failed Flush() what was
  // added since the last good one is nowhere; the next goes to a new file.
  ChunkPlace AddTimeline(const StoredTimeline& timeline);
  ChunkPlace AddChunk(const StoredChunk& chunk);
  base::Status Flush();
  // Flushes to the disk.
  base::Status Sync();
  size_t buffered_bytes() const { return buffer_.size(); }
  uint32_t last_file() const { return current_number_; }
  // Where the next Add...() goes.
  uint32_t next_file() const { return fd_ >= 0 ? current_number_ : current_number_ + 1; }
  uint64_t bytes_written() const { return bytes_written_; }

  // Reading. Thread-safe.
  std::shared_ptr<const HeadChunkFile> File(uint32_t number) const;
  static base::Status ReadChunk(const HeadChunkFile& file, ChunkPlace place, StoredChunk* chunk);
  // Asks for the memory of a chunk of usual size.
  static void Prefetch(const HeadChunkFile& file, ChunkPlace place);
  static base::Status ReadTimeline(const HeadChunkFile& file, ChunkPlace place, StoredTimeline* timeline);

  // Reads a file from front to back and calls `fault` with each damage. An error of the disk is returned.
  static base::Status Verify(const std::string& path, const std::function<void(base::Status)>& fault);

  // Removes the files below `number`; readers that hold them may go on.
  base::Status RemoveBelow(uint32_t number);
  // Numbers of the files there are, ascending.
  std::vector<uint32_t> Numbers() const;
  // Lets the kernel drop the pages of the files from this process; they come back when they are read.
  void DropPages() const;

 private:
  explicit HeadChunkFiles(std::string directory) : directory_(std::move(directory)) {}
  base::Status StartFile();
  ChunkPlace Add(char tag, std::string_view body);

  const std::string directory_;
  mutable base::Mutex mu_;
  std::map<uint32_t, std::shared_ptr<const HeadChunkFile>> files_ GUARDED_BY(mu_);
  int fd_ = -1;
  uint32_t current_number_ = 0;  // Of the file that is written, or was last.
  uint64_t offset_ = 0;          // What of it is written.
  std::string buffer_;           // What follows.
  uint64_t bytes_written_ = 0;
  bool unsynced_ = false;
};

inline uint32_t FileOf(ChunkPlace place) { return static_cast<uint32_t>(place >> 40); }
inline uint64_t OffsetOf(ChunkPlace place) { return place & ((uint64_t{1} << 40) - 1); }

}  // namespace tidewright::tsdb
