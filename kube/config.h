// How to reach an API server: kubeconfig files and the service account of a pod.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "http/client.h"

namespace tidewright::kube {

// A program that prints credentials (users[].user.exec; client.authentication.k8s.io/v1 and v1beta1).
struct ExecPlugin {
  std::string api_version;
  std::string
      command;  // Looked up in $PATH unless it has a slash; relative ones with a slash lie beside the kubeconfig.
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;
  std::string install_hint;           // Shown when the command is missing.
  bool provide_cluster_info = false;  // Tell it in KUBERNETES_EXEC_INFO for which cluster.
  std::string cluster_config;         // JSON of the cluster's extension client.authentication.k8s.io/exec, or "".
  int64_t timeout_ms = 30'000;        // It is killed after that.
};

// Where the server is and who we are. Files are read again when they change, so that what rotates needs no restart.
struct ClientConfig {
  std::string server;            // https://10.0.0.1:443, a path may follow.
  http::ClientTls tls;           // Inline values; a file below wins over its counterpart here.
  std::string ca_file;           // PEM.
  std::string certificate_file;  // PEM; with private_key_file.
  std::string private_key_file;  // PEM.
  std::string proxy_url;         // "http://proxy:3128"; "" connects directly.
  // One of these at most is used: token file, token, user name, exec plugin, in this order.
  std::string bearer_token;
  std::string bearer_token_file;  // Read each minute, and at once when the server refuses the token.
  std::string username;
  std::string password;
  std::optional<ExecPlugin> exec;
  std::string ns = "default";  // The context's namespace.
  std::string field_manager = "tidewright";
};

// Reads kubeconfig files. `paths` is one path, or several with ':' between them as in $KUBECONFIG: the first that names
// a cluster, context or user wins, files that are missing are skipped as long as one is there. `context` "" takes
// current-context. Relative paths in a file start in its folder. Errors name file, context and what is missing.
base::Result<ClientConfig> LoadKubeconfig(const std::string& paths, const std::string& context = "");
// The files that kubectl would read: $KUBECONFIG, else ~/.kube/config; "" if there is neither.
std::string DefaultKubeconfigPaths();
// Reads the service account that Kubernetes mounts into every pod.
base::Result<ClientConfig> InClusterConfig();

}  // namespace tidewright::kube
