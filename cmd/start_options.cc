#include "cmd/start_options.h"

#include <unistd.h>

#include "base/log.h"

namespace tidewright::cmd {

std::string HostName() {
  char name[256] = "localhost";
  if (gethostname(name, sizeof name - 1) != 0) base::LogWarn("cmd", "this host has no name", {});
  return name;
}

std::string ExternalUrl(const ControlPlaneOptions& options) {
  std::string url = options.external_url;
  if (url.empty()) url = "http://" + HostName() + ":" + std::to_string(options.web_port);
  while (url.ends_with("/")) url.pop_back();
  return url;
}

size_t MaxExemplars(const scrape::Config& config) {
  return config.max_exemplars > 0 ? static_cast<size_t>(config.max_exemplars) : 0;
}

tsdb::DbOptions StoreOptions(const ControlPlaneOptions& options, const scrape::Config& config) {
  tsdb::DbOptions store;
  store.retention_ms = config.retention.ms > 0 ? config.retention.ms : options.retention_ms;
  store.retention_bytes =
      config.retention_bytes > 0 ? static_cast<uint64_t>(config.retention_bytes) : options.retention_bytes;
  store.max_exemplars = MaxExemplars(config);
  store.out_of_order_window_ms = config.out_of_order_time_window.ms;
  store.fsync_interval_ms = options.fsync_interval_ms;
  store.max_block_ms = options.max_block_ms;
  return store;
}

}  // namespace tidewright::cmd
