// Reading the protocol buffers wire format: fields of one message, one after the other, within bounds.
// Source: the encoding described at protobuf.dev/programming-guides/encoding.
//
//   WireReader reader(bytes);
//   while (reader.Next()) {
//     if (reader.field() == 1) name = reader.Bytes();
//   }
//   if (!reader.ok()) return broken;
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace tidewright::base {

// Not thread-safe. Borrows the bytes. A value that is read as another type than it was written gives 0 or nothing, as
// a field of a message that changed would.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  // Moves to the next field. False at the end, and at damage.
  bool Next() {
    if (rest_.empty() || !ok_) return false;
    uint64_t tag = 0;
    ok_ = TakeVarint(&tag) && (tag >> 3) != 0 && (tag >> 3) <= kMaxField;
    if (!ok_) return false;
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint32_t>(tag & 7);
    ok_ = TakeValue();
    return ok_;
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  std::string_view rest() const { return rest_; }  // What follows the field.

  uint64_t Varint() const { return type_ == kVarint ? number_ : 0; }
  int64_t ZigZag() const { return static_cast<int64_t>(Varint() >> 1) ^ -static_cast<int64_t>(Varint() & 1); }
  double Double() const {
    double value = 0;
    if (type_ == kFixed64) std::memcpy(&value, &number_, sizeof(value));
    return value;
  }
  std::string_view Bytes() const { return type_ == kBytes ? bytes_ : std::string_view(); }

  // Repeated numbers come packed into one field or one by one: calls add(number) for each at hand.
  template <typename Add>
  void ZigZags(Add add) {
    if (type_ != kBytes) return add(ZigZag());
    WireReader packed(bytes_);
    packed.type_ = kVarint;
    while (!packed.rest_.empty() && (ok_ = packed.TakeVarint(&packed.number_))) add(packed.ZigZag());
  }
  template <typename Add>
  void Varints(Add add) {
    if (type_ != kBytes) return add(Varint());
    WireReader packed(bytes_);
    packed.type_ = kVarint;
    while (!packed.rest_.empty() && (ok_ = packed.TakeVarint(&packed.number_))) add(packed.number_);
  }
  template <typename Add>
  void Doubles(Add add) {
    if (type_ != kBytes) return add(Double());
    ok_ = bytes_.size() % sizeof(double) == 0;
    for (size_t i = 0; ok_ && i < bytes_.size(); i += sizeof(double)) {
      double value = 0;
      std::memcpy(&value, bytes_.data() + i, sizeof(value));
      add(value);
    }
  }

  // The length-delimited message at the front of `stream`, which it is removed from. False when it is not whole.
  static bool TakeDelimited(std::string_view* stream, std::string_view* message) {
    WireReader reader(*stream);
    uint64_t length = 0;
    if (!reader.TakeVarint(&length) || length > reader.rest_.size()) return false;
    *message = reader.rest_.substr(0, length);
    *stream = reader.rest_.substr(length);
    return true;
  }

 private:
  static constexpr uint64_t kMaxField = (1u << 29) - 1;
  static constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

  bool TakeVarint(uint64_t* value) {
    *value = 0;
    for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
      auto byte = static_cast<unsigned char>(rest_[i]);
      *value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte >= 0x80) continue;
      rest_.remove_prefix(i + 1);
      return true;
    }
    return false;
  }

  bool TakeFixed(size_t size) {
    if (rest_.size() < size) return false;
    number_ = 0;
    std::memcpy(&number_, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }

  bool TakeValue() {
    uint64_t length = 0;
    switch (type_) {
      case kVarint: return TakeVarint(&number_);
      case kFixed64: return TakeFixed(8);
      case kFixed32: return TakeFixed(4);
      case kBytes:
        if (!TakeVarint(&length) || length > rest_.size()) return false;
        bytes_ = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return true;
      default: return false;  // Groups, which nothing that we read has.
    }
  }

  std::string_view rest_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace tidewright::base
