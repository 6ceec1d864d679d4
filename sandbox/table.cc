#include "sandbox/table.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/quantity.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/jsonpath.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindInt;
using base::FindString;
using base::Json;

constexpr const char* kNone = "<none>";
constexpr const char* kUnknown = "<unknown>";

struct Column {
  const char* name;
  const char* type = "string";
  int priority = 0;
};

using RowFunction = Json (*)(const Json& object, int64_t now_ms);

struct Printer {
  std::vector<Column> columns;
  RowFunction row;
};

std::string OrNone(const std::string& text) { return text.empty() ? kNone : text; }

std::string Since(const std::string& time, int64_t now_ms) {
  auto at = base::ParseTime(time);
  return at.ok() ? HumanDuration(now_ms - *at) : kUnknown;
}

std::string Age(const Json& object, int64_t now_ms) {
  return Since(FindString(object, {"metadata", "creationTimestamp"}), now_ms);
}

size_t SizeOf(const Json& object, std::initializer_list<std::string_view> path) {
  const Json* value = Find(object, path);
  return value == nullptr ? 0 : value->size();
}

// One field of each element of a list, joined with commas.
std::string JoinField(const Json* list, std::string_view field) {
  std::vector<std::string> parts;
  if (list != nullptr && list->is_array()) {
    for (const Json& item : *list) parts.push_back(FindString(item, {field}));
  }
  return OrNone(base::Join(parts, ","));
}

std::string JoinLabels(const Json* labels) {
  std::vector<std::string> parts;
  if (labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->items()) {
      parts.push_back(key + "=" + (value.is_string() ? value.get<std::string>() : ""));
    }
  }
  return OrNone(base::Join(parts, ","));
}

std::string SelectorText(const Json& object) {
  const Json* selector = Find(object, {"spec", "selector"});
  if (selector == nullptr) return kNone;
  auto parsed = kube::LabelSelector::FromJson(*selector);
  return parsed.ok() ? OrNone(parsed->ToString()) : kNone;
}

