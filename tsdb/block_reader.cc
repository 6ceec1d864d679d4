#include "tsdb/block_reader.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "tsdb/block_querier.h"
#include "tsdb/chunk_files.h"
#include "tsdb/packed_cache.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinishedSuffixes[] = {".tmp-for-creation", ".tmp-for-deletion", ".tmp"};
constexpr std::string_view kDeletionSuffix = ".tmp-for-deletion";

bool IsUnfinished(std::string_view name) {
  const std::string_view ulid = name.substr(0, name.find('.'));
  if (!IsUlid(ulid)) return false;
  const std::string_view suffix = name.substr(ulid.size());
  return std::find(std::begin(kUnfinishedSuffixes), std::end(kUnfinishedSuffixes), suffix) !=
         std::end(kUnfinishedSuffixes);
}

uint64_t TreeBytes(const std::string& directory) {
  uint64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) total += it->file_size(ignored);
  }
  return total;
}

}  // namespace

Block::Block(std::string directory, BlockMeta meta)
    : directory_(std::move(directory)), mint_(meta.mint), maxt_(meta.maxt), meta_(std::move(meta)) {}
Block::~Block() = default;

base::Result<std::shared_ptr<Block>> Block::Open(const std::string& directory) {
  TW_ASSIGN_OR_RETURN(BlockMeta meta, ReadBlockMeta(directory));
  std::shared_ptr<Block> block(new Block(directory, std::move(meta)));
  TW_RETURN_IF_ERROR(block->Load());
  return block;
}

base::Status Block::Load() {
  TW_ASSIGN_OR_RETURN(index_, IndexReader::Open(directory_ + "/index"));
  TW_ASSIGN_OR_RETURN(chunks_, ChunkFiles::Open(directory_ + "/chunks"));
  TW_ASSIGN_OR_RETURN(Tombstones tombstones, ReadTombstones(directory_));
  size_bytes_ = TreeBytes(directory_);
  base::MutexLock lock(mu_);
  tombstones_ = std::make_shared<const Tombstones>(std::move(tombstones));
  return base::Status::Ok();
}

BlockMeta Block::meta() const {
  base::MutexLock lock(mu_);
  return meta_;
}

std::shared_ptr<const Tombstones> Block::tombstones() const {
  base::MutexLock lock(mu_);
  return tombstones_;
}

base::Result<ChunkView> Block::Chunk(const IndexedChunk& chunk) const {
  TW_ASSIGN_OR_RETURN(ChunkView view, chunks_->Read(chunk.ref));
  view.mint = chunk.mint;
  view.maxt = chunk.maxt;
  return view;
}

void Block::UseCache(std::shared_ptr<PackedCache> cache) {
  cache_ = std::move(cache);
  cache_number_ = cache_->NewBlock();
}

void Block::DropChunkPages() const { chunks_->DropPages(); }

std::unique_ptr<Querier> Block::NewQuerier(int64_t mint, int64_t maxt) const {
  return NewBlockQuerier(shared_from_this(), mint, maxt);
}

base::Result<uint64_t> Block::Delete(int64_t mint, int64_t maxt, const Matchers& matchers) {
  base::MutexLock change(change_mu_);
  Tombstones changed = *tombstones();
  uint64_t concerned = 0;
  TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, index_->Select(matchers));
  std::vector<IndexedChunk> chunks;
  for (uint32_t id : ids) {
    TW_RETURN_IF_ERROR(index_->Series(id, nullptr, &chunks));
    const bool overlaps = std::any_of(chunks.begin(), chunks.end(), [&](const IndexedChunk& chunk) {
      return chunk.mint <= maxt && chunk.maxt >= mint;
    });
    if (!overlaps) continue;
    // No further than the series' samples reach.
    changed.Add(id, {std::max(mint, chunks.front().mint), std::min(maxt, chunks.back().maxt)});
    ++concerned;
  }
  if (concerned == 0) return concerned;
  BlockMeta described = meta();
  described.stats.tombstones = changed.size();
  TW_RETURN_IF_ERROR(WriteTombstones(directory_, changed));
  TW_RETURN_IF_ERROR(WriteBlockMeta(directory_, described));
  base::MutexLock lock(mu_);
  meta_ = std::move(described);
  tombstones_ = std::make_shared<const Tombstones>(std::move(changed));
  return concerned;
}

base::Status Block::VerifySeries(uint32_t id) const {
  Labels labels;
  std::vector<IndexedChunk> chunks;
  TW_RETURN_IF_ERROR(index_->Series(id, &labels, &chunks));
  for (const IndexedChunk& chunk : chunks) {
    base::Result<ChunkView> view = Chunk(chunk);
    base::Status status = view.ok() ? VerifyChunk(*view) : view.status();
    if (!status.ok()) return status.Annotate(directory_ + ": series " + labels.ToString());
  }
  return base::Status::Ok();
}

base::Status Block::VerifyPostings() const {
  for (const std::string& name : index_->LabelNames()) {
    TW_ASSIGN_OR_RETURN(const std::vector<std::string> values, index_->LabelValues(name));
    for (const std::string& value : values) TW_RETURN_IF_ERROR(index_->Postings(name, value).status());
  }
  return base::Status::Ok();
}

base::Status Block::Verify() const {
  TW_RETURN_IF_ERROR(VerifyPostings());
  TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, index_->Select({}));
  for (uint32_t id : ids) TW_RETURN_IF_ERROR(VerifySeries(id));
  const uint64_t expected = meta().stats.series;
  if (ids.size() == expected) return base::Status::Ok();
  return base::DataLossError(directory_ + ": the index has " + std::to_string(ids.size()) +
                             " series, but meta.json says " + std::to_string(expected));
}

base::Result<std::vector<std::string>> ListBlocks(const std::string& data_directory, bool clean) {
  std::vector<std::string> blocks;
  std::vector<std::string> unfinished;
  std::error_code error;
  for (fs::directory_iterator it(data_directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (IsUlid(name)) {
      blocks.push_back(std::move(name));
    } else if (IsUnfinished(name)) {
      unfinished.push_back(std::move(name));
    }
  }
  if (error) return FileError("list", data_directory, error.value());
  for (const std::string& name : unfinished) {
    if (clean) TW_RETURN_IF_ERROR(RemoveTree(data_directory + "/" + name));
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

base::Status RemoveBlock(const std::string& block_directory) {
  const std::string doomed = block_directory + std::string(kDeletionSuffix);
  TW_RETURN_IF_ERROR(RenameDirectory(block_directory, doomed));
  return RemoveTree(doomed);
}

}  // namespace tidewright::tsdb
