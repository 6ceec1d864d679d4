// How fast a recommendation may be followed: stabilization windows and rate policies of autoscaling/v2 behavior.
// Private to scaler/decide.
#pragma once

#include <cstdint>

#include "scaler/decide.h"

namespace tidewright::scaler {

// The recommendation after the stabilization windows. With a behavior: the present count moved only as far as every
// recommendation of the scale-up window (their minimum) and of the scale-down window (their maximum) agrees; without
// one: the highest of the scale-down window.
int32_t Stabilize(const DecisionInput& input, int32_t recommended);

// The highest count that the scale-up policies allow now, never below the present count. Percentages are computed in
// float64 as the HPA controller does: ceil(start * (1 + percent / 100)).
int32_t ScaleUpLimit(const DecisionInput& input);

// The lowest count that the scale-down policies allow now, never above the present count:
// trunc(start * (1 - percent / 100)).
int32_t ScaleDownLimit(const DecisionInput& input);

// Adds a recommendation. Of a row of equal ones the newest stands for all: whatever window looks at an older one looks
// at it, too. So a history is as long as its changes, however often decisions are made.
void AddRecommendation(int64_t now_ms, int32_t replicas, History& history);

// Drops recommendations and events that no window looks at any more.
void Prune(const ScaleSpec& spec, int64_t now_ms, History& history);

}  // namespace tidewright::scaler
