// Instants of a cron expression in a time zone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "scaler/cron/expression.h"

namespace date {
class time_zone;
}

namespace tidewright::scaler::cron {

struct CivilDate {
  int32_t year = 1970;
  int32_t month = 1;  // 1-12
  int32_t day = 1;    // 1-31
};

// A time zone of the system's IANA database. Cheap to copy; immutable, thread-safe.
class Zone {
 public:
  // kInvalidArgument for an unknown name, with the nearest known one; kUnavailable when the system has no database.
  static base::Result<Zone> Find(const std::string& name);

  const std::string& name() const { return name_; }
  // Local time for people: "Mon 2026-11-23 18:00 Europe/Rome".
  std::string Format(int64_t t_ms) const;
  // The local date.
  CivilDate DateAt(int64_t t_ms) const;

 private:
  friend class Schedule;
  Zone(std::string name, const date::time_zone* zone) : name_(std::move(name)), zone_(zone) {}
  std::string name_;
  const date::time_zone* zone_;  // Owned by the database, which lives as long as the process.
};

// What becomes of a local time that a change to daylight-saving time skips. A local time that occurs twice always fires
// both times.
enum class GapRule {
  kFireAfterGap,  // It fires once, at the moment of the change: 02:30 becomes 03:00.
  kSkip,          // It does not fire that day.
};

// An expression in a zone: a zone in front of the expression wins. Immutable, thread-safe. Times are ms since the
// epoch; instants are whole seconds of local time. Searches look 41 years ahead or back, which covers every date that
// exists on every day of the week. Usual expressions cost microseconds, "the fifth Monday of February" a millisecond.
class Schedule {
 public:
  static base::Result<Schedule> Create(const Expression& expression, const Zone& zone, GapRule gap_rule);

  // The first instant strictly after `t_ms`; none if the expression never fires.
  std::optional<int64_t> Next(int64_t t_ms) const;
  // The last instant at or before `t_ms`.
  std::optional<int64_t> Previous(int64_t t_ms) const;

  const Expression& expression() const { return expression_; }
  const Zone& zone() const { return zone_; }

 private:
  Schedule(Expression expression, Zone zone, GapRule gap_rule)
      : expression_(std::move(expression)), zone_(std::move(zone)), gap_rule_(gap_rule) {}

  Expression expression_;
  Zone zone_;
  GapRule gap_rule_;
};

}  // namespace tidewright::scaler::cron
