// What holds for every decision, whatever goes in: checked on random inputs of a fixed seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "scaler/decide.h"

namespace tidewright::scaler {
namespace {

constexpr int64_t kNow = 1'000'000'000;
constexpr int kRounds = 20'000;

class Inputs {
 public:
  int32_t Number(int32_t low, int32_t high) { return std::uniform_int_distribution<int32_t>(low, high)(engine_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(engine_); }

  Signal AnySignal(int index) {
    Signal signal;
    signal.name = signal.id = "s" + std::to_string(index);
    signal.counts_for_activity = true;
    signal.target_milli = Number(1, 20) * 500;
    signal.value_milli = int64_t{Number(0, 200)} * 1000;
    if (Chance(0.2)) signal.value_milli = 0;
    if (Chance(0.3)) signal.activation_milli = Number(0, 20) * 1000;
    if (Chance(0.2)) signal.type = TargetType::kValue;
    signal.exact = signal.type == TargetType::kAverageValue && Chance(0.2);
    if (Chance(0.1)) signal.max_replicas = Number(1, 30);
    if (Chance(0.1)) signal.floor = Number(0, 30);
    if (Chance(0.1)) signal.ceiling = Number(0, 30);
    if (Chance(0.1)) signal.error = "gone";
    return signal;
  }

  DecisionInput Any() {
    DecisionInput input;
    input.spec.min_replicas = Number(0, 10);
    input.spec.max_replicas = std::max(1, input.spec.min_replicas + Number(0, 40));
    if (input.spec.min_replicas > 0 && Chance(0.3)) input.spec.idle_replicas = Number(0, input.spec.min_replicas - 1);
    input.spec.cooldown_ms = Number(0, 3) * 100'000;
    input.spec.scale_up = Rules(DefaultScaleUp());
    input.spec.scale_down = Rules(DefaultScaleDown());
    input.spec.pause_scale_in = Chance(0.05);
    input.spec.pause_scale_out = Chance(0.05);
    input.spec.force_activation = Chance(0.05);
    for (int i = Number(1, 3); i > 0; --i) input.signals.push_back(AnySignal(i));
    int32_t current = Number(0, 60);
    input.current = {current, Number(0, current), Number(0, current)};
    input.now_ms = kNow;
    input.history.created_ms = kNow - Number(0, 10) * 100'000;
    if (Chance(0.7)) input.history.last_active_ms = kNow - Number(0, 10) * 100'000;
    for (int i = Number(0, 4); i > 0; --i) input.history.recommendations.push_back({kNow - i * 60'000, Number(0, 60)});
    for (int i = Number(0, 3); i > 0; --i) input.history.events.push_back({kNow - i * 10'000, Number(-5, 5)});
    return input;
  }

 private:
  ScalingRules Rules(ScalingRules rules) {
    if (Chance(0.5)) rules.stabilization_s = Number(0, 300);
    if (Chance(0.1)) rules.select = SelectPolicy::kDisabled;
    if (Chance(0.2)) rules.policies = {{ScalingPolicy::Type::kPods, Number(1, 5), 60}};
    return rules;
  }

  std::mt19937 engine_{20260108};
};

bool AnyError(const DecisionInput& input) {
  return std::any_of(input.signals.begin(), input.signals.end(), [](const Signal& s) { return !s.error.empty(); });
}

std::pair<int32_t, int32_t> Limits(const DecisionInput& input) {
  int32_t min = input.spec.min_replicas;
  int32_t max = input.spec.max_replicas;
  for (const Signal& signal : input.signals) {
    if (!signal.error.empty()) continue;
    min = std::max(min, signal.floor.value_or(0));
    max = std::min(max, signal.ceiling.value_or(max));
  }
  return {std::min(min, max), max};
}

std::string Trace(const Decision& decision) {
  std::string text = decision.why;
  for (const Step& step : decision.steps) text += "\n  " + step.stage + ": " + step.text;
  return text;
}

// Above the maximum is left at once, unless scaling in is paused; nothing ever goes there.
TEST(Invariants, NeverAboveTheMaximum) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    DecisionInput input = inputs.Any();
    Decision decision = Decide(input);
    int32_t max = Limits(input).second;
    bool stays = decision.replicas == input.current.spec_replicas && (input.spec.pause_scale_in || decision.hold);
    ASSERT_TRUE(decision.replicas <= max || stays) << decision.replicas << " over " << max << ": " << Trace(decision);
    ASSERT_GE(decision.replicas, 0);
  }
}

// Below the minimum there is only the idle count, and what is on its way between the two.
TEST(Invariants, BelowTheMinimumOnlyAtRest) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    DecisionInput input = inputs.Any();
    Decision decision = Decide(input);
    auto [min, max] = Limits(input);
    bool may_rest = input.spec.idle_replicas.has_value() || min == 0;
    bool stays = decision.replicas == input.current.spec_replicas;
    if (may_rest || stays) continue;
    ASSERT_GE(decision.replicas, min) << Trace(decision);
  }
}

// What is not known never shrinks a workload, unless it has more than it may have.
TEST(Invariants, NoScaleDownOnMissingData) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    DecisionInput input = inputs.Any();
    if (!AnyError(input)) continue;
    Decision decision = Decide(input);
    int32_t current = input.current.spec_replicas;
    if (current > Limits(input).second) continue;
    ASSERT_GE(decision.replicas, current) << Trace(decision);
  }
}

// More load never means fewer replicas.
TEST(Invariants, MonotonicInTheSignal) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    DecisionInput low = inputs.Any();
    if (AnyError(low)) continue;
    DecisionInput high = low;
    high.signals[0].value_milli += int64_t{inputs.Number(1, 100)} * 1000;
    // With no pod ready the Value formula asks for none, however large the value: as the HPA controller's.
    bool none_ready =
        low.signals[0].type == TargetType::kValue && low.current.ready_replicas < low.current.spec_replicas;
    // Within the tolerance the present count is kept, which may be more than just outside of it.
    if (none_ready || !low.signals[0].exact) high.signals[0].exact = low.signals[0].exact = true;
    low.signals[0].type = high.signals[0].type = TargetType::kAverageValue;
    Decision of_low = Decide(low);
    Decision of_high = Decide(high);
    ASSERT_GE(of_high.replicas, of_low.replicas) << Trace(of_low) << "\n--\n" << Trace(of_high);
  }
}

