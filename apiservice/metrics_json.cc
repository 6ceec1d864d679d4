#include "apiservice/metrics_json.h"

#include "apiservice/route.h"
#include "base/duration.h"
#include "base/json.h"

namespace tidewright::apiservice {
namespace {

using base::Json;

// The object form of a selector; null for an empty one.
Json SelectorJson(const kube::LabelSelector& selector) {
  using Op = kube::Requirement::Op;
  if (selector.empty()) return nullptr;
  Json labels = Json::object();
  Json expressions = Json::array();
  for (const kube::Requirement& r : selector.requirements()) {
    if (r.op == Op::kEquals && r.values.size() == 1 && !labels.contains(r.key)) {
      labels[r.key] = r.values[0];
      continue;
    }
    const char* op = "In";
    if (r.op == Op::kNotIn || r.op == Op::kNotEquals) op = "NotIn";
    if (r.op == Op::kExists) op = "Exists";
    if (r.op == Op::kDoesNotExist) op = "DoesNotExist";
    Json expression = {{"key", r.key}, {"operator", op}};
    if (!r.values.empty()) expression["values"] = r.values;
    expressions.push_back(std::move(expression));
  }
  Json result = Json::object();
  if (!labels.empty()) result["matchLabels"] = std::move(labels);
  if (!expressions.empty()) result["matchExpressions"] = std::move(expressions);
  return result;
}

Json ListJson(const std::string& kind, const std::string& api_version, Json items) {
  return {{"kind", kind}, {"apiVersion", api_version}, {"metadata", Json::object()}, {"items", std::move(items)}};
}

Json CustomItem(bool v1beta1, const CustomMetricValue& value, const Json& selector) {
  Json object = {{"kind", value.kind}, {"name", value.name}, {"apiVersion", value.api_version}};
  if (!value.ns.empty()) object["namespace"] = value.ns;
  Json item = {{"describedObject", std::move(object)},
               {"timestamp", base::FormatTime(value.timestamp_ms)},
               {"value", value.value.ToString()}};
  if (v1beta1) {
    item["metricName"] = value.metric;
    item["selector"] = selector;
  } else {
    item["metric"] = {{"name", value.metric}, {"selector", selector}};
  }
  if (value.window_s) item[v1beta1 ? "window" : "windowSeconds"] = *value.window_s;
  return item;
}

Json UsageJson(const ResourceUsage& usage) {
  return {{"cpu", usage.cpu.ToString()}, {"memory", usage.memory.ToString()}};
}

Json MetadataJson(const std::string& ns, const std::string& name, const std::map<std::string, std::string>& labels,
                  int64_t timestamp_ms) {
  Json metadata = {{"name", name}, {"creationTimestamp", base::FormatTime(timestamp_ms)}};
  if (!ns.empty()) metadata["namespace"] = ns;
  if (!labels.empty()) metadata["labels"] = labels;
  return metadata;
}

std::string ApiVersionOf(const std::string& version) { return std::string(kResourceGroup) + "/" + version; }

Json PodItem(const PodMetrics& pod) {
  Json containers = Json::array();
  for (const auto& [name, usage] : pod.containers) containers.push_back({{"name", name}, {"usage", UsageJson(usage)}});
  return {{"metadata", MetadataJson(pod.ns, pod.name, pod.labels, pod.timestamp_ms)},
          {"timestamp", base::FormatTime(pod.timestamp_ms)},
          {"window", FormatGoDuration(pod.window_ms)},
          {"containers", std::move(containers)}};
}

Json NodeItem(const NodeMetrics& node) {
  return {{"metadata", MetadataJson("", node.name, node.labels, node.timestamp_ms)},
          {"timestamp", base::FormatTime(node.timestamp_ms)},
          {"window", FormatGoDuration(node.window_ms)},
          {"usage", UsageJson(node.usage)}};
}

Json Column(const char* name, const char* format, const char* description) {
  return {{"name", name}, {"type", "string"}, {"format", format}, {"description", description}, {"priority", 0}};
}

Json TableJson(Json rows) {
  return {{"kind", "Table"},
          {"apiVersion", "meta.k8s.io/v1"},
          {"metadata", Json::object()},
          {"columnDefinitions", Json::array({Column("Name", "name", "Name of the pod or node."),
                                             Column("cpu", "quantity", "CPU in use, in cores."),
                                             Column("memory", "quantity", "Memory in use, in bytes."),
                                             Column("Window", "duration", "Time over which the usage was measured.")})},
          {"rows", std::move(rows)}};
}

Json Row(Json metadata, const ResourceUsage& usage, int64_t window_ms) {
  std::string name = metadata["name"];
  return {{"cells", Json::array({name, usage.cpu.ToString(), usage.memory.ToString(), FormatGoDuration(window_ms)})},
          {"object",
           {{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}, {"metadata", std::move(metadata)}}}};
}

}  // namespace

std::string FormatGoDuration(int64_t ms) {
  if (ms == 0) return "0s";
  if (ms < 0) return "-" + FormatGoDuration(-ms);
  if (ms < 1000) return std::to_string(ms) + "ms";
  std::string text;
  int64_t hours = ms / 3'600'000;
  int64_t minutes = ms / 60'000 % 60;
  if (hours > 0) text += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
  text += std::to_string(ms / 1000 % 60);
  if (int64_t fraction = ms % 1000; fraction != 0) {
    std::string digits = std::to_string(1000 + fraction).substr(1);
    while (digits.back() == '0') digits.pop_back();
    text += "." + digits;
  }
  return text + "s";
}

Json CustomMetricsJson(const std::string& version, const std::vector<CustomMetricValue>& values,
                       const kube::LabelSelector& selector) {
  Json items = Json::array();
  Json selector_json = SelectorJson(selector);
  for (const CustomMetricValue& value : values) items.push_back(CustomItem(version == "v1beta1", value, selector_json));
  return ListJson("MetricValueList", std::string(kCustomGroup) + "/" + version, std::move(items));
}

Json ExternalMetricsJson(const std::vector<ExternalMetricValue>& values) {
  Json items = Json::array();
  for (const ExternalMetricValue& value : values) {
    Json labels = nullptr;
    if (!value.labels.empty()) labels = value.labels;
    Json item = {{"metricName", value.metric},
                 {"metricLabels", std::move(labels)},
                 {"timestamp", base::FormatTime(value.timestamp_ms)},
                 {"value", value.value.ToString()}};
    if (value.window_s) item["window"] = *value.window_s;
    items.push_back(std::move(item));
  }
  return ListJson("ExternalMetricValueList", std::string(kExternalGroup) + "/v1beta1", std::move(items));
}

Json PodMetricsJson(const std::string& version, const PodMetrics& pod) {
  Json json = PodItem(pod);
  json["kind"] = "PodMetrics";
  json["apiVersion"] = ApiVersionOf(version);
  return json;
}

Json NodeMetricsJson(const std::string& version, const NodeMetrics& node) {
  Json json = NodeItem(node);
  json["kind"] = "NodeMetrics";
  json["apiVersion"] = ApiVersionOf(version);
  return json;
}

Json PodMetricsListJson(const std::string& version, const std::vector<PodMetrics>& pods) {
  Json items = Json::array();
  for (const PodMetrics& pod : pods) items.push_back(PodItem(pod));
  return ListJson("PodMetricsList", ApiVersionOf(version), std::move(items));
}

Json NodeMetricsListJson(const std::string& version, const std::vector<NodeMetrics>& nodes) {
  Json items = Json::array();
  for (const NodeMetrics& node : nodes) items.push_back(NodeItem(node));
  return ListJson("NodeMetricsList", ApiVersionOf(version), std::move(items));
}

Json PodMetricsTable(const std::vector<PodMetrics>& pods) {
  Json rows = Json::array();
  for (const PodMetrics& pod : pods) {
    int64_t cpu = 0;
    int64_t memory = 0;
    for (const auto& [name, usage] : pod.containers) {
      cpu += usage.cpu.MilliValue();
      memory += usage.memory.Value();
    }
    ResourceUsage sum{base::Quantity::FromMilli(cpu),
                      base::Quantity::FromValue(memory, base::Quantity::Format::kBinarySi)};
    rows.push_back(Row(MetadataJson(pod.ns, pod.name, pod.labels, pod.timestamp_ms), sum, pod.window_ms));
  }
  return TableJson(std::move(rows));
}

Json NodeMetricsTable(const std::vector<NodeMetrics>& nodes) {
  Json rows = Json::array();
  for (const NodeMetrics& node : nodes) {
    rows.push_back(Row(MetadataJson("", node.name, node.labels, node.timestamp_ms), node.usage, node.window_ms));
  }
  return TableJson(std::move(rows));
}

}  // namespace tidewright::apiservice
