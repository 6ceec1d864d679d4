// Makes the checksums of an index fit its bytes, so that damage gets past them to the code behind.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "tsdb/encoding.h"
#include "tsdb/index_format.h"

namespace tidewright::tsdb::testing {

inline void PutChecksum(std::string* bytes, uint64_t begin, uint64_t end) {
  std::string checksum;
  PutU32(&checksum, Crc32c(std::string_view(*bytes).substr(begin, end - begin)));
  bytes->replace(end, 4, checksum);
}

// A section with its length in front; the end of the section, or 0 when it does not fit.
inline uint64_t RepairSection(std::string* bytes, uint64_t offset) {
  if (offset > bytes->size() || bytes->size() - offset < 8) return 0;
  const uint64_t length = ByteReader(std::string_view(*bytes).substr(offset)).U32();
  if (length > bytes->size() - offset - 8) return 0;
  PutChecksum(bytes, offset + 4, offset + 4 + length);
  return offset + 4 + length;
}

inline void RepairSeries(std::string* bytes, uint64_t begin, uint64_t end) {
  if (end > bytes->size()) return;
  for (uint64_t at = (begin + kSeriesAlignment - 1) / kSeriesAlignment * kSeriesAlignment; at < end;) {
    ByteReader in(std::string_view(*bytes).substr(at, end - at));
    const uint64_t length = in.Uvarint();
    const uint64_t body = end - in.remaining();
    if (!in.ok() || in.remaining() < 4 || length > in.remaining() - 4) return;
    PutChecksum(bytes, body, body + length);
    at = (body + length + 4 + kSeriesAlignment - 1) / kSeriesAlignment * kSeriesAlignment;
  }
}

inline void RepairPostings(std::string* bytes, uint64_t table, uint64_t table_end) {
  if (table_end == 0) return;
  const std::string copy = bytes->substr(table, table_end - table);
  ByteReader in(copy);
  in.U32();
  in.U32();
  while (in.ok() && !in.empty()) {
    in.Uvarint();
    in.String();
    in.String();
    const uint64_t offset = in.Uvarint();
    if (in.ok()) RepairSection(bytes, offset);
  }
}

inline void RepairIndexChecksums(std::string* bytes) {
  if (bytes->size() < kIndexHeaderBytes + kIndexTocBytes) return;
  const uint64_t toc = bytes->size() - kIndexTocBytes;
  ByteReader in(std::string_view(*bytes).substr(toc));
  const uint64_t symbols = in.U64();
  const uint64_t series = in.U64();
  in.Bytes(16);
  const uint64_t series_end = in.U64();
  const uint64_t table = in.U64();
  RepairSection(bytes, symbols);
  RepairSeries(bytes, series, series_end);
  RepairPostings(bytes, table, RepairSection(bytes, table));
  PutChecksum(bytes, toc, bytes->size() - 4);
}

}  // namespace tidewright::tsdb::testing