std::string ConditionStatus(const Json& object, std::string_view type) {
  const Json* conditions = Find(object, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return "";
  for (const Json& condition : *conditions) {
    if (FindString(condition, {"type"}) == type) return FindString(condition, {"status"});
  }
  return "";
}

Json DefaultRow(const Json& object, int64_t now_ms) { return Json::array({kube::NameOf(object), Age(object, now_ms)}); }

std::string PodStatus(const Json& pod) {
  if (kube::IsBeingDeleted(pod)) return "Terminating";
  std::string reason = FindString(pod, {"status", "reason"});
  if (!reason.empty()) return reason;
  const Json* containers = Find(pod, {"status", "containerStatuses"});
  if (containers != nullptr && containers->is_array()) {
    for (const Json& container : *containers) {
      std::string waiting = FindString(container, {"state", "waiting", "reason"});
      if (!waiting.empty()) return waiting;
    }
  }
  return FindString(pod, {"status", "phase"}, kUnknown);
}

Json PodRow(const Json& pod, int64_t now_ms) {
  int64_t ready = 0;
  int64_t restarts = 0;
  const Json* containers = Find(pod, {"status", "containerStatuses"});
  if (containers != nullptr && containers->is_array()) {
    for (const Json& container : *containers) {
      ready += base::FindBool(container, {"ready"}) ? 1 : 0;
      restarts += FindInt(container, {"restartCount"});
    }
  }
  return Json::array({kube::NameOf(pod),
                      std::to_string(ready) + "/" + std::to_string(SizeOf(pod, {"spec", "containers"})), PodStatus(pod),
                      std::to_string(restarts), Age(pod, now_ms), OrNone(FindString(pod, {"status", "podIP"})),
                      OrNone(FindString(pod, {"spec", "nodeName"})), kNone, kNone});
}

std::string Fraction(int64_t part, int64_t whole) { return std::to_string(part) + "/" + std::to_string(whole); }

Json DeploymentRow(const Json& object, int64_t now_ms) {
  const Json* containers = Find(object, {"spec", "template", "spec", "containers"});
  return Json::array({kube::NameOf(object),
                      Fraction(FindInt(object, {"status", "readyReplicas"}), FindInt(object, {"spec", "replicas"})),
                      FindInt(object, {"status", "updatedReplicas"}), FindInt(object, {"status", "availableReplicas"}),
                      Age(object, now_ms), JoinField(containers, "name"), JoinField(containers, "image"),
                      SelectorText(object)});
}

Json ReplicaSetRow(const Json& object, int64_t now_ms) {
  const Json* containers = Find(object, {"spec", "template", "spec", "containers"});
  return Json::array({kube::NameOf(object), FindInt(object, {"spec", "replicas"}),
                      FindInt(object, {"status", "replicas"}), FindInt(object, {"status", "readyReplicas"}),
                      Age(object, now_ms), JoinField(containers, "name"), JoinField(containers, "image"),
                      SelectorText(object)});
}

Json StatefulSetRow(const Json& object, int64_t now_ms) {
  const Json* containers = Find(object, {"spec", "template", "spec", "containers"});
  return Json::array({kube::NameOf(object),
                      Fraction(FindInt(object, {"status", "readyReplicas"}), FindInt(object, {"spec", "replicas"})),
                      Age(object, now_ms), JoinField(containers, "name"), JoinField(containers, "image")});
}

Json ServiceRow(const Json& object, int64_t now_ms) {
  std::vector<std::string> ports;
  const Json* list = Find(object, {"spec", "ports"});
  if (list != nullptr && list->is_array()) {
    for (const Json& port : *list) {
      ports.push_back(std::to_string(FindInt(port, {"port"})) + "/" + FindString(port, {"protocol"}, "TCP"));
    }
  }
  return Json::array({kube::NameOf(object), FindString(object, {"spec", "type"}),
                      OrNone(FindString(object, {"spec", "clusterIP"})),
                      OrNone(FindString(object, {"spec", "externalName"})), OrNone(base::Join(ports, ",")),
                      Age(object, now_ms), JoinLabels(Find(object, {"spec", "selector"}))});
}

std::string NodeRoles(const Json& node) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::vector<std::string> roles;
  for (const auto& [key, value] : kube::LabelsOf(node)) {
    if (key.rfind(kPrefix, 0) == 0) roles.push_back(key.substr(kPrefix.size()));
  }
  return OrNone(base::Join(roles, ","));
}

std::string NodeAddress(const Json& node, std::string_view type) {
  const Json* addresses = Find(node, {"status", "addresses"});
  if (addresses == nullptr || !addresses->is_array()) return kNone;
  for (const Json& address : *addresses) {
    if (FindString(address, {"type"}) == type) return FindString(address, {"address"});
  }
  return kNone;
}

Json NodeRow(const Json& node, int64_t now_ms) {
  std::string ready = ConditionStatus(node, "Ready");
  std::string status = ready == "True" ? "Ready" : ready == "False" ? "NotReady" : "Unknown";
  if (base::FindBool(node, {"spec", "unschedulable"})) status += ",SchedulingDisabled";
  auto info = [&](std::string_view field) { return FindString(node, {"status", "nodeInfo", field}, kUnknown); };
  return Json::array({kube::NameOf(node), status, NodeRoles(node), Age(node, now_ms), info("kubeletVersion"),
                      NodeAddress(node, "InternalIP"), NodeAddress(node, "ExternalIP"), info("osImage"),
                      info("kernelVersion"), info("containerRuntimeVersion")});
}

Json NamespaceRow(const Json& object, int64_t now_ms) {
  return Json::array({kube::NameOf(object), FindString(object, {"status", "phase"}), Age(object, now_ms)});
}

Json ConfigMapRow(const Json& object, int64_t now_ms) {
  return Json::array(
      {kube::NameOf(object), SizeOf(object, {"data"}) + SizeOf(object, {"binaryData"}), Age(object, now_ms)});
}

