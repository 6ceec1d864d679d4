#include "scaler/behavior.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tidewright::scaler {

namespace {

int64_t SecondsToMs(int32_t seconds) { return static_cast<int64_t>(seconds) * 1000; }

// Replicas at the start of the policy's period: the present count without what was added and removed since.
int64_t PeriodStart(const DecisionInput& input, int32_t period_s) {
  int64_t cutoff = input.now_ms - SecondsToMs(period_s);
  int64_t start = input.current.spec_replicas;
  for (const ScaleEvent& event : input.history.events) {
    if (event.t_ms > cutoff) start -= event.change;
  }
  return start;
}

int32_t ToReplicas(double value) {
  return static_cast<int32_t>(std::clamp(value, 0.0, static_cast<double>(std::numeric_limits<int32_t>::max())));
}

int32_t AllowedUp(const DecisionInput& input, const ScalingPolicy& policy) {
  double start = static_cast<double>(PeriodStart(input, policy.period_s));
  if (policy.type == ScalingPolicy::Type::kPods) return ToReplicas(start + policy.value);
  return ToReplicas(std::ceil(start * (1 + static_cast<double>(policy.value) / 100)));
}

int32_t AllowedDown(const DecisionInput& input, const ScalingPolicy& policy) {
  double start = static_cast<double>(PeriodStart(input, policy.period_s));
  if (policy.type == ScalingPolicy::Type::kPods) return ToReplicas(start - policy.value);
  return ToReplicas(std::trunc(start * (1 - static_cast<double>(policy.value) / 100)));
}

}  // namespace

int32_t Stabilize(const DecisionInput& input, int32_t recommended) {
  int64_t up_cutoff = input.now_ms - SecondsToMs(input.spec.scale_up.stabilization_s);
  int64_t down_cutoff = input.now_ms - SecondsToMs(input.spec.scale_down.stabilization_s);
  int32_t lowest = recommended;
  int32_t highest = recommended;
  for (const Recommendation& past : input.history.recommendations) {
    // The two algorithms treat a recommendation that is exactly as old as the window differently.
    bool in_down = input.spec.no_behavior ? past.t_ms >= down_cutoff : past.t_ms > down_cutoff;
    if (past.t_ms > up_cutoff) lowest = std::min(lowest, past.replicas);
    if (in_down) highest = std::max(highest, past.replicas);
  }
  if (input.spec.no_behavior) return highest;
  return std::min(std::max(input.current.spec_replicas, lowest), highest);
}

int32_t ScaleUpLimit(const DecisionInput& input) {
  int32_t current = input.current.spec_replicas;
  const ScalingRules& rules = input.spec.scale_up;
  if (input.spec.no_behavior) return ToReplicas(std::max(2.0 * current, 4.0));
  if (rules.select == SelectPolicy::kDisabled || rules.policies.empty()) return current;
  bool take_max = rules.select == SelectPolicy::kMax;
  int32_t limit = AllowedUp(input, rules.policies.front());
  for (const ScalingPolicy& policy : rules.policies) {
    int32_t allowed = AllowedUp(input, policy);
    limit = take_max ? std::max(limit, allowed) : std::min(limit, allowed);
  }
  return std::max(limit, current);
}

int32_t ScaleDownLimit(const DecisionInput& input) {
  int32_t current = input.current.spec_replicas;
  const ScalingRules& rules = input.spec.scale_down;
  if (input.spec.no_behavior) return 0;
  if (rules.select == SelectPolicy::kDisabled || rules.policies.empty()) return current;
  bool take_lowest = rules.select == SelectPolicy::kMax;
  int32_t limit = AllowedDown(input, rules.policies.front());
  for (const ScalingPolicy& policy : rules.policies) {
    int32_t allowed = AllowedDown(input, policy);
    limit = take_lowest ? std::min(limit, allowed) : std::max(limit, allowed);
  }
  return std::min(limit, current);
}

void AddRecommendation(int64_t now_ms, int32_t replicas, History& history) {
  std::vector<Recommendation>& all = history.recommendations;
  if (!all.empty() && all.back().replicas == replicas) {
    all.back().t_ms = now_ms;
  } else {
    all.push_back({now_ms, replicas});
  }
}

void Prune(const ScaleSpec& spec, int64_t now_ms, History& history) {
  int64_t window = SecondsToMs(std::max(spec.scale_up.stabilization_s, spec.scale_down.stabilization_s));
  int64_t period = 0;
  for (const ScalingRules* rules : {&spec.scale_up, &spec.scale_down}) {
    for (const ScalingPolicy& policy : rules->policies) period = std::max(period, SecondsToMs(policy.period_s));
  }
  std::erase_if(history.recommendations, [&](const Recommendation& past) { return past.t_ms < now_ms - window; });
  std::erase_if(history.events, [&](const ScaleEvent& event) { return event.t_ms < now_ms - period; });
}

}  // namespace tidewright::scaler
