// Kubernetes resource.Quantity: exact decimal amounts such as "850m", "2", "1k", "128Mi".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::base {

// A non-fractional number of nano-units (10^-9) with saturating 128-bit range.
// Value type; thread-compatible. Source: k8s.io/apimachinery resource.Quantity.
class Quantity {
 public:
  // How ToString() picks its suffix: decimal (k, M, G), binary (Ki, Mi, Gi) or exponent (e3) notation.
  enum class Format { kDecimalSi, kBinarySi, kDecimalExponent };

  Quantity() = default;
  static Quantity FromMilli(int64_t milli, Format format = Format::kDecimalSi);
  static Quantity FromValue(int64_t value, Format format = Format::kDecimalSi);
  static Quantity FromNano(int64_t nano, Format format = Format::kDecimalSi);

  // From a double, truncated toward zero to milli-units as prometheus-adapter does, unless the value is within the
  // error of floating-point arithmetic (a part in 10^12) of a whole number of milli-units: then it is that number. So a
  // rate of 2 that came out as 1.9999999999999998 is 2 and not 1999m. NaN and infinities are errors: an autoscaler must
  // never see a number that stands for "no number".
  static Result<Quantity> FromDoubleMilli(double value, Format format = Format::kDecimalSi);

  // Parses every spelling that Kubernetes accepts: sign, decimals, suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei, or e/E
  // exponents. Digits finer than nano are rounded up, as Kubernetes does.
  static Result<Quantity> Parse(std::string_view text);

  // The value in milli-units / units, rounded up (away from zero for positive numbers), saturated at int64.
  int64_t MilliValue() const;
  int64_t Value() const;
  double AsDouble() const;
  bool IsZero() const { return nano_ == 0; }
  int Sign() const { return nano_ == 0 ? 0 : (nano_ < 0 ? -1 : 1); }

  // Canonical form: no fraction, largest suffix that stays exact ("1500m", "2", "2k", "1536Mi").
  std::string ToString() const;

  friend bool operator==(const Quantity& a, const Quantity& b) { return a.nano_ == b.nano_; }
  friend bool operator<(const Quantity& a, const Quantity& b) { return a.nano_ < b.nano_; }

 private:
  __int128 nano_ = 0;
  Format format_ = Format::kDecimalSi;
};

}  // namespace tidewright::base
