// IndexReader: the index file of a block. The format is described in tsdb/docs/index.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/labels.h"
#include "tsdb/mapped_file.h"

namespace tidewright::tsdb {

// A chunk as a series' entry describes it. `ref`: number of the chunk file (from 0) << 32 | offset in it.
struct IndexedChunk {
  int64_t mint = 0;
  int64_t maxt = 0;
  uint64_t ref = 0;
};

// Ascending ids of series, in the mapped file (big-endian). Borrows the file.
class PostingsList {
 public:
  PostingsList() = default;
  explicit PostingsList(std::string_view big_endian) : bytes_(big_endian) {}
  size_t size() const { return bytes_.size() / 4; }
  uint32_t operator[](size_t i) const;
  // The first position at or after `from` whose id is at least `id`; size() when there is none.
  size_t Seek(size_t from, uint32_t id) const;

 private:
  std::string_view bytes_;
};

// Immutable, thread-safe. No bytes crash it; see block_reader.h for what is verified when.
class IndexReader {
 public:
  static base::Result<std::unique_ptr<IndexReader>> Open(const std::string& path);

  uint32_t symbol_count() const { return symbol_count_; }
  base::Result<std::string_view> Symbol(uint32_t position) const;

  // The series with label pair name="value"; ("", "") is all of them. Empty when there is none.
  base::Result<PostingsList> Postings(std::string_view name, std::string_view value) const;
  // The ids of series that satisfy all matchers, ascending. Of no matchers: all.
  base::Result<std::vector<uint32_t>> Select(const Matchers& matchers) const;
  // Sorted names of labels, and sorted values of one.
  std::vector<std::string> LabelNames() const;
  base::Result<std::vector<std::string>> LabelValues(std::string_view name) const;

  // Sorted: the values of label `*name`, or without one the names of all labels, of the series that satisfy all
  // matchers.
  base::Result<std::vector<std::string>> SymbolsOf(const Matchers& matchers, const std::string* name) const;

  // The entry of a series: labels and chunks may be null where they are not wanted.
  base::Status Series(uint32_t id, Labels* labels, std::vector<IndexedChunk>* chunks) const;
  // The value of one of its labels; "" when absent.
  base::Result<std::string_view> SeriesValue(uint32_t id, std::string_view name) const;
  // The labels as positions in the symbol table: {name, value}, ... Either may be null.
  base::Status SeriesSymbols(uint32_t id, std::vector<std::pair<uint32_t, uint32_t>>* labels,
                             std::vector<IndexedChunk>* chunks) const;

 private:
  // The part of the postings table that belongs to one name.
  struct NameEntries {
    std::string_view name;
    uint32_t count = 0;             // Values.
    uint32_t end = 0;               // Where the entries end, as an offset in the table.
    std::vector<uint32_t> samples;  // Where every 32nd entry begins.
  };
  struct TableEntry {
    std::string_view name;
    std::string_view value;
    uint64_t offset = 0;
  };
  class Selection;

  IndexReader(std::string path, MappedFile file) : path_(std::move(path)), file_(std::move(file)) {}
  base::Status Load();
  base::Status LoadSymbols(uint64_t offset);
  base::Status LoadTable(uint64_t offset);
  base::Status Damaged(const std::string& what) const;
  // The content of a section with its length in front and its checksum behind, which is verified.
  base::Result<std::string_view> Section(uint64_t offset, const char* what) const;

  const NameEntries* FindName(std::string_view name) const;
  uint32_t SampleBefore(const NameEntries& entries, std::string_view value) const;
  bool ReadEntry(uint32_t* position, TableEntry* entry) const;
  // Calls visit(value, offset of the postings) for each value of the name, ascending, until it returns false.
  template <class Visit>
  base::Status ForEachValue(const NameEntries& entries, uint32_t first_sample, Visit visit) const;
  base::Result<PostingsList> ReadPostings(uint64_t offset) const;

  const std::string path_;
  const MappedFile file_;
  uint64_t series_begin_ = 0;
  uint64_t series_end_ = 0;
  std::string_view symbols_;  // The strings, one behind the other.
  uint32_t symbol_count_ = 0;
  std::vector<uint32_t> symbol_samples_;  // Where every 8th symbol begins in symbols_.
  std::string_view table_;                // The entries of the postings table.
  std::vector<NameEntries> names_;        // Ascending.
};

}  // namespace tidewright::tsdb
