// ScaledJob manifests, groups tidewright.dev/v1alpha1 and keda.sh/v1alpha1 (one schema).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scaler/decide_jobs.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// A decoded ScaledJob. Value type.
struct ScaledJob {
  std::string ns;
  std::string name;
  int64_t generation = 0;
  std::shared_ptr<const base::Json> job_spec;  // jobTargetRef: the spec of each Job, never null.
  std::string env_container;                   // "": the first container.
  int64_t polling_interval_ms = 30'000;
  int32_t successful_history = 100;  // How many finished Jobs are kept.
  int32_t failed_history = 100;
  bool keep_old_jobs = false;                   // rollout.strategy gradual: a changed template ends no Job.
  bool wait_for_old_jobs = false;               // rollout.propagationPolicy foreground: ended Jobs count until they go.
  std::vector<std::string> pending_conditions;  // Of a pod; a Job counts as pending until one has all of them.
  JobScaling scaling;
  std::vector<TriggerSpec> triggers;
  bool paused = false;  // autoscaling.keda.sh/paused
};

// Decodes strictly, as DecodeScaledObject() does: kInvalidArgument with one line per error. What is in jobTargetRef,
// apart from a pod template, is the API server's to check when a Job is created.
base::Result<ScaledJob> DecodeScaledJob(const base::Json& object);

}  // namespace tidewright::scaler
