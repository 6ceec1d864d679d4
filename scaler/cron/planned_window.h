// A window with what people plan around it: dates on which it stays closed, and a lead before its starts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "scaler/cron/schedule.h"
#include "scaler/cron/window.h"

namespace tidewright::scaler::cron {

// A list of local dates: "2026-12-25, 2027-08-01..2027-08-15, 12-24..01-06". Without a year a date is meant in every
// year, and a range may go over the new year. Immutable value type.
class DateList {
 public:
  // At most 1,000 entries. kInvalidArgument names the entry and the remedy.
  static base::Result<DateList> Parse(std::string_view text);

  bool Contains(const CivilDate& date) const;
  bool empty() const { return ranges_.empty(); }

 private:
  // Both ends as 10000 * year + 100 * month + day; year 0: of every year.
  struct Range {
    int32_t first = 0;
    int32_t last = 0;
  };
  std::vector<Range> ranges_;
};

struct PlannedState {
  bool open = false;
  std::optional<int64_t> change_ms;  // When that ends; none if never, or not within some years.
};

// Open while its window is, but not during a local date of the list: one that goes over midnight closes there. With a
// lead, open also as long before it would open otherwise; what is excluded is decided before the lead counts, so that
// the evening before an open day may be part of it. Immutable, thread-safe.
class PlannedWindow {
 public:
  PlannedWindow(Window window, DateList excluded, int64_t lead_ms);

  bool IsOpen(int64_t t_ms) const;
  PlannedState At(int64_t t_ms) const;
  const Zone& zone() const { return window_.start().zone(); }

 private:
  bool IsOpenWithoutLead(int64_t t_ms) const;
  std::optional<int64_t> NextCandidate(int64_t t_ms) const;

  Window window_;
  DateList excluded_;
  int64_t lead_ms_;
  std::optional<Schedule> midnights_;  // Where dates are excluded.
};

}  // namespace tidewright::scaler::cron
