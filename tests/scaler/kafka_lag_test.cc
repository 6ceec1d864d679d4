#include "scaler/trigger/kafka_lag.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tidewright::scaler::trigger {
namespace {

std::vector<PartitionOffsets> Partitions(const std::vector<std::pair<int64_t, int64_t>>& committed_and_end) {
  std::vector<PartitionOffsets> partitions;
  for (const auto& [committed, end] : committed_and_end) {
    partitions.push_back({"orders", static_cast<int32_t>(partitions.size()), committed, end});
  }
  return partitions;
}

struct LagRow {
  const char* name;
  KafkaLagRules rules;
  std::vector<std::pair<int64_t, int64_t>> partitions;
  int64_t value_milli;
  int64_t messages;
};

const LagRow kRows[] = {
    {"nothing", {}, {{5, 5}, {7, 7}}, 0, 0},
    {"sum", {}, {{5, 9}, {7, 8}}, 5'000, 5},
    {"committed_beyond_the_end", {}, {{9, 5}, {7, 8}}, 1'000, 1},
    {"latest_without_offset", {}, {{-1, 100}, {-1, 0}}, 2'000, 2},
    {"earliest_without_offset", {.earliest = true}, {{-1, 12}, {3, 4}}, 13'000, 13},
    {"zero_without_offset", {.earliest = true, .zero_on_invalid_offset = true}, {{-1, 12}, {3, 4}}, 1'000, 1},
    {"no_more_than_partitions", {}, {{0, 500}, {0, 500}}, 20'000, 1000},
    {"idle_consumers", {.allow_idle_consumers = true}, {{0, 500}, {0, 500}}, 1'000'000, 1000},
    {"no_more_than_lagging", {.limit_to_partitions_with_lag = true}, {{0, 500}, {9, 9}, {3, 3}}, 10'000, 500},
    {"even_six_partitions_four_wanted",
     {.even_distribution = true},
     {{0, 35}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}},
     60'000,
     35},
    {"even_two_of_six", {.even_distribution = true}, {{0, 15}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}}, 20'000, 15},
    {"even_beyond_all", {.even_distribution = true}, {{0, 900}, {0, 0}, {0, 0}}, 30'000, 900},
    {"even_nothing", {.even_distribution = true}, {{4, 4}, {0, 0}}, 0, 0},
    {"threshold", {.threshold_milli = 2'500}, {{0, 4}, {0, 3}}, 5'000, 7},
    {"huge",
     {.allow_idle_consumers = true},
     {{0, INT64_MAX}, {0, INT64_MAX}},
     INT64_MAX / 1000 * 1000,
     INT64_MAX / 1000},
};

TEST(KafkaLag, FollowsKeda) {
  for (const LagRow& row : kRows) {
    const KafkaLag lag = KafkaLagMeter(row.rules).Measure(Partitions(row.partitions));
    EXPECT_EQ(lag.value_milli, row.value_milli) << row.name;
    EXPECT_EQ(lag.messages, row.messages) << row.name;
  }
}

TEST(KafkaLag, PersistentLagOnlyKeepsTheTargetActive) {
  KafkaLagMeter meter({.activation_milli = 2'000, .exclude_persistent_lag = true});
  EXPECT_EQ(meter.Measure(Partitions({{5, 10}, {7, 7}})).value_milli, 5'000) << "nothing to compare with yet";
  EXPECT_EQ(meter.Measure(Partitions({{5, 12}, {7, 7}})).value_milli, 2'001) << "stuck, but more than the activation";
  EXPECT_EQ(meter.Measure(Partitions({{5, 12}, {7, 10}})).value_milli, 2'001) << "the other one is stuck, too";
  EXPECT_EQ(meter.Measure(Partitions({{6, 12}, {8, 10}})).value_milli, 8'000) << "both have moved on";
  EXPECT_EQ(meter.Measure(Partitions({{12, 12}, {9, 10}})).value_milli, 1'000);
  EXPECT_EQ(meter.Measure(Partitions({{12, 12}, {9, 10}})).value_milli, 0) << "stuck below the activation";
}

}  // namespace
}  // namespace tidewright::scaler::trigger
