// The byte-level pieces that the on-disk formats share: big-endian integers, varints, strings, CRC-32C.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidewright::tsdb {

void PutU8(std::string* out, uint8_t value);
void PutU16(std::string* out, uint16_t value);  // Big-endian, as the next two.
void PutU32(std::string* out, uint32_t value);
void PutU64(std::string* out, uint64_t value);
void PutUvarint(std::string* out, uint64_t value);        // LEB128, least significant group first.
void PutVarint(std::string* out, int64_t value);          // Zigzag, then LEB128.
void PutString(std::string* out, std::string_view text);  // Length as uvarint, then the bytes.

// Reads what the functions above wrote. After the first read past the end, or of an overlong varint, ok() is false and
// every further read gives 0 or "". Borrows the bytes. Not thread-safe.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  uint8_t U8() { return BigEndian<uint8_t>(); }
  uint16_t U16() { return BigEndian<uint16_t>(); }
  uint32_t U32() { return BigEndian<uint32_t>(); }
  uint64_t U64() { return BigEndian<uint64_t>(); }
  uint64_t Uvarint() {
    if (rest_.empty() || static_cast<unsigned char>(rest_.front()) >= 0x80) return LongUvarint();
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  int64_t Varint();
  std::string_view String();
  std::string_view Bytes(uint64_t size) {
    if (size > rest_.size()) return PastEnd();
    const std::string_view bytes(rest_.data(), size);
    rest_.remove_prefix(size);
    return bytes;
  }

  bool ok() const { return ok_; }
  bool empty() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  template <typename T>
  T BigEndian() {
    const std::string_view bytes = Bytes(sizeof(T));
    T value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      value = static_cast<T>(value | static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * (sizeof(T) - 1 - i)));
    }
    return value;
  }
  uint64_t LongUvarint();
  std::string_view PastEnd();

  std::string_view rest_;
  bool ok_ = true;
};

// CRC-32C (Castagnoli), reflected, initial value and final xor 0xffffffff. With `before`, the checksum of some bytes,
// that of those and these together.
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace tidewright::tsdb
