#include "tsdb/block_set.h"

#include <algorithm>
#include <climits>
#include <filesystem>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/compactor.h"
#include "tsdb/packed_cache.h"

namespace tidewright::tsdb {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kFirstRange = 2 * 3600 * 1000;
constexpr size_t kCacheBytes = 32 << 20;  // Of series of blocks that queries read again and again.

bool Earlier(const std::shared_ptr<Block>& a, const std::shared_ptr<Block>& b) {
  const BlockMeta one = a->meta(), other = b->meta();
  return one.mint != other.mint ? one.mint < other.mint : one.ulid < other.ulid;
}

}  // namespace

BlockSet::BlockSet(std::string directory, base::Clock& clock)
    : directory_(std::move(directory)), clock_(clock), cache_(std::make_shared<PackedCache>(kCacheBytes)) {}

base::Result<std::shared_ptr<Block>> BlockSet::OpenBlock(const std::string& ulid) const {
  TW_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, Block::Open(PathOf(ulid)));
  block->UseCache(cache_);
  return block;
}

base::Result<std::unique_ptr<BlockSet>> BlockSet::Open(const std::string& directory, base::Clock& clock) {
  std::unique_ptr<BlockSet> set(new BlockSet(directory, clock));
  if (!directory.empty()) TW_RETURN_IF_ERROR(set->Load());
  return set;
}

base::Status BlockSet::Load() {
  TW_ASSIGN_OR_RETURN(std::vector<std::string> names, ListBlocks(directory_, /*clean=*/true));
  BlockList opened;
  std::set<std::string> merged;
  for (const std::string& name : names) {
    base::Result<std::shared_ptr<Block>> block = OpenBlock(name);
    if (!block.ok()) {
      ++damaged_;
      base::LogError("tsdb", "a block cannot be read and is left out",
                     {{"block", name}, {"error", block.status().ToString()}});
      continue;
    }
    for (const BlockParent& parent : (*block)->meta().parents) merged.insert(parent.ulid);
    opened.push_back(std::move(block).value());
  }
  base::MutexLock change(change_mu_);
  for (std::shared_ptr<Block>& block : opened) {
    if (merged.count(block->meta().ulid) > 0) {
      TW_RETURN_IF_ERROR(RemoveBlock(block->directory()));
    } else {
      Insert(std::move(block));
    }
  }
  return base::Status::Ok();
}

BlockList BlockSet::List() const {
  base::MutexLock lock(mu_);
  return blocks_;
}

uint64_t BlockSet::size_bytes() const {
  uint64_t total = 0;
  for (const auto& block : List()) total += block->size_bytes();
  return total;
}

int64_t BlockSet::MinTime() const {
  BlockList blocks = List();
  return blocks.empty() ? INT64_MAX : blocks.front()->meta().mint;
}

void BlockSet::Insert(std::shared_ptr<Block> block) {
  base::MutexLock lock(mu_);
  blocks_.insert(std::upper_bound(blocks_.begin(), blocks_.end(), block, Earlier), block);
}

base::Status BlockSet::Add(const std::string& ulid) {
  TW_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, OpenBlock(ulid));
  base::MutexLock change(change_mu_);
  Insert(std::move(block));
  return base::Status::Ok();
}

base::Status BlockSet::Remove(const BlockList& gone) {
  {
    base::MutexLock lock(mu_);
    auto is_gone = [&](const std::shared_ptr<Block>& block) {
      return std::find(gone.begin(), gone.end(), block) != gone.end();
    };
    blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(), is_gone), blocks_.end());
  }
  for (const std::shared_ptr<Block>& block : gone) TW_RETURN_IF_ERROR(RemoveBlock(block->directory()));
  return base::Status::Ok();
}

