#include "tsdb/frame.h"

#include <snappy.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

enum FragmentType : uint8_t { kPad = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
constexpr uint8_t kTypeMask = 0x07;
constexpr uint8_t kSnappy = 0x08;
constexpr uint8_t kZstd = 0x10;

// Snappy's longest copy is 64 bytes from 3: a claim of more is a lie, and must not be allocated.
constexpr size_t kMaxSnappyRatio = 22;

bool IsZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

bool UncompressSnappy(std::string_view compressed, std::string* record) {
  size_t size = 0;
  if (!snappy::GetUncompressedLength(compressed.data(), compressed.size(), &size)) return false;
  if (size > (compressed.size() + 1) * kMaxSnappyRatio) return false;
  return size <= kMaxWalRecordBytes && snappy::Uncompress(compressed.data(), compressed.size(), record);
}

// What a frame says about its size is not relied on: the output grows as it is produced.
bool UncompressZstd(std::string_view compressed, std::string* record) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  ZSTD_inBuffer in = {compressed.data(), compressed.size(), 0};
  record->clear();
  size_t result = 1;
  while (result != 0 && record->size() <= kMaxWalRecordBytes) {
    const size_t before = record->size();
    record->resize(before + std::max(ZSTD_DStreamOutSize(), before));
    ZSTD_outBuffer out = {record->data(), record->size(), before};
    const size_t consumed = in.pos;
    result = ZSTD_decompressStream(context.get(), &out, &in);
    record->resize(out.pos);
    if (ZSTD_isError(result) != 0 || (out.pos == before && in.pos == consumed)) return false;
  }
  return result == 0 && in.pos == in.size;
}

}  // namespace

void FrameRecord(uint64_t offset, std::string_view record, bool compress, std::string* out) {
  const size_t start = out->size();
  std::string compressed;
  uint8_t flags = 0;
  if (compress) {
    snappy::Compress(record.data(), record.size(), &compressed);
    if (compressed.size() < record.size()) {
      record = compressed;
      flags = kSnappy;
    }
  }
  bool first = true;
  do {
    size_t room = kWalPageBytes - (offset + out->size() - start) % kWalPageBytes;
    if (room < kWalFragmentHeaderBytes) {
      out->append(room, '\0');
      room = kWalPageBytes;
    }
    std::string_view part = record.substr(0, room - kWalFragmentHeaderBytes);
    record.remove_prefix(part.size());
    uint8_t type = record.empty() ? (first ? kFull : kLast) : (first ? kFirst : kMiddle);
    PutU8(out, type | flags);
    PutU16(out, static_cast<uint16_t>(part.size()));
    PutU32(out, Crc32c(part));
    out->append(part);
    first = false;
  } while (!record.empty());
}

FrameReader::ReadPage FrameReader::PagesOf(std::string_view segment) {
  return [segment](uint64_t offset, char* page) -> base::Result<size_t> {
    if (offset >= segment.size()) return size_t{0};
    const std::string_view part = segment.substr(offset, kWalPageBytes);
    std::memcpy(page, part.data(), part.size());
    return part.size();
  };
}

struct FrameReader::Fragment {
  uint8_t type = 0;
  uint8_t flags = 0;
  std::string_view data;  // In page_.
};

base::Status FrameReader::Corrupt(const std::string& what) const {
  return base::DataLossError("at byte " + std::to_string(page_offset_ + position_) + ": " + what);
}

base::Result<bool> FrameReader::LoadPage() {
  page_offset_ += page_.size();
  position_ = 0;
  page_.resize(kWalPageBytes);
  base::Result<size_t> size = read_page_(page_offset_, page_.data());
  page_.resize(size.ok() ? *size : 0);
  if (!size.ok()) return size.status();
  return !page_.empty();
}

base::Result<bool> FrameReader::NextFragment(Fragment* fragment) {
  while (true) {
    size_t left = page_.size() - position_;
    bool full_page = page_.size() == kWalPageBytes;
    if (left == 0 || (full_page && left < kWalFragmentHeaderBytes)) {
      if (!IsZero(std::string_view(page_).substr(position_))) return Corrupt("the end of a page is not zero");
      if (!page_.empty() && !full_page) return false;
      TW_ASSIGN_OR_RETURN(bool more, LoadPage());
      if (!more) return false;
      continue;
    }
    ByteReader in(std::string_view(page_).substr(position_));
    uint8_t head = in.U8();
    if (head == kPad) {
      if (!IsZero(std::string_view(page_).substr(position_))) return Corrupt("padding is not zero");
      position_ = page_.size();
      continue;
    }
    uint16_t size = in.U16();
    uint32_t crc = in.U32();
    fragment->type = head & kTypeMask;
    fragment->flags = head & ~kTypeMask;
    if (!in.ok() || size > in.remaining()) return Corrupt("a fragment ends beyond its page or the file");
    fragment->data = in.Bytes(size);
    if (fragment->type > kLast || fragment->type == kPad || (fragment->flags & ~(kSnappy | kZstd)) != 0) {
      return Corrupt("fragment type " + std::to_string(head) + " does not exist");
    }
    if (Crc32c(fragment->data) != crc) return Corrupt("wrong checksum");
    position_ += kWalFragmentHeaderBytes + size;
    return true;
  }
}

base::Result<bool> FrameReader::Next(std::string* record) {
  compressed_.clear();
  for (bool first = true;; first = false) {
    Fragment fragment;
    TW_ASSIGN_OR_RETURN(bool more, NextFragment(&fragment));
    if (!more) return first ? base::Result<bool>(false) : Corrupt("the last record is torn");
    bool starts = fragment.type == kFull || fragment.type == kFirst;
    if (starts != first) return Corrupt("a fragment is out of sequence");
    compressed_.append(fragment.data);
    if (fragment.type == kFirst || fragment.type == kMiddle) continue;

    if ((fragment.flags & kSnappy) != 0) {
      if (!UncompressSnappy(compressed_, record)) return Corrupt("a snappy record does not decompress");
    } else if ((fragment.flags & kZstd) != 0) {
      if (!UncompressZstd(compressed_, record)) return Corrupt("a zstd record does not decompress");
    } else {
      record->swap(compressed_);
    }
    valid_end_ = page_offset_ + position_;
    return true;
  }
}

}  // namespace tidewright::tsdb
