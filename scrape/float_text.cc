#include "scrape/float_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "base/strings.h"

namespace tidewright::scrape {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Powers of ten that a double holds exactly. An integer of up to 15 digits is exact, too, so that one multiplication or
// division by one of these gives the double that is nearest to the decimal number.
constexpr double kExactPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kMaxExactPower = 22;
constexpr size_t kMaxExactDigits = 15;

// Appends the digits at `at` to the number; returns where they end. More than fit are left standing.
size_t TakeDigits(std::string_view text, size_t at, size_t limit, uint64_t* number) {
  const size_t end = std::min(text.size(), at + limit);
  for (; at < end; ++at) {
    const auto digit = static_cast<unsigned char>(text[at] - '0');
    if (digit > 9) break;
    *number = *number * 10 + digit;
  }
  return at;
}

// "e+06" at `at`; returns where it ends, `at` if there is none.
size_t TakeExponent(std::string_view text, size_t at, int* exponent) {
  if (at + 1 >= text.size() || (text[at] | 32) != 'e') return at;
  size_t digits = at + 1;
  const bool negative = text[digits] == '-';
  if (negative || text[digits] == '+') ++digits;
  uint64_t number = 0;
  const size_t end = TakeDigits(text, digits, 2, &number);
  if (end == digits) return at;
  *exponent = negative ? -static_cast<int>(number) : static_cast<int>(number);
  return end;
}

// The decimal exponent that decides between "too large" and "too small" once a number is known to be out of range.
bool IsUnderflow(std::string_view text) {
  std::string copy(text);
  return std::abs(std::strtod(copy.c_str(), nullptr)) < 1;
}

bool ParseUnsigned(std::string_view text, double* value) {
  if (base::EqualsIgnoreCase(text, "inf") || base::EqualsIgnoreCase(text, "infinity")) {
    *value = std::numeric_limits<double>::infinity();
    return true;
  }
  if (text.empty() || !(IsDigit(text[0]) || text[0] == '.')) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc()) return true;
  if (error != std::errc::result_out_of_range || !IsUnderflow(text)) return false;
  *value = 0;
  return true;
}

// Removes underscores that stand between digits; false if one stands elsewhere.
bool StripUnderscores(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out->push_back(text[i]);
    } else if (i == 0 || i + 1 == text.size() || !IsDigit(text[i - 1]) || !IsDigit(text[i + 1])) {
      return false;
    }
  }
  return true;
}

// Hexadecimal floats need a binary exponent, as in Go: 0x1p-2.
bool ParseHexFloat(std::string_view text, double* value) {
  size_t start = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  if (text.size() < start + 3 || text[start] != '0' || (text[start + 1] | 32) != 'x') return false;
  std::string_view digits = text.substr(start + 2);
  if (digits.find_first_of("pP") == std::string_view::npos) return false;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value, std::chars_format::hex);
  if (end != digits.data() + digits.size() || error != std::errc()) return false;
  if (text[0] == '-') *value = -*value;
  return true;
}

// Go's strconv 'g' with the shortest digits: exponents from -4 to 5 are written out.
std::string ShortestGeneral(double value) {
  char buffer[64];
  auto scientific = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string text(buffer, scientific.ptr);
  int exponent = std::atoi(text.c_str() + text.find('e') + 1);
  if (exponent < -4 || exponent >= 6) return text;
  auto fixed = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  return std::string(buffer, fixed.ptr);
}

}  // namespace

size_t TakeShortDecimal(std::string_view text, double* value) {
  const bool negative = !text.empty() && text[0] == '-';
  const size_t begin = negative ? 1 : 0;
  uint64_t number = 0;
  size_t at = TakeDigits(text, begin, kMaxExactDigits, &number);
  const size_t digits = at - begin;
  if (digits == 0) return 0;
  int exponent = 0;
  if (at < text.size() && text[at] == '.') {
    const size_t fraction = at + 1;
    at = TakeDigits(text, fraction, kMaxExactDigits - digits, &number);
    exponent = -static_cast<int>(at - fraction);
  }
  if (at < text.size() && IsDigit(text[at])) return 0;
  int power = 0;
  at = TakeExponent(text, at, &power);
  exponent += power;
  if (exponent < -kMaxExactPower || exponent > kMaxExactPower) return 0;
  const auto exact = static_cast<double>(number);
  const double result = exponent < 0 ? exact / kExactPowers[-exponent] : exact * kExactPowers[exponent];
  *value = negative ? -result : result;
  return at;
}

bool ParseSampleValue(std::string_view text, double* value) {
  if (const size_t size = TakeShortDecimal(text, value); size > 0 && size == text.size()) return true;
  if (base::EqualsIgnoreCase(text, "nan")) {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  if (!ParseUnsigned(text, value)) return false;
  if (negative) *value = -*value;
  return true;
}

std::string CanonicalFloatLabel(std::string_view text) {
  double value = 0;
  std::string digits;
  bool number = (StripUnderscores(text, &digits) && ParseSampleValue(digits, &value)) || ParseHexFloat(text, &value);
  if (!number) return std::string(text);
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == 0) return "0.0";
  std::string canonical = ShortestGeneral(value);
  return canonical.find_first_of(".e") == std::string::npos ? canonical + ".0" : canonical;
}

}  // namespace tidewright::scrape