// The same input gives the same output; and once the decision is carried out, deciding again at the same time with the
// same readings takes nothing of it back.
TEST(Invariants, Idempotent) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    DecisionInput input = inputs.Any();
    Decision first = Decide(input);
    Decision again = Decide(input);
    ASSERT_EQ(first.replicas, again.replicas);
    ASSERT_EQ(first.why, again.why);
    DecisionInput next = input;
    int32_t change = first.replicas - input.current.spec_replicas;
    next.history = first.history;
    if (change != 0 && !first.woke_up) next.history.events.push_back({input.now_ms, change});
    next.current.spec_replicas = next.current.status_replicas = next.current.ready_replicas = first.replicas;
    if (std::any_of(next.signals.begin(), next.signals.end(),
                    [](const Signal& s) { return s.type == TargetType::kValue; })) {
      continue;  // Its proposal depends on how many pods are ready.
    }
    Decision second = Decide(next);
    if (change > 0) {
      ASSERT_GE(second.replicas, first.replicas) << Trace(first) << "\n--\n" << Trace(second);
    }
    if (change < 0) {
      ASSERT_LE(second.replicas, std::max(first.replicas, input.current.spec_replicas)) << Trace(second);
    }
  }
}

// Every number has a reason.
TEST(Invariants, ExplainsItself) {
  Inputs inputs;
  for (int i = 0; i < kRounds; ++i) {
    Decision decision = Decide(inputs.Any());
    ASSERT_FALSE(decision.why.empty());
    ASSERT_FALSE(decision.steps.empty());
  }
}

}  // namespace
}  // namespace tidewright::scaler
