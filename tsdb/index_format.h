// The numbers of the index and chunk files of a block. Private to tsdb.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidewright::tsdb {

inline constexpr uint32_t kIndexMagic = 0xbaaad700;
inline constexpr uint8_t kIndexVersion = 2;
inline constexpr uint64_t kIndexHeaderBytes = 5;
inline constexpr uint64_t kIndexTocBytes = 6 * 8 + 4;
inline constexpr uint64_t kSeriesAlignment = 16;  // A series' id is its offset divided by this.
inline constexpr uint64_t kPostingsAlignment = 4;
inline constexpr uint8_t kPostingsKeyFields = 2;  // Name and value.

inline constexpr uint32_t kChunksMagic = 0x85bd40dd;
inline constexpr uint8_t kChunksVersion = 1;
inline constexpr uint64_t kChunksHeaderBytes = 8;
inline constexpr uint64_t kMaxChunkLengthBytes = 5;
inline constexpr uint64_t kChecksumBytes = 4;

}  // namespace tidewright::tsdb
