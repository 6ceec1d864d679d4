#include "base/strings.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

namespace tidewright::base {

namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

// Bytes of the UTF-8 sequence that starts with `lead`, or 0 if no sequence does.
int SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

// The second byte decides about overlong forms, surrogates and code points past U+10FFFF (Unicode table 3-7).
bool SecondByteOk(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xe0: return second >= 0xa0 && second <= 0xbf;
    case 0xed: return second >= 0x80 && second <= 0x9f;
    case 0xf0: return second >= 0x90 && second <= 0xbf;
    case 0xf4: return second >= 0x80 && second <= 0x8f;
    default: return second >= 0x80 && second <= 0xbf;
  }
}

}  // namespace

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ToLower(a) == ToLower(b);
}

std::string Base64Encode(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    auto byte = [&](size_t at) { return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0U; };
    uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += kBase64[group >> 18];
    text += kBase64[group >> 12 & 63];
    text += i + 1 < bytes.size() ? kBase64[group >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? kBase64[group & 63] : '=';
  }
  return text;
}

bool Base64Decode(std::string_view text, std::string* bytes) {
  std::string out;
  uint32_t group = 0;
  int digits = 0;
  int padding = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    size_t digit = kBase64.find(c);
    if (digit == std::string_view::npos || padding > 0) return false;
    group = group << 6 | static_cast<uint32_t>(digit);
    if (++digits % 4 == 0) {
      out += static_cast<char>(group >> 16);
      out += static_cast<char>(group >> 8);
      out += static_cast<char>(group);
      group = 0;
    }
  }
  int rest = digits % 4;
  if (rest == 1 || (rest != 0 && padding != 4 - rest) || (rest == 0 && padding != 0)) return false;
  if (rest == 2) out += static_cast<char>(group >> 4);
  if (rest == 3) {
    out += static_cast<char>(group >> 10);
    out += static_cast<char>(group >> 2);
  }
  *bytes = std::move(out);
  return true;
}

// Most texts are ASCII, which eight bytes at a time show.
bool IsValidUtf8(std::string_view text) {
  size_t i = 0;
  for (uint64_t word = 0; i + sizeof(word) <= text.size(); i += sizeof(word)) {
    std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  while (i < text.size()) {
    auto lead = static_cast<unsigned char>(text[i]);
    int length = SequenceLength(lead);
    if (length == 0 || i + length > text.size()) return false;
    for (int k = 1; k < length; ++k) {
      auto byte = static_cast<unsigned char>(text[i + k]);
      bool ok = k == 1 ? SecondByteOk(lead, byte) : (byte >= 0x80 && byte <= 0xbf);
      if (!ok) return false;
    }
    i += length;
  }
  return true;
}

bool ParseInt64(std::string_view text, int64_t* value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool ParseDouble(std::string_view text, double* value) {
  bool negative = !text.empty() && text.front() == '-';
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) text.remove_prefix(1);
  if (text.empty() || text.front() == '-' || text.front() == '+') return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  // Out of range still is a number: from_chars leaves the value alone, IEEE reading gives infinity or zero.
  if (error == std::errc::result_out_of_range) *value = std::strtod(std::string(text).c_str(), nullptr);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return false;
  if (negative) *value = -*value;
  return true;
}

std::string FormatFixed(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 40> text{};
  char* end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  std::string_view shortest(text.data(), static_cast<size_t>(end - text.data()));
  size_t exponent_at = shortest.find('e');
  int64_t exponent = 0;
  (void)ParseInt64(shortest.substr(exponent_at + 1), &exponent);  // to_chars wrote it.
  std::string digits;
  for (char c : shortest.substr(0, exponent_at)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  int64_t point = exponent + 1;
  auto size = static_cast<int64_t>(digits.size());
  if (point <= 0) {
    digits.insert(0, "0." + std::string(static_cast<size_t>(-point), '0'));
  } else if (point >= size) {
    digits.append(static_cast<size_t>(point - size), '0');
  } else {
    digits.insert(static_cast<size_t>(point), ".");
  }
  return (std::signbit(value) ? "-" : "") + digits;
}

std::string NewUuid() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::array<uint64_t, 2> bits{random(), random()};
  bits[0] = (bits[0] & ~0xf000ULL) | 0x4000ULL;
  bits[1] = (bits[1] & ~(3ULL << 62)) | (2ULL << 62);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) text += '-';
    text += kHex[bits[i / 16] >> (60 - 4 * (i % 16)) & 15];
  }
  return text;
}

}  // namespace tidewright::base
