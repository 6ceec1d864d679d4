// BlockWriter: writes a block of Prometheus' format, one series at a time, in bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tsdb/block_meta.h"
#include "tsdb/chunk.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// A label as positions in the block's symbol table; see BlockWriter::AddSymbol.
struct LabelSymbols {
  uint32_t name = 0;
  uint32_t value = 0;
};

struct BlockWriterOptions {
  uint64_t chunk_segment_bytes = 512 << 20;  // A chunk file ends before it would exceed this.
  // Memory for one pass of the postings; a block with more of them is passed over several times.
  size_t postings_buffer_bytes = 16 << 20;
};

// Call in this order: AddSymbol for all symbols, AddSeries for all series, Finish. The block is built in
// "<parent directory>/<ulid>.tmp-for-creation", flushed to disk and renamed, so that it exists whole or not at all.
// What Prometheus fixes about the bytes is fixed here: the same input gives the same files. Memory: about 12 bytes a
// symbol, 24 bytes per distinct label pair, and the postings buffer. After an error only destruction is left, which
// removes the unfinished directory. Not thread-safe.
class BlockWriter {
 public:
  // `meta` gives ulid, times, level, sources, parents and hints; the statistics are counted. kResourceExhausted when
  // the disk is full, kUnavailable for other errors, here and in every other function.
  static base::Result<std::unique_ptr<BlockWriter>> Create(const std::string& parent_directory, const BlockMeta& meta,
                                                           const BlockWriterOptions& options = {});
  virtual ~BlockWriter() = default;

  // The next name or value of a label. Ascending bytewise, without repeats; else kInvalidArgument. Returns its
  // position, for LabelSymbols. "" is added by itself as the first, at position 0, and may be given again.
  virtual base::Result<uint32_t> AddSymbol(std::string_view symbol) = 0;

  // The next series, ascending by labels (names, then values, compared bytewise; positions compare alike), with its
  // chunks in ascending order of time, not overlapping, at least one. kInvalidArgument otherwise.
  virtual base::Status AddSeries(std::span<const LabelSymbols> labels, std::span<const ChunkView> chunks) = 0;
  // Looks the symbols up; several times as slow.
  virtual base::Status AddSeries(const Labels& labels, std::span<const ChunkView> chunks) = 0;

  // Writes the rest and puts the block in place. Returns its complete meta. kFailedPrecondition when there is no
  // series.
  virtual base::Result<BlockMeta> Finish() = 0;
};

}  // namespace tidewright::tsdb
