// BlockSet: the blocks of a data directory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/block_reader.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

using BlockList = std::vector<std::shared_ptr<Block>>;  // Ascending by time.

// Thread-safe; changes of the set are one at a time.
class BlockSet {
 public:
  // Opens the blocks of `directory`; "" has none, ever. Leftovers of interrupted writes are removed, as are blocks that
  // were merged into one that is there. A block that is damaged is left alone, logged and counted.
  static base::Result<std::unique_ptr<BlockSet>> Open(const std::string& directory, base::Clock& clock);

  BlockList List() const;
  uint64_t damaged() const { return damaged_; }
  uint64_t size_bytes() const;
  // The earliest time in a block; INT64_MAX without blocks.
  int64_t MinTime() const;

  // Takes in a block that was written to the directory.
  base::Status Add(const std::string& ulid);
  // Merges what the plan says, until there is nothing to merge. `longest` is the longest block in ms.
  base::Status Compact(int64_t longest, const std::function<bool()>& cancelled);
  // Removes the blocks that end at or before `mint`, then the oldest until all have `max_bytes` (0: any number).
  base::Status Retain(int64_t mint, uint64_t max_bytes);
  // Marks samples as deleted; the number of series concerned.
  base::Result<uint64_t> Delete(int64_t mint, int64_t maxt, const Matchers& matchers);
  // Rewrites the blocks that have deleted samples without them.
  base::Status CleanTombstones();
  // Puts the same blocks into another directory: as hard links where it can, since blocks never change.
  base::Status CopyTo(const std::string& directory) const;

 private:
  BlockSet(std::string directory, base::Clock& clock);
  base::Status Load();
  base::Status Rewrite(const BlockList& parents, const std::function<bool()>& cancelled) REQUIRES_LOCK(change_mu_);
  base::Status Remove(const BlockList& gone) REQUIRES_LOCK(change_mu_);
  void Insert(std::shared_ptr<Block> block);
  base::Result<std::shared_ptr<Block>> OpenBlock(const std::string& ulid) const;
  std::string PathOf(const std::string& ulid) const { return directory_ + "/" + ulid; }

  const std::string directory_;
  base::Clock& clock_;
  const std::shared_ptr<PackedCache> cache_;  // For all blocks.
  uint64_t damaged_ = 0;
  base::Mutex change_mu_;
  mutable base::Mutex mu_;
  BlockList blocks_ GUARDED_BY(mu_);
};

}  // namespace tidewright::tsdb
