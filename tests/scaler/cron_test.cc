#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/duration.h"
#include "base/file.h"
#include "base/strings.h"
#include "scaler/cron/expression.h"
#include "scaler/cron/schedule.h"
#include "scaler/cron/window.h"

namespace tidewright::scaler::cron {
namespace {

int64_t At(const std::string& text) {
  auto t = base::ParseTime(text);
  EXPECT_TRUE(t.ok()) << t.status().ToString();
  return t.ok() ? *t : 0;
}

std::string Show(std::optional<int64_t> t) { return t ? base::FormatTime(*t) : "never"; }

struct ExpressionRow {
  const char* text;
  const char* error;  // "" when it parses.
};

TEST(Expression, AcceptsAndRefuses) {
  const ExpressionRow rows[] = {
      {"30-33 * * * *", ""},
      {"45-50 * * * *", ""},
      {"? 8 ? * ?", ""},
      {"0 8 * jan-mar mon-fri", ""},
      {"  0   8 \t* *  * ", ""},
      {"+5 08 * * SUN", ""},
      {"*/90 * * * *", ""},
      {"*-5 * * * *", ""},
      {"1,2, * * * *", ""},
      {", 8 * * *", ""},
      {"-30 * * * *", "field minute: \"-30\" lacks a number; write for example 0-59"},
      {"50 * * -3 *", "field month: \"-3\" lacks a number; write for example 1-12"},
      {"0 8 * * 7", ""},
      {"@daily", ""},
      {"CRON_TZ=Asia/Tokyo @Weekly", ""},
      {"0 0 8 * * *", ""},
      {"10-5 * * * *", ""},
      {"0 8 * * fri-mon", ""},
      {"0 8 L,L-3,LW,15W * *", ""},
      {"0 8 * * friL,mon#2,7#5", ""},
      {"0 8 * * 8", "field day of week: \"8\" ends above 7; use 0-7"},
      {"0 24 * * *", "field hour: \"24\" ends above 23; use 0-23"},
      {"60 * * * *", "field minute: \"60\" ends above 59; use 0-59"},
      {"0 0 0 * *", "field day of month: \"0\" begins below 1; use 1-31"},
      {"@every 1h", "\"@every\" is not known, or does not stand alone; use @hourly, @daily"},
      {"@daily *", "does not stand alone"},
      {"0 0 0 8 * * *", "has 7 fields instead of 5"},
      {"0 8 * *", "has 4 fields instead of 5"},
      {"", "has 0 fields instead of 5"},
      {"*/0 * * * *", "field minute: \"*/0\" has step 0; use a step of 1 or more"},
      {"1-2-3 * * * *", "has more than one '-'"},
      {"1/2/3 * * * *", "has more than one '/'"},
      {"0 8 * * monday", "field day of week: \"monday\" is not a number or a three-letter name; use 0-7"},
      {"99999999999999999999 * * * *", "is not a number"},
      {"1-- * * * *", "has more than one '-'"},
      {"TZ=Asia/Tokyo", "has 0 fields instead of 5"},
      {"TZ= 0 8 * * *", "names no time zone"},
      {"0 8 * * L", "field day of week: \"L\" lacks the day; write for example friL"},
      {"0 8 L-31 * *", "field day of month: \"L-31\" is out of range; use 0-30 there"},
      {"0 8 L3 * *", "\"L3\" is not understood; write L, LW or for example L-3"},
      {"0 8 32W * *", "\"32W\" is out of range; use 1-31 there"},
      {"0 8 W * *", "\"W\" lacks a number"},
      {"0 8 * * fri#6", "\"fri#6\" is out of range; use 1-5 there"},
      {"0 8 * * fri-monL", "is not a number"},
      {"0 8L * * *", "field hour: \"8L\" is not a number"},
  };
  for (const ExpressionRow& row : rows) {
    auto parsed = Expression::Parse(row.text);
    if (*row.error == '\0') {
      EXPECT_TRUE(parsed.ok()) << row.text << ": " << parsed.status().ToString();
      continue;
    }
    ASSERT_FALSE(parsed.ok()) << row.text;
    EXPECT_EQ(parsed.status().code(), base::Code::kInvalidArgument);
    EXPECT_NE(parsed.status().message().find(row.error), std::string::npos) << parsed.status().message();
    EXPECT_NE(parsed.status().message().find("cron expression"), std::string::npos) << parsed.status().message();
  }
  EXPECT_FALSE(Expression::Parse(std::string(2000, '1')).ok());
}

TEST(Expression, KnowsWhatNeverFires) {
  for (const char* text :
       {"0 0 31 2 *", "0 0 31 4,6,9,11 *", ", 8 * * *", "0 0 30 feb ?", "0 0 L-30 2 *", "0 0 31W 4 *"}) {
    EXPECT_TRUE(Expression::Parse(text)->NeverFires()) << text;
  }
  for (const char* text : {"0 0 29 2 *", "0 0 31 2 mon", "* * * * *", "0 0 29W 2 *", "0 0 * 2 mon#5"}) {
    EXPECT_FALSE(Expression::Parse(text)->NeverFires()) << text;
  }
}

TEST(Expression, StepsAndOddities) {
  EXPECT_EQ(Expression::Parse("*/90 * * * *")->minutes(), 1u);
  EXPECT_EQ(Expression::Parse("*-5 * * * *")->minutes(), (uint64_t{1} << 60) - 1);
  EXPECT_EQ(Expression::Parse("50/4 * * * *")->minutes(), uint64_t{1} << 50 | uint64_t{1} << 54 | uint64_t{1} << 58);
  EXPECT_EQ(Expression::Parse("0 20/2 * * *")->hours(), 1u << 20 | 1u << 22);
  EXPECT_EQ(Expression::Parse("0 22-2/2 * * *")->hours(), 1u << 22 | 1u << 0 | 1u << 2);
  EXPECT_EQ(Expression::Parse("15-45/15 0 8 * * *")->seconds(), 1u << 15 | 1u << 30 | uint64_t{1} << 45);
  EXPECT_TRUE(Expression::Parse("0 0 * * 5-7")->SameTimes(*Expression::Parse("0 0 0 * * fri-sun")));
  EXPECT_FALSE(Expression::Parse("0 0 * * fri#1")->SameTimes(*Expression::Parse("0 0 * * fri#2")));
}

struct DayRow {
  const char* expression;
  CalendarDay day;
  bool matches;
};

TEST(Expression, Days) {
  const DayRow rows[] = {
      // Day of month AND day of week while one is unrestricted; either once both are restricted.
      {"0 0 13 * *", {1, 12, 31, 5}, false},
      {"0 0 13 * 5", {1, 12, 31, 5}, true},
      {"0 0 13 * 5", {1, 13, 31, 2}, true},
      {"0 0 */2 * 5", {1, 2, 31, 2}, false},  // A step restricts.
      {"0 0 */1 * 5", {1, 12, 31, 5}, true},
      {"0 0 */1 * 5", {1, 13, 31, 2}, false},
      {"0 0 L * *", {2, 28, 28, 3}, true},
      {"0 0 L * *", {2, 28, 29, 3}, false},
      {"0 0 L-3 * *", {4, 27, 30, 3}, true},
      {"0 0 1W * *", {8, 3, 31, 1}, true},     // The 1st is a Saturday: Monday, not the month before.
      {"0 0 31W * *", {5, 29, 31, 5}, true},   // The 31st is a Sunday: Friday, not the month after.
      {"0 0 15W * *", {8, 14, 31, 5}, true},   // The 15th is a Saturday.
      {"0 0 15W * *", {11, 16, 30, 1}, true},  // The 15th is a Sunday.
      {"0 0 LW * *", {5, 29, 31, 5}, true},
      {"0 0 * * friL", {5, 29, 31, 5}, true},
      {"0 0 * * friL", {5, 22, 31, 5}, false},
      {"0 0 * * mon#2", {11, 9, 30, 1}, true},
      {"0 0 * * mon#2", {11, 16, 30, 1}, false},
      {"0 0 1 * mon#2", {11, 1, 30, 0}, true},  // Both restricted.
  };
  for (const DayRow& row : rows) {
    EXPECT_EQ(Expression::Parse(row.expression)->MatchesDay(row.day), row.matches)
        << row.expression << " on " << row.day.month << "-" << row.day.day;
  }
}

struct InstantRow {
  const char* expression;
  const char* zone;
  const char* from;
  const char* next;
  const char* previous;
};

TEST(Schedule, NextAndPrevious) {
  const InstantRow rows[] = {
      {"0 8 * * *", "Etc/UTC", "2026-01-08T08:00:00Z", "2026-01-09T08:00:00Z", "2026-01-08T08:00:00Z"},
      {"0 8 * * *", "Etc/UTC", "2026-01-08T07:59:59.999Z", "2026-01-08T08:00:00Z", "2026-01-07T08:00:00Z"},
      {"*/15 9-17 * * mon-fri", "Europe/Rome", "2026-01-09T16:45:00Z", "2026-01-12T08:00:00Z", "2026-01-09T16:45:00Z"},
      {"0 0 29 2 *", "Etc/UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
      {"0 0 29 2 *", "Etc/UTC", "2097-01-01T00:00:00Z", "2104-02-29T00:00:00Z", "2096-02-29T00:00:00Z"},
      {"0 0 31 2 *", "Etc/UTC", "2026-01-01T00:00:00Z", "never", "never"},
      {"30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z", "2026-03-07T07:30:00Z"},
      {"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T05:30:00Z"},
      {"0 0 1 1 *", "Pacific/Kiritimati", "2026-06-01T00:00:00Z", "2026-12-31T10:00:00Z", "2025-12-31T10:00:00Z"},
      {"* * * * *", "Etc/UTC", "1969-12-31T23:59:30Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:00Z"},
      {"0 0 * 2 mon#5", "Etc/UTC", "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z", "2016-02-29T00:00:00Z"},
      {"@monthly", "Europe/Rome", "2026-03-15T00:00:00Z", "2026-03-31T22:00:00Z", "2026-02-28T23:00:00Z"},
      {"*/20 59 23 L * ?", "Etc/UTC", "2026-02-28T23:59:40Z", "2026-03-31T23:59:00Z", "2026-02-28T23:59:40Z"},
      {"*/20 59 23 L * ?", "Etc/UTC", "2026-02-28T23:59:10Z", "2026-02-28T23:59:20Z", "2026-02-28T23:59:00Z"},
      {"TZ=Asia/Tokyo 0 9 * * *", "Etc/UTC", "2026-01-08T12:00:00Z", "2026-01-09T00:00:00Z", "2026-01-08T00:00:00Z"},
  };
  for (const InstantRow& row : rows) {
    auto schedule = Schedule::Create(*Expression::Parse(row.expression), *Zone::Find(row.zone), GapRule::kFireAfterGap);
    ASSERT_TRUE(schedule.ok()) << schedule.status().ToString();
    EXPECT_EQ(Show(schedule->Next(At(row.from))), row.next) << row.expression << " after " << row.from;
    EXPECT_EQ(Show(schedule->Previous(At(row.from))), row.previous) << row.expression << " before " << row.from;
  }
}

TEST(Schedule, SkipsOrDelaysWhatDaylightSavingTimeSkips) {
  auto expression = Expression::Parse("30 2 * * *");
  auto zone = Zone::Find("America/New_York");
  auto skip = Schedule::Create(*expression, *zone, GapRule::kSkip);
  auto fire = Schedule::Create(*expression, *zone, GapRule::kFireAfterGap);
  int64_t before = At("2026-03-08T06:00:00Z");
  EXPECT_EQ(Show(skip->Next(before)), "2026-03-09T06:30:00Z");
  EXPECT_EQ(Show(fire->Next(before)), "2026-03-08T07:00:00Z");
  EXPECT_EQ(Show(fire->Next(At("2026-03-08T07:00:00Z"))), "2026-03-09T06:30:00Z");
  EXPECT_EQ(Show(skip->Previous(At("2026-03-08T12:00:00Z"))), "2026-03-07T07:30:00Z");
  EXPECT_EQ(Show(fire->Previous(At("2026-03-08T12:00:00Z"))), "2026-03-08T07:00:00Z");
}

TEST(Schedule, ExtremeTimesEndTheSearch) {
  auto schedule = Schedule::Create(*Expression::Parse("0 0 29 2 *"), *Zone::Find("Europe/Rome"), GapRule::kSkip);
  for (int64_t t : {INT64_MIN, INT64_MIN / 2, INT64_MAX / 2, INT64_MAX}) {
    EXPECT_EQ(schedule->Next(t), std::nullopt);
    EXPECT_EQ(schedule->Previous(t), std::nullopt);
  }
}

// Next and Previous agree on every instant of a year with both changes of daylight-saving time.
TEST(Schedule, NextAndPreviousAreInverse) {
  for (const char* zone :
       {"Europe/Rome", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata", "Africa/Casablanca"}) {
    for (const char* text : {"*/20 1-3 * * *", "15 2 * * sun", "0 0 */9 * *"}) {
      for (GapRule rule : {GapRule::kSkip, GapRule::kFireAfterGap}) {
        auto schedule = Schedule::Create(*Expression::Parse(text), *Zone::Find(zone), rule);
        std::optional<int64_t> t = At("2026-01-01T00:00:00Z");
        while (*t < At("2027-01-01T00:00:00Z")) {
          std::optional<int64_t> next = schedule->Next(*t);
          ASSERT_TRUE(next && *next > *t);
          ASSERT_EQ(schedule->Previous(*next), next) << zone << " " << text;
          ASSERT_LE(*schedule->Previous(*next - 1), *t) << zone << " " << text << " " << Show(next);
          t = next;
        }
      }
    }
  }
}

TEST(Zone, UnknownNamesGetAHint) {
  auto zone = Zone::Find("Europe/Roma");
  ASSERT_FALSE(zone.ok());
  EXPECT_EQ(zone.status().message(),
            "time zone \"Europe/Roma\" is not in the IANA database; did you mean Europe/Rome?");
  for (const char* name : {"", "Foo/Bar", "../../etc/passwd", "Local", "europe/rome"}) {
    EXPECT_FALSE(Zone::Find(name).ok()) << name;
  }
  EXPECT_TRUE(Zone::Find("UTC").ok());
}

struct WindowErrorRow {
  const char* start;
  const char* end;
  const char* zone;
  const char* error;
};

TEST(Window, ErrorsNameThePart) {
  const WindowErrorRow rows[] = {
      {"0 8 * * *", "0 8 * * *", "Etc/UTC", "start and end are both \"0 8 * * *\""},
      {"0 8 * *", "0 8 * * *", "Etc/UTC", "start: cron expression"},
      {"0 8 * * *", "0 25 * * *", "Etc/UTC", "end: cron expression \"0 25 * * *\": field hour"},
      {"TZ=Foo/Bar 0 8 * * *", "0 9 * * *", "Etc/UTC", "start: cron expression \"TZ=Foo/Bar 0 8 * * *\": time zone"},
      {"0 8 * * *", "0 9 * * *", "Foo/Bar", "time zone \"Foo/Bar\" is not in the IANA database"},
  };
  for (const WindowErrorRow& row : rows) {
    auto window = Window::Create(row.start, row.end, row.zone);
    ASSERT_FALSE(window.ok());
    EXPECT_NE(window.status().message().find(row.error), std::string::npos) << window.status().message();
  }
}

TEST(Window, DefectsAreNamed) {
  auto defect = [](const char* start, const char* end) { return Window::Create(start, end, "Etc/UTC")->Defect(); };
  EXPECT_EQ(defect("0 8 * * *", "0 20 * * *"), "");
  EXPECT_NE(defect("0 8 * * *", "00 8 * * *").find("same times"), std::string::npos);
  EXPECT_NE(defect("0 0 31 2 *", "0 20 * * *").find("start \"0 0 31 2 *\" never happens"), std::string::npos);
  EXPECT_NE(defect("0 8 * * *", "0 0 31 2 *").find("end \"0 0 31 2 *\" never happens"), std::string::npos);
}

struct StateRow {
  const char* start;
  const char* end;
  WindowMode mode;
  const char* now;
  bool open;
  const char* change;
};

TEST(Window, SaysWhenItChanges) {
  constexpr auto kLast = WindowMode::kLastEventWins;
  constexpr auto kKeda = WindowMode::kKedaCompatible;
  const StateRow rows[] = {
      {"0 8 * * *", "0 20 * * *", kLast, "2026-01-08T12:00:00Z", true, "2026-01-08T20:00:00Z"},
      {"0 8 * * *", "0 20 * * *", kKeda, "2026-01-08T12:00:00Z", true, "2026-01-08T20:00:00Z"},
      {"0 8 * * *", "0 20 * * *", kLast, "2026-01-08T20:00:00Z", false, "2026-01-09T08:00:00Z"},
      {"0 8 * * *", "0 20 * * *", kKeda, "2026-01-08T20:00:00Z", false, "2026-01-09T08:00:00Z"},
      {"30 6 * * 1-5", "10 22 * * *", kLast, "2026-01-09T22:00:00Z", true, "2026-01-09T22:10:00Z"},
      {"30 6 * * 1-5", "10 22 * * *", kKeda, "2026-01-09T22:00:00Z", true, "2026-01-11T22:10:00Z"},
      {"* * * * 1-5", "* * * * 6", kKeda, "2026-01-05T12:00:00Z", false, "2026-01-09T23:59:00Z"},
      {"0 8 * * *", "00 8 * * *", kLast, "2026-01-08T12:00:00Z", false, "never"},
      {"0 8 * * *", "00 8 * * *", kKeda, "2026-01-08T12:00:00Z", true, "never"},
      {"0 8,12 * * *", "0 8 * * mon-fri", kLast, "2026-01-09T13:00:00Z", true, "2026-01-12T08:00:00Z"},
      {"0 8 * * *", "0 8 * * mon-fri", kLast, "2026-01-09T13:00:00Z", false, "2026-01-10T08:00:00Z"},
  };
  for (const StateRow& row : rows) {
    auto window = Window::Create(row.start, row.end, "Etc/UTC", row.mode);
    ASSERT_TRUE(window.ok());
    WindowState state = window->At(At(row.now));
    EXPECT_EQ(state.open, row.open) << row.start << " " << row.end << " " << row.now;
    EXPECT_EQ(Show(row.open ? state.closes_ms : state.opens_ms), row.change) << row.start << " " << row.end;
    EXPECT_EQ(row.open ? state.opens_ms : state.closes_ms, std::nullopt);
  }
}

// Runs cron.test.
class Script {
 public:
  void Run(const std::string& text) {
    for (const std::string& raw : base::Split(text, '\n')) {
      ++line_;
      std::string line(base::TrimSpace(raw));
      if (line.empty() || line[0] == '#') continue;
      line.starts_with("window ") ? Open(line.substr(7)) : Check(line);
    }
  }
  int checks() const { return checks_; }

 private:
  void Open(const std::string& text) {
    std::vector<std::string> parts = base::Split(text, '|');
    ASSERT_EQ(parts.size(), 3u) << "line " << line_;
    std::vector<std::string> head = base::Split(base::TrimSpace(parts[0]), ' ');
    ASSERT_EQ(head.size(), 2u) << "line " << line_;
    std::string start(base::TrimSpace(parts[1]));
    std::string end(base::TrimSpace(parts[2]));
    id_ = head[0];
    for (WindowMode mode : {WindowMode::kLastEventWins, WindowMode::kKedaCompatible}) {
      auto window = Window::Create(start, end, head[1], mode);
      ASSERT_TRUE(window.ok()) << window.status().ToString();
      windows_[mode == WindowMode::kKedaCompatible] = *window;
    }
  }

  void Check(const std::string& line) {
    std::vector<std::string> parts = base::Split(line, ' ');
    ASSERT_EQ(parts.size(), 3u) << "line " << line_;
    for (int mode = 0; mode < 2; ++mode) {
      ASSERT_TRUE(windows_[mode]) << "line " << line_ << " comes before any window";
      EXPECT_EQ(windows_[mode]->IsOpen(At(parts[0])), parts[1 + mode] == "1")
          << "cron.test:" << line_ << ": " << id_ << " at " << parts[0] << (mode == 0 ? " last event" : " keda");
      ++checks_;
    }
  }

  int line_ = 0;
  int checks_ = 0;
  std::string id_;
  std::optional<Window> windows_[2];
};

TEST(Window, ConformanceScript) {
  auto text = base::ReadFile(TIDEWRIGHT_SOURCE_DIR "/tests/scaler/cron.test");
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  Script script;
  script.Run(*text);
  EXPECT_GT(script.checks(), 150);
}

// Compares with tests/scaler/cron_reference.py, which lists local times by brute force and asks Python's zoneinfo what
// they stand for. TIDEWRIGHT_CRON_CASES raises the number of cases; the seed is fixed.
TEST(Schedule, AgreesWithAnIndependentImplementation) {
  const char* wanted = std::getenv("TIDEWRIGHT_CRON_CASES");
  std::string command = std::string("python3 -B " TIDEWRIGHT_SOURCE_DIR "/tests/scaler/cron_reference.py ") +
                        (wanted == nullptr ? "400" : wanted) + " 7";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  ASSERT_NE(pipe, nullptr);
  int cases = 0;
  char line[512];
  while (std::fgets(line, sizeof(line), pipe.get()) != nullptr) {
    std::vector<std::string> parts = base::Split(base::TrimSpace(line), '\t');
    ASSERT_EQ(parts.size(), 6u) << line;
    auto expression = Expression::Parse(parts[1]);
    ASSERT_TRUE(expression.ok()) << expression.status().ToString();
    GapRule rule = parts[2] == "fire" ? GapRule::kFireAfterGap : GapRule::kSkip;
    auto schedule = Schedule::Create(*expression, *Zone::Find(parts[0]), rule);
    int64_t t = 0;
    ASSERT_TRUE(base::ParseInt64(parts[3], &t)) << line;
    const std::optional<int64_t> found[] = {schedule->Next(t * 1000), schedule->Previous(t * 1000)};
    for (int i = 0; i < 2; ++i) {
      int64_t ours = found[i].value_or(INT64_MAX) / 1000;
      // The reference gives up after 500 days.
      bool agrees =
          parts[4 + i] == "-" ? std::abs(ours - t) > int64_t{490} * 86'400 : parts[4 + i] == std::to_string(ours);
      EXPECT_TRUE(agrees) << (i == 0 ? "next" : "previous") << " is " << ours << " in: " << line;
    }
    ++cases;
  }
  EXPECT_GE(cases, 400);
}

}  // namespace
}  // namespace tidewright::scaler::cron
