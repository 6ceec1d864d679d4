// ControlPlane: all modules wired together, as `tidewright run` and the sandbox start them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapter/remote_engine.h"
#include "apiservice/external_delegates.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "kube/client.h"
#include "kube/leader_election.h"
#include "promql/engine.h"
#include "scaler/status_board.h"
#include "scrape/config.h"

namespace tidewright::cmd {

// What the flags say. Paths may be "".
struct ControlPlaneOptions {
  std::string config_file;   // prometheus.yml; "": the built-in one.
  std::string adapter_file;  // prometheus-adapter's configuration; "": the default rules.
  std::string data_dir;      // "": keep samples in memory.
  int64_t retention_ms = 24LL * 3600 * 1000;
  uint64_t retention_bytes = 0;      // 0: no limit.
  int64_t fsync_interval_ms = 5000;  // Of the store's log; 0: at each commit.
  int64_t max_block_ms = 0;          // The longest block that merging makes; 0: a tenth of the retention.
  promql::EngineOptions query;       // The limits of queries.

  // Of alerts; named as Prometheus names them.
  int64_t for_outage_tolerance_ms = 3600 * 1000;
  int64_t for_grace_period_ms = 10 * 60 * 1000;
  int64_t resend_delay_ms = 60 * 1000;
  int max_concurrent_rule_evals = 0;  // Of independent rules of one group; 0: in order.
  size_t notification_queue_capacity = 10'000;
  std::string receivers_file;   // Receivers of our own; "": none.
  bool scaling_alerts = false;  // Evaluates the built-in alerts about scaling, and stores the series that they need.

  std::string external_url;  // Of the web port, as others reach it; "": made of the host's name and the port.
  std::string web_address = "0.0.0.0";
  uint16_t web_port = 9090;            // 0 picks a free one.
  bool remote_write_receiver = false;  // Takes samples at /api/v1/write.
  bool web_admin_api = false;          // Snapshots and deletions through the web port.
  std::string web_config_file;         // TLS, users and headers of the web port; "": plain HTTP, open to everybody.
  std::string web_cors_origin = ".*";  // Origins whose pages may read the API: an anchored expression.
  std::function<void()> quit;          // What POST /-/quit does; empty: refused.
  std::map<std::string, std::string> flags;  // Of the command line, for /api/v1/status/flags.
  std::string api_address = "0.0.0.0";
  uint16_t api_port = 6443;  // The aggregation port; 0 picks a free one.
  std::string tls_certificate_file;
  std::string tls_private_key_file;
  std::string tls_ca_file;
  std::string service = "tidewright";  // What the APIService objects point at.
  std::string service_ns = "tidewright-system";
  int service_port = 443;
  // Secret in service_ns that keeps the CA of made certificates, shared by all replicas; "": a CA of this process
  // alone.
  std::string ca_secret;
  bool register_api_services = true;
  bool take_over_api_services = false;

  // Without an election this process leads from its start to its end.
  bool leader_elect = false;
  kube::LeaderElectionOptions leader_election;
  // Among how many shards, each followed by one replica, ScaledObjects are divided; 1: the leader follows all. More need
  // an election, and go without the HPA controller.
  int scaler_shards = 1;

  // ServiceMonitors and their kin: whether they are followed, and which. Label selectors; "": all.
  bool monitoring_objects = true;
  std::string monitoring_selector;
  std::string monitoring_namespace_selector;
  bool monitoring_allow_files = false;

  bool hpa_controller = false;
  int64_t hpa_sync_period_ms = 15'000;
  scrape::ScrapeDefaults scrape_defaults;
  int64_t relist_interval_ms = 30'000;
  adapter::RemoteEngineOptions query_servers;     // Whom the metrics APIs ask; without an address: our own store.
  apiservice::ExternalDelegateOptions delegates;  // Other servers of external metrics.
  int64_t last_value_ms = 0;  // For how long a metric's last value stands in for one that is missing; 0: never.
  bool watch_keda = false;

  // The sandbox: maps service names to addresses, and fills the job "tidewright" with our own web port.
  std::function<std::string(const std::string& host)> resolve_host;
  bool scrape_self = false;
};

// Who scales, as far as is known.
struct Leadership {
  bool elected = false;  // Otherwise there is no election.
  bool leads = false;    // This process does.
  std::string leader;    // "" while nobody does.
};

// Scrapes, stores, evaluates rules and serves the metrics APIs and the web port from start to end; scales and writes to
// the cluster while it leads. A standby follows the same objects and scrapes the same targets, so it can act as soon as
// it becomes the leader. Without a client there is no cluster: it scrapes what the configuration lists, stores,
// evaluates rules and serves the web port, and that is all. Thread-safe after Start(). Borrows client, clocks and
// metrics. `calendar` is read by cron windows only.
class ControlPlane {
 public:
  ControlPlane(const ControlPlaneOptions& options, kube::Client* client, base::Clock& clock, base::Clock& calendar,
               base::MetricRegistry& metrics);
  ~ControlPlane();  // Stop().

  // Reads configuration and starts everything, the data path first. A faulty configuration file is reported and leaves
  // out its own part only: what does not depend on it goes on scaling. On an error what was started is stopped.
  base::Status Start();
  // Stops in the opposite order. Idempotent.
  void Stop();

  // Reads the configuration files again. Each file that is faulty keeps its previous content in force; the error lists
  // what is wrong.
  base::Status Reload();
  // Reloads if a configuration file has changed; call it every few seconds.
  void ReloadIfChanged();

  // What is wrong with the configuration files right now, one text per file; also on the page and in the API.
  std::vector<std::string> ConfigProblems() const;

  Leadership leadership() const;
  const scaler::StatusBoard& board() const;  // Empty unless this process leads.
  uint16_t web_port() const;
  uint16_t api_port() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::cmd
