// BlockImport: turns samples in any order into blocks of two hours, in bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "tsdb/block_meta.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

struct BlockImportOptions {
  // Samples that are held in memory at once, about 32 bytes each and their series. Full ones are sorted, compressed and
  // written to a file that is merged in the end.
  size_t max_samples = 2 << 20;
};

// Add() all samples, then Finish(), which places one block after the other. Until then there is only a temporary folder
// in the directory, which this object removes, or after a crash the next program that opens the store. Not thread-safe.
class BlockImport {
 public:
  // Creates `directory` if need be. Blocks are named by `clock`, which is borrowed.
  static base::Result<std::unique_ptr<BlockImport>> Create(const std::string& directory, base::Clock& clock,
                                                           const BlockImportOptions& options = {});
  virtual ~BlockImport() = default;

  // Takes a sample; t in ms. Of samples of a series at the same time the first stays. kInvalidArgument without labels,
  // or for a time that no block reaches.
  // Successive samples of one series cost least.
  virtual base::Status Add(const Labels& labels, int64_t t, double value) = 0;

  // Writes the blocks, one for each window of two hours in which there are samples, ascending. Each reaches from its
  // first sample to its last.
  virtual base::Result<std::vector<BlockMeta>> Finish() = 0;
};

}  // namespace tidewright::tsdb