Json SecretRow(const Json& object, int64_t now_ms) {
  return Json::array(
      {kube::NameOf(object), FindString(object, {"type"}, "Opaque"), SizeOf(object, {"data"}), Age(object, now_ms)});
}

std::string EventTime(const Json& event, std::string_view field) {
  std::string time = FindString(event, {field});
  if (time.empty()) time = FindString(event, {"eventTime"});
  return time.empty() ? FindString(event, {"metadata", "creationTimestamp"}) : time;
}

Json EventRow(const Json& event, int64_t now_ms) {
  std::string kind = base::ToLower(FindString(event, {"involvedObject", "kind"}));
  std::string source = FindString(event, {"source", "component"});
  if (source.empty()) source = FindString(event, {"reportingComponent"});
  return Json::array({Since(EventTime(event, "lastTimestamp"), now_ms), FindString(event, {"type"}),
                      FindString(event, {"reason"}), kind + "/" + FindString(event, {"involvedObject", "name"}),
                      FindString(event, {"involvedObject", "fieldPath"}), source,
                      std::string(base::TrimSpace(FindString(event, {"message"}))),
                      Since(EventTime(event, "firstTimestamp"), now_ms),
                      std::max<int64_t>(1, FindInt(event, {"count"})), kube::NameOf(event)});
}

// ---- HorizontalPodAutoscaler ----

std::string MetricPart(const char* source) {
  static const auto* parts = new std::map<std::string, std::string>{{"Resource", "resource"},
                                                                    {"ContainerResource", "containerResource"},
                                                                    {"Pods", "pods"},
                                                                    {"Object", "object"},
                                                                    {"External", "external"}};
  auto it = parts->find(source);
  return it == parts->end() ? "" : it->second;
}

std::string QuantityText(const Json& metric, const std::string& part, const char* side, const char* field) {
  const Json* value = Find(metric, {part, side, field});
  if (value == nullptr) return kUnknown;
  std::string text = value->is_string() ? value->get<std::string>() : base::DumpJson(*value);
  auto quantity = base::Quantity::Parse(text);
  return quantity.ok() ? quantity->ToString() : text;
}

std::string MetricTarget(const Json& spec, const Json& current) {
  std::string type = FindString(spec, {"type"});
  std::string part = MetricPart(type.c_str());
  std::string prefix;
  if (type == "Resource" || type == "ContainerResource") prefix = FindString(spec, {part, "name"}) + ": ";
  if (Find(spec, {part, "target", "averageUtilization"}) != nullptr) {
    const Json* now = Find(current, {part, "current", "averageUtilization"});
    return prefix + (now == nullptr ? kUnknown : base::DumpJson(*now) + "%") + "/" +
           std::to_string(FindInt(spec, {part, "target", "averageUtilization"})) + "%";
  }
  const bool average = Find(spec, {part, "target", "averageValue"}) != nullptr;
  const char* field = average ? "averageValue" : "value";
  std::string text =
      prefix + QuantityText(current, part, "current", field) + "/" + QuantityText(spec, part, "target", field);
  return average && (type == "Object" || type == "External") ? text + " (avg)" : text;
}

std::string HpaTargets(const Json& hpa) {
  constexpr size_t kShown = 2;
  const Json* specs = Find(hpa, {"spec", "metrics"});
  const Json* currents = Find(hpa, {"status", "currentMetrics"});
  if (specs == nullptr || !specs->is_array() || specs->empty()) return kNone;
  std::vector<std::string> parts;
  for (size_t i = 0; i < specs->size() && i < kShown; ++i) {
    static const Json* nothing = new Json();
    bool known = currents != nullptr && currents->is_array() && i < currents->size();
    parts.push_back(MetricTarget((*specs)[i], known ? (*currents)[i] : *nothing));
  }
  std::string text = base::Join(parts, ", ");
  if (specs->size() > kShown) text += " + " + std::to_string(specs->size() - kShown) + " more...";
  return text;
}

