// The chunk files of a block, chunks/000001 and so on. The format is described in tsdb/docs/block.md. Private to tsdb.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "tsdb/chunk.h"
#include "tsdb/file_writer.h"
#include "tsdb/mapped_file.h"

namespace tidewright::tsdb {

// Not thread-safe.
class ChunkFilesWriter {
 public:
  // `directory` exists and is empty.
  ChunkFilesWriter(std::string directory, uint64_t segment_bytes)
      : directory_(std::move(directory)), segment_bytes_(segment_bytes) {}

  // Returns the reference under which ChunkFiles finds the chunk.
  base::Result<uint64_t> Append(ChunkEncoding encoding, std::string_view bytes);
  // Flushes to the disk.
  base::Status Finish();

 private:
  base::Status StartSegment();

  const std::string directory_;
  const uint64_t segment_bytes_;
  uint64_t segments_ = 0;
  std::unique_ptr<FileWriter> file_;
  std::string header_;
};

// Reads a chunk file from front to back, also the chunks that no index refers to, and calls `fault` with each damage.
// An error of the disk is returned.
base::Status VerifyChunkFile(const std::string& path, const std::function<void(base::Status)>& fault);

// Immutable, thread-safe.
class ChunkFiles {
 public:
  static base::Result<std::unique_ptr<ChunkFiles>> Open(const std::string& directory);

  // The chunk at a reference, its checksum verified; kDataLoss when there is none. Encoding and bytes are set.
  base::Result<ChunkView> Read(uint64_t ref) const;
  // The file that a reference points into.
  std::string PathOf(uint64_t ref) const;
  uint64_t size_bytes() const;
  // Lets the kernel take back the memory of what was read.
  void DropPages() const;

 private:
  explicit ChunkFiles(std::string directory) : directory_(std::move(directory)) {}

  const std::string directory_;
  std::vector<MappedFile> files_;
};

}  // namespace tidewright::tsdb
