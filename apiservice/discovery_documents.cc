#include "apiservice/discovery_documents.h"

#include <utility>

#include "apiservice/discovery.h"
#include "apiservice/openapi.h"
#include "base/json.h"
#include "http/reply.h"

namespace tidewright::apiservice {
namespace {

constexpr char kJsonType[] = "application/json";
constexpr char kDiscoveryV2Type[] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

// What a document depends on; "" when a list does not say whether it changes.
std::string VersionOf(const Providers& providers) {
  uint64_t custom = providers.custom != nullptr ? providers.custom->ListVersion() : 1;
  uint64_t external = providers.external != nullptr ? providers.external->ListVersion() : 1;
  if (custom == 0 || external == 0) return "";
  return std::to_string(custom) + (providers.custom != nullptr ? "c " : " ") + std::to_string(external) +
         (providers.external != nullptr ? "e " : " ") + (providers.resource != nullptr ? "r" : "");
}

// Null for a group that is not served.
base::Json Make(const Route& route, bool aggregated, const Providers& providers, size_t max_metrics) {
  switch (route.kind) {
    case Route::Kind::kGroups:
      return aggregated ? AggregatedDiscoveryJson(providers, max_metrics) : GroupListJson(ServedGroups(providers));
    case Route::Kind::kGroup:
      for (const ServedGroup& group : ServedGroups(providers)) {
        if (group.group == route.group) return GroupJson(group);
      }
      return nullptr;
    case Route::Kind::kResources: return ResourceListJson(route.group, route.version, providers, max_metrics);
    case Route::Kind::kOpenApiV2: return OpenApiV2Json(ServedGroups(providers));
    case Route::Kind::kOpenApiV3:
      return route.group.empty() ? OpenApiV3IndexJson(ServedGroups(providers))
                                 : OpenApiV3Json(route.group, route.version);
    default: return nullptr;
  }
}

}  // namespace

std::shared_ptr<const DiscoveryDocument> DiscoveryDocuments::Get(const Route& route, bool aggregated,
                                                                 const Providers& providers) {
  std::string key =
      std::to_string(static_cast<int>(route.kind)) + (aggregated ? "a" : "") + route.group + "/" + route.version;
  std::string version = VersionOf(providers);
  {
    base::MutexLock lock(mu_);
    auto it = kept_.find(key);
    if (!version.empty() && it != kept_.end() && it->second.version == version) return it->second.document;
  }
  base::Json json = Make(route, aggregated, providers, max_metrics_);
  if (json.is_null()) return nullptr;
  auto document = std::make_shared<DiscoveryDocument>();
  document->body = base::DumpJson(json) + "\n";
  document->content_type = aggregated ? kDiscoveryV2Type : kJsonType;
  document->tag = EntityTag(document->body);
  if (document->body.size() >= http::kCompressFromBytes) document->gzip = http::Gzip(document->body);
  if (version.empty()) return document;
  base::MutexLock lock(mu_);
  kept_.insert_or_assign(key, Kept{version, document});
  return document;
}

}  // namespace tidewright::apiservice