Json HpaRow(const Json& hpa, int64_t now_ms) {
  const Json* least = Find(hpa, {"spec", "minReplicas"});
  return Json::array(
      {kube::NameOf(hpa),
       FindString(hpa, {"spec", "scaleTargetRef", "kind"}) + "/" + FindString(hpa, {"spec", "scaleTargetRef", "name"}),
       HpaTargets(hpa), least == nullptr ? "<unset>" : base::DumpJson(*least), FindInt(hpa, {"spec", "maxReplicas"}),
       FindInt(hpa, {"status", "currentReplicas"}), Age(hpa, now_ms)});
}

Json CrdRow(const Json& crd, int64_t) {
  return Json::array({kube::NameOf(crd), FindString(crd, {"metadata", "creationTimestamp"})});
}

Json ApiServiceRow(const Json& object, int64_t now_ms) {
  std::string service = "Local";
  if (Find(object, {"spec", "service", "name"}) != nullptr) {
    service =
        FindString(object, {"spec", "service", "namespace"}) + "/" + FindString(object, {"spec", "service", "name"});
  }
  std::string available = ConditionStatus(object, "Available");
  const Json* conditions = Find(object, {"status", "conditions"});
  if (available != "True" && conditions != nullptr && conditions->is_array()) {
    for (const Json& condition : *conditions) {
      if (FindString(condition, {"type"}) == "Available") available += " (" + FindString(condition, {"reason"}) + ")";
    }
  }
  return Json::array({kube::NameOf(object), service, available.empty() ? "Unknown" : available, Age(object, now_ms)});
}

Json LeaseRow(const Json& object, int64_t now_ms) {
  return Json::array({kube::NameOf(object), FindString(object, {"spec", "holderIdentity"}), Age(object, now_ms)});
}

Json IngressRow(const Json& object, int64_t now_ms) {
  return Json::array({kube::NameOf(object), OrNone(FindString(object, {"spec", "ingressClassName"})),
                      JoinField(Find(object, {"spec", "rules"}), "host"), "",
                      Find(object, {"spec", "tls"}) == nullptr ? "80" : "80, 443", Age(object, now_ms)});
}

Json EndpointsRow(const Json& object, int64_t now_ms) {
  std::vector<std::string> parts;
  const Json* subsets = Find(object, {"subsets"});
  if (subsets != nullptr && subsets->is_array()) {
    for (const Json& subset : *subsets) {
      const Json* addresses = Find(subset, {"addresses"});
      const Json* ports = Find(subset, {"ports"});
      if (addresses == nullptr || ports == nullptr || !addresses->is_array() || !ports->is_array()) continue;
      for (const Json& address : *addresses) {
        for (const Json& port : *ports) {
          parts.push_back(FindString(address, {"ip"}) + ":" + std::to_string(FindInt(port, {"port"})));
        }
      }
    }
  }
  const size_t total = parts.size();
  if (total > 3) parts.resize(3);
  std::string text = OrNone(base::Join(parts, ","));
  if (total > 3) text += " + " + std::to_string(total - 3) + " more...";
  return Json::array({kube::NameOf(object), text, Age(object, now_ms)});
}

Json RoleBindingRow(const Json& object, int64_t now_ms) {
  return Json::array({kube::NameOf(object),
                      FindString(object, {"roleRef", "kind"}) + "/" + FindString(object, {"roleRef", "name"}),
                      Age(object, now_ms)});
}

