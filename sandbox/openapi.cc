// OpenAPI v3 documents: as much as kubectl 1.32 reads. Before `apply` and `create` it looks in the paths for a PATCH
// operation of the kind that has a fieldValidation parameter, and then leaves validation to the server. `explain` finds
// the kind by its path and prints the schema. Strategic merge patches need no schema here: kubectl knows the built-in
// types by heart and sends merge patches for all others.
#include <utility>

#include "base/json.h"
#include "sandbox/discovery.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

std::string DocumentPath(std::string_view group, std::string_view version) {
  return group.empty() ? "api/" + std::string(version) : "apis/" + std::string(group) + "/" + std::string(version);
}

Json KindExtension(const ResourceType& type) {
  return {{"group", type.group}, {"version", type.version}, {"kind", type.kind}};
}

std::string SchemaName(const ResourceType& type) {
  return (type.group.empty() ? "core" : type.group) + "." + type.version + "." + type.kind;
}

Json QueryParameter(const char* name, const char* kind) {
  return {{"name", name}, {"in", "query"}, {"schema", {{"type", kind}, {"uniqueItems", true}}}};
}

Json Operation(const ResourceType& type, const char* action) {
  Json content = {{"application/json", {{"schema", {{"$ref", "#/components/schemas/" + SchemaName(type)}}}}}};
  return {
      {"operationId", std::string(action) + type.kind},
      {"x-kubernetes-action", action},
      {"x-kubernetes-group-version-kind", KindExtension(type)},
      {"parameters", Json::array({QueryParameter("dryRun", "string"), QueryParameter("fieldManager", "string"),
                                  QueryParameter("fieldValidation", "string"), QueryParameter("force", "boolean")})},
      {"responses", {{"200", {{"description", "OK"}, {"content", std::move(content)}}}}}};
}

Json ObjectSchema(const char* description) { return {{"type", "object"}, {"description", description}}; }

Json BuiltinSchema(const ResourceType& type) {
  Json schema = {{"type", "object"}, {"description", type.kind + " as the sandbox stores it."}};
  schema["properties"]["spec"] = ObjectSchema("The desired state. The sandbox does not describe its fields.");
  schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = true;
  if (type.status) schema["properties"]["status"] = ObjectSchema("The observed state.");
  return schema;
}

Json SchemaOf(const ResourceType& type) {
  Json schema = type.schema != nullptr ? *type.schema : BuiltinSchema(type);
  Json& properties = schema["properties"];
  properties["apiVersion"] = {{"type", "string"}, {"description", "Version of the schema of this object."}};
  properties["kind"] = {{"type", "string"}, {"description", "Resource type of this object."}};
  properties["metadata"] = ObjectSchema("Standard object metadata: name, namespace, labels, annotations, ...");
  schema["x-kubernetes-group-version-kind"] = Json::array({KindExtension(type)});
  return schema;
}

}  // namespace

Json OpenApiIndex(const std::vector<ResourceTypePtr>& types) {
  Json paths = Json::object();
  for (const ResourceTypePtr& type : types) {
    std::string path = DocumentPath(type->group, type->version);
    paths[path] = {{"serverRelativeURL", "/openapi/v3/" + path}};
  }
  return {{"paths", std::move(paths)}};
}

Json OpenApiDocument(const std::vector<ResourceTypePtr>& types, std::string_view group, std::string_view version) {
  Json paths = Json::object();
  Json schemas = Json::object();
  for (const ResourceTypePtr& type : types) {
    if (type->group != group || type->version != version) continue;
    std::string prefix = "/" + DocumentPath(group, version) + (type->namespaced ? "/namespaces/{namespace}/" : "/");
    paths[prefix + type->plural] = {{"get", Operation(*type, "list")}, {"post", Operation(*type, "post")}};
    if (!type->create_only) {
      paths[prefix + type->plural + "/{name}"] = {
          {"get", Operation(*type, "get")}, {"put", Operation(*type, "put")}, {"patch", Operation(*type, "patch")}};
    }
    schemas[SchemaName(*type)] = SchemaOf(*type);
  }
  if (paths.empty()) return nullptr;
  return {{"openapi", "3.0.0"},
          {"info", {{"title", "Kubernetes"}, {"version", "v1.32.0"}}},
          {"paths", std::move(paths)},
          {"components", {{"schemas", std::move(schemas)}}}};
}

}  // namespace tidewright::sandbox
