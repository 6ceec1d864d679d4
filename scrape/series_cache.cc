#include "scrape/series_cache.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_set>

namespace tidewright::scrape {
namespace {

constexpr size_t kMinBlock = 1024;
constexpr size_t kMaxBlock = 64 * 1024;

}  // namespace

void SeriesCache::Begin() {
  for (Entry& entry : entries_) entry.seen = entry.tracked = false;
  base_size_ = entries_.size();
  seen_ = 0;
  previous_ = kNone;
}

uint32_t SeriesCache::Find(std::string_view text) const {
  if (table_.empty()) return kNone;
  size_t mask = table_.size() - 1;
  for (size_t slot = std::hash<std::string_view>()(text) & mask;; slot = (slot + 1) & mask) {
    if (table_[slot] == kNone || entries_[table_[slot]].text == text) return table_[slot];
  }
}

uint32_t SeriesCache::Add(std::string_view text, tsdb::SeriesRef ref) {
  auto index = static_cast<uint32_t>(entries_.size());
  Entry entry;
  entry.text = Store(text);
  entry.ref = ref;
  entries_.push_back(entry);
  text_bytes_ += text.size();
  if (entries_.size() * 2 > table_.size()) {
    Rebuild();
  } else {
    Insert(index);
  }
  return index;
}

void SeriesCache::Visit(uint32_t index) {
  (previous_ == kNone ? first_ : entries_[previous_].next) = index;
  previous_ = index;
  seen_ += entries_[index].seen ? 0 : 1;
  entries_[index].seen = true;
}

void SeriesCache::Commit(std::vector<tsdb::SeriesRef>* vanished) {
  std::unordered_set<tsdb::SeriesRef> gone;
  for (const Entry& entry : entries_) {
    if (entry.live && !entry.tracked) gone.insert(entry.ref);
  }
  for (Entry& entry : entries_) {
    if (!gone.empty() && entry.tracked) gone.erase(entry.ref);
    entry.live = entry.tracked;
  }
  vanished->assign(gone.begin(), gone.end());
  if (seen_ < entries_.size()) RemoveUnseen();
}

void SeriesCache::Rollback(std::vector<tsdb::SeriesRef>* vanished) {
  vanished->clear();
  for (Entry& entry : entries_) {
    if (entry.live) vanished->push_back(entry.ref);
    entry.live = false;
  }
  if (entries_.size() == base_size_) return;
  for (size_t i = base_size_; i < entries_.size(); ++i) text_bytes_ -= entries_[i].text.size();
  entries_.resize(base_size_);
  auto forget = [this](uint32_t& link) {
    if (link != kNone && link >= base_size_) link = kNone;
  };
  for (Entry& entry : entries_) forget(entry.next);
  forget(first_);
  previous_ = kNone;
  Rebuild();
}

// Removes entries and gives the others new indices; their order of discovery stays.
void SeriesCache::RemoveUnseen() {
  std::vector<uint32_t> moved(entries_.size(), kNone);
  uint32_t kept = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!entries_[i].seen) {
      text_bytes_ -= entries_[i].text.size();
      continue;
    }
    moved[i] = kept;
    entries_[kept++] = entries_[i];
  }
  entries_.resize(kept);
  auto translate = [&moved](uint32_t& link) { link = link == kNone ? kNone : moved[link]; };
  for (Entry& entry : entries_) translate(entry.next);
  translate(first_);
  previous_ = kNone;
  if (stored_bytes_ > 2 * text_bytes_ + kMaxBlock) {
    std::vector<std::unique_ptr<char[]>> old = std::move(blocks_);
    blocks_.clear();
    block_size_ = block_used_ = stored_bytes_ = 0;
    for (Entry& entry : entries_) entry.text = Store(entry.text);
  }
  Rebuild();
}

std::string_view SeriesCache::Store(std::string_view text) {
  if (block_used_ + text.size() > block_size_) {
    block_size_ = std::max(text.size(), std::clamp(stored_bytes_, kMinBlock, kMaxBlock));
    blocks_.push_back(std::make_unique<char[]>(block_size_));
    block_used_ = 0;
  }
  char* place = blocks_.back().get() + block_used_;
  std::memcpy(place, text.data(), text.size());
  block_used_ += text.size();
  stored_bytes_ += text.size();
  return {place, text.size()};
}

void SeriesCache::Rebuild() {
  size_t capacity = 16;
  while (capacity < entries_.size() * 3) capacity *= 2;
  table_.assign(capacity, kNone);
  for (uint32_t i = 0; i < entries_.size(); ++i) Insert(i);
}

void SeriesCache::Insert(uint32_t index) {
  size_t mask = table_.size() - 1;
  size_t slot = std::hash<std::string_view>()(entries_[index].text) & mask;
  while (table_[slot] != kNone) slot = (slot + 1) & mask;
  table_[slot] = index;
}

}  // namespace tidewright::scrape
