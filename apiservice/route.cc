#include "apiservice/route.h"

#include <vector>

#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

// "/a/b/" -> {a, b}. An empty segment elsewhere stays, and matches nothing.
std::vector<std::string> Segments(std::string_view path) {
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  if (!path.empty() && path.back() == '/') path.remove_suffix(1);
  if (path.empty()) return {};
  return base::Split(path, '/');
}

bool IsServed(const std::string& group, const std::string& version) {
  if (group == kCustomGroup) return version == "v1beta1" || version == "v1beta2";
  if (group == kExternalGroup) return version == "v1beta1";
  if (group == kResourceGroup) return version == "v1beta1" || version == "v1";
  return false;
}

GroupResource ParseResource(const std::string& text) {
  size_t dot = text.find('.');
  if (dot == std::string::npos) return {"", text};
  return {text.substr(dot + 1), text.substr(0, dot)};
}

using Parts = std::vector<std::string>;

void ParseCustom(const Parts& parts, Route* route) {
  bool namespaced = !parts.empty() && parts[0] == "namespaces";
  if (namespaced && parts.size() == 3) {
    route->kind = Route::Kind::kBadPath;
  } else if (namespaced && parts.size() == 4 && parts[2] == "metrics") {
    route->kind = Route::Kind::kCustom;
    route->resource = {"", "namespaces"};
    route->name = parts[1];
    route->metric = parts[3];
  } else if (namespaced && parts.size() == 5) {
    route->kind = Route::Kind::kCustom;
    route->ns = parts[1];
    route->resource = ParseResource(parts[2]);
    route->name = parts[3];
    route->metric = parts[4];
  } else if (!namespaced && parts.size() == 3) {
    route->kind = Route::Kind::kCustom;
    route->resource = ParseResource(parts[0]);
    route->name = parts[1];
    route->metric = parts[2];
  }
}

void ParseExternal(const Parts& parts, Route* route) {
  if (parts.size() != 3 || parts[0] != "namespaces") return;
  route->kind = Route::Kind::kExternal;
  route->ns = parts[1];
  route->metric = parts[2];
}

void ParseResourceMetrics(Parts parts, Route* route) {
  if (parts.size() >= 3 && parts[0] == "namespaces" && parts[2] == "pods") {
    route->ns = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  } else if (parts.size() > 1 && parts[0] == "pods") {
    return;  // A pod's name says nothing without its namespace.
  }
  if (parts.empty() || parts.size() > 2) return;
  if (parts[0] != "nodes" && parts[0] != "pods") return;
  route->kind = parts[0] == "nodes" ? Route::Kind::kNodes : Route::Kind::kPods;
  if (parts.size() == 2) route->name = parts[1];
}

Route::Kind TopLevelKind(const Parts& parts) {
  const std::string& first = parts[0];
  if (first == "healthz" || first == "livez" || first == "readyz") return Route::Kind::kHealth;
  if (parts.size() == 1 && first == "version") return Route::Kind::kVersion;
  if (parts.size() == 1 && first == "metrics") return Route::Kind::kOwnMetrics;
  if (parts.size() == 1 && first == "apis") return Route::Kind::kGroups;
  if (parts.size() == 2 && first == "openapi" && parts[1] == "v2") return Route::Kind::kOpenApiV2;
  if (parts.size() == 2 && first == "openapi" && parts[1] == "v3") return Route::Kind::kOpenApiV3;
  return Route::Kind::kNotFound;
}

}  // namespace

Route ParseRoute(std::string_view path) {
  Route route;
  Parts parts = Segments(path);
  if (parts.empty()) return route;
  for (const std::string& part : parts) {
    if (part.empty()) return route;
  }
  route.kind = TopLevelKind(parts);
  if (parts.size() == 5 && parts[0] == "openapi" && parts[1] == "v3" && parts[2] == "apis") {
    if (!IsServed(parts[3], parts[4])) return route;
    route.kind = Route::Kind::kOpenApiV3;
    route.group = parts[3];
    route.version = parts[4];
    return route;
  }
  if (parts[0] != "apis" || parts.size() < 2) return route;
  route.group = parts[1];
  if (parts.size() == 2) {
    route.kind = Route::Kind::kGroup;
    return route;
  }
  route.version = parts[2];
  if (!IsServed(route.group, route.version)) return route;
  parts.erase(parts.begin(), parts.begin() + 3);
  if (parts.empty()) {
    route.kind = Route::Kind::kResources;
  } else if (route.group == kCustomGroup) {
    ParseCustom(parts, &route);
  } else if (route.group == kExternalGroup) {
    ParseExternal(parts, &route);
  } else {
    ParseResourceMetrics(parts, &route);
  }
  return route;
}

Attributes AttributesOf(std::string_view method, std::string_view path) {
  Attributes attributes;
  attributes.path = path;
  attributes.verb = base::ToLower(method);
  Parts parts = Segments(path);
  if (parts.size() < 4 || parts[0] != "apis") return attributes;
  attributes.is_resource = true;
  attributes.group = parts[1];
  attributes.version = parts[2];
  parts.erase(parts.begin(), parts.begin() + 3);
  if (parts[0] == "namespaces" && parts.size() > 1) {
    attributes.ns = parts[1];
    if (parts.size() > 2) parts.erase(parts.begin(), parts.begin() + 2);
  }
  attributes.resource = parts[0];
  if (parts.size() > 1) attributes.name = parts[1];
  if (parts.size() > 2) attributes.subresource = parts[2];
  bool read = attributes.verb == "get" || attributes.verb == "head";
  if (read) attributes.verb = attributes.name.empty() ? "list" : "get";
  if (attributes.verb == "post") attributes.verb = "create";
  if (attributes.verb == "put") attributes.verb = "update";
  return attributes;
}

}  // namespace tidewright::apiservice
