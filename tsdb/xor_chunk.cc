#include "tsdb/xor_chunk.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

// The classes of a delta of delta: a prefix of ones ended by a zero, then so many bits. 0 alone is "no change".
struct DodClass {
  uint64_t prefix;
  int prefix_bits;
  int bits;
};
constexpr DodClass kDodClasses[] = {{0b10, 2, 14}, {0b110, 3, 17}, {0b1110, 4, 20}};
constexpr uint64_t kDodFullPrefix = 0b1111;

// The range of n bits is not symmetric: -(2^(n-1)-1) .. 2^(n-1).
bool Fits(int64_t dod, int bits) { return dod >= -((int64_t{1} << (bits - 1)) - 1) && dod <= int64_t{1} << (bits - 1); }

constexpr int kMaxLeading = 31;  // Five bits.

}  // namespace

void XorChunkWriter::WriteBits(uint64_t value, int bits) {
  while (bits > 0) {
    if (free_bits_ == 0) {
      bytes_.push_back('\0');
      free_bits_ = 8;
    }
    int take = std::min(bits, free_bits_);
    uint64_t piece = (value >> (bits - take)) & ((1u << take) - 1);
    bytes_.back() = static_cast<char>(static_cast<unsigned char>(bytes_.back()) | (piece << (free_bits_ - take)));
    free_bits_ -= take;
    bits -= take;
  }
}

void XorChunkWriter::WriteTimeDod(int64_t dod) {
  if (dod == 0) return WriteBits(0, 1);
  for (const DodClass& c : kDodClasses) {
    if (!Fits(dod, c.bits)) continue;
    WriteBits(c.prefix, c.prefix_bits);
    return WriteBits(static_cast<uint64_t>(dod), c.bits);
  }
  WriteBits(kDodFullPrefix, 4);
  WriteBits(static_cast<uint64_t>(dod), 64);
}

void XorChunkWriter::WriteValueXor(uint64_t value_bits) {
  uint64_t changed = value_bits ^ value_bits_;
  if (changed == 0) return WriteBits(0, 1);
  int leading = std::min(std::countl_zero(changed), kMaxLeading);
  int trailing = std::countr_zero(changed);
  if (leading_ >= 0 && leading >= leading_ && trailing >= trailing_) {
    WriteBits(0b10, 2);
    return WriteBits(changed >> trailing_, 64 - leading_ - trailing_);
  }
  leading_ = leading;
  trailing_ = trailing;
  int significant = 64 - leading - trailing;
  WriteBits(0b11, 2);
  WriteBits(leading, 5);
  WriteBits(significant & 63, 6);  // 64 is stored as 0.
  WriteBits(changed >> trailing, significant);
}

void XorChunkWriter::Append(int64_t t, double value) {
  auto value_bits = std::bit_cast<uint64_t>(value);
  uint64_t delta = static_cast<uint64_t>(t) - static_cast<uint64_t>(t_);
  std::string varint;
  if (count_ == 0) {
    PutVarint(&varint, t);
    bytes_ += varint;
    WriteBits(value_bits, 64);
    delta = 0;
  } else if (count_ == 1) {
    PutUvarint(&varint, delta);  // The first sample ended at a byte boundary.
    bytes_ += varint;
    WriteValueXor(value_bits);
  } else {
    WriteTimeDod(static_cast<int64_t>(delta - delta_));
    WriteValueXor(value_bits);
  }
  t_ = t;
  delta_ = delta;
  value_bits_ = value_bits;
  ++count_;
  bytes_[0] = static_cast<char>(count_ >> 8);
  bytes_[1] = static_cast<char>(count_);
}

std::string XorChunkWriter::Take() {
  std::string bytes = std::move(bytes_);
  bytes.shrink_to_fit();
  return bytes;
}

XorChunkReader::XorChunkReader(std::string_view bytes, size_t limit) : bytes_(bytes) {
  if (bytes.size() < 2) {
    corrupt_ = true;
    return;
  }
  count_ = std::min<size_t>(limit, (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]));
}

uint64_t XorChunkReader::ReadBits(int bits) {
  if (bit_ + bits > bytes_.size() * 8) {
    corrupt_ = true;
    return 0;
  }
  size_t byte = bit_ / 8;
  int skip = bit_ % 8;
  bit_ += bits;
  if (bits <= 56 && byte + 8 <= bytes_.size()) {  // One load covers skip + bits <= 63 bits.
    uint64_t word;
    std::memcpy(&word, bytes_.data() + byte, 8);
    if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
    return bits == 0 ? 0 : (word << skip) >> (64 - bits);
  }
  uint64_t value = 0;
  while (bits > 0) {
    int take = std::min(bits, 8 - skip);
    uint64_t piece = static_cast<unsigned char>(bytes_[byte]) >> (8 - skip - take);
    value = (value << take) | (piece & ((1u << take) - 1));
    bits -= take;
    skip = 0;
    ++byte;
  }
  return value;
}

uint64_t XorChunkReader::ReadUvarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    uint64_t byte = ReadBits(8);
    if (corrupt_ || (shift == 63 && byte > 1)) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  corrupt_ = true;
  return 0;
}

int64_t XorChunkReader::ReadTimeDod() {
  if (ReadBits(1) == 0) return 0;
  for (const DodClass& c : kDodClasses) {
    if (ReadBits(1) != 0) continue;
    auto value = static_cast<int64_t>(ReadBits(c.bits));
    return value > int64_t{1} << (c.bits - 1) ? value - (int64_t{1} << c.bits) : value;
  }
  return static_cast<int64_t>(ReadBits(64));
}

void XorChunkReader::ReadValueXor() {
  if (ReadBits(1) == 0) return;
  if (ReadBits(1) != 0) {
    leading_ = static_cast<int>(ReadBits(5));
    auto significant = static_cast<int>(ReadBits(6));
    if (significant == 0) significant = 64;
    trailing_ = 64 - leading_ - significant;
  }
  if (leading_ < 0 || trailing_ < 0) {  // A window that was never given, or one wider than a value.
    corrupt_ = true;
    return;
  }
  value_bits_ ^= ReadBits(64 - leading_ - trailing_) << trailing_;
}

bool XorChunkReader::Next() {
  if (corrupt_ || read_ >= count_) return false;
  if (read_ == 0) {
    uint64_t zigzag = ReadUvarint();
    t_ = static_cast<int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
    value_bits_ = ReadBits(64);
  } else {
    delta_ = read_ == 1 ? ReadUvarint() : delta_ + static_cast<uint64_t>(ReadTimeDod());
    t_ = static_cast<int64_t>(static_cast<uint64_t>(t_) + delta_);
    ReadValueXor();
  }
  if (corrupt_) return false;
  ++read_;
  return true;
}

Sample XorChunkReader::At() const { return {t_, std::bit_cast<double>(value_bits_)}; }

}  // namespace tidewright::tsdb
