// Prometheus' head chunks: chunks_head/000001 and so on, the full chunks of series that are not in a block yet. The
// format is described, with a worked example, in tsdb/docs/head_chunks.md. Private to tsdb.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/chunk.h"
#include "tsdb/mapped_file.h"

namespace tidewright::tsdb {

struct HeadChunk {
  uint64_t series = 0;  // Reference in the log.
  ChunkView chunk;
  bool out_of_order = false;
};

// Appends the chunks of one file's bytes. kDataLoss at the first that is damaged; those before it have been appended.
base::Status ParseHeadChunks(std::string_view bytes, std::vector<HeadChunk>* chunks);

// The bytes of a chunk's entry, as ParseHeadChunks reads them.
std::string EncodeHeadChunk(const HeadChunk& chunk);
// What a file begins with.
std::string HeadChunksHeader();

// All chunks of a directory. Thread-compatible.
class HeadChunks {
 public:
  // A directory that does not exist has none. Damage ends a file early, is logged and counted.
  static base::Result<HeadChunks> Open(const std::string& directory);

  // Ascending by series, then by time.
  const std::vector<HeadChunk>& chunks() const { return chunks_; }
  uint64_t corruptions() const { return corruptions_; }

 private:
  std::vector<MappedFile> files_;
  std::vector<HeadChunk> chunks_;
  uint64_t corruptions_ = 0;
};

}  // namespace tidewright::tsdb
