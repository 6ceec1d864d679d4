// Block: a directory of Prometheus' format, opened for reading. Files are mapped into memory, not read into it: an open
// block costs the page cache what is used, and the heap a fraction of a byte per symbol and label pair.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/block_meta.h"
#include "tsdb/chunk.h"
#include "tsdb/index_reader.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {

class ChunkFiles;
class PackedCache;

// Immutable but for its tombstones; thread-safe. Keep it in a shared_ptr: queriers share it, and the files may be
// removed from the directory while it lives.
//
// Whatever is read has its checksum verified at that moment, and no bytes whatsoever crash a reader: damage is
// kDataLoss with file and position, for what is damaged alone.
class Block : public std::enable_shared_from_this<Block> {
 public:
  // Verifies headers, the table of contents, symbols, the postings table, and tombstones. kDataLoss when one of those
  // is damaged, kNotFound when the directory lacks a file.
  static base::Result<std::shared_ptr<Block>> Open(const std::string& directory);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const std::string& directory() const { return directory_; }
  // As of the last change of the tombstones.
  BlockMeta meta() const;
  // The times of its samples, as in meta(): from mint() up to before maxt().
  int64_t mint() const { return mint_; }
  int64_t maxt() const { return maxt_; }
  const IndexReader& index() const { return *index_; }
  std::shared_ptr<const Tombstones> tombstones() const;
  // Bytes on disk, all files.
  uint64_t size_bytes() const { return size_bytes_; }

  // The chunk that an index entry refers to. The view lives as long as the block.
  base::Result<ChunkView> Chunk(const IndexedChunk& chunk) const;

  // Lets queriers keep series that are read again and again in `cache`. To be called before the block is shared.
  void UseCache(std::shared_ptr<PackedCache> cache);
  PackedCache* cache() const { return cache_.get(); }  // Null: there is none.
  // Of a series in the cache.
  uint64_t CacheKey(uint32_t id) const { return uint64_t{cache_number_} << 32 | id; }
  // Lets the kernel take back the memory of chunks that were read.
  void DropChunkPages() const;

  // A view of the samples between mint and maxt (inclusive, ms), without those that are deleted now. Shares the block.
  std::unique_ptr<Querier> NewQuerier(int64_t mint, int64_t maxt) const;

  // Marks the samples of the matching series between mint and maxt (inclusive) as deleted, on disk and for queriers
  // made afterwards. Returns the number of series concerned. Readers that are at work keep what they saw.
  base::Result<uint64_t> Delete(int64_t mint, int64_t maxt, const Matchers& matchers);

  // Reads every byte: all series, postings and chunks, decoded. OK, or kDataLoss with the first damage.
  base::Status Verify() const;

 private:
  Block(std::string directory, BlockMeta meta);
  base::Status Load();
  base::Status VerifySeries(uint32_t id) const;
  base::Status VerifyPostings() const;

  const std::string directory_;
  const int64_t mint_, maxt_;
  uint64_t size_bytes_ = 0;
  std::unique_ptr<const IndexReader> index_;
  std::unique_ptr<const ChunkFiles> chunks_;
  std::shared_ptr<PackedCache> cache_;
  uint32_t cache_number_ = 0;
  base::Mutex change_mu_;  // Held by Delete() throughout.
  mutable base::Mutex mu_;
  BlockMeta meta_ GUARDED_BY(mu_);
  std::shared_ptr<const Tombstones> tombstones_ GUARDED_BY(mu_);
};

// The blocks in a data directory: names of subdirectories that are ULIDs, ascending. Leftovers of interrupted writes
// (*.tmp-for-creation, *.tmp-for-deletion, *.tmp) are removed first when `clean` is set.
base::Result<std::vector<std::string>> ListBlocks(const std::string& data_directory, bool clean);
// Removes a block's directory: renamed to <ulid>.tmp-for-deletion first, so that no half of a block is ever found.
base::Status RemoveBlock(const std::string& block_directory);

}  // namespace tidewright::tsdb
