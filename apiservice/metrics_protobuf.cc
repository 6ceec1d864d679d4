#include "apiservice/metrics_protobuf.h"

#include <cstdint>
#include <map>
#include <string_view>

#include "apiservice/route.h"

namespace tidewright::apiservice {
namespace {

using Strings = std::map<std::string, std::string>;

// A protobuf message being written. Fields of the value zero are written, as Kubernetes does.
class Message {
 public:
  Message& Number(int field, int64_t value) {
    Varint(static_cast<uint64_t>(field) << 3);
    Varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& Text(int field, std::string_view text) {
    Varint(static_cast<uint64_t>(field) << 3 | kLengthDelimited);
    Varint(text.size());
    bytes_.append(text);
    return *this;
  }
  Message& Sub(int field, const Message& message) { return Text(field, message.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  static constexpr uint64_t kLengthDelimited = 2;
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

std::string Envelope(const std::string& api_version, const char* kind, const Message& message) {
  Message unknown;
  unknown.Sub(1, Message().Text(1, api_version).Text(2, kind)).Sub(2, message);
  return std::string("k8s\0", 4) + unknown.bytes();
}

Message Time(int64_t ms) { return Message().Number(1, ms / 1000).Number(2, 0); }

Message QuantityOf(const base::Quantity& quantity) { return Message().Text(1, quantity.ToString()); }

void AddMap(int field, const Strings& map, Message* message) {
  for (const auto& [key, value] : map) message->Sub(field, Message().Text(1, key).Text(2, value));
}

// LabelSelector of apimachinery.
Message SelectorOf(const kube::LabelSelector& selector) {
  using Op = kube::Requirement::Op;
  Message message;
  Strings labels;
  std::vector<const kube::Requirement*> expressions;
  for (const kube::Requirement& r : selector.requirements()) {
    bool label = r.op == Op::kEquals && r.values.size() == 1 && labels.try_emplace(r.key, r.values[0]).second;
    if (!label) expressions.push_back(&r);
  }
  AddMap(1, labels, &message);
  for (const kube::Requirement* r : expressions) {
    const char* op = "In";
    if (r->op == Op::kNotIn || r->op == Op::kNotEquals) op = "NotIn";
    if (r->op == Op::kExists) op = "Exists";
    if (r->op == Op::kDoesNotExist) op = "DoesNotExist";
    Message expression;
    expression.Text(1, r->key).Text(2, op);
    for (const std::string& value : r->values) expression.Text(3, value);
    message.Sub(2, expression);
  }
  return message;
}

Message Metadata(const std::string& ns, const std::string& name, const Strings& labels, int64_t created_ms) {
  Message metadata;
  metadata.Text(1, name).Text(3, ns).Sub(8, Time(created_ms));
  AddMap(11, labels, &metadata);
  return metadata;
}

void AddUsage(int field, const ResourceUsage& usage, Message* message) {
  message->Sub(field, Message().Text(1, "cpu").Sub(2, QuantityOf(usage.cpu)));
  message->Sub(field, Message().Text(1, "memory").Sub(2, QuantityOf(usage.memory)));
}

Message WindowOf(int64_t ms) { return Message().Number(1, ms * 1'000'000); }

Message PodItem(const PodMetrics& pod) {
  Message item;
  item.Sub(1, Metadata(pod.ns, pod.name, pod.labels, pod.timestamp_ms)).Sub(2, Time(pod.timestamp_ms));
  item.Sub(3, WindowOf(pod.window_ms));
  for (const auto& [name, usage] : pod.containers) {
    Message container;
    container.Text(1, name);
    AddUsage(2, usage, &container);
    item.Sub(4, container);
  }
  return item;
}

Message NodeItem(const NodeMetrics& node) {
  Message item;
  item.Sub(1, Metadata("", node.name, node.labels, node.timestamp_ms)).Sub(2, Time(node.timestamp_ms));
  item.Sub(3, WindowOf(node.window_ms));
  AddUsage(4, node.usage, &item);
  return item;
}

std::string ResourceVersion(const std::string& version) { return std::string(kResourceGroup) + "/" + version; }

}  // namespace

std::string CustomMetricsProtobuf(const std::string& version, const CustomMetricValues& values,
                                  const kube::LabelSelector& selector) {
  const bool v1beta1 = version == "v1beta1";
  const Message selector_message = SelectorOf(selector);
  Message identifier;
  identifier.Text(1, values.metric);
  if (!selector.empty()) identifier.Sub(2, selector_message);
  Message list;
  list.Sub(1, Message());
  for (const CustomMetricValue& value : values.values) {
    Message item;
    item.Sub(1, Message().Text(1, values.kind).Text(2, values.ns).Text(3, value.name).Text(5, values.api_version));
    if (v1beta1) {
      item.Text(2, values.metric);
    } else {
      item.Sub(2, identifier);
    }
    item.Sub(3, Time(value.timestamp_ms));
    if (values.window_s) item.Number(4, *values.window_s);
    item.Sub(5, QuantityOf(value.value));
    if (v1beta1 && !selector.empty()) item.Sub(6, selector_message);
    list.Sub(2, item);
  }
  return Envelope(std::string(kCustomGroup) + "/" + version, "MetricValueList", list);
}

std::string ExternalMetricsProtobuf(const std::vector<ExternalMetricValue>& values) {
  Message list;
  list.Sub(1, Message());
  for (const ExternalMetricValue& value : values) {
    Message item;
    item.Text(1, value.metric);
    AddMap(2, value.labels, &item);
    item.Sub(3, Time(value.timestamp_ms));
    if (value.window_s) item.Number(4, *value.window_s);
    list.Sub(2, item.Sub(5, QuantityOf(value.value)));
  }
  return Envelope(std::string(kExternalGroup) + "/v1beta1", "ExternalMetricValueList", list);
}

std::string PodMetricsListProtobuf(const std::string& version, const std::vector<PodMetrics>& pods) {
  Message list;
  list.Sub(1, Message());
  for (const PodMetrics& pod : pods) list.Sub(2, PodItem(pod));
  return Envelope(ResourceVersion(version), "PodMetricsList", list);
}

std::string PodMetricsProtobuf(const std::string& version, const PodMetrics& pod) {
  return Envelope(ResourceVersion(version), "PodMetrics", PodItem(pod));
}

std::string NodeMetricsListProtobuf(const std::string& version, const std::vector<NodeMetrics>& nodes) {
  Message list;
  list.Sub(1, Message());
  for (const NodeMetrics& node : nodes) list.Sub(2, NodeItem(node));
  return Envelope(ResourceVersion(version), "NodeMetricsList", list);
}

std::string NodeMetricsProtobuf(const std::string& version, const NodeMetrics& node) {
  return Envelope(ResourceVersion(version), "NodeMetrics", NodeItem(node));
}

}  // namespace tidewright::apiservice
