#include "tsdb/xor_chunk.h"

#include <algorithm>
#include <bit>

namespace tidewright::tsdb {

namespace {

// How the change of the distance between samples is written: prefix bits, then so many bits of the number.
struct DodClass {
  uint64_t prefix;
  int prefix_bits;
  int bits;
};
constexpr DodClass kDodClasses[] = {{0b10, 2, 14}, {0b110, 3, 17}, {0b1110, 4, 20}};
constexpr uint64_t kDodFullPrefix = 0b1111;
constexpr int kDodBits[] = {0, 14, 17, 20, 64};  // By the number of ones in the prefix.

// n bits hold -(2^(n-1)-1) .. 2^(n-1): one more above zero than below, since Prometheus writes it so.
bool Fits(int64_t dod, int bits) { return dod >= -((int64_t{1} << (bits - 1)) - 1) && dod <= int64_t{1} << (bits - 1); }

int64_t Extend(uint64_t value, int bits) {
  bool negative = value > uint64_t{1} << (bits - 1);
  return static_cast<int64_t>(negative ? value - (uint64_t{1} << bits) : value);
}

int64_t ReadTimeDod(BitReader* in) {
  const int ones = std::min(std::countl_one(in->Peek()), 4);
  in->Skip(std::min(ones + 1, 4));
  if (ones == 0) return 0;
  uint64_t value = in->Read(kDodBits[ones]);
  return ones == 4 ? static_cast<int64_t>(value) : Extend(value, kDodBits[ones]);
}

size_t CountOf(std::string_view bytes) {
  return (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]);
}

}  // namespace

void XorChunkWriter::WriteTimeDod(int64_t dod) {
  if (dod == 0) return out_.Write(0, 1);
  for (const DodClass& c : kDodClasses) {
    if (!Fits(dod, c.bits)) continue;
    out_.Write(c.prefix, c.prefix_bits);
    return out_.Write(static_cast<uint64_t>(dod), c.bits);
  }
  out_.Write(kDodFullPrefix, 4);
  out_.Write(static_cast<uint64_t>(dod), 64);
}

void XorChunkWriter::Append(int64_t t, double value) {
  uint64_t delta = static_cast<uint64_t>(t) - static_cast<uint64_t>(t_);
  if (count_ == 0) {
    out_.Varint(t);
    out_.Write(std::bit_cast<uint64_t>(value), 64);
    value_ = XorValue(value);
    delta = 0;
  } else if (count_ == 1) {
    out_.Uvarint(delta);
    value_.Write(value, &out_);
  } else {
    WriteTimeDod(static_cast<int64_t>(delta - delta_));
    value_.Write(value, &out_);
  }
  t_ = t;
  delta_ = delta;
  ++count_;
  bytes_[0] = static_cast<char>(count_ >> 8);
  bytes_[1] = static_cast<char>(count_);
}

std::string XorChunkWriter::Take() {
  std::string bytes = std::move(bytes_);
  bytes.shrink_to_fit();
  return bytes;
}

XorChunkReader::XorChunkReader(std::string_view bytes, size_t limit) : in_(bytes, 16) {
  corrupt_ = bytes.size() < 2;
  if (!corrupt_) count_ = std::min(limit, CountOf(bytes));
}

bool XorChunkReader::Next() {
  if (corrupt_ || read_ >= count_) return false;
  if (read_ == 0) {
    t_ = in_.Varint();
    value_ = XorValue(std::bit_cast<double>(in_.Read(64)));
  } else {
    delta_ = read_ == 1 ? in_.Uvarint() : delta_ + static_cast<uint64_t>(ReadTimeDod(&in_));
    t_ = static_cast<int64_t>(static_cast<uint64_t>(t_) + delta_);
    value_.Read(&in_);
  }
  corrupt_ = !in_.ok();
  if (corrupt_) return false;
  ++read_;
  return true;
}