const std::map<std::string, Printer>& Printers() {
  static const auto* printers = new std::map<std::string, Printer>{
      {"pods",
       {{{"Name"},
         {"Ready"},
         {"Status"},
         {"Restarts"},
         {"Age"},
         {"IP", "string", 1},
         {"Node", "string", 1},
         {"Nominated Node", "string", 1},
         {"Readiness Gates", "string", 1}},
        PodRow}},
      {"deployments.apps",
       {{{"Name"},
         {"Ready"},
         {"Up-to-date", "integer"},
         {"Available", "integer"},
         {"Age"},
         {"Containers", "string", 1},
         {"Images", "string", 1},
         {"Selector", "string", 1}},
        DeploymentRow}},
      {"replicasets.apps",
       {{{"Name"},
         {"Desired", "integer"},
         {"Current", "integer"},
         {"Ready", "integer"},
         {"Age"},
         {"Containers", "string", 1},
         {"Images", "string", 1},
         {"Selector", "string", 1}},
        ReplicaSetRow}},
      {"replicationcontrollers",
       {{{"Name"},
         {"Desired", "integer"},
         {"Current", "integer"},
         {"Ready", "integer"},
         {"Age"},
         {"Containers", "string", 1},
         {"Images", "string", 1},
         {"Selector", "string", 1}},
        ReplicaSetRow}},
      {"statefulsets.apps",
       {{{"Name"}, {"Ready"}, {"Age"}, {"Containers", "string", 1}, {"Images", "string", 1}}, StatefulSetRow}},
      {"services",
       {{{"Name"}, {"Type"}, {"Cluster-IP"}, {"External-IP"}, {"Port(s)"}, {"Age"}, {"Selector", "string", 1}},
        ServiceRow}},
      {"nodes",
       {{{"Name"},
         {"Status"},
         {"Roles"},
         {"Age"},
         {"Version"},
         {"Internal-IP", "string", 1},
         {"External-IP", "string", 1},
         {"OS-Image", "string", 1},
         {"Kernel-Version", "string", 1},
         {"Container-Runtime", "string", 1}},
        NodeRow}},
      {"namespaces", {{{"Name"}, {"Status"}, {"Age"}}, NamespaceRow}},
      {"configmaps", {{{"Name"}, {"Data", "integer"}, {"Age"}}, ConfigMapRow}},
      {"secrets", {{{"Name"}, {"Type"}, {"Data", "integer"}, {"Age"}}, SecretRow}},
      {"events",
       {{{"Last Seen"},
         {"Type"},
         {"Reason"},
         {"Object"},
         {"Subobject", "string", 1},
         {"Source", "string", 1},
         {"Message"},
         {"First Seen", "string", 1},
         {"Count", "integer", 1},
         {"Name", "string", 1}},
        EventRow}},
      {"horizontalpodautoscalers.autoscaling",
       {{{"Name"}, {"Reference"}, {"Targets"}, {"MinPods"}, {"MaxPods", "integer"}, {"Replicas", "integer"}, {"Age"}},
        HpaRow}},
      {"customresourcedefinitions.apiextensions.k8s.io", {{{"Name"}, {"Created At"}}, CrdRow}},
      {"apiservices.apiregistration.k8s.io", {{{"Name"}, {"Service"}, {"Available"}, {"Age"}}, ApiServiceRow}},
      {"leases.coordination.k8s.io", {{{"Name"}, {"Holder"}, {"Age"}}, LeaseRow}},
      {"ingresses.networking.k8s.io", {{{"Name"}, {"Class"}, {"Hosts"}, {"Address"}, {"Ports"}, {"Age"}}, IngressRow}},
      {"endpoints", {{{"Name"}, {"Endpoints"}, {"Age"}}, EndpointsRow}},
      {"rolebindings.rbac.authorization.k8s.io", {{{"Name"}, {"Role"}, {"Age"}}, RoleBindingRow}},
      {"clusterrolebindings.rbac.authorization.k8s.io", {{{"Name"}, {"Role"}, {"Age"}}, RoleBindingRow}},
  };
  return *printers;
}

Json ColumnJson(const std::string& name, const std::string& type, int priority, const std::string& description) {
  return {{"name", name},
          {"type", type},
          {"format", name == "Name" ? "name" : ""},
          {"description", description},
          {"priority", priority}};
}

