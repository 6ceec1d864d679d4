// Cron expressions: the grammar that KEDA's cron trigger accepts, and what people miss there.
//
//   [second] minute hour day-of-month month day-of-week      "0 8 * * mon-fri", "30 0 8 * * mon-fri"
//
// Fields hold lists (1,15), ranges (8-18), steps (*/15, 8-18/2, 8/2 meaning 8-max/2), `*` and its synonym `?`. Months
// and days of the week also have three-letter English names in any case; days of the week run from 0 (Sunday) to 6, and
// 7 is Sunday, too. A range may wrap around the end of its field: 22-2 are the hours 22, 23, 0, 1, 2; fri-mon. With
// five fields the second is 0. A time zone may stand in front: "CRON_TZ=Asia/Tokyo 0 9 * * *" (or TZ=).
//
// Day of month also knows L (the last day), L-3 (three days before it), 15W (the day from Monday to Friday that is
// nearest to the 15th in its month; nothing in a month without that day) and LW (the last day from Monday to Friday).
// Day of week also knows friL (the last Friday of the month) and fri#2 (the second Friday). Such an item stands alone
// or in a list, without range or step.
//
// @hourly, @daily (@midnight), @weekly, @monthly and @yearly (@annually) stand for all fields. @every does not: what it
// counts from would be the start of this program.
//
// Day of month and day of week: if either is unrestricted (`*` or `?`, also with step 1) both must match; if both are
// restricted, one match is enough.
//
// Three oddities of the peer are kept: a step beyond the range leaves the first value ("*/90" is minute 0), a `*` with
// an upper bound is the whole range ("*-5"), and a field that is only a comma parses and never matches.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::scaler::cron {

// A day as an expression sees it. Day of week 0-6 with Sunday 0.
struct CalendarDay {
  int month = 1;  // 1-12
  int day = 1;    // 1-31
  int days_in_month = 31;
  int day_of_week = 0;
};

// The items of the day fields that depend on the month's length or on where its weekdays fall.
struct DayRules {
  uint32_t from_last = 0;         // Bit n: n days before the last.
  uint32_t nearest_weekday = 0;   // Bit n: the day from Monday to Friday nearest to n.
  bool last_weekday = false;      // LW
  uint32_t last_of = 0;           // Bit n: the last day n of the week.
  std::array<uint32_t, 6> nth{};  // Entry n, bit d: the nth day d of the week.

  bool MatchesMonthDay(const CalendarDay& day) const;
  bool MatchesWeekDay(const CalendarDay& day) const;
  bool operator==(const DayRules&) const = default;
};

// A parsed expression. Immutable value type; thread-safe for reading.
class Expression {
 public:
  // kInvalidArgument names the expression, the field, the value and the remedy. At most 1,024 bytes.
  static base::Result<Expression> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  // The zone in front of the fields, or "".
  const std::string& zone() const { return zone_; }

  bool MatchesDay(const CalendarDay& day) const;
  uint64_t seconds() const { return bits_[0]; }  // Bit n: second n.
  uint64_t minutes() const { return bits_[1]; }
  uint64_t hours() const { return bits_[2]; }
  bool MatchesMonth(int month) const { return (bits_[4] >> month & 1) != 0; }

  // Whether no time ever matches, as with "0 0 31 2 *".
  bool NeverFires() const { return never_fires_; }

  // Whether both match the same times, however they are written. Zones are not compared.
  bool SameTimes(const Expression& other) const {
    return bits_ == other.bits_ && star_ == other.star_ && rules_ == other.rules_;
  }

 private:
  bool FindNeverFires() const;

  std::string text_;
  std::string zone_;
  std::array<uint64_t, 6> bits_{};  // Second, minute, hour, day of month, month, day of week.
  std::array<bool, 2> star_{};      // Day of month, day of week: unrestricted.
  DayRules rules_;
  bool never_fires_ = false;
};

}  // namespace tidewright::scaler::cron
