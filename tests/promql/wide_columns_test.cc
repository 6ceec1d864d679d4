#include "promql/wide_columns.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace tidewright::promql {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Every size up to a few registers' width, and every place in it.
constexpr size_t kMostValues = 40;

class WideColumnsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (wide_ == nullptr) GTEST_SKIP() << "this processor has no AVX2";
  }

  const WideColumns* const wide_ = FindWideColumns();
  std::mt19937_64 random_{5};
};

TEST_F(WideColumnsTest, FindsEachFallAndEachNan) {
  for (size_t count = 0; count < kMostValues; ++count) {
    std::vector<double> values;
    for (size_t i = 0; i < count; ++i) values.push_back(static_cast<double>(i / 2));
    EXPECT_TRUE(wide_->rises(values.data(), count)) << count;
    for (size_t at = 0; at < count; ++at) {
      for (double odd : {-1.0, kNan, Absent(), -kInf}) {
        std::vector<double> changed = values;
        changed[at] = odd;
        const bool rises = at == 0 && odd == odd;
        EXPECT_EQ(wide_->rises(changed.data(), count), rises) << count << " values, " << odd << " at " << at;
      }
    }
  }
}

TEST_F(WideColumnsTest, AddsAsOneAfterTheOther) {
  const double kinds[] = {0.0, -0.0, 0.1, 1e16, -1e16, 3e-300, 1e308, -1e308, kInf, -kInf, kNan};
  for (size_t count = 0; count < kMostValues; ++count) {
    std::vector<KahanSum> one_by_one(count), together(count);
    std::vector<uint8_t> used(count), expected_used(count);
    for (int round = 0; round < 50; ++round) {
      std::vector<double> values;
      for (size_t i = 0; i < count; ++i) {
        // Few overflow, as those that did stay what they are.
        const uint64_t kind = random_() % (round < 40 ? 6 : std::size(kinds));
        values.push_back(random_() % 20 == 0 ? Absent() : kinds[kind] + static_cast<double>(random_() % 1000) / 7);
      }
      for (size_t i = 0; i < count;) {
        const size_t stopped = wide_->add(values.data(), i, count, together.data(), used.data());
        ASSERT_GE(stopped, i);
        i = stopped;
        for (size_t few = 0; few < 4 && i < count; ++few, ++i) {
          if (IsAbsent(values[i])) continue;
          together[i].Add(values[i]);
          used[i] = 1;
        }
      }
      for (size_t i = 0; i < count; ++i) {
        if (IsAbsent(values[i])) continue;
        one_by_one[i].Add(values[i]);
        expected_used[i] = 1;
      }
    }
    EXPECT_EQ(used, expected_used);
    for (size_t i = 0; i < count; ++i) {
      const std::string where = std::to_string(i) + " of " + std::to_string(count);
      // The sign of what is not a number is nobody's.
      if (one_by_one[i].sum() != one_by_one[i].sum()) {
        EXPECT_NE(together[i].sum(), together[i].sum()) << where;
        continue;
      }
      EXPECT_EQ(std::bit_cast<uint64_t>(together[i].sum()), std::bit_cast<uint64_t>(one_by_one[i].sum())) << where;
      EXPECT_EQ(std::bit_cast<uint64_t>(together[i].compensation()),
                std::bit_cast<uint64_t>(one_by_one[i].compensation()))
          << where;
    }
  }
}

// Stops where a window is too small or a counter's zero may be near, and nowhere else but for the last few.
TEST_F(WideColumnsTest, ExtrapolatesUntilSomethingIsOdd) {
  std::vector<double> samples;
  for (int i = 0; i < 100; ++i) samples.push_back(1000 + static_cast<double>(random_() % 50) + 60 * i);
  for (int round = 0; round < 2000; ++round) {
    const size_t count = random_() % kMostValues;
    const bool counter = round % 2 == 0;
    std::vector<uint32_t> begin(count), end(count);
    Reaches reaches;
    reaches.Resize(count);
    size_t odd = count;
    if (count > 0 && random_() % 3 == 0) odd = random_() % count;
    for (size_t i = 0; i < count; ++i) {
      begin[i] = static_cast<uint32_t>(random_() % 70);
      end[i] = begin[i] + 2 + static_cast<uint32_t>(random_() % 20);
      reaches.sampled[i] = 15.0 * (end[i] - begin[i] - 1);
      reaches.to_start[i] = static_cast<double>(random_() % 15);
      reaches.factor[i] = 1 / static_cast<double>(1 + random_() % 300);
    }
    const bool too_small = round % 3 == 0 || !counter;
    if (odd < count && too_small) end[odd] = begin[odd] + static_cast<uint32_t>(random_() % 2);
    if (odd < count && !too_small) reaches.to_start[odd] = 1e9;  // Reaches back to before the counter's zero.
    std::vector<double> values(count, Absent());
    const Increases increases{samples.data(), begin.data(), end.data(), &reaches, counter};
    const size_t stopped = wide_->extrapolate(increases, 0, count, values.data());
    EXPECT_EQ(stopped, std::min(count, odd) / 4 * 4) << count << " windows, odd " << odd;
    for (size_t i = 0; i < stopped; ++i) {
      EXPECT_EQ(values[i], (samples[end[i] - 1] - samples[begin[i]]) * reaches.factor[i]) << i;
      const double increase = samples[end[i] - 1] - samples[begin[i]];
      EXPECT_FALSE(counter && ZeroMayBeNear(reaches, i, samples[begin[i]], increase)) << i;
    }
    for (size_t i = stopped; i < count; ++i) EXPECT_TRUE(IsAbsent(values[i])) << i;
  }
}

}  // namespace
}  // namespace tidewright::promql
