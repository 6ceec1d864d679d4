// `tidewright check`: says what is wrong with configuration and manifests before they are used.
#pragma once

#include <map>
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

// Reads a file and checks it by its content: a Prometheus configuration (and nothing that it refers to), rules or tests
// of rules, receivers, adapter rules, or Kubernetes manifests, of which ScaledObjects, ScaledJobs and MetricRules are
// checked and the rest must only be readable.
CheckResult CheckFile(const std::string& path);

// Checks a Prometheus configuration, the rule files that it names, and that other files which it names are there, as
// promtool check config does. Results by path.
std::map<std::string, CheckResult> CheckConfig(const std::string& path);

// Checks each file and prints the outcome; 0 if all are fine. No file at all is a mistake. RunCheckConfig() takes them
// for configurations and follows their rule files.
int RunCheckConfig(const std::vector<std::string>& paths);
int RunCheck(const std::vector<std::string>& paths);
// Likewise for files of receivers (--alerting.receivers.file).
int RunCheckReceivers(const std::vector<std::string>& paths);

// Prints the prometheus.yml that holds in a cluster without another.
int PrintDefaultConfig();

}  // namespace tidewright::cmd
