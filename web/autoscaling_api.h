// The autoscaling API: what every workload looks like and why, as JSON for the page and for scripts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "scaler/status_board.h"

namespace tidewright::web {

// The document of GET /api/v1/autoscaling/workloads:
//   {"now": RFC 3339, "calendar": RFC 3339, "problems": [text],
//    "leader": as /api/v1/status/leader; where this process does not lead, it has no workloads to show,
//    "workloads": [{
//      "controller", "namespace", "name", "target", "minReplicas", "maxReplicas",
//      "currentReplicas", "desiredReplicas", "readyReplicas", "held", "paused", "why",
//      "signals": [{"name","type","value","target","proposal","active","error","detail"}],   value, proposal: or null
//      "steps": [{"stage","signal","replicas","text"}],
//      "conditions": [{"type","status","reason","message","since"}],
//      "events": [{"time","from","to","why"}]}]}
base::Json AutoscalingReport(const std::vector<scaler::WorkloadStatus>& workloads, int64_t now_ms, int64_t calendar_ms);

// The data of GET /api/v1/autoscaling/decisions, newest first:
//   [{"controller", "namespace", "name", "target", "time", "from", "to", "held", "why",
//     "steps": [{"stage","signal","replicas","text"}]}]
// Parameters: namespace, name, limit (default 100, at most 1,000).
base::Json DecisionsJson(const std::vector<scaler::DecisionRecord>& decisions);

// One sentence per workload that cannot be scaled as asked: "shop/queue-worker: ...".
std::vector<std::string> Problems(const std::vector<scaler::WorkloadStatus>& workloads);

}  // namespace tidewright::web
