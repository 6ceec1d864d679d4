// `tidewright run`: the control plane of a cluster.
#pragma once

#include <string>

#include "cmd/control_plane.h"

namespace tidewright::cmd {

struct RunFlags {
  ControlPlaneOptions options;
  std::string kubeconfig;  // "": the service account of the pod.
  std::string context;
  std::string retention = "24h";
  std::string log_level = "info";
};

// Runs until SIGINT or SIGTERM; SIGHUP reloads the configuration, and so does a change of its files. Returns the exit
// code.
int RunControlPlane(RunFlags flags);

}  // namespace tidewright::cmd
