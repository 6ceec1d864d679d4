// DecideJobs: how many Jobs a ScaledJob starts, as a pure function. KEDA's arithmetic (its ScaledJob documentation);
// docs/decisions.md states the formulas.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scaler/decide.h"

namespace tidewright::scaler {

// How many Jobs are started for a load when some are there already.
enum class JobStrategy {
  kDefault,   // As many as are missing: those that run work off what is counted.
  kCustom,    // The load less a deduction and a share of those that run.
  kAccurate,  // The load less those that are pending: what runs has taken its work out of the queue.
  kEager,     // All that the maximum still allows.
};

// How the loads of several triggers become one.
enum class JobCombination { kMax, kMin, kAverage, kSum };

struct JobScaling {
  int32_t min_jobs = 0;
  int32_t max_jobs = 100;
  JobStrategy strategy = JobStrategy::kDefault;
  int32_t deduction = 0;     // kCustom.
  double running_share = 0;  // kCustom: 0.5 for one half.
  JobCombination combination = JobCombination::kMax;
};

// The Jobs that are there and not finished. Those that are pending run, too.
struct JobCounts {
  int32_t running = 0;
  int32_t pending = 0;  // None of their pods has begun.
};

struct JobDecision {
  int32_t create = 0;
  bool active = false;  // Some trigger is above its activation threshold, or there is a minimum.
  bool any_error = false;
  bool all_failed = false;
  bool held = false;  // What cannot be read could change the number.
  std::string why;
  std::string deciding_signal;
  std::vector<Step> steps;                        // Stages "signal", "combine", "strategy", "limit", "hold".
  std::vector<std::optional<int32_t>> proposals;  // Per signal: Jobs for its load alone.
};

// A trigger that cannot be read adds nothing to a maximum or a sum; a minimum or an average is not known without it,
// and nothing is started but the minimum. What runs is never ended. Pure and thread-safe.
JobDecision DecideJobs(const JobScaling& scaling, const std::vector<Signal>& signals, const JobCounts& jobs);

}  // namespace tidewright::scaler
