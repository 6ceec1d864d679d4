#include "tsdb/encoding.h"

#include <array>
#include <bit>
#include <cstring>

namespace tidewright::tsdb {

namespace {

template <typename T>
void PutBigEndian(std::string* out, T value) {
  char bytes[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(value >> (8 * (sizeof(T) - 1 - i)));
  out->append(bytes, sizeof(T));
}

// Slicing by 8: table[k][b] is the checksum of byte b followed by k zero bytes.
using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTables MakeCrcTables() {
  CrcTables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0u);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t previous = tables[k - 1][byte];
      tables[k][byte] = (previous >> 8) ^ tables[0][previous & 0xff];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = MakeCrcTables();

}  // namespace

void PutU8(std::string* out, uint8_t value) { out->push_back(static_cast<char>(value)); }
void PutU16(std::string* out, uint16_t value) { PutBigEndian(out, value); }
void PutU32(std::string* out, uint32_t value) { PutBigEndian(out, value); }
void PutU64(std::string* out, uint64_t value) { PutBigEndian(out, value); }

void PutUvarint(std::string* out, uint64_t value) {
  char bytes[10];
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) bytes[size++] = static_cast<char>(value | 0x80);
  bytes[size++] = static_cast<char>(value);
  out->append(bytes, size);
}

void PutVarint(std::string* out, int64_t value) {
  PutUvarint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}

void PutString(std::string* out, std::string_view text) {
  PutUvarint(out, text.size());
  out->append(text);
}

std::string_view ByteReader::PastEnd() {
  ok_ = false;
  rest_ = "";  // Not {}: who copies from it may not have a null pointer, even for no bytes.
  return rest_;
}

uint64_t ByteReader::LongUvarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (rest_.empty()) break;
    auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    if (shift == 63 && byte > 1) break;  // Does not fit 64 bits.
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  ok_ = false;
  rest_ = "";
  return 0;
}

int64_t ByteReader::Varint() {
  uint64_t value = Uvarint();
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

std::string_view ByteReader::String() { return Bytes(Uvarint()); }

namespace {

uint32_t Crc32cPortable(uint32_t crc, std::string_view bytes) {
  const char* data = bytes.data();
  size_t left = bytes.size();
  if constexpr (std::endian::native == std::endian::little) {
    for (; left >= 8; left -= 8, data += 8) {
      uint32_t low, high;
      std::memcpy(&low, data, 4);
      std::memcpy(&high, data + 4, 4);
      low ^= crc;
      crc = kCrc[7][low & 0xff] ^ kCrc[6][(low >> 8) & 0xff] ^ kCrc[5][(low >> 16) & 0xff] ^ kCrc[4][low >> 24] ^
            kCrc[3][high & 0xff] ^ kCrc[2][(high >> 8) & 0xff] ^ kCrc[1][(high >> 16) & 0xff] ^ kCrc[0][high >> 24];
    }
  }
  for (; left > 0; --left, ++data) crc = (crc >> 8) ^ kCrc[0][(crc ^ static_cast<unsigned char>(*data)) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Crc32cSse42(uint32_t crc, std::string_view bytes) {
  const char* data = bytes.data();
  size_t left = bytes.size();
  uint64_t wide = crc;
  for (; left >= 8; left -= 8, data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; left > 0; --left, ++data) crc = __builtin_ia32_crc32qi(crc, static_cast<unsigned char>(*data));
  return crc;
}
#endif

using CrcFunction = uint32_t (*)(uint32_t crc, std::string_view bytes);

CrcFunction FastestCrc() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return Crc32cSse42;
#endif
  return Crc32cPortable;
}

}  // namespace

uint32_t Crc32c(std::string_view bytes, uint32_t before) {
  static const CrcFunction function = FastestCrc();
  return ~function(~before, bytes);
}

}  // namespace tidewright::tsdb
