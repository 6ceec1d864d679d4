#include "tsdb/symbol_table.h"

#include <cstring>

#include "base/hash.h"

namespace tidewright::tsdb {

size_t SymbolTable::SlotOf(std::string_view text, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    const Entry& entry = entries_[slots_[slot]];
    if (entry.hash == hash && entry.size == text.size() &&
        std::memcmp(slab_.At(entry.text), text.data(), text.size()) == 0) {
      break;
    }
  }
  return slot;
}

Symbol SymbolTable::Find(std::string_view text) const {
  return slots_.empty() ? 0 : slots_[SlotOf(text, static_cast<uint32_t>(base::HashBytes(text)))];
}

void SymbolTable::Rehash(size_t capacity) {
  slots_.assign(capacity, 0);
  for (Symbol symbol = 1; symbol < entries_.size(); ++symbol) {
    if (entries_[symbol].references == 0) continue;
    size_t slot = entries_[symbol].hash & (capacity - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (capacity - 1);
    slots_[slot] = symbol;
  }
}

Symbol SymbolTable::Acquire(std::string_view text) {
  if ((count_ + 1) * 4 > slots_.size() * 3) Rehash(slots_.empty() ? 64 : slots_.size() * 2);
  const auto hash = static_cast<uint32_t>(base::HashBytes(text));
  size_t slot = SlotOf(text, hash);
  if (slots_[slot] != 0) {
    ++entries_[slots_[slot]].references;
    return slots_[slot];
  }
  Slab::Handle place = slab_.Allocate(text.size());
  if (place == 0) return 0;
  std::memcpy(slab_.At(place), text.data(), text.size());
  Symbol symbol = free_;
  if (symbol != 0) {
    free_ = entries_[symbol].hash;
  } else {
    symbol = static_cast<Symbol>(entries_.size());
    entries_.emplace_back();
  }
  entries_[symbol] = {place, static_cast<uint32_t>(text.size()), 1, hash};
  slots_[slot] = symbol;
  ++count_;
  return symbol;
}

bool SymbolTable::Release(Symbol symbol) {
  Entry& entry = entries_[symbol];
  if (symbol == 0 || --entry.references > 0) return false;
  Unlink(symbol);
  slab_.Free(entry.text, entry.size);
  entry = {0, 0, 0, free_};
  free_ = symbol;
  --count_;
  ++forgotten_;
  return true;
}

// Takes a symbol out of the slots and moves up what had to step aside for it.
void SymbolTable::Unlink(Symbol symbol) {
  const size_t mask = slots_.size() - 1;
  size_t hole = entries_[symbol].hash & mask;
  while (slots_[hole] != symbol) hole = (hole + 1) & mask;
  for (size_t slot = (hole + 1) & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
    size_t home = entries_[slots_[slot]].hash & mask;
    if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
    slots_[hole] = slots_[slot];
    hole = slot;
  }
  slots_[hole] = 0;
}

}  // namespace tidewright::tsdb
