#include "scrape/float_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "base/strings.h"

namespace tidewright::scrape {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Whole numbers of up to 15 digits are exact in a double and need no general conversion.
bool ParseShortInteger(std::string_view text, double* value) {
  if (text.empty() || text.size() > 15) return false;
  int64_t number = 0;
  for (char c : text) {
    if (!IsDigit(c)) return false;
    number = number * 10 + (c - '0');
  }
  *value = static_cast<double>(number);
  return true;
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

bool ParseSampleValue(std::string_view text, double* value) {
  if (ParseShortInteger(text, value)) return true;
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
