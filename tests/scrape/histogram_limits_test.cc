#include "scrape/histogram_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;

// Buckets 1 to 4 of schema 2, and -1.
tsdb::Histogram Sample() {
  tsdb::Histogram histogram;
  histogram.schema = 2;
  histogram.count = 11;
  histogram.positive_spans = {{1, 4}};
  histogram.positive_buckets = {1, 1, 1, 1};  // 1, 2, 3, 4.
  histogram.negative_spans = {{1, 1}};
  histogram.negative_buckets = {1};
  return histogram;
}

TEST(HistogramLimits, JoinsNeighboursUntilTheyFit) {
  tsdb::Histogram histogram = Sample();
  ASSERT_TRUE(LimitResolution(3, tsdb::kMaxExponentialSchema, &histogram).ok());
  EXPECT_EQ(histogram.schema, 1);
  EXPECT_THAT(histogram.positive_spans, ElementsAre(tsdb::BucketSpan{1, 2}));
  EXPECT_THAT(histogram.positive_buckets, ElementsAre(3, 4));  // 3, 7.
  EXPECT_TRUE(Validate(histogram).ok());
}

TEST(HistogramLimits, ObeysTheCoarsestSchemaWanted) {
  tsdb::FloatHistogram histogram = ToFloat(Sample());
  ASSERT_TRUE(LimitResolution(0, 0, &histogram).ok());
  EXPECT_EQ(histogram.schema, 0);
  EXPECT_THAT(histogram.positive_buckets, ElementsAre(10.0));
  ASSERT_TRUE(LimitResolution(0, 8, &histogram).ok());
  EXPECT_EQ(histogram.schema, 0) << "never finer";
}

TEST(HistogramLimits, RefusesWhatCannotBeCoarser) {
  tsdb::Histogram coarse = Sample();
  coarse.schema = tsdb::kMinExponentialSchema;
  EXPECT_EQ(LimitResolution(4, 8, &coarse).code(), base::Code::kResourceExhausted);
  tsdb::Histogram custom;
  custom.schema = tsdb::kCustomBucketsSchema;
  custom.custom_values = {1, 2};
  custom.count = 2;
  custom.positive_spans = {{0, 2}};
  custom.positive_buckets = {1, 0};
  EXPECT_EQ(LimitResolution(1, 8, &custom).code(), base::Code::kResourceExhausted);
  EXPECT_TRUE(LimitResolution(2, 0, &custom).ok());
  EXPECT_EQ(custom.schema, tsdb::kCustomBucketsSchema);
}

TEST(HistogramLimits, SchemaForAFactor) {
  for (auto [factor, schema] :
       {std::pair{0.0, 8}, {1.0, 8}, {1.0001, 8}, {1.1, 2}, {1.3, 1}, {2.0, 0}, {4.0, -1}, {1e300, -4}}) {
    EXPECT_EQ(MaxSchemaFor(factor), schema) << factor;
  }
}

}  // namespace
}  // namespace tidewright::scrape
