// `tidewright run`: the control plane of a cluster.
#pragma once

#include <optional>
#include <string>

#include "cmd/control_plane.h"
#include "kube/rate_limiter.h"

namespace tidewright::cmd {

struct RunFlags {
  ControlPlaneOptions options;
  bool kubernetes = true;  // Otherwise there is no cluster to connect to.
  std::string kubeconfig;  // "": the service account of the pod.
  std::string context;
  std::string retention = "24h";
  std::string keep_last_value = "0s";
  // Of --delegate.
  std::vector<std::string> delegates;
  std::string delegate_ca_file;
  // Of --query-url.
  std::vector<std::string> query_headers;  // name=value
  std::string query_timeout_per_server = "10s";
  std::string query_ca_file, query_cert_file, query_key_file;
  std::string retention_size = "0";
  std::string fsync_interval = "5s";
  std::string min_block = "2h";
  std::string max_block = "0s";
  std::vector<std::string> enable_features;
  std::string query_timeout = "2m";
  std::string query_lookback = "5m";
  std::string for_outage_tolerance = "1h";
  std::string for_grace_period = "10m";
  std::string resend_delay = "1m";
  std::string log_level = "info";
  int max_concurrent_rule_evals = 4;  // With the feature concurrent-rule-eval.
  bool web_lifecycle = false;         // POST /-/quit ends the process.
  std::optional<bool> leader_elect;   // Default: in a pod, but not with a kubeconfig.
  std::string lease_duration = "15s";
  std::string renew_deadline = "10s";
  std::string retry_period = "2s";
  kube::RateLimitOptions rate_limit;
};

// Runs until SIGINT or SIGTERM; SIGHUP reloads the configuration, and so does a change of its files. Returns the exit
// code.
int RunControlPlane(RunFlags flags);

}  // namespace tidewright::cmd
