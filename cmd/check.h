// `tidewright check`: says what is wrong with configuration and manifests before they are used.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::cmd {

// What one file turned out to be, and what is wrong with it.
struct CheckResult {
  std::string kind;  // "prometheus.yml", "rule file", "adapter rules", "2 ScaledObjects", ...
  base::Status status;
  std::vector<std::string> warnings;
};

// Reads a file and checks it by its content: a Prometheus configuration (and nothing that it refers to), a rule file,
// adapter rules, or Kubernetes manifests, of which ScaledObjects are checked and the rest must only be readable.
CheckResult CheckFile(const std::string& path);

// Checks each file and prints the outcome; 0 if all are fine. No file at all is a mistake.
int RunCheck(const std::vector<std::string>& paths);

// Prints the prometheus.yml that holds in a cluster without another.
int PrintDefaultConfig();

}  // namespace tidewright::cmd
