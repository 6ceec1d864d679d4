// SeriesPages: the series of the head by reference, 40 bytes each.
//
// References count up and are never used again, so that a reference is an address: its upper bits number a page of 256
// series, the lower ones the place in it. The places of a page are freed when its last series goes; what stays is a
// pointer and a lock per page. There is no table to look up and no memory to allocate per series.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "tsdb/appender.h"
#include "tsdb/slab.h"

namespace tidewright::tsdb {

// One series. Guarded by the lock of its page.
struct SeriesData {
  double last = 0;          // The newest value.
  Slab::Handle labels = 0;  // 0: there is no series at this place. Never changes while there is one.
  Slab::Handle chunk = 0;   // The bytes of the open chunk.
  uint32_t segment = 0;     // The timeline that the series is on; 0 before its first sample.
  Slab::Handle closed = 0;  // An array of `closed_count` ClosedChunks.
  uint32_t pending = 0;     // Samples that batches under way hold; the series is not forgotten before they end.
  uint16_t closed_count = 0;
  uint16_t used = 0;       // Bytes of the open chunk.
  uint16_t tail = 0;       // Where its single values begin.
  uint8_t first = 0;       // Position of its first sample in the segment.
  uint8_t count = 0;       // Samples of the open chunk. With 0, the newest sample is just before `first`.
  bool logged = false;     // Whether the log knows the series.
  bool histogram = false;  // Native histograms are kept beside; see HistogramStore.
  bool late = false;       // As are samples that came out of order; see LateSamples.
};

class SeriesPages {
 public:
  static constexpr SeriesRef kPageSeries = 256;

  struct Page {
    base::Mutex mu;
    uint32_t live GUARDED_BY(mu) = 0;
    std::unique_ptr<std::array<SeriesData, kPageSeries>> places GUARDED_BY(mu);

    // The series at a reference of this page, or nullptr.
    SeriesData* Find(SeriesRef ref) REQUIRES_LOCK(mu) {
      if (places == nullptr) return nullptr;
      SeriesData& series = (*places)[ref % kPageSeries];
      return series.labels == 0 ? nullptr : &series;
    }
    // The place for a new series.
    SeriesData* Create(SeriesRef ref) REQUIRES_LOCK(mu) {
      if (places == nullptr) places = std::make_unique<std::array<SeriesData, kPageSeries>>();
      ++live;
      return &(*places)[ref % kPageSeries];
    }
    void Remove(SeriesRef ref) REQUIRES_LOCK(mu) {
      (*places)[ref % kPageSeries] = SeriesData();
      if (--live == 0) places.reset();
    }
  };

  SeriesPages() = default;
  SeriesPages(const SeriesPages&) = delete;
  SeriesPages& operator=(const SeriesPages&) = delete;
  ~SeriesPages() {
    for (std::atomic<Group*>& group : groups_) {
      Group* one = group.load(std::memory_order_relaxed);
      if (one == nullptr) continue;
      for (std::atomic<Page*>& page : *one) delete page.load(std::memory_order_relaxed);
      delete one;
    }
  }

  // The page of a reference; nullptr when it never had a series. Thread-safe; pages stay where they are.
  Page* Find(SeriesRef ref) const {
    uint64_t number = ref / kPageSeries;
    if (number / kGroupPages >= kGroups) return nullptr;
    Group* group = groups_[number / kGroupPages].load(std::memory_order_acquire);
    return group == nullptr ? nullptr : (*group)[number % kGroupPages].load(std::memory_order_acquire);
  }
  // The page of a reference, made if need be; nullptr for a reference beyond kMaxRef. One thread at a time.
  Page* FindOrCreate(SeriesRef ref) {
    if (ref > kMaxRef) return nullptr;
    uint64_t number = ref / kPageSeries;
    std::atomic<Group*>& group = groups_[number / kGroupPages];
    if (group.load(std::memory_order_relaxed) == nullptr) group.store(new Group(), std::memory_order_release);
    std::atomic<Page*>& page = (*group.load(std::memory_order_relaxed))[number % kGroupPages];
    if (page.load(std::memory_order_relaxed) == nullptr) page.store(new Page(), std::memory_order_release);
    return page.load(std::memory_order_relaxed);
  }

  static constexpr uint64_t kGroups = 16 * 1024;
  static constexpr uint64_t kGroupPages = 8 * 1024;
  static constexpr SeriesRef kMaxRef = kGroups * kGroupPages * kPageSeries - 1;  // 34 billion.

 private:
  using Group = std::array<std::atomic<Page*>, kGroupPages>;
  std::array<std::atomic<Group*>, kGroups> groups_{};
};

}  // namespace tidewright::tsdb
