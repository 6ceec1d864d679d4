// Compaction: which blocks to merge, and merging them. The rules are described in tsdb/docs/compaction.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tsdb/block_meta.h"
#include "tsdb/block_reader.h"

namespace tidewright::tsdb {

// Block lengths in ms, ascending: `first`, then three times as long each, up to `longest`.
std::vector<int64_t> CompactionRanges(int64_t first, int64_t longest);

// The blocks to merge next, ascending by time; empty when nothing is to be done. `blocks` in any order. Overlapping
// blocks come first, then ranges that are complete, then a block that is worth rewriting for its tombstones (which is
// then the only one).
std::vector<BlockMeta> PlanCompaction(const std::vector<BlockMeta>& blocks, const std::vector<int64_t>& ranges);

// The meta of the block that `parents` are merged into, but for its statistics.
BlockMeta CompactedMeta(const std::vector<BlockMeta>& parents, std::string ulid);

struct CompactionOptions {
  // Asked between series; true ends the work with kCancelled.
  std::function<bool()> cancelled;
};

// Merges `blocks` into a new block in `parent_directory`; deleted samples are left out, of samples at the same time one
// is kept. Chunks that need no change are copied. nullopt when no sample is left; the parents are then of no use.
// On failure nothing is left behind.
base::Result<std::optional<BlockMeta>> CompactBlocks(const std::string& parent_directory,
                                                     const std::vector<std::shared_ptr<Block>>& blocks,
                                                     std::string ulid, const CompactionOptions& options = {});

}  // namespace tidewright::tsdb