// Replaces blocks by one that has their samples.
base::Status BlockSet::Rewrite(const BlockList& parents, const std::function<bool()>& cancelled) {
  const std::string ulid = NewUlid(clock_.NowMs());
  TW_ASSIGN_OR_RETURN(std::optional<BlockMeta> meta,
                      CompactBlocks(directory_, parents, ulid, CompactionOptions{.cancelled = cancelled}));
  std::shared_ptr<Block> merged;
  if (meta) {
    TW_ASSIGN_OR_RETURN(merged, OpenBlock(ulid));
  }
  {
    // Queries see the parents or what they were merged into, never both and never neither.
    base::MutexLock lock(mu_);
    auto is_parent = [&](const std::shared_ptr<Block>& block) {
      return std::find(parents.begin(), parents.end(), block) != parents.end();
    };
    blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(), is_parent), blocks_.end());
    if (merged) blocks_.insert(std::upper_bound(blocks_.begin(), blocks_.end(), merged, Earlier), merged);
  }
  return Remove(parents);
}

base::Status BlockSet::Compact(int64_t longest, const std::function<bool()>& cancelled) {
  const std::vector<int64_t> ranges = CompactionRanges(kFirstRange, std::max(longest, kFirstRange));
  base::MutexLock change(change_mu_);
  while (!cancelled()) {
    BlockList blocks = List();
    std::vector<BlockMeta> metas;
    for (const auto& block : blocks) metas.push_back(block->meta());
    std::vector<BlockMeta> plan = PlanCompaction(metas, ranges);
    if (plan.empty()) return base::Status::Ok();
    BlockList parents;
    for (const BlockMeta& meta : plan) {
      for (const auto& block : blocks) {
        if (block->meta().ulid == meta.ulid) parents.push_back(block);
      }
    }
    base::Status rewritten = Rewrite(parents, cancelled);
    if (rewritten.code() == base::Code::kCancelled) return base::Status::Ok();
    TW_RETURN_IF_ERROR(rewritten);
  }
  return base::Status::Ok();
}

base::Status BlockSet::Retain(int64_t mint, uint64_t max_bytes) {
  base::MutexLock change(change_mu_);
  BlockList blocks = List(), gone;
  uint64_t total = size_bytes();
  for (const auto& block : blocks) {
    bool expired = block->meta().maxt <= mint, excess = max_bytes > 0 && total > max_bytes;
    if (!expired && !excess) continue;
    total -= block->size_bytes();
    gone.push_back(block);
  }
  return gone.empty() ? base::Status::Ok() : Remove(gone);
}

base::Result<uint64_t> BlockSet::Delete(int64_t mint, int64_t maxt, const Matchers& matchers) {
  base::MutexLock change(change_mu_);
  uint64_t total = 0;
  for (const auto& block : List()) {
    const BlockMeta meta = block->meta();
    if (meta.mint > maxt || meta.maxt <= mint) continue;
    TW_ASSIGN_OR_RETURN(uint64_t series, block->Delete(mint, maxt, matchers));
    total += series;
  }
  return total;
}

base::Status BlockSet::CleanTombstones() {
  base::MutexLock change(change_mu_);
  for (const auto& block : List()) {
    if (block->meta().stats.tombstones == 0) continue;
    TW_RETURN_IF_ERROR(Rewrite({block}, [] { return false; }));
  }
  return base::Status::Ok();
}

base::Status BlockSet::CopyTo(const std::string& directory) const {
  for (const auto& block : List()) {
    const std::string to = directory + "/" + block->meta().ulid;
    std::error_code error;
    fs::copy(block->directory(), to, fs::copy_options::recursive | fs::copy_options::create_hard_links, error);
    if (!error) continue;
    error.clear();  // Another file system.
    fs::remove_all(to, error);
    fs::copy(block->directory(), to, fs::copy_options::recursive, error);
    if (error) return base::UnavailableError("copy block " + block->directory() + " to " + to + ": " + error.message());
  }
  return base::Status::Ok();
}

}  // namespace tidewright::tsdb
