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

constexpr int64_t kMinute = 60;
constexpr int64_t kDay = 24 * 3600;
constexpr int64_t kHorizon = 12 * 366 * kDay;
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
int64_t CeilDiv(int64_t a, int64_t b) { return -FloorDiv(-a, b); }

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
  date::local_days days{date::days(day)};
  date::year_month_day ymd{days};
  date::weekday weekday{days};
  return expression.MatchesDay(static_cast<int>(static_cast<unsigned>(ymd.month())),
                               static_cast<int>(static_cast<unsigned>(ymd.day())),
                               static_cast<int>(weekday.c_encoding()));
}

// The first matching minute of a day at or after `minute` of it, or -1.
int FirstMinute(const Expression& expression, int minute) {
  int hour = BitAtOrAbove(expression.hours(), minute / 60);
  if (hour == minute / 60) {
    int found = BitAtOrAbove(expression.minutes(), minute % 60);
    if (found >= 0) return hour * 60 + found;
    hour = BitAtOrAbove(expression.hours(), hour + 1);
  }
  int found = BitAtOrAbove(expression.minutes(), 0);
  return hour < 0 || found < 0 ? -1 : hour * 60 + found;
}

int LastMinute(const Expression& expression, int minute) {
  int hour = BitAtOrBelow(expression.hours(), minute / 60);
  if (hour == minute / 60) {
    int found = BitAtOrBelow(expression.minutes(), minute % 60);
    if (found >= 0) return hour * 60 + found;
    hour = BitAtOrBelow(expression.hours(), hour - 1);
  }
  int found = BitAtOrBelow(expression.minutes(), 59);
  return hour < 0 || found < 0 ? -1 : hour * 60 + found;
}

// The first match in the local times [from, to), by the plain calendar.
std::optional<int64_t> FirstLocal(const Expression& expression, int64_t from, int64_t to) {
  int64_t minute = CeilDiv(from, kMinute);
  for (int64_t day = FloorDiv(minute, 1440); day * kDay < to; ++day) {
    if (!DayMatches(expression, day)) continue;
    int found = FirstMinute(expression, static_cast<int>(std::max<int64_t>(minute - day * 1440, 0)));
    if (found < 0) continue;
    int64_t local = day * kDay + found * kMinute;
    return local < to ? std::optional(local) : std::nullopt;
  }
  return std::nullopt;
}

// The last match in the local times [from, to].
std::optional<int64_t> LastLocal(const Expression& expression, int64_t from, int64_t to) {
  int64_t minute = FloorDiv(to, kMinute);
  for (int64_t day = FloorDiv(minute, 1440); (day + 1) * kDay > from; --day) {
    if (!DayMatches(expression, day)) continue;
    int found = LastMinute(expression, static_cast<int>(std::min<int64_t>(minute - day * 1440, 1439)));
    if (found < 0) continue;
    int64_t local = day * kDay + found * kMinute;
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
  int64_t minute = (local - FloorDiv(local, kDay) * kDay) / kMinute;
  char text[64];
  std::snprintf(text, sizeof(text), "%s %04d-%02u-%02u %02d:%02d ", kWeekdays[date::weekday(days).c_encoding()],
                static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()),
                static_cast<int>(minute / 60), static_cast<int>(minute % 60));
  return text + name_;
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
