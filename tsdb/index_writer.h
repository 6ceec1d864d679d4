// IndexWriter: the index file of a block, from front to back. Private to tsdb; BlockWriter checks what it is given.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/block_writer.h"
#include "tsdb/file_writer.h"
#include "tsdb/index_reader.h"
#include "tsdb/mapped_file.h"

namespace tidewright::tsdb {

// Numbers by label pair; pairs with name 0 do not occur. Open addressing: 12 bytes a slot.
class PairMap {
 public:
  uint32_t& operator[](uint64_t pair);
  // Of a pair that was put in before.
  uint32_t At(uint64_t pair) const { return values_[Slot(pair)]; }
  std::vector<uint64_t> SortedPairs() const;
  static uint64_t Pair(uint32_t name, uint32_t value) { return uint64_t{name} << 32 | value; }

 private:
  size_t Slot(uint64_t pair) const;
  void Grow();

  std::vector<uint64_t> pairs_;  // 0 is an empty slot.
  std::vector<uint32_t> values_;
  size_t used_ = 0;
};

// Not thread-safe. Calls in the order of the functions.
class IndexWriter {
 public:
  static base::Result<std::unique_ptr<IndexWriter>> Create(const std::string& path, size_t postings_buffer_bytes);

  // Ascending; the caller begins with "".
  base::Status AddSymbol(std::string_view symbol);
  uint32_t symbol_count() const { return static_cast<uint32_t>(symbol_offsets_.size()); }
  std::string_view last_symbol() const { return last_symbol_; }
  base::Status FinishSymbols();
  // The position of a symbol; kInvalidArgument when it was not added.
  base::Result<uint32_t> FindSymbol(std::string_view symbol) const;

  base::Status AddSeries(std::span<const LabelSymbols> labels, std::span<const IndexedChunk> chunks);
  // Postings, tables, flush to the disk.
  base::Status Finish();

 private:
  struct PostingsEntry {
    uint32_t name;
    uint32_t value;
    uint64_t offset;
  };
  IndexWriter(std::unique_ptr<FileWriter> file, size_t postings_buffer_bytes)
      : file_(std::move(file)), postings_buffer_bytes_(postings_buffer_bytes) {}

  std::string_view SymbolAt(uint32_t position) const;
  void EncodeSeries(std::span<const LabelSymbols> labels, std::span<const IndexedChunk> chunks);
  base::Status WritePostings();
  base::Status WriteAllSeries(std::string_view series);
  base::Status WritePass(std::string_view series, std::span<const uint64_t> pairs, uint32_t first_rank,
                         std::span<const uint32_t> counts);
  base::Status WriteList(uint64_t pair, std::span<const uint32_t> ids);
  base::Status WriteTable();
  base::Status WriteToc();

  std::unique_ptr<FileWriter> file_;
  const size_t postings_buffer_bytes_;
  std::string buffer_;

  std::vector<uint32_t> symbol_offsets_;  // From the beginning of the file.
  std::string last_symbol_;
  MappedFile symbols_;

  uint64_t series_offset_ = 0;
  uint64_t series_end_ = 0;
  uint32_t series_count_ = 0;
  PairMap pairs_;  // How many series have a pair; during Finish() its rank.

  uint64_t table_offset_ = 0;
  std::vector<PostingsEntry> table_;
};

}  // namespace tidewright::tsdb
