// SymbolTable: every label name and value once, known by a small number. Series refer to their labels by these numbers,
// and numbers are compared where text would be.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tsdb/slab.h"

namespace tidewright::tsdb {

using Symbol = uint32_t;  // 0 is none.

// A label as symbols.
struct SymbolPair {
  Symbol name = 0;
  Symbol value = 0;
  friend bool operator==(const SymbolPair&, const SymbolPair&) = default;
  friend bool operator<(const SymbolPair& a, const SymbolPair& b) {
    return a.name != b.name ? a.name < b.name : a.value < b.value;
  }
};

// Texts are counted references: one without references is forgotten and its number used again. Not thread-safe;
// concurrent const calls are fine.
class SymbolTable {
 public:
  explicit SymbolTable(Slab& slab) : slab_(slab), entries_(1) {}

  // The number of `text`, or 0.
  Symbol Find(std::string_view text) const;
  // The number of `text`, with a reference added. 0 when memory is exhausted or the text longer than Slab::kMaxBytes.
  Symbol Acquire(std::string_view text);
  void Retain(Symbol symbol) { ++entries_[symbol].references; }
  // True when that was the last reference: the number may name another text from now on.
  bool Release(Symbol symbol);
  // Valid while the symbol has a reference.
  std::string_view Text(Symbol symbol) const {
    const Entry& entry = entries_[symbol];
    return {slab_.At(entry.text), entry.size};
  }
  size_t size() const { return count_; }
  // How many texts were forgotten so far: as long as this stays, every number names the text that it named.
  uint64_t forgotten() const { return forgotten_; }
  // Bytes of the table itself, without the texts in the slab.
  size_t table_bytes() const { return entries_.capacity() * sizeof(Entry) + slots_.capacity() * sizeof(Symbol); }

 private:
  struct Entry {
    Slab::Handle text = 0;
    uint32_t size = 0;
    uint32_t references = 0;
    uint32_t hash = 0;  // Of a free entry: the next free one.
  };

  size_t SlotOf(std::string_view text, uint32_t hash) const;
  void Rehash(size_t capacity);
  void Unlink(Symbol symbol);

  Slab& slab_;
  std::vector<Entry> entries_;
  std::vector<Symbol> slots_;  // Open addressing, a power of two.
  Symbol free_ = 0;
  size_t count_ = 0;
  uint64_t forgotten_ = 0;
};

}  // namespace tidewright::tsdb
