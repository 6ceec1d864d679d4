// `tidewright promql`: tools around queries.
#pragma once

#include <string>
#include <vector>

namespace tidewright::cmd {

// `tidewright promql test FILE...`: runs scripts in the language of Prometheus' promqltest (load, clear, eval) and
// prints per file how many evals passed, and what failed where. 0 if all passed.
int RunPromqlTests(const std::vector<std::string>& paths);

}  // namespace tidewright::cmd
