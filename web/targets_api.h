// Targets, their pools and what they say about their metrics, in the shapes of the Prometheus HTTP API.
#pragma once

#include <map>
#include <string>

#include "http/message.h"
#include "http/server.h"
#include "scrape/manager.h"
#include "tsdb/querier.h"

namespace tidewright::web {

// Answers GET /api/v1/{targets,targets/metadata,targets/relabel_steps,scrape_pools,metadata}. Stateless; thread-safe.
// Borrows its arguments.
//
// One addition to Prometheus' shapes: a dropped target has a `reason`.
class TargetsApi {
 public:
  TargetsApi(const scrape::Manager& manager, tsdb::Queryable& store) : manager_(manager), store_(store) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request) const;

 private:
  http::Response Targets(const http::QueryParams& params) const;
  http::Response TargetMetadata(const http::QueryParams& params) const;
  http::Response RelabelSteps(const http::QueryParams& params) const;
  http::Response ScrapePools() const;
  // What the targets say; for families that no target exposes, what the store remembers.
  http::Response Metadata(const http::QueryParams& params) const;

  const scrape::Manager& manager_;
  tsdb::Queryable& store_;
};

}  // namespace tidewright::web
