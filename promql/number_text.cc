#include "promql/number_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/metrics.h"

namespace tidewright::promql {

std::string GeneralText(double value) {
  double size = std::fabs(value);
  if (!std::isfinite(value) || size == 0 || (size >= 1e-4 && size < 1e6)) return base::FormatDouble(value);
  std::array<char, 32> text{};
  auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  return {text.data(), end};
}

std::string GeneralText(double value, int digits) {
  if (!std::isfinite(value)) return base::FormatDouble(value);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*g", digits, value);
  return text.data();
}

}  // namespace tidewright::promql
