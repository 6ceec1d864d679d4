// HpaKeeper: the HorizontalPodAutoscaler that a ScaledObject with scalingMode hpa keeps. Private to the controllers.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scaler/cluster.h"
#include "scaler/scaled_object.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// The label by which an HPA's metrics are asked for, as KEDA has it.
inline constexpr char kScaledObjectLabel[] = "scaledobject.keda.sh/name";
// The metric of a formula.
inline constexpr char kCompositeMetric[] = "composite-metric";

// Not thread-safe. Borrows the cluster.
class HpaKeeper {
 public:
  explicit HpaKeeper(const Cluster& cluster) : cluster_(cluster) {}

  // Whether the HPA belongs to the ScaledObject, by its controller reference.
  static bool IsOwnedBy(const base::Json& hpa, const base::Json& owner);

  // Makes the HPA, or what differs of it, what the ScaledObject asks for. Nothing is written when nothing differs.
  // `triggers` has one entry per trigger. kAlreadyExists: an HPA of this name belongs to somebody else, and the object
  // does not ask to take it over.
  base::Status Keep(const base::Json& owner, const ScaledObject& spec, const std::vector<TriggerInfo>& triggers);

  // Deletes the HPAs of the ScaledObject except the one named `except`; other HPAs stay.
  base::Status Remove(const base::Json& owner, const std::string& except = "");

 private:
  const Cluster& cluster_;
};

// The HPA's metrics: one per trigger, or one of a formula.
base::Json HpaMetricsOf(const ScaledObject& spec, const std::vector<TriggerInfo>& triggers);

}  // namespace tidewright::scaler
