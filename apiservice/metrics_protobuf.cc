#include "apiservice/metrics_protobuf.h"

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

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
    Begin(field, text.size());
    bytes_.append(text);
    return *this;
  }
  // Before the `size` bytes of a text or of a message, which follow.
  Message& Begin(int field, size_t size) {
    Varint(static_cast<uint64_t>(field) << 3 | kLengthDelimited);
    Varint(size);
    return *this;
  }
  // What Begin(field, size) and the bytes after it take, for fields up to 15.
  static size_t Whole(size_t size) {
    size_t length = 1;
    for (size_t rest = size; rest >= 0x80; rest >>= 7) ++length;
    return 1 + length + size;
  }
  Message& Sub(int field, const Message& message) { return Text(field, message.bytes_); }
  // The fields of another message.
  Message& Fields(const Message& message) {
    bytes_.append(message.bytes_);
    return *this;
  }
  // Begins anew, in the same memory.
  Message& Clear() {
    bytes_.clear();
    return *this;
  }
  // What tells a document from others that Kubernetes stores and sends; before its first field.
  Message& Magic() {
    bytes_.append("k8s\0", 4);
    return *this;
  }
  // Another message goes before all that is there.
  void Precede(const Message& message) { bytes_.insert(0, message.bytes_); }
  void Reserve(size_t bytes) { bytes_.reserve(bytes); }
  size_t size() const { return bytes_.size(); }
  std::string Take() { return std::move(bytes_); }

 private:
  static constexpr uint64_t kLengthDelimited = 2;
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

std::string Envelope(const std::string& api_version, const char* kind, Message message) {
  Message head;
  head.Magic().Sub(1, Message().Text(1, api_version).Text(2, kind)).Begin(2, message.size());
  message.Precede(head);
  return message.Take();
}

void WriteTime(int64_t ms, Message* message) { message->Number(1, ms / 1000).Number(2, 0); }

Message Time(int64_t ms) {
  Message message;
  WriteTime(ms, &message);
  return message;
}

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

// What the items of a list of custom metrics have in common: the fields of the object around its name, and those of the
// item around its time and its value.
struct CustomItemFrame {
  Message before_name, after_name, before_time, window, after_value;
  size_t size() const {
    return before_name.size() + after_name.size() + before_time.size() + window.size() + after_value.size();
  }
};

CustomItemFrame FrameOf(bool v1beta1, const CustomMetricValues& values, const kube::LabelSelector& selector) {
  const Message selector_message = SelectorOf(selector);
  CustomItemFrame frame;
  frame.before_name.Text(1, values.kind).Text(2, values.ns);
  frame.after_name.Text(5, values.api_version);
  if (values.window_s) frame.window.Number(4, *values.window_s);
  if (v1beta1) {
    frame.before_time.Text(2, values.metric);
    if (!selector.empty()) frame.after_value.Sub(6, selector_message);
    return frame;
  }
  Message identifier;
  identifier.Text(1, values.metric);
  if (!selector.empty()) identifier.Sub(2, selector_message);
  frame.before_time.Sub(2, identifier);
  return frame;
}

std::string ResourceVersion(const std::string& version) { return std::string(kResourceGroup) + "/" + version; }

}  // namespace

std::string CustomMetricsProtobuf(const std::string& version, const CustomMetricValues& values,
                                  const kube::LabelSelector& selector) {
  const CustomItemFrame frame = FrameOf(version == "v1beta1", values, selector);
  Message list, time, between;                     // `between` name and value of an item.
  constexpr size_t kVaries = 96, kEnvelope = 128;  // About the length of name, time, value and what is around them.
  list.Reserve(values.values.size() * (frame.size() + kVaries) + kEnvelope);
  list.Sub(1, Message());
  int64_t time_ms = -1;
  for (const CustomMetricValue& value : values.values) {
    // The values of one scrape have one time.
    if (between.size() == 0 || value.timestamp_ms != time_ms) {
      time_ms = value.timestamp_ms;
      WriteTime(time_ms, &time.Clear());
      between.Clear().Fields(frame.after_name).Fields(frame.before_time).Sub(3, time).Fields(frame.window);
    }
    const std::string amount = value.value.ToString();
    const size_t object = frame.before_name.size() + Message::Whole(value.name.size()) + frame.after_name.size();
    const size_t item = Message::Whole(object) - frame.after_name.size() + between.size() +
                        Message::Whole(Message::Whole(amount.size())) + frame.after_value.size();
    list.Begin(2, item).Begin(1, object).Fields(frame.before_name).Text(3, value.name).Fields(between);
    list.Begin(5, Message::Whole(amount.size())).Text(1, amount).Fields(frame.after_value);
  }
  return Envelope(std::string(kCustomGroup) + "/" + version, "MetricValueList", std::move(list));
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
  return Envelope(std::string(kExternalGroup) + "/v1beta1", "ExternalMetricValueList", std::move(list));
}

std::string PodMetricsListProtobuf(const std::string& version, const std::vector<PodMetrics>& pods) {
  Message list;
  list.Sub(1, Message());
  for (const PodMetrics& pod : pods) list.Sub(2, PodItem(pod));
  return Envelope(ResourceVersion(version), "PodMetricsList", std::move(list));
}

std::string PodMetricsProtobuf(const std::string& version, const PodMetrics& pod) {
  return Envelope(ResourceVersion(version), "PodMetrics", PodItem(pod));
}

std::string NodeMetricsListProtobuf(const std::string& version, const std::vector<NodeMetrics>& nodes) {
  Message list;
  list.Sub(1, Message());
  for (const NodeMetrics& node : nodes) list.Sub(2, NodeItem(node));
  return Envelope(ResourceVersion(version), "NodeMetricsList", std::move(list));
}

std::string NodeMetricsProtobuf(const std::string& version, const NodeMetrics& node) {
  return Envelope(ResourceVersion(version), "NodeMetrics", NodeItem(node));
}

}  // namespace tidewright::apiservice
