// The JSON of metric lists, as the clients of the three metrics APIs expect it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apiservice/provider.h"
#include "base/json_fwd.h"
#include "kube/meta.h"

namespace tidewright::apiservice {

// The lists that autoscalers ask for every few seconds are written as text: of thousands of values only name, time and
// number differ.
//
// MetricValueList of custom.metrics.k8s.io; `version` is v1beta1 or v1beta2, which name metric, window and selector
// differently. `selector` is the request's metricLabelSelector.
std::string CustomMetricsText(const std::string& version, const CustomMetricValues& values,
                              const kube::LabelSelector& selector);
// ExternalMetricValueList of external.metrics.k8s.io/v1beta1.
std::string ExternalMetricsText(const std::vector<ExternalMetricValue>& values);

// metrics.k8s.io: one object, a list, or a meta.k8s.io/v1 Table for kubectl get.
base::Json PodMetricsJson(const std::string& version, const PodMetrics& pod);
base::Json NodeMetricsJson(const std::string& version, const NodeMetrics& node);
base::Json PodMetricsListJson(const std::string& version, const std::vector<PodMetrics>& pods);
base::Json NodeMetricsListJson(const std::string& version, const std::vector<NodeMetrics>& nodes);
base::Json PodMetricsTable(const std::vector<PodMetrics>& pods);
base::Json NodeMetricsTable(const std::vector<NodeMetrics>& nodes);

// A duration as Go prints it: "5m0s", "15.1s", "1h0m0s", "500ms".
std::string FormatGoDuration(int64_t ms);

}  // namespace tidewright::apiservice
