#include "base/duration.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::base {

namespace {

struct Unit {
  std::string_view name;
  int64_t ms;
};

constexpr std::array kUnits = {Unit{"y", 365LL * 86400000},
                               Unit{"w", 7LL * 86400000},
                               Unit{"d", 86400000},
                               Unit{"h", 3600000},
                               Unit{"m", 60000},
                               Unit{"s", 1000},
                               Unit{"ms", 1}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

Status NotADuration(std::string_view text) {
  return InvalidArgumentError(Quoted(text) + " is not a duration; use for example 30s, 5m or 1h30m");
}

// Takes digits off the front of `text`; false on overflow.
bool TakeNumber(std::string_view* text, int64_t* number) {
  size_t digits = 0;
  while (digits < text->size() && IsDigit((*text)[digits])) ++digits;
  bool ok = ParseInt64(text->substr(0, digits), number);
  text->remove_prefix(digits);
  return ok;
}

// Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
int64_t DaysFromCivil(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2 ? 1 : 0;
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  int64_t yoe = y - era * 400;
  int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

struct Date {
  int64_t year, month, day;
};

Date CivilFromDays(int64_t z) {
  z += 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153;
  int64_t month = mp < 10 ? mp + 3 : mp - 9;
  return {yoe + era * 400 + (month <= 2 ? 1 : 0), month, doy - (153 * mp + 2) / 5 + 1};
}

// Nanoseconds of one of Go's duration units, or 0.
double GoUnitNanos(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "\xc2\xb5s" || unit == "\xce\xbcs") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  return 0;
}

// Parses "+02:00" into minutes.
bool ParseOffset(std::string_view text, int64_t* minutes) {
  if (text == "Z" || text == "z") {
    *minutes = 0;
    return true;
  }
  int64_t hours = 0;
  int64_t rest = 0;
  if (text.size() != 6 || text[3] != ':' || (text[0] != '+' && text[0] != '-')) return false;
  if (!IsDigit(text[1]) || !IsDigit(text[4])) return false;
  if (!ParseInt64(text.substr(1, 2), &hours) || !ParseInt64(text.substr(4, 2), &rest)) return false;
  if (hours > 23 || rest > 59) return false;
  *minutes = (hours * 60 + rest) * (text[0] == '-' ? -1 : 1);
  return true;
}

// "YYYY-MM-DDTHH:MM:SS" to seconds since the epoch.
bool ParseCivil(std::string_view text, int64_t* seconds) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < kShape.size(); ++i) {
    bool t = kShape[i] == 'T' && (text[i] == 't' || text[i] == 'T');
    if (kShape[i] == '0' ? !IsDigit(text[i]) : !t && text[i] != kShape[i]) return false;
  }
  auto field = [&](size_t at, size_t size) {
    int64_t value = 0;
    (void)ParseInt64(text.substr(at, size), &value);  // The shape was checked.
    return value;
  };
  int64_t year = field(0, 4), month = field(5, 2), day = field(8, 2);
  int64_t hour = field(11, 2), minute = field(14, 2), second = field(17, 2);
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return false;
  int64_t days = DaysFromCivil(year, month, day);
  Date back = CivilFromDays(days);  // Catches 31 April and 29 February of common years.
  if (back.month != month || back.day != day) return false;
  *seconds = days * 86400 + hour * 3600 + minute * 60 + second;
  return true;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration{0};
  if (text.empty()) return InvalidArgumentError("empty duration; use for example 30s or 5m");
  std::string_view rest = text;
  size_t next_unit = 0;
  int64_t total = 0;
  while (!rest.empty()) {
    int64_t number = 0;
    if (!IsDigit(rest.front())) return NotADuration(text);
    if (!TakeNumber(&rest, &number)) return InvalidArgumentError("duration " + Quoted(text) + " is too long");
    size_t letters = 0;
    while (letters < rest.size() && !IsDigit(rest[letters])) ++letters;
    std::string_view name = rest.substr(0, letters);
    while (next_unit < kUnits.size() && kUnits[next_unit].name != name) ++next_unit;
    if (next_unit == kUnits.size()) return NotADuration(text);
    int64_t part = 0;
    if (__builtin_mul_overflow(number, kUnits[next_unit].ms, &part) || __builtin_add_overflow(total, part, &total) ||
        total > std::numeric_limits<int64_t>::max() / 1'000'000) {  // Prometheus keeps nanoseconds.
      return InvalidArgumentError("duration " + Quoted(text) + " is too long");
    }
    rest.remove_prefix(letters);
    ++next_unit;
  }
  return Duration{total};
}

