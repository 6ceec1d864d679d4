// Texts as programs written in Go print them: rule templates promise them, and what our commands print can then be
// compared with what promtool prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tidewright::base {

// %g: "0.5", "123456", "1.23456789e+08", "+Inf", "NaN".
std::string GoFloat(double value);
// A time.Duration: "1h46m0.001s", "350ms", "0s"; what it cannot hold is cut to 292 years.
std::string GoDuration(int64_t ms);
std::string GoDurationOfNanos(int64_t nanos);
// A time.Time in UTC, whole seconds: "2023-11-14 22:13:20 +0000 UTC".
std::string GoTime(int64_t unix_ms);
// strconv.Quote: in double quotes, with escapes for what is not printable.
std::string GoQuote(std::string_view text);

// url.QueryEscape: "a b/c" is "a+b%2Fc".
std::string QueryEscape(std::string_view text);

}  // namespace tidewright::base
