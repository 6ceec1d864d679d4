// The messages of KEDA's protocol for scalers outside of the program: package externalscaler. Private to
// scaler/trigger. Source: pkg/scalers/externalscaler/externalscaler.proto of kedacore/keda. Numbers come as integers,
// as fractions, or, from servers of before the fractions existed, without them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::scaler::trigger {

// A metric and what one replica takes of it.
struct ExternalMetric {
  std::string name;
  double target = 0;
};

// ScaledObjectRef.
std::string EncodeScaledObjectRef(const std::string& name, const std::string& ns,
                                  const std::map<std::string, std::string>& metadata);
// GetMetricsRequest.
std::string EncodeGetMetrics(const std::string& scaled_object_ref, const std::string& metric);

// Replies. kUnavailable: the bytes are not such a message.
base::Result<bool> DecodeIsActive(std::string_view bytes);
// At most kMaxExternalMetrics, each with a name and a positive target; otherwise kFailedPrecondition.
base::Result<std::vector<ExternalMetric>> DecodeMetricSpecs(std::string_view bytes);
// The sum of all values, as of all series of a metric. kFailedPrecondition when there is none.
base::Result<double> DecodeMetrics(std::string_view bytes);

inline constexpr size_t kMaxExternalMetrics = 16;

}  // namespace tidewright::scaler::trigger
