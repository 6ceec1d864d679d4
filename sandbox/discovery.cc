#include "sandbox/discovery.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/json.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

Json Verbs(const ResourceType& type) {
  if (type.create_only) return Json::array({"create"});
  return Json::array({"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"});
}

struct Subresource {
  const char* name;
  const char* group;
  const char* version;
  const char* kind;  // "" is the resource's own.
};

std::vector<Subresource> SubresourcesOf(const ResourceType& type) {
  std::vector<Subresource> out;
  if (type.scale) out.push_back({"scale", "autoscaling", "v1", "Scale"});
  if (type.status) out.push_back({"status", "", "", ""});
  return out;
}

struct Version {
  std::string name;
  const ProxiedVersion* proxied = nullptr;  // Null when served by this server.
};

struct Group {
  std::string name;
  std::vector<Version> versions;
};

// Built-in and custom groups in registration order, then proxied ones by descending priority.
std::vector<Group> GroupsOf(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied) {
  std::vector<Group> groups;
  auto group_of = [&](const std::string& name) -> Group& {
    for (Group& group : groups) {
      if (group.name == name) return group;
    }
    return groups.emplace_back(Group{name, {}});
  };
  for (const ResourceTypePtr& type : types) {
    if (type->group.empty()) continue;
    Group& group = group_of(type->group);
    bool known = std::any_of(group.versions.begin(), group.versions.end(),
                             [&](const Version& version) { return version.name == type->version; });
    if (!known) group.versions.push_back({type->version, nullptr});
  }
  std::vector<const ProxiedVersion*> ordered;
  for (const ProxiedVersion& version : proxied) ordered.push_back(&version);
  std::stable_sort(ordered.begin(), ordered.end(), [](const ProxiedVersion* a, const ProxiedVersion* b) {
    return std::pair(-a->group_priority, -a->version_priority) < std::pair(-b->group_priority, -b->version_priority);
  });
  for (const ProxiedVersion* version : ordered) {
    Group& group = group_of(version->group);
    group.versions.push_back({version->version, version});
  }
  return groups;
}

Json GroupDocument(const Group& group) {
  Json versions = Json::array();
  for (const Version& version : group.versions) {
    versions.push_back({{"groupVersion", group.name + "/" + version.name}, {"version", version.name}});
  }
  return {{"name", group.name}, {"versions", versions}, {"preferredVersion", versions[0]}};
}

Json ResourceEntry(const ResourceType& type) {
  Json entry = {{"name", type.plural},
                {"singularName", type.singular},
                {"namespaced", type.namespaced},
                {"kind", type.kind},
                {"verbs", Verbs(type)}};
  if (!type.short_names.empty()) entry["shortNames"] = type.short_names;
  if (!type.categories.empty()) entry["categories"] = type.categories;
  if (!type.create_only) entry["storageVersionHash"] = base::Base64Encode(type.QualifiedName().substr(0, 6));
  return entry;
}

Json DiscoveryResource(const ResourceType& type) {
  auto kind = [](const std::string& group, const std::string& version, const std::string& name) {
    return Json{{"group", group}, {"version", version}, {"kind", name}};
  };
  Json entry = {{"resource", type.plural},
                {"responseKind", kind(type.group, type.version, type.kind)},
                {"scope", type.namespaced ? "Namespaced" : "Cluster"},
                {"singularResource", type.singular},
                {"verbs", Verbs(type)}};
  if (!type.short_names.empty()) entry["shortNames"] = type.short_names;
  if (!type.categories.empty()) entry["categories"] = type.categories;
  Json subresources = Json::array();
  for (const Subresource& sub : SubresourcesOf(type)) {
    const bool own = sub.kind[0] == '\0';
    subresources.push_back(
        {{"subresource", sub.name},
         {"responseKind", own ? kind(type.group, type.version, type.kind) : kind(sub.group, sub.version, sub.kind)},
         {"verbs", Json::array({"get", "patch", "update"})}});
  }
  if (!subresources.empty()) entry["subresources"] = std::move(subresources);
  return entry;
}