Json CustomCell(const PrinterColumn& column, const Json& object, int64_t now_ms) {
  auto values = EvaluateJsonPath(object, column.json_path);
  if (!values.ok() || values->empty()) return nullptr;
  const Json& value = *values->front();
  if (column.type == "date") return value.is_string() ? Json(Since(value.get<std::string>(), now_ms)) : Json(kUnknown);
  if (column.type != "string") return value;
  std::vector<std::string> texts;
  for (const Json* item : *values)
    texts.push_back(item->is_string() ? item->get<std::string>() : base::DumpJson(*item));
  return base::Join(texts, ",");
}

// A CRD without columns of its own shows AGE.
const std::vector<PrinterColumn>& CustomColumns(const ResourceType& type) {
  static const auto* age =
      new std::vector<PrinterColumn>{{"Age", "date", ".metadata.creationTimestamp", "Time since creation.", 0}};
  return type.columns.empty() ? *age : type.columns;
}

Json Columns(const ResourceType& type, const Printer* printer) {
  Json columns = Json::array();
  if (type.custom) {
    columns.push_back(ColumnJson("Name", "string", 0, "Name of the object."));
    for (const PrinterColumn& column : CustomColumns(type)) {
      columns.push_back(ColumnJson(column.name, column.type, column.priority, column.description));
    }
    return columns;
  }
  for (const Column& column : printer->columns) {
    columns.push_back(ColumnJson(column.name, column.type, column.priority, ""));
  }
  return columns;
}

Json Cells(const ResourceType& type, const Printer* printer, const Json& object, int64_t now_ms) {
  if (!type.custom) return printer->row(object, now_ms);
  Json cells = Json::array({kube::NameOf(object)});
  for (const PrinterColumn& column : CustomColumns(type)) cells.push_back(CustomCell(column, object, now_ms));
  return cells;
}

Json RowObject(const Json& object, IncludeObject include) {
  if (include == IncludeObject::kObject) return object;
  const Json* metadata = Find(object, {"metadata"});
  return {{"kind", "PartialObjectMetadata"},
          {"apiVersion", "meta.k8s.io/v1"},
          {"metadata", metadata == nullptr ? Json::object() : *metadata}};
}

}  // namespace

Json RenderTable(const ResourceType& type, const std::vector<const Json*>& objects, IncludeObject include,
                 int64_t now_ms) {
  static const auto* fallback = new Printer{{{"Name"}, {"Age"}}, DefaultRow};
  auto it = Printers().find(type.QualifiedName());
  // events.k8s.io objects have other fields than the columns of core events read.
  const bool known = it != Printers().end() && !type.custom;
  const Printer* printer = known ? &it->second : fallback;
  Json rows = Json::array();
  for (const Json* object : objects) {
    Json row = {{"cells", Cells(type, printer, *object, now_ms)}};
    if (include != IncludeObject::kNone) row["object"] = RowObject(*object, include);
    rows.push_back(std::move(row));
  }
  return {{"kind", "Table"},
          {"apiVersion", "meta.k8s.io/v1"},
          {"metadata", Json::object()},
          {"columnDefinitions", Columns(type, printer)},
          {"rows", std::move(rows)}};
}

std::string HumanDuration(int64_t ms) {
  const int64_t seconds = ms / 1000;
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return std::to_string(seconds) + "s";
  auto two = [](int64_t a, const char* ua, int64_t b, const char* ub) {
    return std::to_string(a) + ua + (b == 0 ? "" : std::to_string(b) + ub);
  };
  const int64_t minutes = seconds / 60;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return std::to_string(minutes) + "m";
  const int64_t hours = minutes / 60;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return std::to_string(hours) + "h";
  const int64_t days = hours / 24;
  if (hours < 192) return two(days, "d", hours % 24, "h");
  if (days < 730) return std::to_string(days) + "d";
  if (days < 2920) return two(days / 365, "y", days % 365, "d");
  return std::to_string(days / 365) + "y";
}

}  // namespace tidewright::sandbox
