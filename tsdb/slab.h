// Slab: small pieces of memory named by 32-bit handles. What series, labels, postings and open chunks are made of: a
// pointer and malloc's own header would be half of what most of them hold.
//
// A region of address space is reserved once and made usable as it fills, so that a handle is an offset (in units of 8
// bytes) and a piece never moves. Sizes are rounded up to classes about a quarter apart; pages of 64 KiB belong to one
// class at a time, and a page without pieces goes back to the kernel. What is larger than half a page takes whole
// pages.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace tidewright::tsdb {

// Not thread-safe, except that At() may be called by anyone who has a live handle.
class Slab {
 public:
  using Handle = uint32_t;  // 0 is none.

  // Reserves `reserve_bytes` of address space (halved until the system grants it; no memory is used yet).
  explicit Slab(size_t reserve_bytes = size_t{32} << 30);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // A piece of at least `size` bytes with arbitrary content. `size` is at most kMaxBytes. 0 when the region is full.
  Handle Allocate(size_t size);
  // Gives a piece back; `size` as it was allocated (any size of the same class will do).
  void Free(Handle handle, size_t size);

  char* At(Handle handle) { return base_ + size_t{handle} * 8; }
  const char* At(Handle handle) const { return base_ + size_t{handle} * 8; }

  // The bytes that a piece of `size` really has.
  static size_t Capacity(size_t size) {
    if (size > kPageBytes / 2) return (size + kPageBytes - 1) / kPageBytes * kPageBytes;
    return ClassBytes(ClassOf(size));
  }
  static constexpr size_t kMaxBytes = 16 << 20;

  size_t used_bytes() const { return used_; }  // In pieces, rounded up to their classes.
  size_t resident_bytes() const { return pages_in_use_ * kPageBytes; }

 private:
  static constexpr size_t kPageBytes = 64 * 1024;
  static constexpr size_t kCommitBytes = 1 << 20;  // Made usable at a time.
  static constexpr uint32_t kNone = UINT32_MAX;
  // Steps of 8 up to 64, then four classes per power of two up to half a page.
  static constexpr size_t kClasses = 8 + 4 * 9;

  static size_t ClassOf(size_t size) {
    if (size <= 64) return size == 0 ? 0 : (size - 1) / 8;
    // Within (2^n, 2^(n+1)]: four steps of 2^(n-2).
    const size_t power = static_cast<size_t>(std::bit_width(size - 1)) - 1;
    return 8 + (power - 6) * 4 + ((size - 1 - (size_t{1} << power)) >> (power - 2));
  }
  static size_t ClassBytes(size_t size_class) {
    if (size_class < 8) return (size_class + 1) * 8;
    const size_t power = 6 + (size_class - 8) / 4;
    return (size_t{1} << power) + ((size_class - 8) % 4 + 1) * (size_t{1} << (power - 2));
  }

  struct Page {
    uint32_t free_list = 0;  // Handle of the first piece that was given back.
    uint32_t live = 0;
    uint32_t fresh = 0;                       // Pieces handed out in order so far; those behind were never touched.
    uint32_t previous = kNone, next = kNone;  // In the list of pages of a class that have room.
    uint8_t size_class = 0;
    bool listed = false;
  };

  uint32_t TakePages(uint32_t count);
  void ReleasePages(uint32_t first, uint32_t count);
  bool GrowTo(size_t bytes);
  void List(uint32_t page);
  void Unlist(uint32_t page);

  char* base_ = nullptr;
  size_t reserved_ = 0;
  size_t committed_ = 0;
  size_t used_ = 0;
  size_t pages_in_use_ = 0;
  std::vector<Page> pages_;
  std::array<uint32_t, kClasses> with_room_;              // First page of each class that has room.
  std::map<uint32_t, std::vector<uint32_t>> free_pages_;  // Runs of unused pages: length to first pages.
};

}  // namespace tidewright::tsdb
