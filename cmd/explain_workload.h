// `tidewright explain scaledobject/NAME`: why a workload has the replicas that it has.
#pragma once

#include <functional>
#include <string>

#include "base/json_fwd.h"
#include "base/status.h"

namespace CLI {
class App;
}

namespace tidewright::cmd {

struct ExplainWorkloadFlags {
  std::string object;  // "scaledobject/orders", "so/orders", "hpa/web"
  std::string ns = "default";
  std::string server = "http://127.0.0.1:9090";
  int history = 5;
};

// Lets the group `explain` take an object in place of a subcommand. When one was given, `command` asks a running
// Tidewright and prints the trace; it returns the exit code.
void AddExplainWorkload(CLI::App& explain, std::function<int()>* command);

// What is printed, from the replies of /api/v1/autoscaling/workloads and /decisions (`history`). kNotFound when the
// object is not among them.
base::Result<std::string> ExplainWorkload(const ExplainWorkloadFlags& flags, const base::Json& workloads,
                                          const base::Json& history);

}  // namespace tidewright::cmd
