// ScaledObject manifests, groups tidewright.dev/v1alpha1 and keda.sh/v1alpha1 (one schema).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scaler/scaling_rules.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// What to do while a trigger fails for longer than `failure_threshold` readings in a row.
struct Fallback {
  // kFormula: the trigger has no value then, and scalingModifiers.formula says what counts (`queue ?? 10`).
  enum class Behavior { kStatic, kCurrent, kCurrentIfHigher, kCurrentIfLower, kFormula };
  int32_t failure_threshold = 0;
  int32_t replicas = 0;
  Behavior behavior = Behavior::kStatic;
};

// Whether decisions are carried out.
// kHpa: between 1 and max by a HorizontalPodAutoscaler that we keep, to and from rest by us, as KEDA does.
enum class ScalingMode { kDirect, kHpa, kDryRun };

// A decoded ScaledObject. Value type.
struct ScaledObject {
  std::string ns;
  std::string name;
  std::string api_version;  // Of the object itself.
  int64_t generation = 0;
  int64_t created_ms = 0;

  // spec.scaleTargetRef
  std::string target_api_version = "apps/v1";
  std::string target_kind = "Deployment";
  std::string target_name;
  std::string env_container;  // "": the first container.

  int64_t polling_interval_ms = 30'000;
  ScaleSpec scale;               // Limits, idle, cooldowns, behavior, and the pause and force annotations.
  bool has_down_window = false;  // behavior.scaleDown.stabilizationWindowSeconds is written.
  std::vector<TriggerSpec> triggers;
  std::optional<Fallback> fallback;
  ScalingMode mode = ScalingMode::kDirect;  // scalingMode
  std::string hpa_name;                     // advanced.horizontalPodAutoscalerConfig.name, by default keda-hpa-<name>.
  bool transfer_hpa = false;       // scaledobject.keda.sh/transfer-hpa-ownership: take over the HPA of that name.
  bool restore_on_delete = false;  // advanced.restoreToOriginalReplicaCount

  bool paused = false;                     // autoscaling.keda.sh/paused or paused-replicas.
  std::optional<int32_t> paused_replicas;  // autoscaling.keda.sh/paused-replicas

  // "Deployment.apps/v1 shop/web": what no two autoscalers may scale.
  std::string TargetKey() const { return target_kind + "." + target_api_version + " " + ns + "/" + target_name; }
};

// Decodes strictly: unknown fields, wrong types, limits that contradict each other, unknown trigger types and keys, and
// values that do not parse are each one line of the error (kInvalidArgument), which names the object, the field, the
// value and the remedy. Fields of the schema that this version does not implement are errors, too, never ignored.
base::Result<ScaledObject> DecodeScaledObject(const base::Json& object);

// The annotations that pause or force, under either prefix: autoscaling.keda.sh/ and autoscaling.tidewright.dev/.
inline constexpr const char* kAnnotationPrefixes[] = {"autoscaling.keda.sh/", "autoscaling.tidewright.dev/"};

}  // namespace tidewright::scaler