// The aggregated form of an extension's APIResourceList.
Json ConvertResources(const ProxiedVersion& proxied) {
  Json out = Json::array();
  auto parsed = base::ParseJson(proxied.resources);
  const Json* resources = parsed.ok() ? base::Find(*parsed, {"resources"}) : nullptr;
  if (resources == nullptr || !resources->is_array()) return out;
  for (const Json& item : *resources) {
    std::string group = base::FindString(item, {"group"}, proxied.group);
    std::string version = base::FindString(item, {"version"}, proxied.version);
    const Json* verbs = base::Find(item, {"verbs"});
    const Json* short_names = base::Find(item, {"shortNames"});
    Json entry = {
        {"resource", base::FindString(item, {"name"})},
        {"responseKind", {{"group", group}, {"version", version}, {"kind", base::FindString(item, {"kind"})}}},
        {"scope", base::FindBool(item, {"namespaced"}) ? "Namespaced" : "Cluster"},
        {"singularResource", base::FindString(item, {"singularName"})},
        {"verbs", verbs == nullptr ? Json::array() : *verbs}};
    if (short_names != nullptr) entry["shortNames"] = *short_names;
    out.push_back(std::move(entry));
  }
  return out;
}

Json DiscoveryVersion(const std::vector<ResourceTypePtr>& types, const std::string& group, const Version& version) {
  Json resources = Json::array();
  bool fresh = true;
  if (version.proxied != nullptr) {
    resources = ConvertResources(*version.proxied);
    fresh = version.proxied->available;
  } else {
    for (const ResourceTypePtr& type : types) {
      if (type->group == group && type->version == version.name) resources.push_back(DiscoveryResource(*type));
    }
  }
  return {{"version", version.name}, {"resources", std::move(resources)}, {"freshness", fresh ? "Current" : "Stale"}};
}

}  // namespace

Json ApiVersionsDocument(const std::string& address) {
  return {{"kind", "APIVersions"},
          {"versions", Json::array({"v1"})},
          {"serverAddressByClientCIDRs", Json::array({{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", address}}})}};
}

Json ApiGroupListDocument(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied) {
  Json groups = Json::array();
  for (const Group& group : GroupsOf(types, proxied)) groups.push_back(GroupDocument(group));
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}};
}

Json ApiGroupDocument(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied,
                      std::string_view name) {
  for (const Group& group : GroupsOf(types, proxied)) {
    if (group.name != name) continue;
    Json document = GroupDocument(group);
    document["kind"] = "APIGroup";
    document["apiVersion"] = "v1";
    return document;
  }
  return nullptr;
}

Json ApiResourceListDocument(const std::vector<ResourceTypePtr>& types, std::string_view group,
                             std::string_view version) {
  Json resources = Json::array();
  for (const ResourceTypePtr& type : types) {
    if (type->group != group || type->version != version) continue;
    resources.push_back(ResourceEntry(*type));
    for (const Subresource& sub : SubresourcesOf(*type)) {
      Json entry = {{"name", type->plural + "/" + sub.name},
                    {"singularName", ""},
                    {"namespaced", type->namespaced},
                    {"kind", sub.kind[0] == '\0' ? type->kind : std::string(sub.kind)},
                    {"verbs", Json::array({"get", "patch", "update"})}};
      if (sub.group[0] != '\0') {
        entry["group"] = sub.group;
        entry["version"] = sub.version;
      }
      resources.push_back(std::move(entry));
    }
  }
  if (resources.empty()) return nullptr;
  std::string group_version = group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
  return {{"kind", "APIResourceList"},
          {"apiVersion", "v1"},
          {"groupVersion", group_version},
          {"resources", std::move(resources)}};
}

Json AggregatedDiscoveryDocument(const std::vector<ResourceTypePtr>& types, const std::vector<ProxiedVersion>& proxied,
                                 bool core) {
  std::vector<Group> groups = core ? std::vector<Group>{Group{"", {{"v1", nullptr}}}} : GroupsOf(types, proxied);
  Json items = Json::array();
  for (const Group& group : groups) {
    Json versions = Json::array();
    for (const Version& version : group.versions) versions.push_back(DiscoveryVersion(types, group.name, version));
    Json metadata = Json::object();
    if (!group.name.empty()) metadata["name"] = group.name;
    metadata["creationTimestamp"] = nullptr;
    items.push_back({{"metadata", std::move(metadata)}, {"versions", std::move(versions)}});
  }
  return {{"kind", "APIGroupDiscoveryList"},
          {"apiVersion", "apidiscovery.k8s.io/v2"},
          {"metadata", Json::object()},
          {"items", std::move(items)}};
}

}  // namespace tidewright::sandbox
