#include "scaler/decide_jobs.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace tidewright::scaler {
namespace {

Signal Queue(const std::string& name, int64_t length, int64_t per_job = 1) {
  Signal signal;
  signal.name = name;
  signal.value_milli = length * 1000;
  signal.target_milli = per_job * 1000;
  signal.counts_for_activity = true;
  return signal;
}

Signal Broken(const std::string& name) {
  Signal signal = Queue(name, 0);
  signal.error = "connection refused";
  return signal;
}

struct JobRow {
  const char* name;
  JobScaling scaling;
  std::vector<Signal> signals;
  JobCounts jobs;
  int32_t create;
};

TEST(DecideJobs, Strategies) {
  using S = JobStrategy;
  const JobRow rows[] = {
      {"nothing to do", {}, {Queue("q", 0)}, {}, 0},
      {"one Job per message", {}, {Queue("q", 7)}, {}, 7},
      {"five messages per Job, rounded up", {}, {Queue("q", 11, 5)}, {}, 3},
      {"those that run count", {}, {Queue("q", 7)}, {3, 0}, 4},
      {"more run than are needed", {}, {Queue("q", 2)}, {3, 0}, 0},
      {"the maximum", {0, 5}, {Queue("q", 50)}, {}, 5},
      {"the maximum with some that run", {0, 5}, {Queue("q", 50)}, {3, 0}, 2},
      {"the minimum without load", {3, 10}, {Queue("q", 0)}, {1, 0}, 2},
      {"the minimum is there", {3, 10}, {Queue("q", 0)}, {3, 0}, 0},
      {"the minimum does not count against the load", {3, 10}, {Queue("q", 4)}, {3, 0}, 4},
      {"the load gets what the minimum leaves", {3, 10}, {Queue("q", 40)}, {3, 0}, 7},
      {"custom", {0, 100, S::kCustom, 2, 0.5}, {Queue("q", 20)}, {9, 0}, 14},
      {"custom never below zero", {0, 100, S::kCustom, 30, 0}, {Queue("q", 20)}, {}, 0},
      {"custom within the maximum", {0, 10, S::kCustom, 0, 0}, {Queue("q", 20)}, {8, 0}, 2},
      {"accurate", {0, 100, S::kAccurate}, {Queue("q", 5)}, {10, 2}, 3},
      {"accurate within the maximum", {0, 10, S::kAccurate}, {Queue("q", 8)}, {7, 2}, 3},
      {"eager fills up", {0, 10, S::kEager}, {Queue("q", 8)}, {4, 1}, 5},
      {"eager starts no more than the load", {0, 10, S::kEager}, {Queue("q", 2)}, {4, 0}, 2},
      {"eager when nothing is left", {0, 10, S::kEager}, {Queue("q", 8)}, {9, 3}, 0},
      {"more run than may", {0, 3}, {Queue("q", 50)}, {5, 0}, 0},
  };
  for (const JobRow& row : rows) {
    JobDecision decision = DecideJobs(row.scaling, row.signals, row.jobs);
    EXPECT_EQ(decision.create, row.create) << row.name << ": " << decision.why;
    EXPECT_FALSE(decision.steps.empty()) << row.name;
    EXPECT_FALSE(decision.held) << row.name;
  }
}

TEST(DecideJobs, Combinations) {
  const std::vector<Signal> three = {Queue("a", 2), Queue("b", 9, 2), Queue("c", 0)};
  const struct {
    JobCombination combination;
    int32_t create;
    const char* deciding;
  } rows[] = {{JobCombination::kMax, 5, "b"},
              {JobCombination::kMin, 2, "a"},
              {JobCombination::kAverage, 4, "b"},
              {JobCombination::kSum, 7, "b"}};
  for (const auto& row : rows) {
    JobScaling scaling;
    scaling.combination = row.combination;
    JobDecision decision = DecideJobs(scaling, three, {});
    EXPECT_EQ(decision.create, row.create) << decision.why;
    EXPECT_EQ(decision.deciding_signal, row.deciding);
    EXPECT_TRUE(decision.active);
    ASSERT_EQ(decision.proposals.size(), 3u);
    EXPECT_EQ(decision.proposals[1], 5);
    EXPECT_EQ(decision.proposals[2], 0);
  }
}

TEST(DecideJobs, WhatCannotBeReadStartsNothingByGuess) {
  const struct {
    const char* name;
    JobScaling scaling;
    std::vector<Signal> signals;
    int32_t create;
    bool held;
  } rows[] = {
      {"all failed", {}, {Broken("a")}, 0, true},
      {"all failed, below the minimum", {2, 10}, {Broken("a")}, 2, false},
      {"the highest is at least what can be read", {}, {Broken("a"), Queue("b", 4)}, 4, false},
      {"the sum is at least what can be read",
       {0, 100, JobStrategy::kDefault, 0, 0, JobCombination::kSum},
       {Broken("a"), Queue("b", 4)},
       4,
       false},
      {"the lowest is not known",
       {0, 100, JobStrategy::kDefault, 0, 0, JobCombination::kMin},
       {Broken("a"), Queue("b", 4)},
       0,
       true},
      {"the average is not known",
       {0, 100, JobStrategy::kDefault, 0, 0, JobCombination::kAverage},
       {Broken("a"), Queue("b", 4)},
       0,
       true},
  };
  for (const auto& row : rows) {
    JobDecision decision = DecideJobs(row.scaling, row.signals, {});
    EXPECT_EQ(decision.create, row.create) << row.name << ": " << decision.why;
    EXPECT_EQ(decision.held, row.held) << row.name;
    EXPECT_TRUE(decision.any_error) << row.name;
    if (row.held) EXPECT_EQ(decision.why, "held: a cannot be read: connection refused");
  }
}

TEST(DecideJobs, ExplainsItself) {
  Signal queue = Queue("redis orders", 9, 2);
  queue.activation_milli = 3000;
  JobDecision decision = DecideJobs({0, 4, JobStrategy::kAccurate}, {queue}, {1, 1});
  EXPECT_EQ(decision.why, "redis orders = 9, target 2 per Job -> 5 Jobs; 1 are pending for it already");
  queue.value_milli = 3000;
  decision = DecideJobs({}, {queue}, {});
  EXPECT_FALSE(decision.active);
  EXPECT_EQ(decision.create, 0);
  EXPECT_EQ(decision.steps[0].text, "redis orders = 3, target 2 per Job -> 0 Jobs (not active)");
}

// For every strategy and whatever is there: never above the maximum, never fewer for more load.
TEST(DecideJobs, StaysWithinTheMaximumAndRisesWithTheLoad) {
  std::mt19937 random(7);
  auto below = [&random](int n) { return static_cast<int32_t>(random() % static_cast<unsigned>(n)); };
  for (int i = 0; i < 20'000; ++i) {
    JobScaling scaling;
    scaling.max_jobs = 1 + below(30);
    scaling.min_jobs = below(scaling.max_jobs + 1);
    scaling.strategy = static_cast<JobStrategy>(below(4));
    scaling.combination = static_cast<JobCombination>(below(4));
    scaling.deduction = below(4);
    scaling.running_share = below(5) * 0.25;
    JobCounts jobs{below(40), 0};
    jobs.pending = below(jobs.running + 1);
    std::vector<Signal> signals = {Queue("a", below(60), 1 + below(4)), Queue("b", 1 + below(60), 1 + below(4))};
    JobDecision less = DecideJobs(scaling, signals, jobs);
    ASSERT_GE(less.create, 0);
    ASSERT_TRUE(less.create == 0 || jobs.running + less.create <= scaling.max_jobs) << less.why;
    signals[1].value_milli += 5'000;
    ASSERT_GE(DecideJobs(scaling, signals, jobs).create, less.create) << less.why;
  }
}

}  // namespace
}  // namespace tidewright::scaler
