// Arithmetic on native histograms, written in the notation of acceptance scripts.
#include "promql/histogram.h"

#include <gtest/gtest.h>

#include <limits>

#include "promql/histogram_stats.h"
#include "promqltest/notation.h"

namespace tidewright::promql {
namespace {

Histogram Parse(std::string_view literal) {
  auto item = promqltest::TakeHistogram(literal);
  EXPECT_TRUE(item.ok()) << item.status().message();
  return item.ok() ? *item->histogram : Histogram();
}

struct SumRow {
  const char* name;
  const char* left;
  const char* right;
  double factor;
  const char* total;
};
std::ostream& operator<<(std::ostream& out, const SumRow& row) { return out << row.name; }

class HistogramSums : public testing::TestWithParam<SumRow> {};

TEST_P(HistogramSums, ReconcileLayouts) {
  HistogramSum sum(Parse(GetParam().left));
  EXPECT_NE(sum.Add(Parse(GetParam().right), GetParam().factor), HistogramSum::Outcome::kIncompatible);
  EXPECT_EQ(ToText(sum.Total()), ToText(Parse(GetParam().total)));
  EXPECT_EQ(sum.Total().schema, Parse(GetParam().total).schema);
  EXPECT_EQ(sum.Total().zero_threshold, Parse(GetParam().total).zero_threshold);
}

constexpr SumRow kSums[] = {
    {"same_layout", "{{count:3 sum:4 buckets:[1 2]}}", "{{count:3 sum:4 buckets:[2 1]}}", 1,
     "{{count:6 sum:8 buckets:[3 3]}}"},
    {"subtraction_drops_empty_buckets", "{{count:3 sum:4 buckets:[1 2]}}", "{{count:1 sum:1 buckets:[1]}}", -1,
     "{{count:2 sum:3 buckets:[2] offset:1}}"},
    {"coarser_schema_wins", "{{schema:1 count:4 buckets:[1 1 1 1] offset:1}}",
     "{{schema:0 count:1 buckets:[1] offset:1}}", 1, "{{schema:0 count:5 buckets:[3 2] offset:1}}"},
    {"wider_zero_bucket_takes_buckets_in", "{{count:3 z_bucket:1 z_bucket_w:1 buckets:[2] offset:1}}",
     "{{count:3 z_bucket:1 z_bucket_w:0.5 buckets:[1 1]}}", 1,
     "{{count:6 z_bucket:3 z_bucket_w:1 buckets:[3] offset:1}}"},
    {"zero_bucket_ends_at_a_bucket_edge", "{{count:1 z_bucket:1 z_bucket_w:0.75}}", "{{count:1 buckets:[1]}}", 1,
     "{{count:2 z_bucket:2 z_bucket_w:1}}"},
    {"custom_bounds_are_intersected", "{{schema:-53 count:3 custom_values:[1 2 3] buckets:[1 1 1]}}",
     "{{schema:-53 count:2 custom_values:[2 3] buckets:[1 1]}}", 1,
     "{{schema:-53 count:5 custom_values:[2 3] buckets:[3 2]}}"},
};
INSTANTIATE_TEST_SUITE_P(Rows, HistogramSums, testing::ValuesIn(kSums),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Buckets, BeginWhereTheZeroBucketEnds) {
  Histogram h = Parse("{{count:4 z_bucket:1 z_bucket_w:0.6 offset:0 buckets:[1 1] n_offset:0 n_buckets:[1]}}");
  auto buckets = BucketsOf(h);
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].upper, -0.6);
  EXPECT_EQ(buckets[2].lower, 0.6);
  EXPECT_EQ(buckets[3].lower, 1);
  EXPECT_EQ(WholeBucketsOf(h)[2].lower, 0.5);
}

TEST(HistogramSum, DoesNotMixCustomAndExponentialBuckets) {
  HistogramSum sum(Parse("{{count:1 buckets:[1]}}"));
  EXPECT_EQ(sum.Add(Parse("{{schema:-53 count:1 custom_values:[1] buckets:[1]}}")),
            HistogramSum::Outcome::kIncompatible);
  EXPECT_EQ(ToText(sum.Total()), "{count:1, sum:0, (0.5,1]:1}");
}

