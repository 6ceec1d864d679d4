// Merges the chunks that several blocks have of one series. Private to tsdb.
#pragma once

#include <deque>
#include <vector>

#include "base/status.h"
#include "tsdb/chunk.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {

// Chunks that overlap no other and lose no sample go through as they are. Others are decoded, merged by time (of
// samples at the same time the one added first stays) and encoded in chunks of 120 samples. Not thread-safe.
class ChunkMerge {
 public:
  // Adds a chunk without the samples in `deleted` (may be null). The chunk's bytes must outlive this object.
  base::Status Add(const ChunkView& chunk, const TimeIntervals* deleted);
  // The chunks, ascending and not overlapping; their bytes live as long as this object.
  base::Result<std::vector<ChunkView>> Finish();

 private:
  void Keep(std::vector<EncodedChunk> chunks, std::vector<ChunkView>* views);

  std::vector<ChunkView> chunks_;
  std::deque<EncodedChunk> encoded_;
};

// Appends the current sample of `reader`, of kind `type`, to `encoder`.
void CopySample(const ChunkReader& reader, ValueType type, ChunkEncoder* encoder);

}  // namespace tidewright::tsdb
