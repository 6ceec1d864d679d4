#include "scaler/cron/schedule.h"

#include <date/tz.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <exception>
#include <limits>
#include <vector>

#include "base/document.h"

namespace tidewright::scaler::cron {

namespace {

constexpr int64_t kDay = 24 * 3600;
// Every date falls on every day of the week within 40 years (28, or 40 across a century without leap year).
constexpr int64_t kHorizon = 41 * 366 * kDay;
// Years -9000 to 9000: far inside what the calendar arithmetic can represent.
constexpr int64_t kMaxSeconds = int64_t{220'000'000'000};

// A stretch of constant offset from UTC, in seconds: local time = time + offset for begin <= time < end.
struct Span {
  int64_t begin;
  int64_t end;
  int64_t offset;
};

Span SpanAt(const date::time_zone& zone, int64_t t) {
  date::sys_info info = zone.get_info(date::sys_seconds(std::chrono::seconds(t)));
  return {std::clamp(static_cast<int64_t>(info.begin.time_since_epoch().count()), -2 * kMaxSeconds, 2 * kMaxSeconds),
          std::clamp(static_cast<int64_t>(info.end.time_since_epoch().count()), -2 * kMaxSeconds, 2 * kMaxSeconds),
          static_cast<int64_t>(info.offset.count())};
}

int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// The nth bit set at or above / at or below `from`, or -1.
int BitAtOrAbove(uint64_t bits, int from) {
  uint64_t rest = from > 63 ? 0 : bits >> from;
  return rest == 0 ? -1 : from + std::countr_zero(rest);
}
int BitAtOrBelow(uint64_t bits, int from) {
  uint64_t rest = from < 0 ? 0 : bits << (63 - from);
  return rest == 0 ? -1 : from - std::countl_zero(rest);
}

bool DayMatches(const Expression& expression, int64_t day) {
  date::year_month_day ymd{date::local_days(date::days(day))};
  int month = static_cast<int>(static_cast<unsigned>(ymd.month()));
  if (!expression.MatchesMonth(month)) return false;
  date::year_month_day_last last{ymd.year(), date::month_day_last(ymd.month())};
  date::weekday weekday{date::local_days(date::days(day))};
  return expression.MatchesDay({month, static_cast<int>(static_cast<unsigned>(ymd.day())),
                                static_cast<int>(static_cast<unsigned>(last.day())),
                                static_cast<int>(weekday.c_encoding())});
}

// The first matching second of a day at or after `from`, or -1. The bit sets are not empty (NeverFires).
int FirstSecond(const Expression& expression, int from) {
  int hour = BitAtOrAbove(expression.hours(), from / 3600);
  if (hour < 0) return -1;
  int minute = BitAtOrAbove(expression.minutes(), hour == from / 3600 ? from / 60 % 60 : 0);
  int second = BitAtOrAbove(expression.seconds(), hour * 60 + minute == from / 60 ? from % 60 : 0);
  if (minute >= 0 && second < 0) {
    minute = BitAtOrAbove(expression.minutes(), minute + 1);
    second = BitAtOrAbove(expression.seconds(), 0);
  }
  if (minute >= 0) return hour * 3600 + minute * 60 + second;
  return hour == 23 ? -1 : FirstSecond(expression, (hour + 1) * 3600);
}

// The last matching second of a day at or before `from`, or -1.
int LastSecond(const Expression& expression, int from) {
  int hour = BitAtOrBelow(expression.hours(), from / 3600);
  if (hour < 0) return -1;
  int minute = BitAtOrBelow(expression.minutes(), hour == from / 3600 ? from / 60 % 60 : 59);
  int second = BitAtOrBelow(expression.seconds(), hour * 60 + minute == from / 60 ? from % 60 : 59);
  if (minute >= 0 && second < 0) {
    minute = BitAtOrBelow(expression.minutes(), minute - 1);
    second = BitAtOrBelow(expression.seconds(), 59);
  }
  if (minute >= 0) return hour * 3600 + minute * 60 + second;
  return hour == 0 ? -1 : LastSecond(expression, hour * 3600 - 1);
}

// The first match in the local times [from, to), by the plain calendar.
std::optional<int64_t> FirstLocal(const Expression& expression, int64_t from, int64_t to) {
  for (int64_t day = FloorDiv(from, kDay); day * kDay < to; ++day) {
    if (!DayMatches(expression, day)) continue;
    int found = FirstSecond(expression, static_cast<int>(std::max<int64_t>(from - day * kDay, 0)));
    if (found < 0) continue;
    int64_t local = day * kDay + found;
    return local < to ? std::optional(local) : std::nullopt;
  }
  return std::nullopt;
}

// The last match in the local times [from, to].
std::optional<int64_t> LastLocal(const Expression& expression, int64_t from, int64_t to) {
  for (int64_t day = FloorDiv(to, kDay); (day + 1) * kDay > from; --day) {
    if (!DayMatches(expression, day)) continue;
    int found = LastSecond(expression, static_cast<int>(std::min<int64_t>(to - day * kDay, kDay - 1)));
    if (found < 0) continue;
    int64_t local = day * kDay + found;
    return local >= from ? std::optional(local) : std::nullopt;
  }
  return std::nullopt;
}

// Whether the change at the beginning of `span` skipped a matching local time.
bool FiresInGap(const date::time_zone& zone, const Expression& expression, const Span& span) {
  if (span.begin <= -kMaxSeconds) return false;
  int64_t before = SpanAt(zone, span.begin - 1).offset;
  return before < span.offset && FirstLocal(expression, span.begin + before, span.begin + span.offset).has_value();
}

std::string UnknownZone(const std::string& name) {
  std::vector<std::string> known;
  for (const date::time_zone& zone : date::get_tzdb().zones) known.push_back(zone.name());
  std::string nearest = base::NearestName(name, known);
  return "time zone " + base::Quoted(name) + " is not in the IANA database; " +
         (nearest.empty() ? "use a name such as Europe/Rome or Etc/UTC" : "did you mean " + nearest + "?");
}

}  // namespace

base::Result<Zone> Zone::Find(const std::string& name) {
  try {
    const auto& zones = date::get_tzdb().zones;
    auto known = [&name](const date::time_zone& zone) { return zone.name() == name; };
    if (std::none_of(zones.begin(), zones.end(), known)) return base::InvalidArgumentError(UnknownZone(name));
    const date::time_zone* zone = date::locate_zone(name);
    // Zones are read from disk on first use: a damaged file shows here and not in the middle of an evaluation.
    SpanAt(*zone, 0);
    return Zone(name, zone);
  } catch (const std::exception& error) {
    return base::UnavailableError("the system's time zone database cannot give " + base::Quoted(name) + ": " +
                                  error.what() + "; install the package tzdata");
  }
}

std::string Zone::Format(int64_t t_ms) const {
  int64_t t = std::clamp(FloorDiv(t_ms, 1000), -kMaxSeconds, kMaxSeconds);
  int64_t local = t + SpanAt(*zone_, t).offset;
  date::local_days days{date::days(FloorDiv(local, kDay))};
  date::year_month_day ymd{days};
  constexpr const char* kWeekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  int second = static_cast<int>(local - FloorDiv(local, kDay) * kDay);
  char text[64];
  std::snprintf(text, sizeof(text), "%s %04d-%02u-%02u %02d:%02d", kWeekdays[date::weekday(days).c_encoding()],
                static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()),
                second / 3600, second / 60 % 60);
  char seconds[8] = "";
  if (second % 60 != 0) std::snprintf(seconds, sizeof(seconds), ":%02d", second % 60);
  return std::string(text) + seconds + " " + name_;
}

CivilDate Zone::DateAt(int64_t t_ms) const {
  int64_t t = std::clamp(FloorDiv(t_ms, 1000), -kMaxSeconds, kMaxSeconds);
  date::year_month_day ymd{date::local_days(date::days(FloorDiv(t + SpanAt(*zone_, t).offset, kDay)))};
  return {static_cast<int>(ymd.year()), static_cast<int32_t>(static_cast<unsigned>(ymd.month())),
          static_cast<int32_t>(static_cast<unsigned>(ymd.day()))};
}

base::Result<Schedule> Schedule::Create(const Expression& expression, const Zone& zone, GapRule gap_rule) {
  if (expression.zone().empty()) return Schedule(expression, zone, gap_rule);
  auto own = Zone::Find(expression.zone());
  if (!own.ok()) return own.status().Annotate("cron expression " + base::Quoted(expression.text()));
  return Schedule(expression, *own, gap_rule);
}

// Walks over the spans of constant offset. Inside one, local time is plain arithmetic: a skipped local time is in none,
// a repeated one is in two.
std::optional<int64_t> Schedule::Next(int64_t t_ms) const {
  int64_t t = FloorDiv(t_ms, 1000) + 1;
  if (t < -kMaxSeconds || t > kMaxSeconds || expression_.NeverFires()) return std::nullopt;
  const int64_t horizon = t + kHorizon;
  bool at_begin = false;
  while (t < horizon) {
    Span span = SpanAt(*zone_.zone_, t);
    at_begin = at_begin || t == span.begin;
    if (at_begin && gap_rule_ == GapRule::kFireAfterGap && FiresInGap(*zone_.zone_, expression_, span)) {
      return span.begin * 1000;
    }
    int64_t end = std::min(span.end, horizon);
    if (auto local = FirstLocal(expression_, t + span.offset, end + span.offset)) {
      return (*local - span.offset) * 1000;
    }
    t = end;
    at_begin = true;
  }
  return std::nullopt;
}

std::optional<int64_t> Schedule::Previous(int64_t t_ms) const {
  int64_t t = FloorDiv(t_ms, 1000);
  if (t < -kMaxSeconds || t > kMaxSeconds || expression_.NeverFires()) return std::nullopt;
  const int64_t horizon = t - kHorizon;
  while (t > horizon) {
    Span span = SpanAt(*zone_.zone_, t);
    int64_t begin = std::max(span.begin, horizon);
    if (auto local = LastLocal(expression_, begin + span.offset, t + span.offset)) {
      return (*local - span.offset) * 1000;
    }
    bool gap = begin == span.begin && gap_rule_ == GapRule::kFireAfterGap;
    if (gap && FiresInGap(*zone_.zone_, expression_, span)) return span.begin * 1000;
    t = begin - 1;
  }
  return std::nullopt;
}

}  // namespace tidewright::scaler::cron
