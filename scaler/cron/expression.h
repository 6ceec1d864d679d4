// Cron expressions: the five-field grammar that KEDA's cron trigger accepts.
//
//   minute hour day-of-month month day-of-week      "0 8 * * mon-fri"
//
// Fields hold lists (1,15), ranges (8-18), steps (*/15, 8-18/2, 8/2 meaning 8-max/2), `*` and its synonym `?`. Months
// and days of the week also have three-letter English names in any case; days of the week run from 0 (Sunday) to 6.
// There is no seconds field, no 7 for Sunday, no @daily, no L, W or #, and no range that wraps around (22-2, fri-mon).
// A time zone may stand in front: "CRON_TZ=Asia/Tokyo 0 9 * * *" (or TZ=).
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

// A parsed expression. Immutable value type; thread-safe for reading.
class Expression {
 public:
  // kInvalidArgument names the expression, the field, the value and the remedy. At most 1,024 bytes.
  static base::Result<Expression> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  // The zone in front of the fields, or "".
  const std::string& zone() const { return zone_; }

  // Calendar fields as people count them: month 1-12, day of month 1-31, day of week 0-6 with Sunday 0.
  bool MatchesDay(int month, int day_of_month, int day_of_week) const;
  uint64_t minutes() const { return bits_[0]; }  // Bit n: minute n.
  uint64_t hours() const { return bits_[1]; }
  bool MatchesMonth(int month) const { return (bits_[3] >> month & 1) != 0; }

  // Whether no calendar day ever matches, as with "0 0 31 2 *".
  bool NeverFires() const;

  // Whether both match the same times, however they are written. Zones are not compared.
  bool SameTimes(const Expression& other) const { return bits_ == other.bits_ && star_ == other.star_; }

 private:
  std::string text_;
  std::string zone_;
  std::array<uint64_t, 5> bits_{};  // Minute, hour, day of month, month, day of week.
  std::array<bool, 2> star_{};      // Day of month, day of week: unrestricted.
};

}  // namespace tidewright::scaler::cron
