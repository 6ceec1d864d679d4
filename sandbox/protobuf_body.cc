#include "sandbox/protobuf_body.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::Json;
using base::Status;

constexpr int kMaxDepth = 20;

enum class Type { kString, kBytes, kInt, kBool, kMessage, kStringMap, kBytesMap, kIntOrString, kIgnored };

struct Message;

struct Field {
  uint32_t number;
  const char* name;
  Type type;
  bool repeated = false;
  const Message* message = nullptr;
  bool pointer = false;  // In Go: a zero that was sent is a zero that was meant.
};

struct Message {
  std::vector<Field> fields;
};

// Reads wire-format values off the front of a buffer; every read is bounds-checked.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }
  bool Bytes(std::string_view* value) {
    uint64_t size = 0;
    if (!Varint(&size) || size > bytes_.size()) return false;
    *value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }
  bool Skip(size_t size) {
    if (size > bytes_.size()) return false;
    bytes_.remove_prefix(size);
    return true;
  }

 private:
  std::string_view bytes_;
};

// One field off the wire: a number or bytes.
struct WireValue {
  uint32_t number = 0;
  uint32_t wire_type = 0;
  uint64_t varint = 0;
  std::string_view bytes;
};

bool Next(WireReader& reader, WireValue* value) {
  uint64_t tag = 0;
  if (!reader.Varint(&tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return false;
  value->number = static_cast<uint32_t>(tag >> 3);
  value->wire_type = static_cast<uint32_t>(tag & 7);
  switch (value->wire_type) {
    case 0: return reader.Varint(&value->varint);
    case 1: return reader.Skip(8);
    case 2: return reader.Bytes(&value->bytes);
    case 5: return reader.Skip(4);
    default: return false;
  }
}

Status Malformed() { return base::InvalidArgumentError("the request body is not a valid protobuf message"); }

// ---- The messages ----

const Field kMetadataFields[] = {{1, "name", Type::kString},
                                 {2, "generateName", Type::kString},
                                 {3, "namespace", Type::kString},
                                 {5, "uid", Type::kString},
                                 {6, "resourceVersion", Type::kString},
                                 {7, "generation", Type::kIgnored},
                                 {8, "creationTimestamp", Type::kIgnored},
                                 {11, "labels", Type::kStringMap},
                                 {12, "annotations", Type::kStringMap},
                                 {14, "finalizers", Type::kString, true}};

const Message& Metadata() {
  static const auto* message = new Message{{std::begin(kMetadataFields), std::end(kMetadataFields)}};
  return *message;
}

Field Sub(uint32_t number, const char* name, Message message, bool repeated = false) {
  // The tables live as long as the program.
  return {number, name, Type::kMessage, repeated, new Message(std::move(message))};
}

// An object: metadata is field 1, and nothing that a client says about the status counts.
Message Object(std::vector<Field> fields) {
  fields.push_back({1, "metadata", Type::kMessage, false, &Metadata()});
  return {std::move(fields)};
}

Field Pointer(uint32_t number, const char* name) { return {number, name, Type::kInt, false, nullptr, true}; }

Message LabelSelectorMessage() {
  return {
      {{1, "matchLabels", Type::kStringMap},
       Sub(2, "matchExpressions",
           {{{1, "key", Type::kString}, {2, "operator", Type::kString}, {3, "values", Type::kString, true}}}, true)}};
}

Message PodTemplateMessage() {
  Message port{{{1, "name", Type::kString},
                {2, "hostPort", Type::kInt},
                {3, "containerPort", Type::kInt},
                {4, "protocol", Type::kString},
                {5, "hostIP", Type::kString}}};
  Message container{{{1, "name", Type::kString},
                     {2, "image", Type::kString},
                     {3, "command", Type::kString, true},
                     {4, "args", Type::kString, true},
                     {5, "workingDir", Type::kString},
                     Sub(6, "ports", port, true),
                     Sub(7, "env", {{{1, "name", Type::kString}, {2, "value", Type::kString}}}, true),
                     Sub(8, "resources", {{}}),
                     {14, "imagePullPolicy", Type::kString}}};
  Message spec{{Sub(2, "containers", container, true),
                {3, "restartPolicy", Type::kString},
                Pointer(4, "terminationGracePeriodSeconds"),
                {6, "dnsPolicy", Type::kString},
                {7, "nodeSelector", Type::kStringMap},
                {8, "serviceAccountName", Type::kString}}};
  return {{{1, "metadata", Type::kMessage, false, &Metadata()}, Sub(2, "spec", spec)}};
}

Message DeploymentMessage() {
  Message rolling{{{1, "maxUnavailable", Type::kIntOrString}, {2, "maxSurge", Type::kIntOrString}}};
  Message strategy{{{1, "type", Type::kString}, Sub(2, "rollingUpdate", rolling)}};
  Message spec{{Pointer(1, "replicas"),
                Sub(2, "selector", LabelSelectorMessage()),
                Sub(3, "template", PodTemplateMessage()),
                Sub(4, "strategy", strategy),
                {5, "minReadySeconds", Type::kInt},
                Pointer(6, "revisionHistoryLimit"),
                {7, "paused", Type::kBool},
                Pointer(9, "progressDeadlineSeconds")}};
  return Object({Sub(2, "spec", spec), {3, "status", Type::kIgnored}});
}

Message ServiceMessage() {
  Message port{{{1, "name", Type::kString},
                {2, "protocol", Type::kString},
                {3, "port", Type::kInt},
                {4, "targetPort", Type::kIntOrString},
                {5, "nodePort", Type::kInt}}};
  Message spec{{Sub(1, "ports", port, true),
                {2, "selector", Type::kStringMap},
                {3, "clusterIP", Type::kString},
                {4, "type", Type::kString},
                {10, "externalName", Type::kString}}};
  return Object({Sub(2, "spec", spec), {3, "status", Type::kIgnored}});
}

Message HpaMessage() {
  Message target{{{1, "kind", Type::kString}, {2, "name", Type::kString}, {3, "apiVersion", Type::kString}}};
  Message spec{{Sub(1, "scaleTargetRef", target),
                Pointer(2, "minReplicas"),
                {3, "maxReplicas", Type::kInt},
                Pointer(4, "targetCPUUtilizationPercentage")}};
  return Object({Sub(2, "spec", spec), {3, "status", Type::kIgnored}});
}

Message RoleMessage() {
  Message rule{{{1, "verbs", Type::kString, true},
                {2, "apiGroups", Type::kString, true},
                {3, "resources", Type::kString, true},
                {4, "resourceNames", Type::kString, true},
                {5, "nonResourceURLs", Type::kString, true}}};
  return Object({Sub(2, "rules", rule, true)});
}

Message BindingMessage() {
  Message subject{{{1, "kind", Type::kString},
                   {2, "apiGroup", Type::kString},
                   {3, "name", Type::kString},
                   {4, "namespace", Type::kString}}};
  Message role{{{1, "apiGroup", Type::kString}, {2, "kind", Type::kString}, {3, "name", Type::kString}}};
  return Object({Sub(2, "subjects", subject, true), Sub(3, "roleRef", role)});
}

Message AccessReviewMessage() {
  Message resource{{{1, "namespace", Type::kString},
                    {2, "verb", Type::kString},
                    {3, "group", Type::kString},
                    {4, "version", Type::kString},
                    {5, "resource", Type::kString},
                    {6, "subresource", Type::kString},
                    {7, "name", Type::kString}}};
  Message other{{{1, "path", Type::kString}, {2, "verb", Type::kString}}};
  Message spec{{Sub(1, "resourceAttributes", resource), Sub(2, "nonResourceAttributes", other)}};
  return Object({Sub(2, "spec", spec), {3, "status", Type::kIgnored}});
}

const Message* MessageOf(const std::string& kind) {
  static const auto* messages = new std::map<std::string, Message>{
      {"Namespace",
       Object({Sub(2, "spec", {{{1, "finalizers", Type::kString, true}}}), {3, "status", Type::kIgnored}})},
      {"ConfigMap",
       Object({{2, "data", Type::kStringMap}, {3, "binaryData", Type::kBytesMap}, {4, "immutable", Type::kBool}})},
      {"Secret",
       Object({{2, "data", Type::kBytesMap}, {3, "type", Type::kString}, {4, "stringData", Type::kStringMap}})},
      {"ServiceAccount", Object({})},
      {"Service", ServiceMessage()},
      {"Deployment", DeploymentMessage()},
      {"HorizontalPodAutoscaler", HpaMessage()},
      {"Role", RoleMessage()},
      {"ClusterRole", RoleMessage()},
      {"RoleBinding", BindingMessage()},
      {"ClusterRoleBinding", BindingMessage()},
      {"SelfSubjectAccessReview", AccessReviewMessage()},
      {"DeleteOptions",
       {{Pointer(1, "gracePeriodSeconds"),
         Sub(2, "preconditions", {{{1, "uid", Type::kString}, {2, "resourceVersion", Type::kString}}}),
         {4, "propagationPolicy", Type::kString},
         {5, "dryRun", Type::kString, true}}}}};
  auto it = messages->find(kind);
  return it == messages->end() ? nullptr : &it->second;
}

// ---- Decoding ----

Status DecodeMapEntry(std::string_view bytes, bool base64, Json& map) {
  std::string key;
  std::string value;
  WireReader reader(bytes);
  for (WireValue wire; !reader.done();) {
    if (!Next(reader, &wire)) return Malformed();
    if (wire.number == 1) key = std::string(wire.bytes);
    if (wire.number == 2) value = std::string(wire.bytes);
  }
  map[key] = base64 ? base::Base64Encode(value) : value;
  return Status::Ok();
}

base::Result<Json> DecodeIntOrString(std::string_view bytes) {
  uint64_t type = 0;
  uint64_t number = 0;
  std::string text;
  WireReader reader(bytes);
  for (WireValue wire; !reader.done();) {
    if (!Next(reader, &wire)) return Malformed();
    if (wire.number == 1) type = wire.varint;
    if (wire.number == 2) number = wire.varint;
    if (wire.number == 3) text = std::string(wire.bytes);
  }
  return type == 0 ? Json(static_cast<int32_t>(number)) : Json(text);
}

base::Result<Json> DecodeMessage(const Message& message, std::string_view bytes, int depth);

// The JSON of one value; null when it is a zero that Go's encoder writes for a field that was never set.
base::Result<Json> DecodeValue(const Field& field, const WireValue& wire, int depth) {
  const bool varint = field.type == Type::kInt || field.type == Type::kBool;
  if (wire.wire_type != (varint ? 0u : 2u)) return Malformed();
  switch (field.type) {
    case Type::kInt: return wire.varint == 0 && !field.pointer ? Json() : Json(static_cast<int64_t>(wire.varint));
    case Type::kBool: return wire.varint == 0 ? Json() : Json(true);
    case Type::kString: return wire.bytes.empty() && !field.repeated ? Json() : Json(std::string(wire.bytes));
    case Type::kBytes: return Json(base::Base64Encode(wire.bytes));
    case Type::kIntOrString: return DecodeIntOrString(wire.bytes);
    default: return DecodeMessage(*field.message, wire.bytes, depth + 1);
  }
}

Status DecodeField(const Field& field, const WireValue& wire, int depth, Json& out) {
  if (field.type == Type::kIgnored) return Status::Ok();
  if (field.type == Type::kStringMap || field.type == Type::kBytesMap) {
    if (wire.wire_type != 2) return Malformed();
    return DecodeMapEntry(wire.bytes, field.type == Type::kBytesMap, out[field.name]);
  }
  TW_ASSIGN_OR_RETURN(Json value, DecodeValue(field, wire, depth));
  if (value.is_null()) return Status::Ok();
  if (field.repeated) {
    out[field.name].push_back(std::move(value));
  } else if (!(value.is_object() && value.empty())) {
    out[field.name] = std::move(value);
  }
  return Status::Ok();
}

base::Result<Json> DecodeMessage(const Message& message, std::string_view bytes, int depth) {
  if (depth > kMaxDepth) return Malformed();
  Json out = Json::object();
  WireReader reader(bytes);
  for (WireValue wire; !reader.done();) {
    wire = WireValue();
    if (!Next(reader, &wire)) return Malformed();
    const Field* known = nullptr;
    for (const Field& field : message.fields) {
      if (field.number == wire.number) known = &field;
    }
    if (known != nullptr) {
      TW_RETURN_IF_ERROR(DecodeField(*known, wire, depth, out));
    } else if (!wire.bytes.empty() || wire.varint != 0) {
      return base::UnimplementedError("protobuf field " + std::to_string(wire.number) +
                                      " of this object is not understood by the sandbox; send the object as JSON or "
                                      "YAML: kubectl create ... --dry-run=client -o yaml | kubectl apply -f -");
    }
  }
  return out;
}

}  // namespace

base::Result<Json> DecodeProtobufBody(std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (body.substr(0, kMagic.size()) != kMagic) return Malformed();
  std::string api_version;
  std::string kind;
  std::string_view raw;
  WireReader reader(body.substr(kMagic.size()));
  for (WireValue wire; !reader.done();) {
    wire = WireValue();
    if (!Next(reader, &wire)) return Malformed();
    if (wire.number == 2) raw = wire.bytes;
    if (wire.number != 1) continue;
    WireReader type_meta(wire.bytes);
    for (WireValue part; !type_meta.done();) {
      if (!Next(type_meta, &part)) return Malformed();
      if (part.number == 1) api_version = std::string(part.bytes);
      if (part.number == 2) kind = std::string(part.bytes);
    }
  }
  const Message* message = MessageOf(kind);
  if (message == nullptr) {
    return base::UnimplementedError("the sandbox does not read " + base::Quoted(kind) +
                                    " as protobuf; send Content-Type: application/json");
  }
  TW_ASSIGN_OR_RETURN(Json object, DecodeMessage(*message, raw, 0));
  object["apiVersion"] = api_version;
  object["kind"] = kind;
  return object;
}

}  // namespace tidewright::sandbox
