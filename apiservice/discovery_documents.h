// DiscoveryDocuments: discovery and OpenAPI documents, made once and kept until what they list changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "apiservice/provider.h"
#include "apiservice/route.h"
#include "base/mutex.h"

namespace tidewright::apiservice {

struct DiscoveryDocument {
  std::string body;
  std::string gzip;  // The same, compressed; "" for a short one.
  std::string content_type;
  std::string tag;  // A strong entity tag with its quotes.
};

// What kube-apiserver polls, and every kubectl command reads, so that its cost must not grow with the number of
// metrics: a document is made when it is first asked for after the providers' lists have changed. Lists without a
// version are not kept. Thread-safe.
class DiscoveryDocuments {
 public:
  explicit DiscoveryDocuments(size_t max_metrics) : max_metrics_(max_metrics) {}

  // The document at `route`: kGroups (the aggregated one if asked for), kGroup, kResources, kOpenApiV2 or kOpenApiV3.
  // Null when there is none.
  std::shared_ptr<const DiscoveryDocument> Get(const Route& route, bool aggregated, const Providers& providers);

 private:
  struct Kept {
    std::string version;
    std::shared_ptr<const DiscoveryDocument> document;
  };
  const size_t max_metrics_;
  base::Mutex mu_;
  std::map<std::string, Kept> kept_ GUARDED_BY(mu_);  // By what was asked for: a few for each version of a group.
};

}  // namespace tidewright::apiservice
