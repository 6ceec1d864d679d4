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

std::string Text(const std::string& text) { return base::DumpJson(Json(text)); }

// The text of an item around the name of its object, and from there to its value.
struct ItemFrame {
  std::string before_name, before_value;
};

ItemFrame FrameOf(bool v1beta1, const CustomMetricValue& value, const std::string& selector) {
  ItemFrame frame;
  frame.before_name =
      "{\"describedObject\":{\"kind\":" + Text(value.kind) + ",\"apiVersion\":" + Text(value.api_version);
  if (!value.ns.empty()) frame.before_name += ",\"namespace\":" + Text(value.ns);
  frame.before_name += ",\"name\":";
  std::string metric = Text(value.metric);
  frame.before_value = "},";
  frame.before_value += v1beta1 ? "\"metricName\":" + metric + ",\"selector\":" + selector
                                : "\"metric\":{\"name\":" + metric + ",\"selector\":" + selector + "}";
  frame.before_value += ",\"timestamp\":" + Text(base::FormatTime(value.timestamp_ms));
  if (value.window_s) {
    frame.before_value += v1beta1 ? ",\"window\":" : ",\"windowSeconds\":";
    frame.before_value += std::to_string(*value.window_s);
  }
  frame.before_value += ",\"value\":\"";
  return frame;
}

bool SameFrame(const CustomMetricValue& a, const CustomMetricValue& b) {
  return a.timestamp_ms == b.timestamp_ms && a.window_s == b.window_s && a.ns == b.ns && a.metric == b.metric &&
         a.kind == b.kind && a.api_version == b.api_version;
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

std::string CustomMetricsText(const std::string& version, const std::vector<CustomMetricValue>& values,
                              const kube::LabelSelector& selector) {
  bool v1beta1 = version == "v1beta1";
  std::string selector_text = base::DumpJson(SelectorJson(selector));
  std::string text = "{\"kind\":\"MetricValueList\",\"apiVersion\":\"" + std::string(kCustomGroup) + "/" + version +
                     "\",\"metadata\":{},\"items\":[";
  ItemFrame frame;
  for (size_t i = 0; i < values.size(); ++i) {
    const CustomMetricValue& value = values[i];
    if (i > 0) text += ',';
    if (i == 0 || !SameFrame(values[i - 1], value)) frame = FrameOf(v1beta1, value, selector_text);
    text += frame.before_name;
    text += Text(value.name);
    text += frame.before_value;
    text += value.value.ToString();  // Digits, a sign, a point and letters.
    text += "\"}";
  }
  return text + "]}";
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
