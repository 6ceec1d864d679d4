#include "scaler/decide.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace tidewright::scaler {
namespace {

constexpr int64_t kNow = 1'000'000'000;

// A spec whose windows and policies let every recommendation through.
ScaleSpec OpenSpec(int32_t min = 1, int32_t max = 1000) {
  ScaleSpec spec;
  spec.min_replicas = min;
  spec.max_replicas = max;
  spec.scale_up.policies = {{ScalingPolicy::Type::kPods, 100'000, 15}};
  spec.scale_down.policies = {{ScalingPolicy::Type::kPercent, 100, 15}};
  return spec;
}

struct Row {
  const char* name;
  DecisionInput input;
  int32_t want;
  std::optional<int32_t> utilization = std::nullopt;
  std::optional<int64_t> average_milli = std::nullopt;
};

DecisionInput Input(int32_t current, Signal signal, ScaleSpec spec = OpenSpec()) {
  DecisionInput input;
  input.spec = std::move(spec);
  input.signals.push_back(std::move(signal));
  input.current = {current, current, current};
  input.now_ms = kNow;
  return input;
}

// Pods with the given usages (milli); the pods without a value follow.
struct Pods {
  std::vector<int64_t> ready;
  int unready = 0;
  int missing = 0;
  std::vector<int64_t> requests = {};  // Of the ready pods; 1000m by default.
  int64_t other_request = 1000;        // Of the pods without a value.
};

Signal PodSignal(TargetType type, int64_t target_milli, const Pods& pods) {
  Signal signal;
  signal.name = "test metric";
  signal.type = type;
  signal.target_milli = target_milli;
  for (size_t i = 0; i < pods.ready.size(); ++i) {
    int64_t request = i < pods.requests.size() ? pods.requests[i] : 1000;
    signal.pods.push_back({"ready", PodSample::State::kReady, pods.ready[i], request});
  }
  for (int i = 0; i < pods.unready; ++i)
    signal.pods.push_back({"unready", PodSample::State::kUnready, 0, pods.other_request});
  for (int i = 0; i < pods.missing; ++i)
    signal.pods.push_back({"missing", PodSample::State::kMissing, 0, pods.other_request});
  return signal;
}

Signal Cpu(int percent, const Pods& pods) { return PodSignal(TargetType::kUtilization, percent * 1000, pods); }
Signal PerPod(int64_t target_milli, const Pods& pods) { return PodSignal(TargetType::kPerPod, target_milli, pods); }

Signal Total(TargetType type, int64_t value_milli, int64_t target_milli) {
  Signal signal;
  signal.name = "total";
  signal.type = type;
  signal.value_milli = value_milli;
  signal.target_milli = target_milli;
  return signal;
}
Signal Value(int64_t value_milli, int64_t target_milli) { return Total(TargetType::kValue, value_milli, target_milli); }
Signal Average(int64_t value_milli, int64_t target_milli) {
  return Total(TargetType::kAverageValue, value_milli, target_milli);
}
Signal Failed(const std::string& name, const std::string& error) {
  Signal signal;
  signal.name = name;
  signal.error = error;
  signal.target_milli = 1000;
  return signal;
}

DecisionInput WithReady(DecisionInput input, int32_t ready) {
  input.current.ready_replicas = ready;
  return input;
}

DecisionInput WithTolerances(DecisionInput input, double up, double down) {
  input.spec.scale_up.tolerance = up;
  input.spec.scale_down.tolerance = down;
  return input;
}

DecisionInput WithSignals(DecisionInput input, std::vector<Signal> signals) {
  input.signals = std::move(signals);
  return input;
}

class HpaFormulas : public testing::TestWithParam<Row> {};

TEST_P(HpaFormulas, ProposesAsTheHpaController) {
  const Row& row = GetParam();
  Decision decision = Decide(row.input);
  EXPECT_EQ(decision.replicas, row.want) << decision.why;
  const Measured& measured = decision.measured.at(0);
  EXPECT_EQ(measured.utilization, row.utilization.value_or(measured.utilization));
  EXPECT_EQ(measured.value_milli, row.average_milli.value_or(measured.value_milli));
}

const Row kWorkedExamples[] = {
    {"e1_utilization_80_of_50", Input(3, Cpu(50, {{600, 800, 1000}})), 5, 80},
    {"e2_upper_bound_is_inclusive", Input(4, Cpu(50, {{550, 550, 550, 550}})), 4, 55},
    {"e2_lower_bound_is_inclusive", Input(4, Cpu(50, {{450, 450, 450, 450}})), 4, 45},
    {"e2_559_truncates_to_55", Input(4, Cpu(50, {{559, 559, 559, 559}})), 4, 55},
    {"e2_560_is_56", Input(4, Cpu(50, {{560, 560, 560, 560}})), 5, 56},
    {"e3_unready_counts_0_on_the_way_up", Input(4, Cpu(50, {{900, 900, 900}, 1, 0})), 6, 90},
    {"e3_missing_counts_0_on_the_way_up", Input(4, Cpu(50, {{900, 900, 900}, 0, 1})), 6, 90},
    {"e4_missing_counts_request_on_the_way_down", Input(4, Cpu(60, {{200, 200, 200}, 0, 1})), 3, 20},
    {"e5_missing_dampens_up", Input(4, Cpu(60, {{900, 900, 900}, 0, 1})), 5, 90},
    {"e6_missing_counts_target_above_100", Input(4, Cpu(150, {{500, 500, 500}, 0, 1})), 2, 50},
    {"e7_unready_is_ignored_on_the_way_down", Input(4, Cpu(50, {{200, 200, 200}, 1, 0})), 2, 20},
    {"e7_missing_is_not", Input(4, Cpu(50, {{200, 200, 200}, 0, 1})), 4, 20},
    {"e8_pods_average", Input(3, PerPod(10'000, {{12'500, 14'000, 15'500}})), 5, std::nullopt, 14'000},
    {"e9_pods_missing_up", Input(4, PerPod(10'000, {{20'000, 20'000, 20'000}, 0, 1})), 6},
    {"e9_pods_missing_down", Input(4, PerPod(10'000, {{4'000, 4'000, 4'000}, 0, 1})), 3},
    {"e10_object_value_5_ready", Input(5, Value(30'000, 12'000)), 13},
    {"e10_object_value_4_of_5_ready", WithReady(Input(5, Value(30'000, 12'000)), 4), 10},
    {"e10_object_value_within_tolerance", Input(5, Value(13'000, 12'000)), 5},
    {"e10_object_value_just_outside", Input(5, Value(13'300, 12'000)), 6},
    {"e11_object_average_20", Input(4, Average(20'000, 4'000)), 5, std::nullopt, 5'000},
    {"e11_object_average_17_kept", Input(4, Average(17'000, 4'000)), 4, std::nullopt, 4'250},
    {"e11_object_average_18", Input(4, Average(18'000, 4'000)), 5},
    {"e12_external_value", Input(3, Value(12'000, 5'000)), 8},
    {"e13_external_average_100", Input(3, Average(100'000, 30'000)), 4, std::nullopt, 33'334},
    {"e13_external_average_9", Input(10, Average(9'000, 30'000)), 1},
    {"e13_external_average_0_goes_to_min", Input(10, Average(0, 30'000)), 1},
    {"e13_external_average_0_with_min_0", Input(10, Average(0, 30'000), OpenSpec(0)), 0},
    {"e14_from_zero_half", Input(0, Value(500, 1'000), OpenSpec(0)), 1},
    {"e14_from_zero_5_3", Input(0, Value(5'300, 1'000), OpenSpec(0)), 6},
    {"e14_from_zero_0", Input(0, Value(0, 1'000), OpenSpec(0)), 0},
    {"e15_tolerance_up_0_01", WithTolerances(Input(3, Value(8'900'000, 8'800'000)), 0.01, 0.1), 4},
    {"e15_exactly_0_9_stays", WithTolerances(Input(10, Value(9'000'000, 10'000'000)), 0.01, 0.1), 10},
    {"e15_8999_goes_down", WithTolerances(Input(10, Value(8'999'000, 10'000'000)), 0.01, 0.1), 9},
};

const Row kUpstreamExpectations[] = {
    {"cpu_300_500_700", Input(3, Cpu(30, {{300, 500, 700}})), 5, 50},
    {"cpu_first_unready", Input(3, Cpu(30, {{500, 700}, 1, 0})), 4, 60},
    {"cpu_one_ready_two_unready", Input(3, Cpu(30, {{400}, 2, 0})), 3, 40},
    {"cpu_two_failed_pods_left_out", Input(2, Cpu(30, {{500, 700}})), 4, 60},
    {"cpu_100_300_500_250_250", Input(5, Cpu(50, {{100, 300, 500, 250, 250}})), 3, 28},
    {"cpu_last_two_unready", Input(5, Cpu(50, {{100, 300, 500}, 2, 0})), 2, 30},
    {"cpu_one_and_four_pending", Input(5, Cpu(50, {{100}, 4, 0})), 1, 10},
    {"cpu_superfluous_metrics_ignored", Input(4, Cpu(100, {{4000, 9500, 3000, 7000}})), 24, 587},
    {"cpu_two_missing_down", Input(4, Cpu(100, {{400, 95}, 0, 2})), 3, 24},
    {"cpu_unready_missing_450", Input(3, Cpu(50, {{450}, 1, 1})), 3, 45},
    {"cpu_target_above_100", Input(4, Cpu(300, {{100, 100}, 1, 1, {1000, 2000}, 2000})), 2, 6},
    {"external_per_pod_8600", WithTolerances(Input(3, Average(8'600, 2'800)), 0.01, 0.1), 4, std::nullopt, 2'867},
    {"object_per_pod_20208", WithTolerances(Input(4, Average(20'208, 5'000)), 0.01, 0.1), 5, std::nullopt, 5'052},
    {"pods_two_missing", Input(5, PerPod(20'000'000, {{20'000'000, 19'000'000, 21'000'000}, 0, 2})), 5},
};

const Row kFailStatic[] = {
    {"missing_pod_at_ratio_1_changes_nothing", Input(4, PerPod(10'000, {{10'000, 10'000, 10'000}, 0, 1})), 4},
    {"no_pod_with_metric_holds", Input(4, Cpu(50, {{}, 4, 0})), 4},
    {"no_request_holds", Input(2, Cpu(50, {{100, 100}, 0, 0, {0, 0}})), 2},
    {"target_0_holds", Input(4, Average(1'000, 0)), 4},
    {"utilization_target_below_1_percent_holds", Input(1, PodSignal(TargetType::kUtilization, 500, {{100}})), 1},
    {"negative_total_is_none_needed", Input(4, Average(-5'000, 1'000)), 1},
    {"huge_total_saturates", Input(4, Average(INT64_MAX, 1), OpenSpec(1, 50)), 50},
    {"huge_pod_values_saturate", Input(2, Cpu(50, {{INT64_MAX, INT64_MAX}}), OpenSpec(1, 50)), 50},
    {"value_with_no_ready_pod_goes_to_min", WithReady(Input(5, Value(30'000, 12'000), OpenSpec(2)), 0), 2},
};

std::string RowName(const testing::TestParamInfo<Row>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Worked, HpaFormulas, testing::ValuesIn(kWorkedExamples), RowName);
INSTANTIATE_TEST_SUITE_P(Upstream, HpaFormulas, testing::ValuesIn(kUpstreamExpectations), RowName);
INSTANTIATE_TEST_SUITE_P(FailStatic, HpaFormulas, testing::ValuesIn(kFailStatic), RowName);

// Example 16: several metrics, some of which fail.
struct MixRow {
  const char* name;
  std::vector<int> proposals;  // -1 fails.
  int32_t want;
  bool hold;
};
class SeveralMetrics : public testing::TestWithParam<MixRow> {};

TEST_P(SeveralMetrics, FollowsTheHighestUnlessAFailureHidesAHigherOne) {
  const MixRow& row = GetParam();
  std::vector<Signal> signals;
  for (int proposal : row.proposals) {
    signals.push_back(proposal < 0 ? Failed("redis orders", "connection refused") : Average(proposal * 1000, 1000));
  }
  Decision decision = Decide(WithSignals(Input(4, Average(0, 1)), signals));
  EXPECT_EQ(decision.replicas, row.want);
  EXPECT_EQ(decision.hold, row.hold);
  EXPECT_EQ(decision.why == "held: redis orders cannot be read: connection refused", row.hold) << decision.why;
}

const MixRow kMixes[] = {
    {"e16_5_and_error", {5, -1}, 5, false},    {"e16_4_and_error", {4, -1}, 4, false},
    {"e16_3_and_error", {3, -1}, 4, true},     {"e16_all_errors", {-1, -1}, 4, true},
    {"highest_of_three", {2, 9, 5}, 9, false}, {"error_first", {-1, 7}, 7, false},
};
INSTANTIATE_TEST_SUITE_P(Mixes, SeveralMetrics, testing::ValuesIn(kMixes),
                         [](const auto& row) { return std::string(row.param.name); });

// Examples 17 and 17b: rate policies.
struct PolicyRow {
  const char* name;
  std::vector<ScalingPolicy> policies;
  SelectPolicy select;
  int32_t current;
  int32_t wanted;
  int32_t change_before;  // Added (or removed) 10 s ago.
  int32_t want;
};
class Policies : public testing::TestWithParam<PolicyRow> {};

TEST_P(Policies, BoundTheStep) {
  const PolicyRow& row = GetParam();
  ScaleSpec spec = OpenSpec(0);
  ScalingRules& rules = row.wanted > row.current ? spec.scale_up : spec.scale_down;
  rules.policies = row.policies;
  rules.select = row.select;
  DecisionInput input = Input(row.current, Average(row.wanted * 1000, 1000), spec);
  if (row.change_before != 0) input.history.events.push_back({kNow - 10'000, row.change_before});
  EXPECT_EQ(Decide(input).replicas, row.want);
}

constexpr auto kPods = ScalingPolicy::Type::kPods;
constexpr auto kPercent = ScalingPolicy::Type::kPercent;
const std::vector<ScalingPolicy> kDefaultUp = DefaultScaleUp().policies;
const std::vector<ScalingPolicy> kTenOrFour = {{kPercent, 10, 60}, {kPods, 4, 60}};
const PolicyRow kPolicies[] = {
    {"e17_default_up_from_3", kDefaultUp, SelectPolicy::kMax, 3, 50, 0, 7},
    {"e17_default_up_from_10", kDefaultUp, SelectPolicy::kMax, 10, 50, 0, 20},
    {"e17_percent_10_from_7", {{kPercent, 10, 60}}, SelectPolicy::kMax, 7, 50, 0, 8},
    {"e17_pods_4_after_3_added", {{kPods, 4, 60}}, SelectPolicy::kMax, 10, 50, 3, 11},
    {"e17_down_max_from_80", kTenOrFour, SelectPolicy::kMax, 80, 0, 0, 72},
    {"e17_down_max_from_72", kTenOrFour, SelectPolicy::kMax, 72, 0, 0, 64},
    {"e17_down_max_from_64", kTenOrFour, SelectPolicy::kMax, 64, 0, 0, 57},
    {"e17_down_max_from_57", kTenOrFour, SelectPolicy::kMax, 57, 0, 0, 51},
    {"e17_down_max_from_51", kTenOrFour, SelectPolicy::kMax, 51, 0, 0, 45},
    {"e17_down_max_from_45", kTenOrFour, SelectPolicy::kMax, 45, 0, 0, 40},
    {"e17_down_max_from_40", kTenOrFour, SelectPolicy::kMax, 40, 0, 0, 36},
    {"e17_down_max_from_36", kTenOrFour, SelectPolicy::kMax, 36, 0, 0, 32},
    {"e17_down_max_from_16", kTenOrFour, SelectPolicy::kMax, 16, 0, 0, 12},
    {"e17_down_min_from_80", kTenOrFour, SelectPolicy::kMin, 80, 0, 0, 76},
    {"e17b_up_10_percent_from_50", {{kPercent, 10, 60}}, SelectPolicy::kMax, 50, 500, 0, 56},
    {"e17b_up_10_percent_from_100", {{kPercent, 10, 60}}, SelectPolicy::kMax, 100, 500, 0, 111},
    {"e17b_down_80_percent_from_10", {{kPercent, 80, 60}}, SelectPolicy::kMax, 10, 0, 0, 1},
    {"e17b_down_80_percent_from_5", {{kPercent, 80, 60}}, SelectPolicy::kMax, 5, 0, 0, 0},
    {"e17b_down_90_percent_from_10", {{kPercent, 90, 60}}, SelectPolicy::kMax, 10, 0, 0, 0},
    {"up_disabled", kDefaultUp, SelectPolicy::kDisabled, 3, 50, 0, 3},
    {"down_disabled", kTenOrFour, SelectPolicy::kDisabled, 80, 0, 0, 80},
    {"down_after_4_removed", {{kPods, 4, 60}}, SelectPolicy::kMax, 76, 0, -4, 76},
    {"up_min_takes_the_smaller", kDefaultUp, SelectPolicy::kMin, 10, 50, 0, 14},
    {"up_never_goes_down_after_many_added", {{kPods, 1, 60}}, SelectPolicy::kMax, 10, 50, 5, 10},
};
INSTANTIATE_TEST_SUITE_P(Rates, Policies, testing::ValuesIn(kPolicies),
                         [](const auto& row) { return std::string(row.param.name); });

// Example 17, in sequence: 10 % or 4 pods a minute, whichever is more, from 80.
TEST(Policies, WalkDownFrom80) {
  ScaleSpec spec = OpenSpec(0);
  spec.scale_down.policies = kTenOrFour;
  DecisionInput input = Input(80, Average(0, 1000), spec);
  std::vector<int32_t> seen;
  for (int i = 0; i < 13; ++i) {
    Decision decision = Decide(input);
    seen.push_back(decision.replicas);
    input.history = decision.history;
    input.history.events.push_back({input.now_ms, decision.replicas - input.current.spec_replicas});
    input.current = {decision.replicas, decision.replicas, decision.replicas};
    input.now_ms += 60'000;
  }
  EXPECT_EQ(seen, (std::vector<int32_t>{72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12}));
}

// Example 18: the highest recommendation of five minutes decides.
TEST(Stabilization, WaitsForTheHighestRecommendationToAge) {
  for (bool no_behavior : {false, true}) {
    ScaleSpec spec = OpenSpec();
    spec.no_behavior = no_behavior;
    spec.scale_down.stabilization_s = 300;
    struct Tick {
      int64_t at_s;
      int32_t recommended;
      int32_t want;
    };
    const Tick ticks[] = {{0, 10, 10}, {60, 7, 10}, {120, 4, 10}, {299, 4, 10}, {301, 4, 7}, {359, 4, 7}, {361, 4, 4}};
    DecisionInput input = Input(10, Average(0, 1000), spec);
    for (const Tick& tick : ticks) {
      input.now_ms = kNow + tick.at_s * 1000;
      input.signals[0].value_milli = tick.recommended * 1000;
      Decision decision = Decide(input);
      EXPECT_EQ(decision.replicas, tick.want) << "at " << tick.at_s << " s, no_behavior " << no_behavior;
      EXPECT_EQ(decision.stabilized, tick.want != tick.recommended);
      input.history = decision.history;
      input.current = {decision.replicas, decision.replicas, decision.replicas};
    }
  }
}

TEST(Stabilization, ExactlyAtTheEndOfTheWindowTheTwoAlgorithmsDiffer) {
  ScaleSpec spec = OpenSpec();
  spec.scale_down.stabilization_s = 300;
  DecisionInput input = Input(10, Average(4000, 1000), spec);
  input.history.recommendations.push_back({kNow - 300'000, 10});
  EXPECT_EQ(Decide(input).replicas, 4);
  input.spec.no_behavior = true;
  EXPECT_EQ(Decide(input).replicas, 10);
}

TEST(Stabilization, ScaleUpWindowTakesTheLowest) {
  ScaleSpec spec = OpenSpec();
  spec.scale_up.stabilization_s = 60;
  DecisionInput input = Input(4, Average(9000, 1000), spec);
  input.history.recommendations = {{kNow - 30'000, 6}, {kNow - 90'000, 4}};
  Decision decision = Decide(input);
  EXPECT_EQ(decision.replicas, 6);
  EXPECT_EQ(decision.history.recommendations.size(), 2u) << "the one older than every window is forgotten";
}

TEST(NoBehavior, LimitsTheStepUp) {
  for (auto [from, to] : std::vector<std::pair<int32_t, int32_t>>{{1, 4}, {2, 4}, {3, 6}, {10, 20}}) {
    ScaleSpec spec = OpenSpec();
    spec.no_behavior = true;
    Decision decision = Decide(Input(from, Average(500'000, 1000), spec));
    EXPECT_EQ(decision.replicas, to);
    EXPECT_EQ(decision.limiting, Limiting::kUpPolicy);
  }
}

TEST(Limits, OutOfRangeNeedsNoSignal) {
  EXPECT_EQ(Decide(Input(1, Failed("m", "gone"), OpenSpec(3, 8))).replicas, 3);
  EXPECT_EQ(Decide(Input(20, Failed("m", "gone"), OpenSpec(3, 8))).replicas, 8);
}

// --- ScaledObjects -------------------------------------------------------------------------------------------------

Signal Queue(int64_t length, int64_t target = 5, int64_t activation = 0) {
  Signal signal = Average(length * 1000, target * 1000);
  signal.name = "redis orders";
  signal.activation_milli = activation * 1000;
  signal.counts_for_activity = true;
  return signal;
}

Signal Cron(int32_t replicas, const std::string& name = "cron") {
  Signal signal = Average(replicas * 1000, 1000);
  signal.name = name;
  signal.counts_for_activity = true;
  signal.exact = true;
  signal.detail = replicas > 0 ? "window is open" : "window is closed";
  return signal;
}

Signal FailedQueue() {
  Signal signal = Failed("redis orders", "connection refused");
  signal.counts_for_activity = true;
  return signal;
}

DecisionInput Scaled(int32_t current, std::vector<Signal> signals, int32_t min = 0, int32_t max = 20) {
  DecisionInput input;
  input.spec.min_replicas = min;
  input.spec.max_replicas = max;
  input.spec.cooldown_ms = 300'000;
  input.spec.scale_up = DefaultScaleUp();
  input.spec.scale_down = DefaultScaleDown();
  input.signals = std::move(signals);
  input.current = {current, current, current};
  input.now_ms = kNow;
  input.history.created_ms = kNow - 10'000'000;
  return input;
}

DecisionInput LastActive(DecisionInput input, int64_t ago_ms) {
  input.history.last_active_ms = kNow - ago_ms;
  return input;
}

DecisionInput WithIdle(DecisionInput input, int32_t idle) {
  input.spec.idle_replicas = idle;
  return input;
}

DecisionInput Change(DecisionInput input, const std::function<void(DecisionInput&)>& change) {
  change(input);
  return input;
}

struct ScaledRow {
  const char* name;
  DecisionInput input;
  int32_t want;
  bool hold = false;
  bool active = false;
};
class ScaledObjects : public testing::TestWithParam<ScaledRow> {};

TEST_P(ScaledObjects, Decide) {
  const ScaledRow& row = GetParam();
  Decision decision = Decide(row.input);
  EXPECT_EQ(decision.replicas, row.want) << decision.why;
  EXPECT_EQ(decision.hold, row.hold) << decision.why;
  EXPECT_EQ(decision.active, row.active) << decision.why;
  EXPECT_FALSE(decision.why.empty());
  ASSERT_FALSE(decision.steps.empty());
}

const ScaledRow kScaled[] = {
    {"wakes_directly_to_the_needed_number", Scaled(0, {Queue(42)}), 9, false, true},
    {"wakes_to_max_at_most", Scaled(0, {Queue(42)}, 0, 8), 8, false, true},
    {"wakes_to_min_at_least", Scaled(0, {Queue(1)}, 3), 3, false, true},
    {"activation_is_strictly_greater", Scaled(0, {Queue(10, 5, 10)}), 0, false, false},
    {"activation_exceeded", Scaled(0, {Queue(11, 5, 10)}), 3, false, true},
    {"inactive_at_zero_stays", Scaled(0, {Queue(0)}), 0},
    {"cooldown_not_over_keeps_one", LastActive(Scaled(1, {Queue(0)}), 300'000), 1},
    {"cooldown_over_goes_to_zero", LastActive(Scaled(1, {Queue(0)}), 300'001), 0},
    {"cooldown_over_from_many_goes_to_zero", LastActive(Scaled(7, {Queue(0)}), 301'000), 0},
    {"never_active_without_initial_cooldown", Scaled(1, {Queue(0)}), 0},
    {"initial_cooldown_protects",
     Change(Scaled(1, {Queue(0)}),
            [](DecisionInput& in) {
              in.history.created_ms = kNow - 60'000;
              in.spec.initial_cooldown_ms = 120'000;
            }),
     1},
    {"initial_cooldown_over",
     Change(Scaled(1, {Queue(0)}),
            [](DecisionInput& in) {
              in.history.created_ms = kNow - 120'001;
              in.spec.initial_cooldown_ms = 120'000;
            }),
     0},
    {"blind_time_does_not_count_as_cooldown",
     Change(LastActive(Scaled(1, {Queue(0)}), 900'000),
            [](DecisionInput& in) { in.history.last_unknown_ms = kNow - 100'000; }),
     1},
    {"drop_to_zero_respects_policies",
     Change(LastActive(Scaled(10, {Queue(0)}), 301'000),
            [](DecisionInput& in) {
              in.spec.scale_down.policies = {{kPods, 2, 60}};
            }),
     8},
    {"min_above_zero_never_idles", LastActive(Scaled(2, {Queue(0)}, 2), 900'000), 2},
    {"idle_replicas_after_cooldown", WithIdle(LastActive(Scaled(6, {Queue(0)}, 4), 301'000), 1), 1},
    {"idle_replicas_stay", WithIdle(LastActive(Scaled(1, {Queue(0)}, 4), 301'000), 1), 1},
    {"idle_replicas_are_kept_up", WithIdle(Scaled(0, {Queue(0)}, 4), 1), 1},
    {"from_idle_to_needed", WithIdle(Scaled(1, {Queue(42)}, 4), 1), 9, false, true},
    {"from_idle_to_min", WithIdle(Scaled(1, {Queue(6)}, 4), 1), 4, false, true},
    {"cron_is_exact_88_to_89", Scaled(88, {Cron(89)}, 0, 100), 89, false, true},
    {"cron_is_exact_downwards",
     Change(Scaled(50, {Cron(45)}, 0, 100), [](DecisionInput& in) { in.spec.scale_down.stabilization_s = 0; }), 45,
     false, true},
    {"queue_keeps_its_tolerance", Scaled(88, {Queue(89, 1)}, 0, 100), 88, false, true},
    {"c20_one_window", Scaled(5, {Cron(5, "a"), Cron(0, "b")}, 1), 5, false, true},
    {"c20_both_windows", Scaled(5, {Cron(5, "a"), Cron(9, "b")}, 1), 9, false, true},
    {"c20_no_window",
     Change(Scaled(5, {Cron(0, "a"), Cron(0, "b")}, 1),
            [](DecisionInput& in) { in.spec.scale_down.stabilization_s = 0; }),
     1},
    {"error_at_zero_holds", Scaled(0, {FailedQueue()}), 0, true},
    {"error_after_cooldown_holds", LastActive(Scaled(5, {FailedQueue()}), 900'000), 5, true},
    {"error_beside_inactive_holds", LastActive(Scaled(5, {Cron(0), FailedQueue()}), 900'000), 5, true},
    {"error_beside_inactive_at_zero_holds", Scaled(0, {Cron(0), FailedQueue()}), 0, true},
    {"error_beside_active_wakes", Scaled(0, {Cron(4), FailedQueue()}), 4, false, true},
    {"error_beside_higher_scales_up", Scaled(3, {Cron(6), FailedQueue()}), 6, false, true},
    {"error_beside_lower_holds", Scaled(5, {Cron(3), FailedQueue()}), 5, true, true},
    {"pause_scale_in",
     Change(LastActive(Scaled(5, {Queue(0)}), 900'000), [](DecisionInput& in) { in.spec.pause_scale_in = true; }), 5},
    {"pause_scale_in_lets_out",
     Change(Scaled(1, {Queue(10)}), [](DecisionInput& in) { in.spec.pause_scale_in = true; }), 2, false, true},
    {"pause_scale_out_from_zero",
     Change(Scaled(0, {Queue(42)}), [](DecisionInput& in) { in.spec.pause_scale_out = true; }), 0, false, true},
    {"pause_scale_out", Change(Scaled(2, {Queue(42)}), [](DecisionInput& in) { in.spec.pause_scale_out = true; }), 2,
     false, true},
    {"forced_from_zero", Change(Scaled(0, {Queue(0)}), [](DecisionInput& in) { in.spec.force_activation = true; }), 1,
     false, true},
    {"forced_stays_up",
     Change(LastActive(Scaled(1, {Queue(0)}), 900'000), [](DecisionInput& in) { in.spec.force_activation = true; }), 1,
     false, true},
    {"forced_with_a_failing_trigger",
     Change(Scaled(0, {FailedQueue()}, 2), [](DecisionInput& in) { in.spec.force_activation = true; }), 2, false, true},
    {"running_workload_obeys_up_policies", Scaled(2, {Queue(100)}), 6, false, true},
};
INSTANTIATE_TEST_SUITE_P(Rows, ScaledObjects, testing::ValuesIn(kScaled),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ScaledObjects, AFailedReadRestartsTheCooldown) {
  DecisionInput input = LastActive(Scaled(5, {FailedQueue()}), 299'000);
  Decision blind = Decide(input);
  EXPECT_TRUE(blind.hold);
  input.history = blind.history;
  input.signals = {Queue(0)};
  input.spec.scale_down.stabilization_s = 0;
  input.now_ms = kNow + 200'000;
  EXPECT_EQ(Decide(input).replicas, 1) << "200 s after the blind moment the cooldown still runs";
  input.now_ms = kNow + 300'001;
  EXPECT_EQ(Decide(input).replicas, 0);
}

TEST(Reasons, ReadAsSentences) {
  EXPECT_EQ(Decide(Scaled(6, {Queue(42)})).why, "redis orders = 42, target 5 per replica -> 9 replicas");
  EXPECT_EQ(Decide(Scaled(7, {Queue(42)}, 0, 8)).why,
            "redis orders = 42, target 5 per replica -> 9 replicas; limited to max 8");
  EXPECT_EQ(Decide(Scaled(0, {Queue(42)})).why,
            "redis orders = 42, target 5 per replica -> 9 replicas; waking up from 0 replicas directly to 9 replicas");
  EXPECT_EQ(Decide(Scaled(3, {FailedQueue()})).why, "held: redis orders cannot be read: connection refused");
  EXPECT_EQ(Decide(LastActive(Scaled(1, {Queue(0)}), 400'000)).why,
            "no trigger is active and the cooldown of 300 s is over -> idle at 0 replicas");
  EXPECT_EQ(Decide(Scaled(2, {Cron(5)})).why, "cron: window is open -> 5 replicas");
}

TEST(Reasons, StepsFollowTheStages) {
  Decision decision = Decide(Scaled(7, {Queue(42), Cron(2)}, 0, 8));
  std::vector<std::string> stages;
  for (const Step& step : decision.steps) stages.push_back(step.stage);
  EXPECT_EQ(stages, (std::vector<std::string>{"signal", "signal", "combine", "limit"}));
  EXPECT_EQ(decision.deciding_signal, "redis orders");
  EXPECT_EQ(decision.limiting, Limiting::kMax);
  EXPECT_EQ(decision.recommended, 9);
}

TEST(FormatMilli, DropsTrailingZeros) {
  EXPECT_EQ(FormatMilli(42'000), "42");
  EXPECT_EQ(FormatMilli(450), "0.45");
  EXPECT_EQ(FormatMilli(-1'005), "-1.005");
  EXPECT_EQ(FormatMilli(0), "0");
  EXPECT_EQ(FormatMilli(INT64_MIN), "-9223372036854775.808");
}

}  // namespace
}  // namespace tidewright::scaler
