#include <gtest/gtest.h>

#include "promql/label_hash.h"

namespace tidewright::promql {
namespace {

// The test vectors of the XXH64 specification's reference implementation, seed 0.
TEST(XxHash64, MatchesPublishedValues) {
  EXPECT_EQ(XxHash64(""), 0xEF46DB3751D8E999u);
  EXPECT_EQ(XxHash64("a"), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(XxHash64("abc"), 0x44BC2CF5AD770999u);
  EXPECT_EQ(XxHash64("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1u);
}

TEST(HashFraction, LiesBetweenZeroAndOne) {
  double sum = 0;
  for (int i = 0; i < 1000; ++i) {
    double fraction = HashFraction(Labels::Of({{"__name__", "x"}, {"i", std::to_string(i)}}));
    EXPECT_GE(fraction, 0);
    EXPECT_LE(fraction, 1);
    sum += fraction;
  }
  EXPECT_NEAR(sum / 1000, 0.5, 0.05);
}

}  // namespace
}  // namespace tidewright::promql
