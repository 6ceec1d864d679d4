#include "apiservice/metrics_json.h"

#include <algorithm>
#include <limits>
#include <utility>

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

// As a JSON string. Names of objects and labels hardly ever have anything to escape.
void AppendText(std::string_view text, std::string* out) {
  bool plain = std::all_of(text.begin(), text.end(),
                           [](unsigned char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; });
  if (plain) {
    out->append(1, '"').append(text).append(1, '"');
  } else {
    out->append(base::DumpJson(Json(std::string(text))));
  }
}

std::string Text(std::string_view text) {
  std::string out;
  AppendText(text, &out);
  return out;
}

// Times as text; those of one scrape are the same.
class TimeText {
 public:
  const std::string& Of(int64_t ms) {
    if (ms / 1000 != second_) {
      second_ = ms / 1000;
      text_ = Text(base::FormatTime(ms));
    }
    return text_;
  }

 private:
  int64_t second_ = std::numeric_limits<int64_t>::min();
  std::string text_;
};

// The text of an item around the name of its object, its time and its value.
struct ItemFrame {
  std::string before_name, before_time, before_value;
};

ItemFrame FrameOf(bool v1beta1, const CustomMetricValues& values, const std::string& selector) {
  ItemFrame frame;
  frame.before_name =
      "{\"describedObject\":{\"kind\":" + Text(values.kind) + ",\"apiVersion\":" + Text(values.api_version);
  if (!values.ns.empty()) frame.before_name += ",\"namespace\":" + Text(values.ns);
  frame.before_name += ",\"name\":";
  std::string metric = Text(values.metric);
  frame.before_time = "},";
  frame.before_time += v1beta1 ? "\"metricName\":" + metric + ",\"selector\":" + selector
                               : "\"metric\":{\"name\":" + metric + ",\"selector\":" + selector + "}";
  frame.before_time += ",\"timestamp\":";
  if (values.window_s) {
    frame.before_value = v1beta1 ? ",\"window\":" : ",\"windowSeconds\":";
    frame.before_value += std::to_string(*values.window_s);
  }
  frame.before_value += ",\"value\":\"";
  return frame;
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

std::string CustomMetricsText(const std::string& version, const CustomMetricValues& values,
                              const kube::LabelSelector& selector) {
  const ItemFrame frame = FrameOf(version == "v1beta1", values, base::DumpJson(SelectorJson(selector)));
  std::string text = "{\"kind\":\"MetricValueList\",\"apiVersion\":\"" + std::string(kCustomGroup) + "/" + version +
                     "\",\"metadata\":{},\"items\":[";
  constexpr size_t kVaries = 80;  // About the length of name, time and value.
  text.reserve(text.size() + values.values.size() * (frame.before_name.size() + frame.before_time.size() +
                                                     frame.before_value.size() + kVaries));
  TimeText times;
  bool first = true;
  for (const CustomMetricValue& value : values.values) {
    if (!std::exchange(first, false)) text += ',';
    text += frame.before_name;
    AppendText(value.name, &text);
    text += frame.before_time;
    text += times.Of(value.timestamp_ms);
    text += frame.before_value;
    text += value.value.ToString();  // Digits, a sign, a point and letters.
    text += "\"}";
  }
  return text + "]}";
}

std::string ExternalMetricsText(const std::vector<ExternalMetricValue>& values) {
  std::string text = "{\"kind\":\"ExternalMetricValueList\",\"apiVersion\":\"" + std::string(kExternalGroup) +
                     "/v1beta1\",\"metadata\":{},\"items\":[";
  TimeText times;
  bool first = true;
  for (const ExternalMetricValue& value : values) {
    if (!std::exchange(first, false)) text += ',';
    text += "{\"metricName\":";
    AppendText(value.metric, &text);
    text += ",\"metricLabels\":";
    if (value.labels.empty()) text += "null";
    for (auto label = value.labels.begin(); label != value.labels.end(); ++label) {
      text += label == value.labels.begin() ? '{' : ',';
      AppendText(label->first, &text);
      text += ':';
      AppendText(label->second, &text);
    }
    if (!value.labels.empty()) text += '}';
    text += ",\"timestamp\":" + times.Of(value.timestamp_ms);
    if (value.window_s) text += ",\"window\":" + std::to_string(*value.window_s);
    text += ",\"value\":\"" + value.value.ToString() + "\"}";
  }
  return text + "]}";
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
