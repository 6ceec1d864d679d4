// What a restart brings back beside the age of pending alerts, which the recorded scenarios have: alerts that
// keep_firing_for keeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/group.h"
#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tsdb::Labels;

constexpr int64_t kMinute = 60'000;

class RestartTest : public ::testing::Test {
 protected:
  RestartTest() { Restart(); }

  // As a process does that was killed: what is in the store is all that is left.
  void Restart() {
    ManagerOptions options;
    options.notify = [this](const std::vector<AlertNotice>& alerts) {
      for (const AlertNotice& alert : alerts) {
        notices_.push_back(std::string(alert.labels.Get("job")) + (alert.ends_at_ms > now_ ? " fires" : " is over"));
      }
    };
    auto groups = ParseRuleFile(
        "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: m > 0, keep_firing_for: 10m, annotations: {s: '{{ "
        "$labels.job }} has {{ $value }}'}}]}]",
        "f.yml");
    ASSERT_TRUE(groups.ok()) << groups.status().message();
    group_.reset();
    group_ = std::make_unique<Group>(groups->front(), options, *store_.engine, *store_.db, instruments_);
  }

  // Evaluates once, with the metric at `value` unless it is negative.
  void Step(double value) {
    now_ += kMinute;
    if (value >= 0) store_.Add(Labels::Of({{"__name__", "m"}, {"job", "a"}}), now_, value);
    notices_.clear();
    group_->Evaluate(now_);
    if (group_->RestoreDue()) group_->Restore(now_);
  }
  std::vector<Alert> Alerts() { return group_->Status().rules[0].alerts; }

  testing::Store store_;
  base::MetricRegistry metrics_;
  Instruments instruments_{metrics_};
  std::unique_ptr<Group> group_;
  int64_t now_ = 1'700'000'000'000;
  std::vector<std::string> notices_;
};

TEST_F(RestartTest, KeepsWhatWasKeptFiring) {
  for (int i = 0; i < 4; ++i) Step(1);
  const int64_t active_at = Alerts()[0].active_at_ms;
  Step(0);
  Step(0);
  ASSERT_EQ(Alerts()[0].state, AlertState::kFiring) << "kept";
  Restart();
  now_ += 2 * kMinute;
  Step(0);
  EXPECT_THAT(Alerts(), IsEmpty()) << "not looked up yet";
  Step(0);
  ASSERT_EQ(Alerts().size(), 1u);
  EXPECT_EQ(Alerts()[0].state, AlertState::kFiring);
  EXPECT_EQ(Alerts()[0].active_at_ms, active_at / 1000 * 1000);
  EXPECT_EQ(Alerts()[0].annotations.at("s"), "a has NaN");
  Step(0);
  EXPECT_THAT(notices_, ElementsAre("a fires"));
  for (int i = 0; i < 4; ++i) Step(0);
  EXPECT_EQ(Alerts()[0].state, AlertState::kFiring);
  for (int i = 0; i < 2; ++i) Step(0);
  EXPECT_EQ(Alerts()[0].state, AlertState::kInactive) << "ten minutes after it was last heard of";
}

TEST_F(RestartTest, ForgetsWhatWasKeptForLongEnough) {
  for (int i = 0; i < 4; ++i) Step(1);
  Step(0);
  Restart();
  now_ += 12 * kMinute;
  for (int i = 0; i < 3; ++i) Step(0);
  EXPECT_THAT(Alerts(), IsEmpty());
}

TEST_F(RestartTest, AnAlertThatFiresAgainIsOneAlert) {
  for (int i = 0; i < 4; ++i) Step(1);
  Restart();
  for (int i = 0; i < 3; ++i) Step(1);
  ASSERT_EQ(Alerts().size(), 1u);
  EXPECT_EQ(Alerts()[0].annotations.at("s"), "a has 1");
}

TEST_F(RestartTest, WhatWasResolvedStaysSo) {
  for (int i = 0; i < 3; ++i) Step(1);
  for (int i = 0; i < 12; ++i) Step(0);
  ASSERT_EQ(Alerts()[0].state, AlertState::kInactive);
  Restart();
  for (int i = 0; i < 3; ++i) Step(0);
  EXPECT_THAT(Alerts(), IsEmpty());
}

}  // namespace
}  // namespace tidewright::rules
