// SeriesCache: what one target's lines mean, so that a line seen before costs a hash and a comparison instead of
// labels.
//
// A target repeats its lines in the same order. The cache is a list of its series in that order, 16 bytes each: a hash
// of the source text, seeded with a secret so that no target can make two of its lines collide on purpose, the text's
// length, and the store's reference. The next line is compared with the next entry; as the length says where its value
// begins, nothing is searched for in it. Only in a scrape whose order differs a table is
// made that finds lines that moved; afterwards the list has the new order. Text and labels are not kept, because the
// store has them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/secret_hash.h"
#include "tsdb/appender.h"

namespace tidewright::scrape {

// Not thread-safe.
class SeriesCache {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  // The reference of a series that is only found by its labels. No store gives it to a series.
  static constexpr tsdb::SeriesRef kUnknownRef = (tsdb::SeriesRef{1} << 45) - 1;

  struct Entry {
    uint64_t hash = 0;         // Of the text.
    uint64_t ref : 45 = 0;     // 0: dropped by metric relabelling.
    uint64_t size : 16 = 0;    // Of the text; 0 when it is too long to be told here.
    uint64_t seen : 1 = 0;     // In the scrape that is under way.
    uint64_t live : 1 = 0;     // Had a sample in the last scrape, and so needs a staleness marker once it vanishes.
    uint64_t tracked : 1 = 0;  // In the scrape that is under way: to become live.
  };

  // What stands for a text.
  static uint64_t Hash(std::string_view text) { return base::SecretHash(text); }

  // Begins a scrape: nothing is seen yet.
  void Begin();

  // The entry that is expected next if it has this hash, else kNone.
  uint32_t Predicted(uint64_t hash) const { return next_ < base_size_ && entries_[next_].hash == hash ? next_ : kNone; }
  // The same entry; null at the end of what the last scrape had.
  const Entry* Expected() const { return next_ < base_size_ ? &entries_[next_] : nullptr; }
  uint32_t expected_index() const { return next_; }
  uint32_t Find(uint64_t hash);
  // Adds an entry for a text of `size` bytes that Find() does not know.
  uint32_t Add(uint64_t hash, size_t size, tsdb::SeriesRef ref);
  // Notes that the entry is the one at hand: the next prediction starts from it.
  void Visit(uint32_t index);
  // The same for the expected entry, which this scrape has not had before.
  void VisitExpected() {
    if (!order_.empty() || next_ != seen_) return Visit(next_);
    entries_[next_++].seen = 1;
    ++seen_;
  }

  Entry& operator[](uint32_t index) { return entries_[index]; }
  const Entry& operator[](uint32_t index) const { return entries_[index]; }
  size_t size() const { return entries_.size(); }

  // Ends a successful scrape: forgets what was not seen. `vanished` receives the references that were live and whose
  // series had no sample this time, under whatever spelling.
  void Commit(std::vector<tsdb::SeriesRef>* vanished);
  // Ends a failed scrape. `vanished` receives every live reference; nothing is live afterwards. What the scrape added
  // stays known, because a target that exceeds a limit shows the same again, unless that makes the cache much larger
  // than what the last good scrape left.
  void Rollback(std::vector<tsdb::SeriesRef>* vanished);

 private:
  void Insert(uint32_t index);
  void MakeTable();
  void Reorder();
  void EndScrape();

  std::vector<Entry> entries_;  // In the order of the last scrape; then those that this one added.
  std::vector<uint32_t>
      table_;  // Open addressing over entries_, while it is needed; a power of two, at most half full.
  std::vector<uint32_t> order_;  // The entries as they were visited, once that is not the order they have.
  size_t base_size_ = 0;         // Entries before the scrape that is under way.
  size_t good_size_ = 0;         // Entries after the last good scrape.
  size_t seen_ = 0;
  uint32_t next_ = 0;
};

}  // namespace tidewright::scrape