TEST(HistogramSum, KeepsLowBits) {
  HistogramSum sum(Parse("{{sum:1 count:1}}"));
  sum.Add(Parse("{{sum:1e100 count:1}}"));
  sum.Add(Parse("{{sum:1 count:1}}"));
  sum.Add(Parse("{{sum:-1e100 count:1}}"));
  EXPECT_EQ(sum.Total().sum, 2);
}

TEST(HistogramMean, SurvivesSumsThatOverflow) {
  HistogramMean mean(Parse("{{sum:1.7e308 count:1}}"));
  mean.Add(Parse("{{sum:1.7e308 count:2}}"));
  EXPECT_DOUBLE_EQ(mean.Total().sum, 1.7e308);
  EXPECT_EQ(mean.Total().count, 1.5);
}

struct ResetRow {
  const char* name;
  const char* previous;
  const char* current;
  bool reset;
};
std::ostream& operator<<(std::ostream& out, const ResetRow& row) { return out << row.name; }

class CounterResets : public testing::TestWithParam<ResetRow> {};

TEST_P(CounterResets, AreSeenInHintsCountsAndLayout) {
  EXPECT_EQ(IsCounterReset(Parse(GetParam().current), Parse(GetParam().previous)), GetParam().reset);
}

constexpr ResetRow kResets[] = {
    {"more", "{{count:1 buckets:[1]}}", "{{count:2 buckets:[2]}}", false},
    {"fewer", "{{count:2 buckets:[2]}}", "{{count:1 buckets:[1]}}", true},
    {"hint_says_so", "{{count:1 buckets:[1]}}", "{{count:2 buckets:[2] counter_reset_hint:reset}}", true},
    {"hint_denies", "{{count:2 buckets:[2]}}", "{{count:1 buckets:[1] counter_reset_hint:not_reset}}", false},
    {"one_bucket_shrinks", "{{count:3 buckets:[2 1]}}", "{{count:4 buckets:[1 3]}}", true},
    {"populated_bucket_vanishes", "{{count:3 buckets:[2 1]}}", "{{count:4 buckets:[4]}}", true},
    {"empty_bucket_vanishes", "{{count:2 buckets:[2 0]}}", "{{count:4 buckets:[4]}}", false},
    {"finer_schema", "{{schema:0 count:1 buckets:[1]}}", "{{schema:1 count:2 buckets:[2]}}", true},
    {"coarser_schema", "{{schema:1 count:2 buckets:[1 1] offset:1}}", "{{schema:0 count:2 buckets:[2] offset:1}}",
     false},
    {"narrower_zero_bucket", "{{z_bucket_w:1}}", "{{z_bucket_w:0.5}}", true},
    {"other_kind", "{{count:1 buckets:[1]}}", "{{schema:-53 count:1 custom_values:[1] buckets:[1]}}", true},
};
INSTANTIATE_TEST_SUITE_P(Rows, CounterResets, testing::ValuesIn(kResets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(HistogramTrim, InterpolatesWithinTheBucketOfTheBound) {
  Histogram h = Parse("{{schema:-53 count:15 sum:172.5 custom_values:[5 10 15 20] buckets:[1 6 4 3 1]}}");
  EXPECT_EQ(ToText(*Trim(h, 7.5, true)), "{count:4, sum:21.25, [-Inf,5]:1, (5,10]:3}");
  EXPECT_EQ(Trim(h, 15, false)->count, 4);
  EXPECT_TRUE(SameHistogram(*Trim(h, std::numeric_limits<double>::infinity(), true), h));
}

// Widths and offsets that no sane source sends end in numbers, not in endless loops or crashes.
TEST(HistogramSum, SurvivesHostileLayouts) {
  Histogram wild = Parse("{{count:1 buckets:[1] offset:1000000}}");
  wild.zero_threshold = std::numeric_limits<double>::quiet_NaN();
  Histogram other = Parse("{{schema:-4 count:1 z_bucket_w:1e300 n_buckets:[1 2] n_offset:-1000000}}");
  HistogramSum sum(wild);
  sum.Add(other);
  EXPECT_EQ(sum.Total().count, 2);
  other.positive_spans = {{std::numeric_limits<int32_t>::max(), 7}, {5, 4'000'000'000}};
  other.positive_buckets = {1, 2};
  HistogramSum(other).Add(wild);
  (void)QuantileOf(0.5, other);
  (void)IsCounterReset(other, wild);
}

}  // namespace
}  // namespace tidewright::promql
