// What one target exposed last time, line by line: the exact text of each series and the store's reference to it.
//
// Two scrapes of a target differ almost only in their numbers and come in the same order. Every entry therefore knows
// which entry followed it, so that a scrape loop compares the next line's bytes with one candidate; a hash table finds
// lines that moved. An entry costs 40 bytes and its text; labels are not kept, because the store has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tsdb/appender.h"

namespace tidewright::scrape {

// Not thread-safe.
class SeriesCache {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Entry {
    std::string_view text;    // Owned by the cache.
    tsdb::SeriesRef ref = 0;  // 0: dropped by metric relabelling.
    uint32_t next = kNone;    // The entry that followed in the last scrape in which this one occurred.
    bool seen = false;        // In the scrape that is under way.
    bool live = false;        // Had a sample in the last scrape, and so needs a staleness marker once it vanishes.
    bool tracked = false;     // In the scrape that is under way: to become live.
  };

  // Begins a scrape: nothing is seen yet.
  void Begin();

  // The entry that is expected next, or kNone.
  uint32_t Predicted() const { return previous_ == kNone ? first_ : entries_[previous_].next; }
  uint32_t Find(std::string_view text) const;
  // Adds an entry for a text that Find() does not know.
  uint32_t Add(std::string_view text, tsdb::SeriesRef ref);
  // Notes that the entry is the one at hand: the next prediction starts from it.
  void Visit(uint32_t index);

  Entry& operator[](uint32_t index) { return entries_[index]; }
  const Entry& operator[](uint32_t index) const { return entries_[index]; }
  size_t size() const { return entries_.size(); }

  // Ends a successful scrape: forgets what was not seen. `vanished` receives the references that were live and whose
  // series had no sample this time, under whatever spelling.
  void Commit(std::vector<tsdb::SeriesRef>* vanished);
  // Ends a failed scrape: forgets what it added. `vanished` receives every live reference; nothing is live afterwards.
  void Rollback(std::vector<tsdb::SeriesRef>* vanished);

 private:
  std::string_view Store(std::string_view text);
  void RemoveUnseen();
  void Rebuild();
  void Insert(uint32_t index);

  std::vector<Entry> entries_;
  std::vector<uint32_t> table_;  // Open addressing over entries_; a power of two, at most half full.
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t block_size_ = 0;
  size_t block_used_ = 0;
  size_t text_bytes_ = 0;  // Of the entries; the rest of what the blocks hold is garbage.
  size_t stored_bytes_ = 0;
  size_t base_size_ = 0;  // Entries before the scrape that is under way.
  size_t seen_ = 0;
  uint32_t first_ = kNone;
  uint32_t previous_ = kNone;
};

}  // namespace tidewright::scrape
