#include "base/quantity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::base {

namespace {

using Int = __int128;
constexpr Int kNano = 1'000'000'000;
constexpr Int kMax = Int{1} << 120;  // Saturation bound: 1.3e27 units, far above the int64 that Kubernetes promises.

struct Suffix {
  std::string_view text;
  int exponent;  // Of 10 for decimal suffixes, of 2 for binary ones.
};

constexpr std::array kDecimal = {Suffix{"E", 18}, Suffix{"P", 15}, Suffix{"T", 12}, Suffix{"G", 9},  Suffix{"M", 6},
                                 Suffix{"k", 3},  Suffix{"", 0},   Suffix{"m", -3}, Suffix{"u", -6}, Suffix{"n", -9}};
constexpr std::array kBinary = {Suffix{"Ei", 60}, Suffix{"Pi", 50}, Suffix{"Ti", 40}, Suffix{"Gi", 30},
                                Suffix{"Mi", 20}, Suffix{"Ki", 10}, Suffix{"", 0}};

Int Pow10(int exponent) {
  Int power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

Int SaturatingMul(Int a, Int b) {
  Int product = 0;
  if (__builtin_mul_overflow(a, b, &product) || product > kMax) return kMax;
  return product;
}

// value / divisor, rounded up for positive values and toward zero for negative ones (that is, up).
Int DivideUp(Int value, Int divisor) {
  Int quotient = value / divisor;
  return value > 0 && value % divisor != 0 ? quotient + 1 : quotient;
}

int64_t Saturate(Int value) {
  constexpr Int kHigh = std::numeric_limits<int64_t>::max();
  constexpr Int kLow = std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(std::clamp(value, kLow, kHigh));
}

std::string ToText(Int value) {
  if (value == 0) return "0";
  bool negative = value < 0;
  std::string digits;
  for (Int v = negative ? -value : value; v > 0; v /= 10) digits += static_cast<char>('0' + static_cast<int>(v % 10));
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// The canonical decimal form of what fits into a machine word, as most numbers do.
std::string DecimalText(int64_t nano) {
  size_t suffix = kDecimal.size() - 1;
  for (; suffix > 0 && nano % 1000 == 0; --suffix) nano /= 1000;
  std::string text = std::to_string(nano);
  return text.append(kDecimal[suffix].text);
}

// The number's digits as an integer and how many of them stand after the point.
struct Decimal {
  Int digits = 0;
  int fraction = 0;
  bool inexact = false;  // Digits were cut because they are far below a nano.
};

// Reads digits and at most one point; advances `text` past them.
bool TakeDecimal(std::string_view* text, Decimal* out) {
  bool point = false;
  size_t i = 0;
  size_t digits = 0;
  for (; i < text->size(); ++i) {
    char c = (*text)[i];
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    ++digits;
    if (point && (out->fraction >= 20 || out->digits >= kMax / 10)) {
      out->inexact = out->inexact || c != '0';
      continue;
    }
    out->digits = out->digits >= kMax / 10 ? kMax : out->digits * 10 + (c - '0');
    if (point) ++out->fraction;
  }
  text->remove_prefix(i);
  return digits > 0;
}

// digits * 10^exponent, rounded up.
Int Scale(const Decimal& decimal, int exponent) {
  int power = exponent - decimal.fraction;
  if (power >= 0) return power > 36 ? (decimal.digits == 0 ? 0 : kMax) : SaturatingMul(decimal.digits, Pow10(power));
  if (-power > 36) return decimal.digits == 0 && !decimal.inexact ? 0 : 1;
  Int scaled = DivideUp(decimal.digits, Pow10(-power));
  return scaled == 0 && decimal.inexact ? 1 : scaled;
}

Status NotAQuantity(std::string_view text) {
  return InvalidArgumentError(Quoted(text) + " is not a quantity; use for example 500m, 2, 1.5, 10k or 128Mi");
}

}  // namespace

Quantity Quantity::FromMilli(int64_t milli, Format format) {
  Quantity quantity;
  quantity.nano_ = Int{milli} * 1'000'000;
  quantity.format_ = format;
  return quantity;
}

Quantity Quantity::FromValue(int64_t value, Format format) {
  Quantity quantity;
  quantity.nano_ = Int{value} * kNano;
  quantity.format_ = format;
  return quantity;
}

Quantity Quantity::FromNano(int64_t nano, Format format) {
  Quantity quantity;
  quantity.nano_ = nano;
  quantity.format_ = format;
  return quantity;
}

Result<Quantity> Quantity::FromDoubleMilli(double value, Format format) {
  if (!std::isfinite(value)) return InvalidArgumentError("the value is not a finite number");
  double exact = value * 1000, nearest = std::round(exact);
  constexpr double kFloatError = 1e-12;  // Relative: what adding up thousands of series leaves.
  double milli = std::abs(exact - nearest) <= kFloatError * std::abs(nearest) ? nearest : std::trunc(exact);
  constexpr double kLimit = 9.2e18;
  return FromMilli(static_cast<int64_t>(std::clamp(milli, -kLimit, kLimit)), format);
}

Result<Quantity> Quantity::Parse(std::string_view text) {
  std::string_view rest = text;
  bool negative = !rest.empty() && rest.front() == '-';
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) rest.remove_prefix(1);
  Decimal decimal;
  if (!TakeDecimal(&rest, &decimal)) return NotAQuantity(text);
  Quantity quantity;
  auto decimal_suffix =
      std::find_if(kDecimal.begin(), kDecimal.end(), [&](const Suffix& suffix) { return suffix.text == rest; });
  auto binary_suffix = std::find_if(kBinary.begin(), kBinary.end(),
                                    [&](const Suffix& suffix) { return !rest.empty() && suffix.text == rest; });
  if (decimal_suffix != kDecimal.end()) {
    quantity.nano_ = Scale(decimal, decimal_suffix->exponent + 9);
  } else if (binary_suffix != kBinary.end()) {
    decimal.digits = SaturatingMul(decimal.digits, Int{1} << binary_suffix->exponent);
    quantity.nano_ = Scale(decimal, 9);
    quantity.format_ = Format::kBinarySi;
  } else if (rest.size() > 1 && (rest.front() == 'e' || rest.front() == 'E')) {
    int64_t exponent = 0;
    if (!ParseInt64(rest.substr(1), &exponent) || std::abs(exponent) > 1000) return NotAQuantity(text);
    quantity.nano_ = Scale(decimal, static_cast<int>(exponent) + 9);
    quantity.format_ = Format::kDecimalExponent;
  } else {
    return NotAQuantity(text);
  }
  quantity.nano_ = std::min(quantity.nano_, kMax);
  if (negative) quantity.nano_ = -quantity.nano_;
  return quantity;
}

int64_t Quantity::MilliValue() const { return Saturate(DivideUp(nano_, 1'000'000)); }
int64_t Quantity::Value() const { return Saturate(DivideUp(nano_, kNano)); }
double Quantity::AsDouble() const { return static_cast<double>(nano_) / 1e9; }

std::string Quantity::ToString() const {
  if (nano_ == 0) return "0";
  if (format_ == Format::kBinarySi && nano_ % kNano == 0) {
    Int value = nano_ / kNano;
    Int magnitude = value < 0 ? -value : value;
    for (const Suffix& suffix : kBinary) {
      Int unit = Int{1} << suffix.exponent;
      // Kubernetes writes numbers below 1024 plainly, in decimal.
      if (magnitude >= unit && magnitude % unit == 0) return ToText(value / unit) + std::string(suffix.text);
    }
  }
  if (format_ == Format::kDecimalSi && Saturate(nano_) == nano_) return DecimalText(static_cast<int64_t>(nano_));
  for (const Suffix& suffix : kDecimal) {
    Int unit = Pow10(suffix.exponent + 9);
    if (nano_ % unit != 0) continue;
    if (format_ != Format::kDecimalExponent || suffix.exponent == 0) {
      return ToText(nano_ / unit) + std::string(suffix.text);
    }
    return ToText(nano_ / unit) + "e" + std::to_string(suffix.exponent);
  }
  return ToText(nano_) + "n";
}

}  // namespace tidewright::base
