// Formulas, limits per trigger, and limits that a trigger sets on the whole workload.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "scaler/decide.h"

namespace tidewright::scaler {
namespace {

constexpr int64_t kNow = 1'000'000'000;

Signal Queue(const std::string& id, int64_t value) {
  Signal signal;
  signal.name = "redis " + id;
  signal.id = id;
  signal.value_milli = value * 1000;
  signal.target_milli = 5000;
  signal.counts_for_activity = true;
  return signal;
}

Signal Window(int32_t replicas, std::optional<int32_t> floor, std::optional<int32_t> ceiling) {
  Signal signal = Queue("night", replicas);
  signal.name = "cron night";
  signal.target_milli = 1000;
  signal.exact = true;
  signal.floor = floor;
  signal.ceiling = ceiling;
  return signal;
}

DecisionInput Input(int32_t current, std::vector<Signal> signals, const char* formula = nullptr) {
  DecisionInput input;
  input.spec.min_replicas = 0;
  input.spec.max_replicas = 50;
  input.spec.scale_up = DefaultScaleUp();
  input.spec.scale_up.policies = {{ScalingPolicy::Type::kPods, 1000, 15}};
  input.spec.scale_down = DefaultScaleDown();
  input.spec.scale_down.stabilization_s = 0;
  input.signals = std::move(signals);
  input.current = {current, current, current};
  input.now_ms = kNow;
  input.history.created_ms = kNow - 10'000'000;
  if (formula != nullptr)
    input.spec.composite = Composite{*Formula::Parse(formula), TargetType::kAverageValue, 2000, 0};
  return input;
}

struct Row {
  const char* name;
  DecisionInput input;
  int32_t want;
  const char* why;
};

Signal Failed(Signal signal) {
  signal.error = "connection refused";
  return signal;
}
Signal Absent(Signal signal) {
  signal.absent = true;
  signal.detail = "absent after 4 failures";
  return signal;
}
Signal Fallback(Signal signal, int32_t replicas) {
  signal.in_fallback = signal.exact = true;
  signal.target_milli = 1000;
  signal.value_milli = replicas * 1000;
  signal.detail = "fallback";
  return signal;
}
Signal Capped(Signal signal, int32_t most) {
  signal.max_replicas = most;
  return signal;
}

Signal Untargeted(Signal signal) {
  signal.target_milli = 0;
  return signal;
}

class Composites : public testing::TestWithParam<Row> {};

TEST_P(Composites, Decide) {
  const Row& row = GetParam();
  Decision decision = Decide(row.input);
  EXPECT_EQ(decision.replicas, row.want) << decision.why;
  EXPECT_NE(decision.why.find(row.why), std::string::npos) << decision.why;
}

const Row kRows[] = {
    {"FormulaTakesThePlaceOfTheMaximum", Input(4, {Queue("a", 10), Queue("b", 30)}, "(a + b) / 2"), 10,
     "formula = 20, target 2 per replica -> 10 replicas"},
    {"FormulaNeedsNoTargets", Input(4, {Untargeted(Queue("a", 10))}, "a"), 5, "formula = 10, target 2 per replica"},
    {"FormulaWakesUp", Input(0, {Queue("a", 10), Queue("b", 0)}, "a + b"), 5, "waking up from 0 replicas"},
    {"FormulaOfZeroRests", Input(4, {Queue("a", 10)}, "a > 100 ? a : 0"), 0, "no trigger is active"},
    {"FormulaBelowZeroRests", Input(4, {Queue("a", 10)}, "a - 100"), 0, "no trigger is active"},
    {"FormulaWithoutAValueHolds", Input(4, {Queue("a", 10)}, "1 / (a - 10)"), 4, "held: formula cannot be read"},
    {"FormulaHoldsWhileASignalFails", Input(4, {Queue("a", 90), Failed(Queue("b", 1))}, "a + b"), 4,
     "held: redis b cannot be read: connection refused"},
    {"FormulaReplacesWhatIsAbsent", Input(4, {Queue("a", 10), Absent(Queue("b", 0))}, "a + (b ?? 6)"), 8,
     "formula = 16"},
    {"FormulaThatNeedsWhatIsAbsentHolds", Input(4, {Queue("a", 10), Absent(Queue("b", 0))}, "a + b"), 4,
     "held: formula cannot be read"},
    {"FormulaStepsBackForAFallback", Input(4, {Queue("a", 90), Fallback(Queue("b", 0), 7)}, "a + b"), 7, "fallback"},
    {"TriggerMayAskForSoManyOnly", Input(4, {Capped(Queue("a", 100), 6), Queue("b", 25)}), 6,
     "of which it may ask for 6"},
    {"WindowRaisesTheMinimum", Input(2, {Queue("a", 10), Window(0, 8, std::nullopt)}), 8, "below min 8"},
    {"WindowLowersTheMaximum", Input(12, {Queue("a", 100), Window(0, std::nullopt, 3)}), 3, "above max 3"},
    {"WindowOfNothing", Input(12, {Queue("a", 100), Window(0, std::nullopt, 0)}), 0, "above max 0"},
    {"CeilingWinsOverFloor", Input(2, {Window(0, 8, std::nullopt), Window(0, std::nullopt, 3), Queue("a", 100)}), 3,
     "below min 3"},
    {"ClosedWindowSetsNothing", Input(2, {Queue("a", 30), Window(0, std::nullopt, std::nullopt)}), 6, "redis a = 30"},
    {"WindowThatCannotBeReadSetsNothing", Input(2, {Queue("a", 30), Failed(Window(0, std::nullopt, 1))}), 6,
     "redis a = 30"},
};
INSTANTIATE_TEST_SUITE_P(Rows, Composites, testing::ValuesIn(kRows),
                         [](const testing::TestParamInfo<Row>& info) { return info.param.name; });

TEST(Composites, TheTraceHasTheFormula) {
  Decision decision = Decide(Input(4, {Queue("a", 10), Queue("b", 30)}, "max([a, b])"));
  std::vector<std::string> stages;
  for (const Step& step : decision.steps) stages.push_back(step.stage + ": " + step.text);
  EXPECT_EQ(stages[0], "signal: redis a = 10");
  EXPECT_EQ(stages[1], "signal: redis b = 30");
  EXPECT_EQ(stages[2], "formula: formula = 30, target 2 per replica -> 15 replicas");
  EXPECT_EQ(decision.deciding_signal, "formula");
}

}  // namespace
}  // namespace tidewright::scaler