std::string FormatDuration(Duration duration) {
  int64_t left = duration.ms;
  if (left == 0) return "0s";
  std::string text;
  for (const Unit& unit : kUnits) {
    bool only_exact = unit.name == "y" || unit.name == "w";
    if (only_exact && left % unit.ms != 0) continue;
    int64_t count = left / unit.ms;
    if (count == 0) continue;
    text += std::to_string(count);
    text += unit.name;
    left -= count * unit.ms;
  }
  return text;
}

Result<Duration> ParseGoDuration(std::string_view text) {
  std::string_view rest = text;
  bool negative = !rest.empty() && rest.front() == '-';
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) rest.remove_prefix(1);
  if (rest == "0") return Duration{0};
  if (rest.empty()) return NotADuration(text);
  double nanos = 0;
  while (!rest.empty()) {
    size_t size = 0;
    while (size < rest.size() && (IsDigit(rest[size]) || rest[size] == '.')) ++size;
    double number = 0;
    if (size == 0 || !ParseDouble(rest.substr(0, size), &number)) return NotADuration(text);
    rest.remove_prefix(size);
    size = 0;
    while (size < rest.size() && !IsDigit(rest[size]) && rest[size] != '.') ++size;
    double unit = GoUnitNanos(rest.substr(0, size));
    if (unit == 0) return NotADuration(text);
    nanos += number * unit;
    rest.remove_prefix(size);
  }
  if (nanos > 9.2e18) return InvalidArgumentError("duration " + Quoted(text) + " is too long");
  auto ms = static_cast<int64_t>(nanos / 1e6);
  return Duration{negative ? -ms : ms};
}

std::string FormatTime(int64_t unix_ms, bool millis) {
  int64_t seconds = unix_ms / 1000 - (unix_ms % 1000 < 0 ? 1 : 0);
  int64_t days = seconds / 86400 - (seconds % 86400 < 0 ? 1 : 0);
  int64_t of_day = seconds - days * 86400;
  Date date = CivilFromDays(days);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d", static_cast<int>(date.year),
                static_cast<int>(date.month), static_cast<int>(date.day), static_cast<int>(of_day / 3600),
                static_cast<int>(of_day / 60 % 60), static_cast<int>(of_day % 60));
  std::string out = text.data();
  if (millis) {
    std::snprintf(text.data(), text.size(), ".%03d", static_cast<int>(unix_ms - seconds * 1000));
    out += text.data();
  }
  return out + "Z";
}

Result<int64_t> ParseTime(std::string_view text) {
  Status wrong = InvalidArgumentError(Quoted(text) + " is not a time; use RFC 3339, for example 2026-11-21T09:00:00Z");
  int64_t seconds = 0;
  if (!ParseCivil(text.substr(0, 19), &seconds)) return wrong;
  std::string_view rest = text.substr(19);
  int64_t ms = 0;
  if (!rest.empty() && rest.front() == '.') {
    size_t digits = 1;
    while (digits < rest.size() && IsDigit(rest[digits])) ++digits;
    if (digits == 1) return wrong;
    std::string fraction(rest.substr(1, std::min<size_t>(digits - 1, 3)));
    fraction.resize(3, '0');
    (void)ParseInt64(fraction, &ms);  // Three digits.
    rest.remove_prefix(digits);
  }
  int64_t offset_minutes = 0;
  if (!ParseOffset(rest, &offset_minutes)) return wrong;
  return (seconds - offset_minutes * 60) * 1000 + ms;
}

}  // namespace tidewright::base
