#include "apiservice/openapi.h"

#include <cctype>

#include "apiservice/route.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

using base::Json;

constexpr char kTitle[] = "Tidewright metrics APIs";

// A path below the version's, what it returns, and which of its parts are parameters.
struct Operation {
  const char* path;
  const char* kind;
  bool list;
};

std::vector<Operation> OperationsOf(const std::string& group) {
  if (group == kCustomGroup) {
    return {{"/namespaces/{namespace}/{resource}/{name}/{subresource}", "MetricValueList", false},
            {"/namespaces/{namespace}/metrics/{name}", "MetricValueList", false},
            {"/{resource}/{name}/{subresource}", "MetricValueList", false}};
  }
  if (group == kExternalGroup) return {{"/namespaces/{namespace}/{resource}", "ExternalMetricValueList", true}};
  return {{"/nodes", "NodeMetricsList", true},
          {"/nodes/{name}", "NodeMetrics", false},
          {"/pods", "PodMetricsList", true},
          {"/namespaces/{namespace}/pods", "PodMetricsList", true},
          {"/namespaces/{namespace}/pods/{name}", "PodMetrics", false}};
}

// io.k8s.metrics.pkg.apis.custom_metrics.v1beta2.MetricValueList, as the upstream types are called.
std::string SchemaName(const std::string& group, const std::string& version, const std::string& kind) {
  std::string package = group == kCustomGroup     ? "custom_metrics"
                        : group == kExternalGroup ? "external_metrics"
                                                  : "metrics";
  return "io.k8s.metrics.pkg.apis." + package + "." + version + "." + kind;
}

Json Text(const char* description, const char* format = nullptr) {
  Json schema = {{"type", "string"}, {"description", description}};
  if (format != nullptr) schema["format"] = format;
  return schema;
}

Json Object(const char* description, Json properties) {
  return {{"type", "object"}, {"description", description}, {"properties", std::move(properties)}};
}

Json StringMap(const char* description) {
  return {{"type", "object"}, {"description", description}, {"additionalProperties", {{"type", "string"}}}};
}

Json Seconds() {
  return {{"type", "integer"}, {"format", "int64"}, {"description", "Length in seconds of the range of a rate."}};
}

Json CustomValue(const std::string& version) {
  Json object = Object("The object that the metric describes.", {{"apiVersion", Text("Its version.")},
                                                                 {"kind", Text("Its kind.")},
                                                                 {"namespace", Text("Its namespace.")},
                                                                 {"name", Text("Its name.")}});
  Json selector = {{"type", "object"}, {"description", "The label selector that the request had."}};
  Json properties = {{"describedObject", std::move(object)},
                     {"timestamp", Text("When the value was measured.", "date-time")},
                     {"value", Text("The value, a quantity.")}};
  if (version == "v1beta1") {
    properties["metricName"] = Text("The metric.");
    properties["window"] = Seconds();
    properties["selector"] = std::move(selector);
  } else {
    properties["metric"] = Object("The metric.", {{"name", Text("Its name.")}, {"selector", std::move(selector)}});
    properties["windowSeconds"] = Seconds();
  }
  return Object("The value of a metric for one object.", std::move(properties));
}

Json ExternalValue() {
  return Object("One value of a metric that describes no object.",
                {{"metricName", Text("The metric.")},
                 {"metricLabels", StringMap("The labels that tell values of the metric apart.")},
                 {"timestamp", Text("When the value was measured.", "date-time")},
                 {"window", Seconds()},
                 {"value", Text("The value, a quantity.")}});
}

Json UsageOf(const char* what, const char* part, Json schema) {
  return Object(what, {{"apiVersion", Text("The version of the API.")},
                       {"kind", Text("The kind of the object.")},
                       {"metadata", {{"type", "object"}, {"description", "Name, namespace and labels of the object."}}},
                       {"timestamp", Text("The end of the time over which the usage was measured.", "date-time")},
                       {"window", Text("How long that time was, as Go writes durations.")},
                       {part, std::move(schema)}});
}

Json Item(const std::string& group, const std::string& version, const std::string& kind) {
  if (group == kCustomGroup) return CustomValue(version);
  if (group == kExternalGroup) return ExternalValue();
  Json usage = StringMap("CPU (cores) and memory (bytes) in use, quantities.");
  if (kind == "NodeMetrics") return UsageOf("What a node uses.", "usage", std::move(usage));
  Json container = Object("What a container uses.", {{"name", Text("Its name.")}, {"usage", std::move(usage)}});
  return UsageOf("What a pod uses.", "containers", {{"type", "array"}, {"items", std::move(container)}});
}

