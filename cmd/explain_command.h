// `tidewright explain metric` and `tidewright check adapter-config`: ask a running Tidewright about its metrics.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tidewright::cmd {

// Adds the commands to `app` and to its command `check`; one that was given sets `command` to what it does, which
// returns the exit code.
void AddExplainCommands(CLI::App& app, CLI::App& check, std::function<int()>* command);

// What /api/v1/autoscaling/explain answered, for people.
std::string ExplanationText(const std::string& metric, const std::string& reply);
// What /api/v1/autoscaling/check-adapter-config answered, for people; `well` becomes false if a rule finds nothing.
std::string RulesText(const std::string& reply, bool* well);

}  // namespace tidewright::cmd
