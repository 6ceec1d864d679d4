// What the process says of itself: /api/v1/status/... and what belongs there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "adapter/registry.h"
#include "base/clock.h"
#include "base/json_fwd.h"
#include "http/message.h"
#include "http/server.h"
#include "tsdb/db.h"

namespace tidewright::web {

// Times are ms since the epoch.
struct RuntimeStatus {
  int64_t started_ms = 0;
  bool reload_successful = true;  // Of the configuration, the last time.
  int64_t last_config_ms = 0;     // When it was last taken; 0: never.
  std::string retention;          // "15d", "10GiB", "15d or 10GiB".
};

// What the pages show. Empty functions and null leave their part out.
struct StatusSources {
  base::Clock* clock = nullptr;  // Required.
  tsdb::Db* db = nullptr;
  std::string data_directory;
  std::map<std::string, std::string> flags;   // Of the command line, in force.
  std::function<std::string()> config;        // The YAML in force.
  std::function<RuntimeStatus()> runtime;     //
  std::function<base::Json()> notifications;  // What is wrong with the configuration.
  std::map<std::string, bool> api_features;   // What of the API is switched on.
};

// Answers GET of
//   /api/v1/status/{buildinfo,config,flags,runtimeinfo,walreplay}
//   /api/v1/status/tsdb[?limit=10]   what the head is made of; reads the labels of all its series, and counts no chunks
//   /api/v1/status/tsdb/blocks       the meta.json of each block
//   /api/v1/features                 what is switched on
//   /api/v1/notifications            what is wrong with the configuration; of /live, the server makes a stream of them
// Thread-safe. Borrows what the sources point at. Formats: Prometheus "HTTP API" documentation.
class StatusApi {
 public:
  explicit StatusApi(StatusSources sources) : sources_(std::move(sources)) {}

  // Whether `path` is one of its own.
  bool Handles(const std::string& path) const;
  http::Response Handle(const http::ServerRequest& request) const;

 private:
  http::Response RuntimeInfo() const;
  http::Response Head(const http::QueryParams& params) const;
  http::Response Blocks() const;
  http::Response Notifications() const;
  http::Response Features() const;

  const StatusSources sources_;
};

base::Json MetricRulesJson(const std::vector<adapter::RuleStatus>& rules);
base::Json BuildInfoJson();

}  // namespace tidewright::web
