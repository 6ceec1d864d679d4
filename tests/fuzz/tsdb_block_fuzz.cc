// The small files of a block, and head chunks, of any bytes: what is read must survive being written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tsdb/block_meta.h"
#include "tsdb/encoding.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/tombstones.h"

namespace tsdb = tidewright::tsdb;

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void Tombstones(std::string_view bytes) {
  auto tombstones = tsdb::ParseTombstones(bytes);
  if (!tombstones.ok()) return;
  const std::string written = tsdb::EncodeTombstones(*tombstones);
  auto again = tsdb::ParseTombstones(written);
  Check(again.ok() && again->size() == tombstones->size() && tsdb::EncodeTombstones(*again) == written);
}

void Meta(std::string_view bytes) {
  auto meta = tsdb::ParseBlockMeta(bytes);
  if (!meta.ok()) return;
  const std::string written = tsdb::FormatBlockMeta(*meta);
  auto again = tsdb::ParseBlockMeta(written);
  Check(again.ok() && tsdb::FormatBlockMeta(*again) == written);
}

void HeadChunks(std::string_view bytes) {
  std::vector<tsdb::HeadChunk> chunks;
  (void)tsdb::ParseHeadChunks(bytes, &chunks);
  std::string written = tsdb::HeadChunksHeader();
  for (const tsdb::HeadChunk& chunk : chunks) written += tsdb::EncodeHeadChunk(chunk);
  std::vector<tsdb::HeadChunk> again;
  Check(tsdb::ParseHeadChunks(written, &again).ok() && again.size() == chunks.size());
}

// The bytes with a checksum that fits behind them, counted from `begin`.
std::string WithChecksum(std::string_view bytes, size_t begin) {
  std::string result(bytes);
  if (result.size() >= begin) tsdb::PutU32(&result, tsdb::Crc32c(std::string_view(result).substr(begin)));
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Meta(bytes);
  Tombstones(bytes);
  Tombstones(WithChecksum(tsdb::EncodeTombstones({}).substr(0, 5) + std::string(bytes), 5));
  HeadChunks(bytes);
  HeadChunks(tsdb::HeadChunksHeader() + WithChecksum(bytes, 0));
  return 0;
}
