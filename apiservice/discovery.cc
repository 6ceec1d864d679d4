#include "apiservice/discovery.h"

#include <cstdint>
#include <cstdio>
#include <map>

#include "apiservice/route.h"
#include "base/json.h"

namespace tidewright::apiservice {
namespace {

using base::Json;

Json Resource(const std::string& name, bool namespaced, const char* kind, Json verbs) {
  return {
      {"name", name}, {"singularName", ""}, {"namespaced", namespaced}, {"kind", kind}, {"verbs", std::move(verbs)}};
}

// The legacy list's entries; the aggregated document is made from them, so that the two cannot disagree.
std::vector<Json> Entries(const std::string& group, const Providers& providers, size_t max_metrics) {
  std::vector<Json> entries;
  const Json get = Json::array({"get"});
  if (group == kCustomGroup) {
    const auto metrics =
        providers.custom != nullptr ? providers.custom->ListMetrics() : std::vector<CustomMetricInfo>();
    for (const CustomMetricInfo& info : metrics) {
      if (entries.size() >= max_metrics) break;
      entries.push_back(
          Resource(info.resource.ToString() + "/" + info.metric, info.namespaced, "MetricValueList", get));
    }
    if (entries.empty()) entries.push_back(Resource("custommetrics", true, "MetricValueList", get));
  }
  if (group == kExternalGroup) {
    const auto metrics = providers.external != nullptr ? providers.external->ListMetrics() : std::vector<std::string>();
    for (const std::string& metric : metrics) {
      if (entries.size() >= max_metrics) break;
      entries.push_back(Resource(metric, true, "ExternalMetricValueList", get));
    }
    if (entries.empty()) entries.push_back(Resource("externalmetrics", true, "ExternalMetricValueList", get));
  }
  if (group == kResourceGroup) {
    const Json read = Json::array({"get", "list"});
    entries.push_back(Resource("nodes", false, "NodeMetrics", read));
    entries.push_back(Resource("pods", true, "PodMetrics", read));
  }
  return entries;
}

Json VersionJson(const std::string& group, const std::string& version) {
  return {{"groupVersion", group + "/" + version}, {"version", version}};
}

Json KindJson(const std::string& group, const std::string& version, const std::string& kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

// "pods/http_requests" is the subresource http_requests of pods there. A parent that is no resource itself carries an
// empty kind, because some clients crash on none.
Json AggregatedResources(const std::string& group, const std::string& version, const std::vector<Json>& entries) {
  Json resources = Json::array();
  std::map<std::string, size_t> parents;
  for (const Json& entry : entries) {
    std::string name = entry["name"];
    const char* scope = entry["namespaced"].get<bool>() ? "Namespaced" : "Cluster";
    Json kind = KindJson(group, version, entry["kind"]);
    size_t slash = name.find('/');
    if (slash == std::string::npos) {
      resources.push_back({{"resource", name},
                           {"responseKind", std::move(kind)},
                           {"scope", scope},
                           {"singularResource", ""},
                           {"verbs", entry["verbs"]}});
      continue;
    }
    std::string parent = name.substr(0, slash);
    auto [it, fresh] = parents.try_emplace(parent, resources.size());
    if (fresh) {
      resources.push_back({{"resource", parent},
                           {"responseKind", KindJson("", "", "")},
                           {"scope", scope},
                           {"singularResource", ""},
                           {"verbs", Json::array()},
                           {"subresources", Json::array()}});
    }
    resources[it->second]["subresources"].push_back(
        {{"subresource", name.substr(slash + 1)}, {"responseKind", std::move(kind)}, {"verbs", entry["verbs"]}});
  }
  return resources;
}

uint64_t Fnv(const std::string& text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

std::vector<ServedGroup> ServedGroups(const Providers& providers) {
  std::vector<ServedGroup> groups;
  if (providers.custom != nullptr) groups.push_back({std::string(kCustomGroup), {"v1beta2", "v1beta1"}});
  if (providers.external != nullptr) groups.push_back({std::string(kExternalGroup), {"v1beta1"}});
  if (providers.resource != nullptr) groups.push_back({std::string(kResourceGroup), {"v1beta1", "v1"}});
  return groups;
}

Json GroupJson(const ServedGroup& group) {
  Json versions = Json::array();
  for (const std::string& version : group.versions) versions.push_back(VersionJson(group.group, version));
  return {{"kind", "APIGroup"},
          {"apiVersion", "v1"},
          {"name", group.group},
          {"versions", std::move(versions)},
          {"preferredVersion", VersionJson(group.group, group.versions.front())}};
}

Json GroupListJson(const std::vector<ServedGroup>& groups) {
  Json list = Json::array();
  for (const ServedGroup& group : groups) {
    Json item = GroupJson(group);
    item.erase("kind");
    item.erase("apiVersion");
    list.push_back(std::move(item));
  }
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}};
}

Json ResourceListJson(const std::string& group, const std::string& version, const Providers& providers,
                      size_t max_metrics) {
  return {{"kind", "APIResourceList"},
          {"apiVersion", "v1"},
          {"groupVersion", group + "/" + version},
          {"resources", Entries(group, providers, max_metrics)}};
}

Json AggregatedDiscoveryJson(const Providers& providers, size_t max_metrics) {
  Json items = Json::array();
  for (const ServedGroup& group : ServedGroups(providers)) {
    std::vector<Json> entries = Entries(group.group, providers, max_metrics);
    Json versions = Json::array();
    for (const std::string& version : group.versions) {
      versions.push_back({{"version", version},
                          {"freshness", "Current"},
                          {"resources", AggregatedResources(group.group, version, entries)}});
    }
    items.push_back(
        {{"metadata", {{"name", group.group}, {"creationTimestamp", nullptr}}}, {"versions", std::move(versions)}});
  }
  return {{"kind", "APIGroupDiscoveryList"},
          {"apiVersion", "apidiscovery.k8s.io/v2"},
          {"metadata", Json::object()},
          {"items", std::move(items)}};
}

std::string EntityTag(const std::string& body) {
  char text[40];
  std::snprintf(text, sizeof text, "\"%016llX%016llX\"",
                static_cast<unsigned long long>(Fnv(body, 0xcbf29ce484222325ULL)),
                static_cast<unsigned long long>(Fnv(body, 0x9e3779b97f4a7c15ULL ^ body.size())));
  return text;
}

}  // namespace tidewright::apiservice
