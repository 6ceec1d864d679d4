// `tidewright query`: asks a running Tidewright or Prometheus, with what promtool prints.
#pragma once

#include <functional>
#include <string>

#include "base/json_fwd.h"

namespace CLI {
class App;
}

namespace tidewright::cmd {

// Adds `query instant|range|series|labels`; the one that was given sets `command` to what it does, which returns the
// exit code.
void AddQueryCommands(CLI::App& app, std::function<int()>* command);

// The member `data` of a reply of /api/v1/query or query_range, one sample a line:
//   up{job="node"} => 1 @[1700000000]
std::string QueryText(const base::Json& data);

}  // namespace tidewright::cmd
