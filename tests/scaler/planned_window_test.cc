#include "scaler/cron/planned_window.h"

#include <gtest/gtest.h>

#include <string>

#include "base/duration.h"

namespace tidewright::scaler::cron {
namespace {

int64_t At(const std::string& text) { return *base::ParseTime(text); }

struct DateRow {
  const char* list;
  CivilDate date;
  bool contained;
};

TEST(DateList, Contains) {
  const DateRow rows[] = {
      {"2026-12-25", {2026, 12, 25}, true},
      {"2026-12-25", {2027, 12, 25}, false},
      {"12-25", {2031, 12, 25}, true},
      {"2027-08-01..2027-08-15", {2027, 8, 15}, true},
      {"2027-08-01..2027-08-15", {2027, 8, 16}, false},
      {"12-24..01-06", {2026, 12, 31}, true},
      {"12-24..01-06", {2027, 1, 6}, true},
      {"12-24..01-06", {2027, 1, 7}, false},
      {"02-29", {2028, 2, 29}, true},
      {" 05-01 , 2026-12-25 .. 2026-12-26 ", {2026, 12, 26}, true},
  };
  for (const DateRow& row : rows) {
    auto list = DateList::Parse(row.list);
    ASSERT_TRUE(list.ok()) << list.status().ToString();
    EXPECT_EQ(list->Contains(row.date), row.contained) << row.list << " " << row.date.month << "-" << row.date.day;
  }
  for (const char* bad : {"", "tomorrow", "2026-13-01", "2026-02-30", "12-24..2027-01-06", "2026-12-26..2026-12-25",
                          "2026-12-25,", "1-2-3-4", "-1-05-01"}) {
    EXPECT_FALSE(DateList::Parse(bad).ok()) << bad;
  }
}

struct StateRow {
  const char* start;
  const char* end;
  const char* exclude;
  int64_t lead_ms;
  const char* now;
  bool open;
  const char* change;
};

TEST(PlannedWindow, OpensAndCloses) {
  const StateRow rows[] = {
      {"0 8 * * *", "0 18 * * *", "", 0, "2026-12-24T12:00:00Z", true, "2026-12-24T17:00:00Z"},
      {"0 8 * * *", "0 18 * * *", "12-25..12-26", 0, "2026-12-24T20:00:00Z", false, "2026-12-27T07:00:00Z"},
      {"0 8 * * *", "0 18 * * *", "12-25..12-26", 0, "2026-12-25T12:00:00Z", false, "2026-12-27T07:00:00Z"},
      // Over midnight into a closed day, and out of one.
      {"0 22 * * *", "0 4 * * *", "12-25", 0, "2026-12-24T22:00:00Z", true, "2026-12-24T23:00:00Z"},
      {"0 22 * * *", "0 4 * * *", "12-25", 0, "2026-12-25T22:00:00Z", false, "2026-12-25T23:00:00Z"},
      // The lead.
      {"0 8 * * *", "0 18 * * *", "", 600'000, "2026-12-24T06:49:59Z", false, "2026-12-24T06:50:00Z"},
      {"0 8 * * *", "0 18 * * *", "", 600'000, "2026-12-24T06:50:00Z", true, "2026-12-24T17:00:00Z"},
      {"0 8 * * *", "0 18 * * *", "12-24", 600'000, "2026-12-24T06:55:00Z", false, "2026-12-25T06:50:00Z"},
      {"0 0 * * *", "0 18 * * *", "12-24", 600'000, "2026-12-24T22:55:00Z", true, "2026-12-25T17:00:00Z"},
  };
  for (const StateRow& row : rows) {
    DateList excluded;
    if (*row.exclude != 0) excluded = *DateList::Parse(row.exclude);
    PlannedWindow window(*Window::Create(row.start, row.end, "Europe/Rome"), excluded, row.lead_ms);
    PlannedState state = window.At(At(row.now));
    EXPECT_EQ(state.open, row.open) << row.start << " " << row.now;
    ASSERT_TRUE(state.change_ms) << row.start << " " << row.now;
    EXPECT_EQ(base::FormatTime(*state.change_ms), row.change) << row.start << " " << row.now;
  }
}

TEST(PlannedWindow, ThatNeverOpensEndsTheSearch) {
  PlannedWindow window(*Window::Create("0 8 * * *", "0 18 * * *", "Etc/UTC"), *DateList::Parse("01-01..12-31"), 0);
  EXPECT_FALSE(window.IsOpen(At("2026-06-01T12:00:00Z")));
  EXPECT_EQ(window.At(At("2026-06-01T12:00:00Z")).change_ms, std::nullopt);
}

}  // namespace
}  // namespace tidewright::scaler::cron
