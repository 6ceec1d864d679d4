#include "base/duration.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/file.h"
#include "base/json.h"

namespace tidewright::base {
namespace {

struct Case {
  const char* name;
  std::string text;
  std::optional<int64_t> want_ms;
};

std::string NameOf(const testing::TestParamInfo<Case>& info) { return info.param.name; }

class ParseDurationTest : public testing::TestWithParam<Case> {};
TEST_P(ParseDurationTest, Row) {
  auto parsed = ParseDuration(GetParam().text);
  ASSERT_EQ(parsed.ok(), GetParam().want_ms.has_value()) << parsed.status().ToString();
  if (parsed.ok()) {
    EXPECT_EQ(parsed->ms, *GetParam().want_ms);
  }
}
INSTANTIATE_TEST_SUITE_P(Table, ParseDurationTest,
                         testing::Values(Case{"minutes", "5m", 300'000}, Case{"zero", "0", 0},
                                         Case{"mixed", "1h30m", 5'400'000}, Case{"millis", "90ms", 90},
                                         Case{"wrong_order", "30m1h", std::nullopt},
                                         Case{"unit_twice", "1m1m", std::nullopt}, Case{"empty", "", std::nullopt},
                                         Case{"no_unit", "5", std::nullopt}, Case{"negative", "-5m", std::nullopt},
                                         Case{"words", "5 minutes", std::nullopt},
                                         Case{"too_long", "99999999999y", std::nullopt}),
                         NameOf);

class ParseGoDurationTest : public testing::TestWithParam<Case> {};
TEST_P(ParseGoDurationTest, Row) {
  auto parsed = ParseGoDuration(GetParam().text);
  ASSERT_EQ(parsed.ok(), GetParam().want_ms.has_value()) << parsed.status().ToString();
  if (parsed.ok()) {
    EXPECT_EQ(parsed->ms, *GetParam().want_ms);
  }
}
INSTANTIATE_TEST_SUITE_P(Table, ParseGoDurationTest,
                         testing::Values(Case{"mixed", "1m30s", 90'000}, Case{"fraction", "1.5h", 5'400'000},
                                         Case{"negative", "-2s", -2'000}, Case{"zero", "0", 0},
                                         Case{"no_unit", "5", std::nullopt}, Case{"days", "5d", std::nullopt},
                                         Case{"empty", "", std::nullopt}),
                         NameOf);

TEST(FormatDurationTest, IsCanonical) {
  EXPECT_EQ(FormatDuration({0}), "0s");
  EXPECT_EQ(FormatDuration({5'400'000}), "1h30m");
  EXPECT_EQ(FormatDuration({9LL * 86'400'000}), "9d");
  EXPECT_EQ(FormatDuration({14LL * 86'400'000}), "2w");
}

// Prometheus' own answers.
TEST(DurationConformanceTest, EveryCaseReadsAndPrintsAlike) {
  const char* folder = std::getenv("CONFORMANCE_DIR");
  std::string root = folder != nullptr ? folder : TIDEWRIGHT_SOURCE_DIR "/../shared/conformance";
  auto text = ReadFile(root + "/text-formats/durations.json");
  if (!text.ok()) GTEST_SKIP() << "the conformance data is absent: " << text.status().message();
  auto data = ParseJson(*text);
  ASSERT_TRUE(data.ok());
  int checked = 0;
  for (const Json& entry : (*data)["cases"]) {
    std::string input = entry["input"];
    auto parsed = ParseDuration(input);
    ASSERT_EQ(parsed.ok(), entry["expect"]["ok"].get<bool>()) << input;
    ++checked;
    if (!parsed.ok()) continue;
    EXPECT_EQ(parsed->ms, entry["expect"]["milliseconds"].get<int64_t>()) << input;
    EXPECT_EQ(FormatDuration(*parsed), entry["expect"]["string"].get<std::string>()) << input;
  }
  EXPECT_GE(checked, 60);
}

TEST(TimeTest, RoundTripsAndReadsOffsets) {
  EXPECT_EQ(FormatTime(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatTime(1'795'251'600'123, true), "2026-11-21T09:00:00.123Z");
  EXPECT_EQ(FormatTime(-1), "1969-12-31T23:59:59Z");
  EXPECT_EQ(*ParseTime("2026-11-21T09:00:00Z"), 1'795'251'600'000);
  EXPECT_EQ(*ParseTime("2026-11-21T10:00:00+01:00"), 1'795'251'600'000);
  EXPECT_EQ(*ParseTime("2026-11-21T09:00:00.123456Z"), 1'795'251'600'123);
  EXPECT_EQ(*ParseTime("2028-02-29T00:00:00Z"), 1'835'395'200'000);
  for (const char* wrong : {"", "2026-11-21", "2026-02-29T00:00:00Z", "2026-11-21T09:00:00", "2026-11-21T24:00:00Z",
                            "2026-11-21T09:00:00.Z", "2026-11-21T09:00:00+0100"}) {
    EXPECT_FALSE(ParseTime(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace tidewright::base
