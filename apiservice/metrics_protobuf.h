// Metric lists in Kubernetes' protobuf form, which the HPA controller and `kubectl top` prefer: a third of the bytes of
// JSON, and read in a fraction of the time.
#pragma once

#include <string>
#include <vector>

#include "apiservice/provider.h"
#include "kube/meta.h"

namespace tidewright::apiservice {

inline constexpr char kProtobufType[] = "application/vnd.kubernetes.protobuf";

// Each is the envelope `Unknown` of k8s.io/apimachinery (four bytes, then apiVersion, kind and the message) around the
// message of k8s.io/metrics that the functions of metrics_json.h write as JSON.
std::string CustomMetricsProtobuf(const std::string& version, const CustomMetricValues& values,
                                  const kube::LabelSelector& selector);
std::string ExternalMetricsProtobuf(const std::vector<ExternalMetricValue>& values);
std::string PodMetricsListProtobuf(const std::string& version, const std::vector<PodMetrics>& pods);
std::string PodMetricsProtobuf(const std::string& version, const PodMetrics& pod);
std::string NodeMetricsListProtobuf(const std::string& version, const std::vector<NodeMetrics>& nodes);
std::string NodeMetricsProtobuf(const std::string& version, const NodeMetrics& node);

}  // namespace tidewright::apiservice
