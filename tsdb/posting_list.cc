#include "tsdb/posting_list.h"

#include <cstring>

namespace tidewright::tsdb {

namespace {

constexpr size_t kMaxRunBytes = 20;

size_t PutVarint(uint64_t value, char* out) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = static_cast<char>(value | 0x80);
  out[size++] = static_cast<char>(value);
  return size;
}

uint64_t GetVarint(const char** at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    auto byte = static_cast<unsigned char>(*(*at)++);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

}  // namespace

// Writes the last run to the slab.
bool PostingList::CloseRun(Slab& slab) {
  char code[kMaxRunBytes];
  size_t size = PutVarint(gap_ * 2 + (run_ > 1 ? 1 : 0), code);
  if (run_ > 1) size += PutVarint(run_ - 2, code + size);
  if (bytes_ == 0 || used_ + size > Slab::Capacity(used_)) {
    Slab::Handle larger = slab.Allocate(used_ + size);
    if (larger == 0) return false;
    if (used_ > 0) std::memcpy(slab.At(larger), slab.At(bytes_), used_);
    if (bytes_ != 0) slab.Free(bytes_, used_);
    bytes_ = larger;
  }
  std::memcpy(slab.At(bytes_) + used_, code, size);
  used_ += static_cast<uint32_t>(size);
  return true;
}

bool PostingList::Add(Slab& slab, SeriesRef ref) {
  if (ref >= end_) return Append(slab, ref);
  std::vector<RefRange> ranges;
  Decode(slab, &ranges);
  ranges.push_back({ref, ref + 1});
  return Assign(slab, RefSet::Union(std::move(ranges)));
}

bool PostingList::Append(Slab& slab, SeriesRef ref) {
  if (run_ > 0 && ref == end_) {
    ++run_;
  } else {
    if (run_ > 0 && !CloseRun(slab)) return false;
    gap_ = ref - end_;
    run_ = 1;
  }
  end_ = ref + 1;
  ++count_;
  return true;
}

void PostingList::Decode(const Slab& slab, std::vector<RefRange>* out) const {
  if (run_ == 0) return;
  SeriesRef at = 0;
  if (used_ > 0) {
    const char* from = slab.At(bytes_);
    for (const char* end = from + used_; from < end;) {
      uint64_t token = GetVarint(&from);
      uint64_t length = (token & 1) != 0 ? GetVarint(&from) + 2 : 1;
      at += token >> 1;
      out->push_back({at, at + length});
      at += length;
    }
  }
  out->push_back({end_ - run_, end_});
}

RefSet PostingList::Decode(const Slab& slab) const {
  std::vector<RefRange> ranges;
  Decode(slab, &ranges);
  RefSet result;
  for (const RefRange& range : ranges) result.Append(range.begin, range.end);
  return result;
}

void PostingList::Subtract(Slab& slab, const RefSet& gone) {
  RefSet left = Decode(slab).Subtract(gone);
  if (left.size() == count_) return;
  Assign(slab, left);  // Never more bytes than those that it frees first, so that there is room.
}

bool PostingList::Assign(Slab& slab, const RefSet& set) {
  Free(slab);
  for (const RefRange& range : set.ranges()) {
    if (!Append(slab, range.begin)) return false;
    run_ = static_cast<uint32_t>(range.end - range.begin);
    count_ += run_ - 1;
    end_ = range.end;
  }
  return true;
}

void PostingList::Free(Slab& slab) {
  if (bytes_ != 0) slab.Free(bytes_, used_);
  *this = PostingList();
}

}  // namespace tidewright::tsdb
