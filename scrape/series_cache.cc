#include "scrape/series_cache.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

namespace tidewright::scrape {
namespace {

// How many entries failed scrapes may add beyond twice those of the last good one.
constexpr size_t kMaxFailedEntries = 1000;

}  // namespace

void SeriesCache::Begin() {
  base_size_ = entries_.size();
  seen_ = 0;
  EndScrape();
}

void SeriesCache::EndScrape() {
  next_ = 0;
  std::vector<uint32_t>().swap(table_);
  std::vector<uint32_t>().swap(order_);
  if (entries_.capacity() > entries_.size() + entries_.size() / 8 + 4) entries_.shrink_to_fit();
}

void SeriesCache::MakeTable() {
  size_t capacity = 16;
  while (capacity < entries_.size() * 3) capacity *= 2;
  table_.assign(capacity, kNone);
  for (uint32_t i = 0; i < entries_.size(); ++i) Insert(i);
}

void SeriesCache::Insert(uint32_t index) {
  size_t mask = table_.size() - 1;
  size_t slot = entries_[index].hash & mask;
  while (table_[slot] != kNone) slot = (slot + 1) & mask;
  table_[slot] = index;
}

uint32_t SeriesCache::Find(uint64_t hash) {
  if (entries_.empty()) return kNone;
  if (Predicted(hash) != kNone) return next_;  // Formats without a fast path need no table either.
  if (table_.empty()) MakeTable();
  size_t mask = table_.size() - 1;
  for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    if (table_[slot] == kNone || entries_[table_[slot]].hash == hash) return table_[slot];
  }
}

uint32_t SeriesCache::Add(uint64_t hash, size_t size, tsdb::SeriesRef ref) {
  auto index = static_cast<uint32_t>(entries_.size());
  Entry entry;
  entry.hash = hash;
  entry.ref = ref;
  entry.size = size <= UINT16_MAX ? static_cast<uint16_t>(size) : 0;
  entries_.push_back(entry);
  if (table_.empty() || entries_.size() * 2 > table_.size()) {
    MakeTable();
  } else {
    Insert(index);
  }
  return index;
}

void SeriesCache::Visit(uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.seen == 0) {
    if (order_.empty() && index != seen_) {
      order_.resize(seen_);
      std::iota(order_.begin(), order_.end(), 0u);
    }
    if (index != seen_ || !order_.empty()) order_.push_back(index);
    ++seen_;
    entry.seen = 1;
  }
  if (index < base_size_) next_ = index + 1;  // What is new stands between two that are known.
}

void SeriesCache::Commit(std::vector<tsdb::SeriesRef>* vanished) {
  std::unordered_set<tsdb::SeriesRef> gone;
  for (Entry& entry : entries_) {
    if (entry.live && !entry.tracked) gone.insert(entry.ref);
    entry.live = entry.tracked;
    entry.seen = entry.tracked = 0;
  }
  if (!gone.empty()) {
    for (const Entry& entry : entries_) {
      if (entry.live) gone.erase(entry.ref);
    }
  }
  vanished->assign(gone.begin(), gone.end());
  Reorder();
  good_size_ = entries_.size();
  EndScrape();
}

// Leaves what was seen, in the order in which it was.
void SeriesCache::Reorder() {
  if (!order_.empty()) {
    std::vector<Entry> ordered;
    ordered.reserve(order_.size());
    for (uint32_t index : order_) ordered.push_back(entries_[index]);
    entries_ = std::move(ordered);
  }
  entries_.resize(seen_);
}

void SeriesCache::Rollback(std::vector<tsdb::SeriesRef>* vanished) {
  vanished->clear();
  for (Entry& entry : entries_) {
    if (entry.live) vanished->push_back(entry.ref);
    entry.live = entry.seen = entry.tracked = 0;
  }
  if (entries_.size() > good_size_ * 2 + kMaxFailedEntries) entries_.resize(good_size_);
  EndScrape();
}

}  // namespace tidewright::scrape
