// Texts as programs written in Go print them, so that what is printed here can be compared with what promtool prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidewright::cmd {

// %g: "0.5", "123456", "1.23456789e+08", "+Inf", "NaN".
std::string GoFloat(double value);
// A time.Duration of `ms`: "1h46m0.001s", "350ms", "0s".
std::string GoDuration(int64_t ms);
// A time.Time in UTC, whole seconds: "2023-11-14 22:13:20 +0000 UTC".
std::string GoTime(int64_t unix_ms);
// strconv.Quote: in double quotes, with escapes for what is not printable.
std::string GoQuote(std::string_view text);
// In units of 1024: "3KiB723B".
std::string BinarySize(uint64_t bytes);
// Rows of cells as lines, columns aligned at the left, at least 13 wide, two blanks apart.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows);

}  // namespace tidewright::cmd
