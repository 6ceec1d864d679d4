// Numbers as exposition formats spell them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tidewright::scrape {

// Parses a sample value: decimal floats, NaN, Inf and Infinity in any case, an optional sign (not before NaN).
// Hexadecimal numbers, underscores and values beyond the range of a double are errors; values too small become 0. Never
// allocates.
bool ParseSampleValue(std::string_view text, double* value);

// Takes a number from the beginning of `text` if it is one of the common ones, which needs no general conversion: up to
// 15 digits, with or without a sign, a fraction and an exponent of up to two digits. Returns its length, 0 for any
// other. What follows the number is not looked at.
size_t TakeShortDecimal(std::string_view text, double* value);

// Rewrites the value of an `le` or `quantile` label to OpenMetrics' canonical float ("1" -> "1.0", "1e3" -> "1000.0"),
// so that targets that spell a bucket differently give the same series. Text that is no number comes back unchanged.
std::string CanonicalFloatLabel(std::string_view text);

}  // namespace tidewright::scrape