// The kinds of a group and version, with references that begin with `prefix`.
Json Schemas(const std::string& group, const std::string& version, const std::string& prefix) {
  std::vector<std::string> kinds = {"NodeMetrics", "PodMetrics"};
  if (group == kCustomGroup) kinds = {"MetricValue"};
  if (group == kExternalGroup) kinds = {"ExternalMetricValue"};
  auto names = [&](const std::string& kind) {
    return Json::array({{{"group", group}, {"version", version}, {"kind", kind}}});
  };
  bool objects = group == kResourceGroup;
  Json schemas = Json::object();
  for (const std::string& kind : kinds) {
    Json item = Item(group, version, kind);
    if (objects) item["x-kubernetes-group-version-kind"] = names(kind);
    schemas[SchemaName(group, version, kind)] = std::move(item);
    Json list = Object("A list.", {{"apiVersion", Text("The version of the API.")},
                                   {"kind", Text("The kind of the list.")},
                                   {"metadata", {{"type", "object"}, {"description", "Of the list; empty."}}},
                                   {"items",
                                    {{"type", "array"},
                                     {"description", "What was found."},
                                     {"items", {{"$ref", prefix + SchemaName(group, version, kind)}}}}}});
    list["x-kubernetes-group-version-kind"] = names(kind + "List");
    schemas[SchemaName(group, version, kind + "List")] = std::move(list);
  }
  return schemas;
}

Json Parameter(const std::string& name, const char* in, bool v3) {
  Json parameter = {{"name", name}, {"in", in}, {"required", std::string(in) == "path"}};
  if (v3) {
    parameter["schema"] = {{"type", "string"}};
  } else {
    parameter["type"] = "string";
  }
  return parameter;
}

std::string OperationId(const std::string& verb, const std::string& path) {
  std::string id = verb;
  bool upper = true;
  for (char c : path) {
    bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter) id += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = !letter;
  }
  return id;
}

Json Paths(const std::string& group, const std::string& version, bool v3) {
  Json paths = Json::object();
  for (const Operation& operation : OperationsOf(group)) {
    std::string path = "/apis/" + group + "/" + version + operation.path;
    Json parameters = Json::array();
    for (const std::string& part : base::Split(operation.path, '/')) {
      if (!part.empty() && part[0] == '{') parameters.push_back(Parameter(part.substr(1, part.size() - 2), "path", v3));
    }
    parameters.push_back(Parameter("labelSelector", "query", v3));
    if (group == kCustomGroup) parameters.push_back(Parameter("metricLabelSelector", "query", v3));
    std::string name = SchemaName(group, version, operation.kind);
    Json ok = {{"description", "OK"}};
    if (v3) {
      ok["content"] = {{"application/json", {{"schema", {{"$ref", "#/components/schemas/" + name}}}}}};
    } else {
      ok["schema"] = {{"$ref", "#/definitions/" + name}};
    }
    const char* verb = operation.list ? "list" : "get";
    Json get = {
        {"description", std::string("read ") + operation.kind},
        {"operationId", OperationId(verb, path)},
        {"parameters", std::move(parameters)},
        {"responses", {{"200", std::move(ok)}}},
        {"x-kubernetes-action", verb},
        {"x-kubernetes-group-version-kind", {{"group", group}, {"version", version}, {"kind", operation.kind}}}};
    if (!v3) get["produces"] = Json::array({"application/json"});
    paths[path] = {{"get", std::move(get)}};
  }
  return paths;
}

}  // namespace

Json OpenApiV2Json(const std::vector<ServedGroup>& groups) {
  Json paths = Json::object();
  Json definitions = Json::object();
  for (const ServedGroup& group : groups) {
    for (const std::string& version : group.versions) {
      paths.update(Paths(group.group, version, false));
      definitions.update(Schemas(group.group, version, "#/definitions/"));
    }
  }
  return {{"swagger", "2.0"},
          {"info", {{"title", kTitle}, {"version", "v1"}}},
          {"paths", std::move(paths)},
          {"definitions", std::move(definitions)}};
}

Json OpenApiV3Json(const std::string& group, const std::string& version) {
  return {{"openapi", "3.0.0"},
          {"info", {{"title", kTitle}, {"version", "v1"}}},
          {"paths", Paths(group, version, true)},
          {"components", {{"schemas", Schemas(group, version, "#/components/schemas/")}}}};
}

Json OpenApiV3IndexJson(const std::vector<ServedGroup>& groups) {
  Json paths = Json::object();
  for (const ServedGroup& group : groups) {
    for (const std::string& version : group.versions) {
      std::string path = "apis/" + group.group + "/" + version;
      std::string tag = EntityTag(base::DumpJson(OpenApiV3Json(group.group, version)));
      paths[path] = {{"serverRelativeURL", "/openapi/v3/" + path + "?hash=" + tag.substr(1, tag.size() - 2)}};
    }
  }
  return {{"paths", std::move(paths)}};
}

}  // namespace tidewright::apiservice
