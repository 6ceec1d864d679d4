// Durations in the two spellings users write, and RFC 3339 times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::base {

// A length of time in milliseconds. Its own type so that a decoder knows to expect "30s" and not a number.
struct Duration {
  int64_t ms = 0;
  friend bool operator==(Duration a, Duration b) { return a.ms == b.ms; }
};

// Parses Prometheus' duration syntax: whole numbers with units y w d h m s ms in that order, each at most once; a bare
// 0 is allowed. A year is 365 days, a week 7 days. Negative and overflowing durations are errors. Source: Prometheus
// configuration documentation; cases in conformance/text-formats/durations.json.
Result<Duration> ParseDuration(std::string_view text);

// Prometheus' canonical spelling: "1h30m", "0s"; weeks and years only when exact.
std::string FormatDuration(Duration duration);

// Parses Go's time.ParseDuration syntax ("1m30s", "1.5h", "300ms", "-2s"), as Kubernetes and KEDA fields use it.
Result<Duration> ParseGoDuration(std::string_view text);

// Formats ms since the epoch as RFC 3339 in UTC: "2026-11-21T09:00:00Z", with ".123" when `millis`.
std::string FormatTime(int64_t unix_ms, bool millis = false);

// Parses an RFC 3339 time with any offset and fraction.
Result<int64_t> ParseTime(std::string_view text);

}  // namespace tidewright::base