namespace {

// The state of a decoder that keeps everything in registers. One load of 57 bits or more covers all of a usual sample
// but the bits of its value, and mostly these as well.
class FastXorDecoder {
 public:
  explicit FastXorDecoder(std::string_view bytes) : in_(bytes, 16) {}

  // Decodes up to `count` samples; returns how many were whole.
  size_t Decode(size_t count, int64_t* t, double* v) {
    size_t done = 0;
    for (; done < count && done < 2; ++done) {
      if (!DecodeFirst(done)) return done;
      Emit(done, t, v);
    }
    for (; done < count; ++done) {
      DecodeLater();
      if (!in_.ok()) [[unlikely]]
        return done;
      Emit(done, t, v);
    }
    return done;
  }

 private:
  void Emit(size_t i, int64_t* t, double* v) const {
    t[i] = static_cast<int64_t>(t_);
    v[i] = std::bit_cast<double>(value_);
  }

  bool DecodeFirst(size_t i) {
    if (i == 0) {
      t_ = static_cast<uint64_t>(in_.Varint());
      value_ = in_.Read(64);
      return in_.ok();
    }
    delta_ = in_.Uvarint();
    t_ += delta_;
    DecodeValue(in_.Peek(), 0);
    return in_.ok();
  }

  void DecodeLater() {
    uint64_t word = in_.Peek();
    int used = 1;
    if ((word >> 63) != 0) {
      const int ones = std::countl_one(word);
      if (ones >= 4) [[unlikely]] {
        in_.Skip(4);
        delta_ += in_.Read(64);
        word = in_.Peek();
        used = 0;
      } else {
        const int bits = kDodBits[ones];
        used = ones + 1 + bits;
        delta_ += static_cast<uint64_t>(Extend(word << (ones + 1) >> (64 - bits), bits));
      }
    }
    t_ += delta_;
    DecodeValue(word, used);
  }

  // `used` bits of `word`, which is what lies ahead, belong to the time: 24 at most.
  void DecodeValue(uint64_t word, int used) {
    const uint64_t rest = word << used;
    if ((rest >> 63) == 0) return in_.Skip(used + 1);
    used += 2;
    if ((rest >> 62) == 0b11) {
      const int leading = static_cast<int>(rest << 2 >> 59);
      const int coded = static_cast<int>(rest << 7 >> 58);
      significant_ = coded == 0 ? 64 : coded;
      trailing_ = 64 - leading - significant_;
      used += 11;
    }
    if (trailing_ < 0) [[unlikely]]
      return in_.Fail();
    if (used + significant_ <= 57) [[likely]] {
      value_ ^= (word << used >> (64 - significant_)) << trailing_;
      return in_.Skip(used + significant_);
    }
    in_.Skip(used);
    value_ ^= in_.Read(significant_) << trailing_;
  }

  BitReader in_;
  uint64_t t_ = 0;
  uint64_t delta_ = 0;
  uint64_t value_ = 0;
  int significant_ = 0;
  int trailing_ = -1;  // Negative: no window was given, or one wider than a value.
};

}  // namespace

size_t XorChunkRoom(std::string_view bytes) {
  return bytes.size() < 2 ? 0 : std::min(CountOf(bytes), bytes.size() * 4);
}

size_t DecodeXorChunk(std::string_view bytes, int64_t* t, double* v) {
  return FastXorDecoder(bytes).Decode(XorChunkRoom(bytes), t, v);
}

bool DecodeXorChunk(std::string_view bytes, std::vector<int64_t>* t, std::vector<double>* v) {
  if (bytes.size() < 2) return false;
  const size_t before = t->size(), room = XorChunkRoom(bytes);
  t->resize(before + room);
  v->resize(before + room);
  const size_t done = DecodeXorChunk(bytes, t->data() + before, v->data() + before);
  t->resize(before + done);
  v->resize(before + done);
  return done == CountOf(bytes);
}

}  // namespace tidewright::tsdb
