// Writing the protocol buffers wire format: the fields of one message after the other. The counterpart of
// base/wire_reader.h. Source: the encoding described at protobuf.dev/programming-guides/encoding.
//
//   WireWriter label;
//   label.Bytes(1, name).Bytes(2, value);
//   WireWriter series;
//   series.Bytes(1, label.bytes());
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace tidewright::base {

// Not thread-safe. Fields are written also when they hold their default, unless a method says otherwise.
class WireWriter {
 public:
  WireWriter& Varint(uint32_t field, uint64_t value) {
    Tag(field, 0);
    AppendVarint(value, &bytes_);
    return *this;
  }
  // Left out when 0, as proto3 does.
  WireWriter& NonZero(uint32_t field, uint64_t value) { return value == 0 ? *this : Varint(field, value); }
  WireWriter& Int64(uint32_t field, int64_t value) { return NonZero(field, static_cast<uint64_t>(value)); }
  WireWriter& ZigZag(uint32_t field, int64_t value) { return Varint(field, Folded(value)); }
  WireWriter& Double(uint32_t field, double value) {
    Tag(field, 1);
    AppendDouble(value, &bytes_);
    return *this;
  }
  WireWriter& NonZeroDouble(uint32_t field, double value) {
    return value == 0 && !std::signbit(value) ? *this : Double(field, value);
  }
  // Fields that are encoded already.
  WireWriter& Raw(std::string_view fields) {
    bytes_ += fields;
    return *this;
  }
  // Text, bytes, or a message within this one.
  WireWriter& Bytes(uint32_t field, std::string_view value) {
    Tag(field, 2);
    AppendVarint(value.size(), &bytes_);
    bytes_ += value;
    return *this;
  }
  // A list of numbers, packed; left out when it is empty.
  template <typename List>
  WireWriter& ZigZags(uint32_t field, const List& list) {
    std::string packed;
    for (int64_t value : list) AppendVarint(Folded(value), &packed);
    return packed.empty() ? *this : Bytes(field, packed);
  }
  template <typename List>
  WireWriter& Doubles(uint32_t field, const List& list) {
    std::string packed;
    for (double value : list) AppendDouble(value, &packed);
    return packed.empty() ? *this : Bytes(field, packed);
  }
  template <typename List>
  WireWriter& Varints(uint32_t field, const List& list) {
    std::string packed;
    for (uint64_t value : list) AppendVarint(value, &packed);
    return packed.empty() ? *this : Bytes(field, packed);
  }

  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }
  void Clear() { bytes_.clear(); }

  static void AppendVarint(uint64_t value, std::string* out) {
    for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
    out->push_back(static_cast<char>(value));
  }

 private:
  static uint64_t Folded(int64_t value) {
    return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
  }
  static void AppendDouble(double value, std::string* out) {
    char raw[sizeof(value)];
    std::memcpy(raw, &value, sizeof(value));
    out->append(raw, sizeof(raw));
  }
  void Tag(uint32_t field, uint32_t type) { AppendVarint(field << 3 | type, &bytes_); }

  std::string bytes_;
};

}  // namespace tidewright::base
