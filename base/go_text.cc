#include "base/go_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <tuple>

#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::base {

namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kNanosPerMinute = 60 * kNanosPerSecond;
constexpr int kMaxFixedExponent = 6;  // From here on %g writes an exponent, whatever the number of digits.

// Reads one character of UTF-8; its length, 0 when there is none.
size_t ReadRune(std::string_view text, uint32_t* rune) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (length > text.size() || !IsValidUtf8(text.substr(0, length))) return 0;
  *rune = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) *rune = *rune << 6 | (static_cast<unsigned char>(text[i]) & 0x3fu);
  return length;
}

// Blanks, controls, marks of direction, and what is set aside for private use.
bool IsPrintable(uint32_t rune) {
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kHidden[] = {{0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},       {0x061c, 0x061c},
                               {0x1680, 0x1680}, {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},
                               {0x205f, 0x206f}, {0x3000, 0x3000}, {0xe000, 0xf8ff},   {0xfeff, 0xfeff},
                               {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff}};
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [rune](const Range& range) { return rune >= range.first && rune <= range.last; });
}

std::string Escape(const char* format, uint32_t number) {
  char text[16];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

// In units of `unit`, with as many decimals as it takes.
std::string WithFraction(int64_t nanos, int64_t unit) {
  std::string text = std::to_string(nanos / unit);
  std::string fraction = std::to_string(unit + nanos % unit).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return fraction.empty() ? text : text + "." + fraction;
}

std::string QuoteRune(uint32_t rune) {
  constexpr std::string_view kShort = "\a\b\t\n\v\f\r";
  constexpr std::string_view kLetters = "abtnvfr";
  if (const size_t at = rune < 0x80 ? kShort.find(static_cast<char>(rune)) : std::string_view::npos;
      at != std::string_view::npos && rune != 0) {
    return std::string("\\") + kLetters[at];
  }
  if (rune < 0x80) return Escape("\\x%02x", rune);
  return rune > 0xffff ? Escape("\\U%08x", rune) : Escape("\\u%04x", rune);
}

}  // namespace

std::string GoFloat(double value) {
  if (value == 0 || !std::isfinite(value)) return FormatFixed(value);
  std::array<char, 40> text{};
  const char* end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  const std::string scientific(text.data(), static_cast<size_t>(end - text.data()));
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  return exponent < -4 || exponent >= kMaxFixedExponent ? scientific : FormatFixed(value);
}

std::string GoDurationOfNanos(int64_t nanos) {
  if (nanos == 0) return "0s";
  if (nanos < 0) return "-" + GoDurationOfNanos(nanos == INT64_MIN ? INT64_MAX : -nanos);
  for (const auto& [unit, limit, name] :
       {std::tuple(1, 1'000, "ns"), {1'000, 1'000'000, "µs"}, {1'000'000, 1'000'000'000, "ms"}}) {
    if (nanos < limit) return WithFraction(nanos, unit) + name;
  }
  const int64_t minutes = nanos / kNanosPerMinute;
  const std::string seconds = WithFraction(nanos % kNanosPerMinute, kNanosPerSecond) + "s";
  if (minutes == 0) return seconds;
  const std::string rest = std::to_string(minutes % 60) + "m" + seconds;
  return minutes < 60 ? rest : std::to_string(minutes / 60) + "h" + rest;
}

std::string GoDuration(int64_t ms) {
  constexpr int64_t kMost = INT64_MAX / 1'000'000;  // What time.Duration holds.
  return GoDurationOfNanos(std::clamp(ms, -kMost, kMost) * 1'000'000);
}

std::string GoTime(int64_t unix_ms) {
  std::string text = FormatTime(unix_ms);  // 2023-11-14T22:13:20Z
  const size_t t = text.find('T');
  if (t != std::string::npos) text[t] = ' ';
  if (!text.empty() && text.back() == 'Z') text.pop_back();
  return text + " +0000 UTC";
}

std::string GoQuote(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    uint32_t rune = 0;
    const size_t length = ReadRune(text, &rune);
    if (length == 0) {
      quoted += Escape("\\x%02x", static_cast<unsigned char>(text[0]));
    } else if (rune == '"' || rune == '\\') {
      quoted += std::string("\\") + text[0];
    } else if (IsPrintable(rune)) {
      quoted += text.substr(0, length);
    } else {
      quoted += QuoteRune(rune);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return quoted + "\"";
}

std::string QueryEscape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      escaped += c;
    } else if (c == ' ') {
      escaped += '+';
    } else {
      escaped += Escape("%%%02X", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

}  // namespace tidewright::base
