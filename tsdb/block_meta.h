// meta.json: what a block is. The format is described in tsdb/docs/block.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

// Blocks are named by ULIDs: 48 bits of time, 80 random bits, as 26 characters of Crockford's base 32; names sort by
// time of creation.
std::string NewUlid(int64_t now_ms);
bool IsUlid(std::string_view text);
int64_t UlidTime(std::string_view ulid);  // ms; 0 for what is not one.

struct BlockStats {
  uint64_t samples = 0;
  uint64_t float_samples = 0;
  uint64_t histogram_samples = 0;
  uint64_t series = 0;
  uint64_t chunks = 0;
  uint64_t tombstones = 0;
};

// A block that another was made of.
struct BlockParent {
  std::string ulid;
  int64_t mint = 0;
  int64_t maxt = 0;
};

struct BlockMeta {
  std::string ulid;
  int64_t mint = 0;  // ms, inclusive.
  int64_t maxt = 0;  // ms, exclusive.
  BlockStats stats;
  int level = 1;                     // 1: from the head. A compaction's level is one above its highest parent's.
  std::vector<std::string> sources;  // The level 1 blocks it descends from, sorted.
  std::vector<BlockParent> parents;
  bool deletable = false;          // It holds nothing; whoever finds it removes it.
  bool failed = false;             // A compaction of it failed; it is left out of later ones.
  std::vector<std::string> hints;  // Such as "from-out-of-order".
};

// kDataLoss when the text is not the description of a block of version 1.
base::Result<BlockMeta> ParseBlockMeta(std::string_view json);
// The file's bytes as Prometheus writes them.
std::string FormatBlockMeta(const BlockMeta& meta);
base::Result<BlockMeta> ReadBlockMeta(const std::string& block_directory);
base::Status WriteBlockMeta(const std::string& block_directory, const BlockMeta& meta);

}  // namespace tidewright::tsdb
