// Runs exec plugins, the programs of a kubeconfig that print credentials. Private to kube.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "kube/config.h"

namespace tidewright::kube {

// What a plugin printed.
struct ExecCredential {
  std::string token;
  std::string certificate_pem;
  std::string private_key_pem;
  std::optional<int64_t> expires_ms;  // Since the epoch.
};

// How a run ended, for the metric rest_client_exec_plugin_call_total.
struct ExecOutcome {
  int exit_code = 0;
  std::string call_status = "no_error";  // As client-go spells it.
};

// Runs the plugin of `config` once and reads what it prints. Blocks for at most ExecPlugin::timeout_ms. Errors are
// kUnauthenticated and never contain what it printed.
base::Result<ExecCredential> RunExecPlugin(const ClientConfig& config, ExecOutcome* outcome);

// The value of KUBERNETES_EXEC_INFO.
std::string ExecInfo(const ClientConfig& config);

// What a program wrote to its standard output. Standard error is discarded, standard input is empty.
struct ProgramOutput {
  int exit_code = 0;  // 128 + signal if one ended it.
  std::string text;
};
// kNotFound: no such program; kDeadlineExceeded: killed, with everything it started, after `timeout_ms`;
// kResourceExhausted: killed, for it wrote more than `max_bytes`.
base::Result<ProgramOutput> RunProgram(const std::vector<std::string>& argv,
                                       const std::map<std::string, std::string>& env, int64_t timeout_ms,
                                       size_t max_bytes);

}  // namespace tidewright::kube
