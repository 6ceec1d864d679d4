#include "tsdb/slab.h"

#include <sys/mman.h>

#include <cstring>

namespace tidewright::tsdb {

Slab::Slab(size_t reserve_bytes) : reserved_(reserve_bytes / kCommitBytes * kCommitBytes) {
  with_room_.fill(kNone);
  for (; reserved_ >= kCommitBytes; reserved_ = reserved_ / 2 / kCommitBytes * kCommitBytes) {
    void* region = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) continue;
    base_ = static_cast<char*>(region);
    return;
  }
  reserved_ = 0;
}

Slab::~Slab() {
  if (base_ != nullptr) munmap(base_, reserved_);
}

bool Slab::GrowTo(size_t bytes) {
  if (bytes <= committed_) return true;
  size_t want = (bytes + kCommitBytes - 1) / kCommitBytes * kCommitBytes;
  if (want > reserved_ || mprotect(base_ + committed_, want - committed_, PROT_READ | PROT_WRITE) != 0) return false;
  committed_ = want;
  return true;
}

// The first of `count` neighbouring unused pages, or kNone.
uint32_t Slab::TakePages(uint32_t count) {
  auto fitting = free_pages_.lower_bound(count);
  if (fitting != free_pages_.end()) {
    uint32_t first = fitting->second.back();
    uint32_t length = fitting->first;
    fitting->second.pop_back();
    if (fitting->second.empty()) free_pages_.erase(fitting);
    if (length > count) free_pages_[length - count].push_back(first + count);
    pages_in_use_ += count;
    return first;
  }
  if (pages_.empty()) pages_.emplace_back();  // Page 0 stays unused: handle 0 is none.
  auto first = static_cast<uint32_t>(pages_.size());
  if (!GrowTo((size_t{first} + count) * kPageBytes)) return kNone;
  pages_.resize(pages_.size() + count);
  pages_in_use_ += count;
  return first;
}

void Slab::ReleasePages(uint32_t first, uint32_t count) {
  madvise(base_ + size_t{first} * kPageBytes, size_t{count} * kPageBytes, MADV_DONTNEED);
  free_pages_[count].push_back(first);
  pages_in_use_ -= count;
}

void Slab::List(uint32_t page) {
  Page& one = pages_[page];
  uint32_t& head = with_room_[one.size_class];
  one.previous = kNone;
  one.next = head;
  if (head != kNone) pages_[head].previous = page;
  head = page;
  one.listed = true;
}

void Slab::Unlist(uint32_t page) {
  Page& one = pages_[page];
  if (one.previous != kNone) {
    pages_[one.previous].next = one.next;
  } else {
    with_room_[one.size_class] = one.next;
  }
  if (one.next != kNone) pages_[one.next].previous = one.previous;
  one.listed = false;
}

Slab::Handle Slab::Allocate(size_t size) {
  if (size > kMaxBytes) return 0;
  if (size > kPageBytes / 2) {
    uint32_t first = TakePages(static_cast<uint32_t>(Capacity(size) / kPageBytes));
    if (first == kNone) return 0;
    used_ += Capacity(size);
    return static_cast<Handle>(size_t{first} * kPageBytes / 8);
  }
  const size_t size_class = ClassOf(size);
  const size_t bytes = ClassBytes(size_class);
  uint32_t index = with_room_[size_class];
  if (index == kNone) {
    index = TakePages(1);
    if (index == kNone) return 0;
    pages_[index] = Page{.size_class = static_cast<uint8_t>(size_class)};
    List(index);
  }
  Page& page = pages_[index];
  Handle handle = page.free_list;
  if (handle != 0) {
    std::memcpy(&page.free_list, At(handle), sizeof page.free_list);
  } else {
    handle = static_cast<Handle>((size_t{index} * kPageBytes + page.fresh * bytes) / 8);
    ++page.fresh;
  }
  ++page.live;
  used_ += bytes;
  if (page.free_list == 0 && (page.fresh + 1) * bytes > kPageBytes) Unlist(index);
  return handle;
}

void Slab::Free(Handle handle, size_t size) {
  if (handle == 0) return;
  used_ -= Capacity(size);
  auto index = static_cast<uint32_t>(size_t{handle} * 8 / kPageBytes);
  if (size > kPageBytes / 2) return ReleasePages(index, static_cast<uint32_t>(Capacity(size) / kPageBytes));
  Page& page = pages_[index];
  std::memcpy(At(handle), &page.free_list, sizeof page.free_list);
  page.free_list = handle;
  if (!page.listed) List(index);
  if (--page.live > 0) return;
  // The last page with room stays, so that one piece that comes and goes does not cost a system call each time.
  if (page.previous == kNone && page.next == kNone) {
    page.free_list = 0;
    page.fresh = 0;
    return;
  }
  Unlist(index);
  ReleasePages(index, 1);
}

}  // namespace tidewright::tsdb
