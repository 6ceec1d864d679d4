// Which blocks to merge next.
#include <algorithm>
#include <set>
#include <span>

#include "tsdb/compactor.h"

namespace tidewright::tsdb {

namespace {

using Metas = std::vector<BlockMeta>;

constexpr int64_t kRangeFactor = 3;
constexpr double kTombstoneShare = 0.05;  // Of series: above it, a block is written again without what is deleted.

// Blocks that were made of part of the series are merged with their like alone.
constexpr const char* kClassHints[] = {"from-stale-series", "from-selected-series"};

int ClassOf(const BlockMeta& meta) {
  for (size_t i = 0; i < std::size(kClassHints); ++i) {
    if (std::find(meta.hints.begin(), meta.hints.end(), kClassHints[i]) != meta.hints.end()) {
      return static_cast<int>(i) + 1;
    }
  }
  return 0;
}

// The first blocks that overlap, directly or by way of others.
Metas Overlapping(const Metas& blocks) {
  Metas chosen;
  int64_t reach = blocks.front().maxt;
  for (size_t i = 1; i < blocks.size(); ++i) {
    if (blocks[i].mint < reach) {
      if (chosen.empty()) chosen.push_back(blocks[i - 1]);
      chosen.push_back(blocks[i]);
    } else if (!chosen.empty()) {
      break;
    }
    reach = std::max(reach, blocks[i].maxt);
  }
  return chosen;
}

int64_t AlignDown(int64_t t, int64_t range) {
  int64_t quotient = t / range;
  if (t % range < 0) --quotient;
  return quotient * range;
}

// The blocks grouped by the aligned range of this length that they lie in; those that lie in none are left out.
std::vector<Metas> GroupByRange(const Metas& blocks, int64_t range) {
  std::vector<Metas> groups;
  for (size_t i = 0; i < blocks.size();) {
    const int64_t end = AlignDown(blocks[i].mint, range) + range;
    if (blocks[i].maxt > end) {
      ++i;
      continue;
    }
    groups.emplace_back();
    for (; i < blocks.size() && blocks[i].maxt <= end; ++i) groups.back().push_back(blocks[i]);
  }
  return groups;
}

// The first group that has nothing more to come: it fills its range, or lies before the newest block.
Metas CompleteGroup(const Metas& blocks, const std::vector<int64_t>& ranges) {
  const int64_t newest = blocks.back().mint;
  for (size_t i = 1; i < ranges.size(); ++i) {
    for (Metas& group : GroupByRange(blocks, ranges[i])) {
      if (std::any_of(group.begin(), group.end(), [](const BlockMeta& meta) { return meta.failed; })) continue;
      const int64_t end = group.back().maxt;
      const bool complete = end - group.front().mint == ranges[i] || end <= newest;
      if (complete && group.size() > 1) return std::move(group);
    }
  }
  return {};
}

// From the newest on, the first block with enough deleted; only large ones, unless nearly all of it is.
Metas ManyTombstones(const Metas& blocks, const std::vector<int64_t>& ranges) {
  const int64_t large = ranges[ranges.size() / 2];
  for (size_t i = blocks.size(); i-- > 0;) {
    const BlockMeta& block = blocks[i];
    const auto tombstones = static_cast<double>(block.stats.tombstones);
    if (block.maxt - block.mint < large) {
      const bool all = block.stats.tombstones > 0 && block.stats.tombstones >= block.stats.series;
      return all ? Metas{block} : Metas{};
    }
    if (tombstones / static_cast<double>(block.stats.series + 1) > kTombstoneShare) return {block};
  }
  return {};
}

Metas PlanClass(Metas blocks, const std::vector<int64_t>& ranges) {
  if (blocks.empty() || ranges.empty()) return {};
  std::sort(blocks.begin(), blocks.end(), [](const BlockMeta& a, const BlockMeta& b) {
    return a.mint != b.mint ? a.mint < b.mint : a.ulid < b.ulid;
  });
  Metas chosen = Overlapping(blocks);
  if (!chosen.empty()) return chosen;
  blocks.pop_back();  // The newest stays as it is for a while, so that it can be backed up alone.
  if (blocks.empty()) return {};
  chosen = CompleteGroup(blocks, ranges);
  return chosen.empty() ? ManyTombstones(blocks, ranges) : chosen;
}

}  // namespace

std::vector<int64_t> CompactionRanges(int64_t first, int64_t longest) {
  std::vector<int64_t> ranges = {first};
  while (ranges.back() <= longest / kRangeFactor) ranges.push_back(ranges.back() * kRangeFactor);
  return ranges;
}

std::vector<BlockMeta> PlanCompaction(const std::vector<BlockMeta>& blocks, const std::vector<int64_t>& ranges) {
  for (int number = 0; number <= static_cast<int>(std::size(kClassHints)); ++number) {
    Metas members;
    std::copy_if(blocks.begin(), blocks.end(), std::back_inserter(members),
                 [number](const BlockMeta& meta) { return ClassOf(meta) == number; });
    Metas chosen = PlanClass(std::move(members), ranges);
    if (!chosen.empty()) return chosen;
  }
  return {};
}

BlockMeta CompactedMeta(const std::vector<BlockMeta>& parents, std::string ulid) {
  BlockMeta meta;
  meta.ulid = std::move(ulid);
  meta.level = 0;
  std::set<std::string> sources;
  for (const BlockMeta& parent : parents) {
    const bool first = meta.parents.empty();
    meta.mint = first ? parent.mint : std::min(meta.mint, parent.mint);
    meta.maxt = first ? parent.maxt : std::max(meta.maxt, parent.maxt);
    meta.level = std::max(meta.level, parent.level);
    sources.insert(parent.sources.begin(), parent.sources.end());
    meta.parents.push_back({parent.ulid, parent.mint, parent.maxt});
  }
  ++meta.level;
  meta.sources.assign(sources.begin(), sources.end());
  const int number = parents.empty() ? 0 : ClassOf(parents.front());
  if (number > 0) meta.hints.emplace_back(kClassHints[number - 1]);
  return meta;
}

}  // namespace tidewright::tsdb
