#include "scrape/text_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <random>
#include <string>

#include "base/secret_hash.h"
#include "scrape/float_text.h"
#include "scrape/md5.h"
#include "scrape/series_cache.h"

namespace tidewright::scrape {
namespace {

struct FastRow {
  const char* name;
  const char* line;
  const char* series;
  bool taken;
};

class FastPath : public ::testing::TestWithParam<FastRow> {};

TEST_P(FastPath, TakesExactlyTheSeries) {
  std::string body = std::string(GetParam().line) + "\n";
  TextParser parser(body, TextFormat::kPrometheus);
  ASSERT_EQ(parser.NextIfSeries(GetParam().series), GetParam().taken);
  if (!GetParam().taken) return;
  TextParser full(body, TextFormat::kPrometheus);
  ASSERT_EQ(full.Next(), Entry::kSeries);
  EXPECT_EQ(parser.series(), full.series());
  EXPECT_EQ(parser.value(), full.value());
  std::vector<tsdb::Label> fast_labels, labels;
  parser.AppendLabels(&fast_labels);
  full.AppendLabels(&labels);
  EXPECT_EQ(fast_labels, labels);
  EXPECT_EQ(parser.Next(), Entry::kEnd);
}

INSTANTIATE_TEST_SUITE_P(
    Table, FastPath,
    ::testing::Values(FastRow{"Same", "m{a=\"b\"} 1", "m{a=\"b\"}", true}, FastRow{"Timestamp", "m 1 5", "m", true},
                      FastRow{"LongerName", "m_total 1", "m", false}, FastRow{"Labels", "m{a=\"b\"} 1", "m", false},
                      FastRow{"LabelsAfterBlank", "m {a=\"b\"} 1", "m", false},
                      FastRow{"OtherValue", "m{a=\"c\"} 1", "m{a=\"b\"}", false},
                      FastRow{"NoBlankAfterBrace", "m{a=\"b\"}1", "m{a=\"b\"}", true},
                      FastRow{"BadValue", "m x", "m", false}, FastRow{"Truncated", "m", "m", false}),
    [](const auto& test) { return test.param.name; });

struct PlainRow {
  const char* name;
  const char* line;
  const char* series;
  bool taken;
};
class PlainLine : public ::testing::TestWithParam<PlainRow> {};

// Either takes the whole line and says what the full parser says, or leaves everything as it was.
TEST_P(PlainLine, IsTakenWholeOrNotAtAll) {
  for (TextFormat format : {TextFormat::kPrometheus, TextFormat::kOpenMetrics}) {
    const std::string body = std::string(GetParam().line) + "\nnext 7\n# EOF\n";
    TextParser parser(body, format), full(body, format);
    ASSERT_EQ(parser.NextIfPlain(base::SecretHash(GetParam().series), std::string_view(GetParam().series).size()),
              GetParam().taken);
    if (GetParam().taken) {
      ASSERT_EQ(full.Next(), Entry::kSeries);
      EXPECT_EQ(parser.series(), full.series());
      EXPECT_EQ(parser.value(), full.value());
      EXPECT_FALSE(parser.has_timestamp());
      std::vector<tsdb::Label> labels, full_labels;
      parser.AppendLabels(&labels);
      full.AppendLabels(&full_labels);
      EXPECT_EQ(labels, full_labels);
    }
    EXPECT_EQ(parser.Next(), full.Next());
    EXPECT_EQ(parser.series(), full.series());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, PlainLine,
    ::testing::Values(PlainRow{"Labels", "m{a=\"b\"} 1.5e3", "m{a=\"b\"}", true}, PlainRow{"Bare", "m 1", "m", true},
                      PlainRow{"BlankInAValue", "m{a=\"b c\"} 1", "m{a=\"b c\"}", true},
                      PlainRow{"BraceInAValue", "m{a=\"}\"} 1", "m{a=\"}\"}", true},
                      PlainRow{"Timestamp", "m 1 5", "m", false}, PlainRow{"OtherSeries", "m_total 1", "m", false},
                      PlainRow{"LabelsUnexpected", "m{a=\"b\"} 1", "m", false},
                      PlainRow{"Exemplar", "m_total 1 # {a=\"b\"} 2", "m_total", false},
                      PlainRow{"TwoBlanks", "m  1", "m", false}, PlainRow{"BlankAtTheEnd", "m 1 ", "m", false},
                      PlainRow{"NoBlank", "m{a=\"b\"}1", "m{a=\"b\"}", false}, PlainRow{"BadValue", "m x", "m", false},
                      PlainRow{"Comment", "# TYPE m counter", "m", false}, PlainRow{"Empty", "", "m", false}),
    [](const auto& test) { return test.param.name; });

struct DecimalRow {
  const char* name;
  const char* text;
  size_t taken;
  double value;
};
class ShortDecimal : public ::testing::TestWithParam<DecimalRow> {};

TEST_P(ShortDecimal, TakesWhatNeedsNoGeneralConversion) {
  double value = 0;
  ASSERT_EQ(TakeShortDecimal(GetParam().text, &value), GetParam().taken);
  if (GetParam().taken == 0) return;
  EXPECT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(GetParam().value)) << value;
}

INSTANTIATE_TEST_SUITE_P(
    Table, ShortDecimal,
    ::testing::Values(DecimalRow{"Integer", "42", 2, 42}, DecimalRow{"Fraction", "0.005\n", 5, 0.005},
                      DecimalRow{"Negative", "-1.5 ", 4, -1.5}, DecimalRow{"NegativeZero", "-0", 2, -0.0},
                      DecimalRow{"Exponent", "1.234567e+06", 12, 1234567}, DecimalRow{"Small", "1e-07", 5, 1e-7},
                      DecimalRow{"CapitalExponent", "2E3", 3, 2000}, DecimalRow{"LargestPower", "3e22", 4, 3e22},
                      DecimalRow{"FifteenDigits", "123456789012.345", 16, 123456789012.345},
                      DecimalRow{"SixteenDigits", "1234567890123.456", 0, 0}, DecimalRow{"LargeExponent", "3e23", 0, 0},
                      DecimalRow{"ExponentOfThreeDigits", "1e100", 4, 1e10}, DecimalRow{"NoExponent", "5e", 1, 5},
                      DecimalRow{"Plus", "+1", 0, 0}, DecimalRow{"NotANumber", "NaN", 0, 0},
                      DecimalRow{"NoIntegerPart", ".5", 0, 0}, DecimalRow{"Empty", "", 0, 0}),
    [](const auto& test) { return test.param.name; });

TEST(ShortDecimal, GivesTheNearestDouble) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    std::string text = std::to_string(random() % 1'000'000'000'000'000 >> random() % 50);
    if (text.size() < 15 && i % 2 == 0) text.insert(random() % text.size() + 1, ".");
    if (i % 3 == 0) text += "e" + std::to_string(static_cast<int>(random() % 20) - 10);
    double value = 0;
    const size_t taken = TakeShortDecimal(text, &value);
    if (taken == 0) continue;
    ASSERT_EQ(taken, text.size()) << text;
    ASSERT_EQ(value, std::strtod(text.c_str(), nullptr)) << text;
  }
}

TEST(TextParser, ErrorsNameTheLine) {
  TextParser parser("a 1\nb{c=} 2\n", TextFormat::kPrometheus);
  EXPECT_EQ(parser.Next(), Entry::kSeries);
  EXPECT_EQ(parser.Next(), Entry::kError);
  EXPECT_THAT(parser.status().message(), ::testing::HasSubstr("line 2: expected a label value"));
  EXPECT_EQ(parser.Next(), Entry::kError) << "an error stays";
}

TEST(Md5, Rfc1321Suite) {
  auto hex = [](std::string_view text) {
    std::string out;
    for (uint8_t byte : Md5(text)) {
      out += "0123456789abcdef"[byte >> 4];
      out += "0123456789abcdef"[byte & 15];
    }
    return out;
  };
  EXPECT_EQ(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(hex("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a");
}

// One scrape of series named by single letters; each has its letter as reference.
std::vector<tsdb::SeriesRef> Scrape(SeriesCache& cache, const std::string& names, bool commit = true) {
  cache.Begin();
  for (char c : names) {
    const uint64_t hash = cache.Hash(std::string_view(&c, 1));
    uint32_t index = cache.Predicted(hash);
    if (index == SeriesCache::kNone) index = cache.Find(hash);
    if (index == SeriesCache::kNone) index = cache.Add(hash, 1, static_cast<tsdb::SeriesRef>(c));
    cache.Visit(index);
    cache[index].tracked = true;
  }
  std::vector<tsdb::SeriesRef> vanished;
  commit ? cache.Commit(&vanished) : cache.Rollback(&vanished);
  return vanished;
}

// How many lines of a scrape stand where the cache expects them.
int Predicted(SeriesCache& cache, const std::string& names) {
  cache.Begin();
  int count = 0;
  for (char c : names) {
    const uint64_t hash = cache.Hash(std::string_view(&c, 1));
    uint32_t index = cache.Predicted(hash);
    count += index != SeriesCache::kNone;
    if (index == SeriesCache::kNone) index = cache.Find(hash);
    if (index == SeriesCache::kNone) index = cache.Add(hash, 1, static_cast<tsdb::SeriesRef>(c));
    cache.Visit(index);
    cache[index].tracked = true;
  }
  std::vector<tsdb::SeriesRef> vanished;
  cache.Commit(&vanished);
  return count;
}

TEST(SeriesCache, PredictsTheOrderOfTheLastScrape) {
  SeriesCache cache;
  EXPECT_EQ(Predicted(cache, "abcdef"), 0);
  EXPECT_EQ(Predicted(cache, "abcdef"), 6);
  EXPECT_EQ(Predicted(cache, "abcXdef"), 6) << "a new line in between";
  EXPECT_EQ(Predicted(cache, "abcXdef"), 7);
  EXPECT_EQ(Predicted(cache, "acXdef"), 5) << "what follows a line that is gone is found in the table";
  EXPECT_EQ(Predicted(cache, "defacX"), 4);
  EXPECT_EQ(Predicted(cache, "defacX"), 6);
  EXPECT_EQ(Predicted(cache, "defdacX"), 5) << "a line that comes twice";
  EXPECT_EQ(Predicted(cache, "defacX"), 6);
  EXPECT_EQ(cache.size(), 6u);
}

// The text's length is told where it has 16 bits.
TEST(SeriesCache, KnowsHowLongTextsAre) {
  SeriesCache cache;
  cache.Begin();
  for (size_t size : {1u, 65535u, 65536u}) cache.Visit(cache.Add(size, size, 1));
  EXPECT_EQ(cache[0].size, 1u);
  EXPECT_EQ(cache[1].size, 65535u);
  EXPECT_EQ(cache[2].size, 0u);
}

TEST(SeriesCache, ReportsWhatVanished) {
  SeriesCache cache;
  EXPECT_TRUE(Scrape(cache, "abc").empty());
  EXPECT_THAT(Scrape(cache, "ac"), ::testing::ElementsAre('b'));
  EXPECT_EQ(cache.size(), 2u);
  EXPECT_EQ(cache.Find(cache.Hash("b")), SeriesCache::kNone);
  EXPECT_TRUE(Scrape(cache, "ca").empty());
}

TEST(SeriesCache, FailedScrapeEndsEverythingAndKeepsWhatItAddedForTheNext) {
  SeriesCache cache;
  Scrape(cache, "ab");
  EXPECT_THAT(Scrape(cache, "axyz", /*commit=*/false), ::testing::UnorderedElementsAre('a', 'b'));
  EXPECT_EQ(cache.size(), 5u);
  EXPECT_TRUE(Scrape(cache, "x", /*commit=*/false).empty()) << "markers are written once";
  EXPECT_TRUE(Scrape(cache, "ab").empty());
  EXPECT_EQ(cache.size(), 2u);
}

TEST(SeriesCache, FailedScrapesWithOtherLinesEachTimeAreForgotten) {
  SeriesCache cache;
  Scrape(cache, "ab");
  std::vector<tsdb::SeriesRef> vanished;
  for (uint64_t scrape = 0; scrape < 100; ++scrape) {
    cache.Begin();
    for (uint64_t i = 0; i < 500; ++i) cache.Visit(cache.Add(scrape * 1000 + i, 1, i + 1));
    cache.Rollback(&vanished);
    ASSERT_LE(cache.size(), 2u * 2 + 1000);
  }
  EXPECT_EQ(Predicted(cache, "ab"), 2);
}

TEST(SeriesCache, OtherSpellingOfTheSameSeriesKeepsItAlive) {
  SeriesCache cache;
  Scrape(cache, "a");
  cache.Begin();
  uint32_t index = cache.Add(cache.Hash("also a"), 6, 'a');
  cache.Visit(index);
  cache[index].tracked = true;
  std::vector<tsdb::SeriesRef> vanished;
  cache.Commit(&vanished);
  EXPECT_TRUE(vanished.empty());
}

}  // namespace
}  // namespace tidewright::scrape
