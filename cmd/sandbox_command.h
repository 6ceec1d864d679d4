// `tidewright sandbox`: everything in one process, for trying it without a cluster.
#pragma once

#include <cstdint>
#include <string>

namespace tidewright::cmd {

struct SandboxFlags {
  std::string examples = "examples";  // Folder with manifests, and configuration in its subfolder tidewright/.
  std::string duration;               // --for: end after this time and judge; "" runs until a signal.
  uint16_t web_port = 9090;           // 0 picks a free one.
  bool web_port_given = false;        // Else a taken port is replaced by a free one.
  uint16_t api_port = 0;              // Of the sandbox's Kubernetes API.
  std::string kubeconfig = "sandbox.kubeconfig";        // Written at the start, removed at the end.
  std::string log_file;                                 // "": in the temporary folder.
  std::string calendar_start = "2026-03-02T05:00:00Z";  // A Monday, 06:00 in Rome.
  double calendar_speed = 1440;                         // A day per minute.
  bool plain = false;                                   // No live table, even on a terminal.
};

// Returns the exit code: with --for 0 only if every workload was scaled up and down for the right reason.
int RunSandbox(const SandboxFlags& flags);

}  // namespace tidewright::cmd
