#include "tsdb/packed_cache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "tsdb/value_codec.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kEntryBytes = 128;  // Of a table's entry and the allocations behind it.
constexpr int64_t kKeepMs = 120'000;
constexpr int64_t kTouchMs = 10'000;
constexpr size_t kAskedSets = 1 << 14;  // Of keys that fall together,
constexpr size_t kAskedWays = 4;        // of which so many are known.
constexpr size_t kTimesToSweep = 1024;

const uint8_t* Bytes(const char* text) { return reinterpret_cast<const uint8_t*>(text); }

uint64_t HashOf(std::span<const int64_t> t) {
  return base::HashBytes({reinterpret_cast<const char*>(t.data()), t.size_bytes()});
}

}  // namespace

uint64_t NewTimesName() {
  static std::atomic<uint64_t> names = 0;
  return (names.fetch_add(1, std::memory_order_relaxed) + 1) * 0x9e3779b97f4a7c15;  // Spread, and never 0.
}

PackedSeries::PackedSeries(std::shared_ptr<const NamedTimes> times, bool own_times, std::span<const double> values)
    : times_(std::move(times)), own_times_(own_times) {
  std::vector<Restart> restarts;
  std::string packed;
  uint8_t code[kMaxBlockBytes];
  double previous = 0;
  size_t done = 0;
  for (; done + kBlockValues <= values.size(); done += kBlockValues) {
    if (done % kRestartValues == 0) restarts.push_back({previous, static_cast<uint32_t>(packed.size())});
    packed.append(reinterpret_cast<char*>(code), EncodeBlock(values.data() + done, previous, code));
    previous = values[done + kBlockValues - 1];
  }
  if (done % kRestartValues == 0) restarts.push_back({previous, static_cast<uint32_t>(packed.size())});
  tail_ = static_cast<uint32_t>(packed.size());
  for (; done < values.size(); ++done) {
    packed.append(reinterpret_cast<char*>(code), EncodeValue(previous, values[done], code));
    previous = values[done];
  }
  end_ = static_cast<uint32_t>(packed.size());
  packed_.reserve(packed.size() + restarts.size() * sizeof(Restart));
  packed_ = packed;
  packed_.append(reinterpret_cast<const char*>(restarts.data()), restarts.size() * sizeof(Restart));
}

size_t PackedSeries::Decode(size_t from, size_t to, std::vector<double>* v) const {
  const size_t first = from / kRestartValues * kRestartValues;
  Restart restart;
  std::memcpy(&restart, packed_.data() + end_ + from / kRestartValues * sizeof(Restart), sizeof restart);
  if (v->size() < to - first + kBlockValues) v->resize(to - first + kBlockValues);
  // It wrote the bytes itself, so that they decode.
  (void)DecodeValues(Bytes(packed_.data()) + restart.offset, tail_ - restart.offset, Bytes(packed_.data()) + tail_,
                     end_ - tail_, restart.previous, to - first, v->data());
  return from - first;
}

void PackedSeries::Prefetch() const {
  constexpr size_t kCacheLine = 64;
  for (size_t at = 0; at < end_; at += kCacheLine) __builtin_prefetch(packed_.data() + at);
}

size_t PackedSeries::bytes() const {
  return sizeof(*this) + packed_.capacity() + (own_times_ ? times_->t.size() * sizeof(int64_t) : 0);
}

uint32_t PackedCache::NewBlock() {
  base::MutexLock lock(mu_);
  return ++blocks_;
}

size_t PackedCache::bytes() const {
  base::MutexLock lock(mu_);
  return bytes_;
}

void PackedCache::Unlink(Entry* entry) {
  (entry->newer != nullptr ? entry->newer->older : newest_) = entry->older;
  (entry->older != nullptr ? entry->older->newer : oldest_) = entry->newer;
  entry->newer = entry->older = nullptr;
}

void PackedCache::Link(Entry* entry) {
  entry->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = entry;
  newest_ = entry;
}

bool PackedCache::AskedBefore(uint64_t key) {
  if (asked_.empty()) asked_.resize(kAskedSets * kAskedWays);
  const uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15;
  const auto tag = static_cast<uint32_t>(hash) | 1;
  const auto begin = asked_.begin() + static_cast<ptrdiff_t>((hash >> 50) % kAskedSets * kAskedWays);
  const auto end = begin + kAskedWays;
  if (std::find(begin, end, tag) != end) return true;
  std::move_backward(begin, end - 1, end);  // The one that was put there first is forgotten.
  *begin = tag;
  return false;
}

// Lets go of what was not used for long. False when that is not enough.
bool PackedCache::HasRoom(size_t bytes, int64_t now_ms) {
  while (bytes_ + bytes > max_bytes_) {
    if (oldest_ == nullptr || now_ms - oldest_->used_ms < kKeepMs) return false;
    Entry* gone = oldest_;
    Unlink(gone);
    bytes_ -= kEntryBytes + gone->series->bytes();
    entries_.erase(gone->key);
  }
  return true;
}

// Not each time, as that touches the memory of its neighbours.
void PackedCache::Touch(Entry* entry, int64_t now_ms) {
  if (now_ms - entry->used_ms < kTouchMs) return;
  entry->used_ms = now_ms;
  Unlink(entry);
  Link(entry);
}

void PackedCache::Find(std::span<const uint64_t> keys, int64_t now_ms, std::span<Found> found) {
  std::array<Entry*, kMostAtOnce> places;
  base::MutexLock lock(mu_);
  // Counting references orders memory, so that nothing is counted before all is found.
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto place = entries_.find(keys[i]);
    places[i] = place == entries_.end() ? nullptr : &place->second;
    if (places[i] != nullptr) __builtin_prefetch(places[i]->series.get());
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (places[i] == nullptr) continue;
    Touch(places[i], now_ms);
    found[i] = {places[i]->series, false};
  }
  // Last, as entries go to make room.
  for (size_t i = 0; i < keys.size(); ++i) {
    if (places[i] == nullptr) found[i] = {nullptr, AskedBefore(keys[i]) && HasRoom(kEntryBytes, now_ms)};
  }
}

std::shared_ptr<const NamedTimes> PackedCache::Share(std::span<const int64_t> t, bool* made) {
  std::weak_ptr<const NamedTimes>& place = times_[HashOf(t)];
  std::shared_ptr<const NamedTimes> known = place.lock();
  *made = known == nullptr || !std::equal(t.begin(), t.end(), known->t.begin(), known->t.end());
  if (!*made) return known;
  auto times = std::make_shared<const NamedTimes>(NamedTimes{NewTimesName(), {t.begin(), t.end()}});
  place = times;
  if (times_.size() % kTimesToSweep == 0) {
    std::erase_if(times_, [](const auto& entry) { return entry.second.expired(); });
  }
  return times;
}

void PackedCache::Add(uint64_t key, int64_t now_ms, std::span<const int64_t> t, std::span<const double> v) {
  std::shared_ptr<const NamedTimes> times;
  bool own_times = false;
  {
    base::MutexLock lock(mu_);
    times = Share(t, &own_times);
  }
  auto series = std::make_shared<const PackedSeries>(std::move(times), own_times, v);
  const size_t bytes = kEntryBytes + series->bytes();
  base::MutexLock lock(mu_);
  if (!HasRoom(bytes, now_ms)) return;
  auto [place, added] = entries_.try_emplace(key);
  if (!added) return;
  place->second.series = std::move(series);
  place->second.key = key;
  place->second.used_ms = now_ms;
  Link(&place->second);
  bytes_ += bytes;
}

}  // namespace tidewright::tsdb
