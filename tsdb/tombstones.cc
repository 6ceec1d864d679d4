#include "tsdb/tombstones.h"

#include <algorithm>

#include "base/file.h"
#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

constexpr uint32_t kMagic = 0x0130ba30;
constexpr uint8_t kVersion = 1;
constexpr size_t kHeaderBytes = 5;
constexpr size_t kChecksumBytes = 4;

std::string TombstonesPath(const std::string& block_directory) { return block_directory + "/tombstones"; }

// The first interval that ends at `t` or later.
TimeIntervals::const_iterator FirstEndingAt(const TimeIntervals& intervals, int64_t t) {
  return std::lower_bound(intervals.begin(), intervals.end(), t,
                          [](const TimeInterval& interval, int64_t time) { return interval.maxt < time; });
}

}  // namespace

void AddInterval(TimeIntervals* intervals, TimeInterval added) {
  if (added.mint > added.maxt) return;
  const int64_t before = added.mint == INT64_MIN ? INT64_MIN : added.mint - 1;
  const int64_t after = added.maxt == INT64_MAX ? INT64_MAX : added.maxt + 1;
  auto first = intervals->begin() + (FirstEndingAt(*intervals, before) - intervals->cbegin());
  auto last = first;
  for (; last != intervals->end() && last->mint <= after; ++last) {
    added.mint = std::min(added.mint, last->mint);
    added.maxt = std::max(added.maxt, last->maxt);
  }
  intervals->insert(intervals->erase(first, last), added);
}

bool Covers(const TimeIntervals& intervals, int64_t t) { return CoversRange(intervals, t, t); }

bool CoversRange(const TimeIntervals& intervals, int64_t mint, int64_t maxt) {
  auto it = FirstEndingAt(intervals, mint);
  return it != intervals.end() && it->mint <= mint && it->maxt >= maxt;
}

void Tombstones::Add(uint64_t series, TimeInterval interval) {
  if (interval.mint > interval.maxt) return;
  AddInterval(&by_series_[series], interval);
}

const TimeIntervals* Tombstones::Of(uint64_t series) const {
  auto it = by_series_.find(series);
  return it == by_series_.end() ? nullptr : &it->second;
}

uint64_t Tombstones::size() const {
  uint64_t count = 0;
  for (const auto& [series, intervals] : by_series_) count += intervals.size();
  return count;
}

std::string EncodeTombstones(const Tombstones& tombstones) {
  std::string bytes;
  PutU32(&bytes, kMagic);
  PutU8(&bytes, kVersion);
  for (const auto& [series, intervals] : tombstones) {
    for (const TimeInterval& interval : intervals) {
      PutUvarint(&bytes, series);
      PutVarint(&bytes, interval.mint);
      PutVarint(&bytes, interval.maxt);
    }
  }
  PutU32(&bytes, Crc32c(std::string_view(bytes).substr(kHeaderBytes)));
  return bytes;
}

base::Result<Tombstones> ParseTombstones(std::string_view bytes) {
  ByteReader header(bytes);
  const uint32_t magic = header.U32();
  const uint8_t version = header.U8();
  if (bytes.size() < kHeaderBytes + kChecksumBytes || magic != kMagic) {
    return base::DataLossError("at byte 0: not a file of tombstones");
  }
  if (version != kVersion)
    return base::UnimplementedError("at byte 4: version " + std::to_string(version) + " is not known");
  const std::string_view entries = bytes.substr(kHeaderBytes, bytes.size() - kHeaderBytes - kChecksumBytes);
  if (Crc32c(entries) != ByteReader(bytes.substr(bytes.size() - kChecksumBytes)).U32()) {
    return base::DataLossError("at byte " + std::to_string(kHeaderBytes) + ": wrong checksum");
  }
  Tombstones tombstones;
  ByteReader in(entries);
  while (!in.empty()) {
    const size_t begin = entries.size() - in.remaining();
    const uint64_t series = in.Uvarint();
    const int64_t mint = in.Varint();
    const int64_t maxt = in.Varint();
    if (!in.ok() || mint > maxt) {
      return base::DataLossError("at byte " + std::to_string(kHeaderBytes + begin) +
                                 ": an entry is not a series and an interval");
    }
    tombstones.Add(series, {mint, maxt});
  }
  return tombstones;
}

base::Result<Tombstones> ReadTombstones(const std::string& block_directory) {
  const std::string path = TombstonesPath(block_directory);
  base::Result<std::string> bytes = base::ReadFile(path);
  if (bytes.status().code() == base::Code::kNotFound) return Tombstones();
  if (!bytes.ok()) return bytes.status();
  base::Result<Tombstones> tombstones = ParseTombstones(*bytes);
  if (!tombstones.ok()) return tombstones.status().Annotate("read " + path);
  return tombstones;
}

base::Status WriteTombstones(const std::string& block_directory, const Tombstones& tombstones) {
  return base::WriteFileAtomic(TombstonesPath(block_directory), EncodeTombstones(tombstones));
}

}  // namespace tidewright::tsdb
