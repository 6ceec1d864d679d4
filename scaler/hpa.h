// HorizontalPodAutoscaler manifests, autoscaling/v2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/meta.h"
#include "scaler/decide.h"

namespace tidewright::scaler {

// One entry of spec.metrics.
struct HpaMetric {
  enum class Source { kResource, kContainerResource, kPods, kObject, kExternal };
  Source source = Source::kResource;
  std::string name;                                          // "cpu", "http_requests_per_second"
  std::string container;                                     // ContainerResource.
  kube::LabelSelector selector;                              // metric.selector
  std::string object_api_version, object_kind, object_name;  // Object: describedObject.
  TargetType type = TargetType::kUtilization;
  int64_t target_milli = 0;  // kUtilization: percent * 1000.

  // "Pods", "External", ...: spec.metrics[].type.
  const char* SourceName() const;
  // For reasons: "External orders", "cpu", "cpu of container app", "Object rate of Ingress web".
  std::string Title() const;
};

struct HpaDefaults {
  double tolerance = 0.1;
  int32_t downscale_stabilization_s = 300;
};

// A decoded HorizontalPodAutoscaler. Value type.
struct Hpa {
  std::string ns;
  std::string name;
  int64_t generation = 0;
  int64_t created_ms = 0;
  std::string target_api_version, target_kind, target_name;
  ScaleSpec scale;
  std::vector<HpaMetric> metrics;

  std::string TargetKey() const { return target_kind + "." + target_api_version + " " + ns + "/" + target_name; }
};

// Decodes strictly, as DecodeScaledObject. Without spec.metrics the metric is cpu at 80 % utilization; minReplicas is
// 1, and may be 0 only beside an Object or External metric.
base::Result<Hpa> DecodeHpa(const base::Json& object, const HpaDefaults& defaults);

}  // namespace tidewright::scaler
