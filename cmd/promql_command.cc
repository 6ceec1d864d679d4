#include "cmd/promql_command.h"

#include <cstdio>

#include "base/file.h"
#include "promqltest/runner.h"

namespace tidewright::cmd {
namespace {

bool RunFile(const std::string& path) {
  auto text = base::ReadFile(path);
  if (!text.ok()) {
    std::printf("%s: %s\n", path.c_str(), text.status().message().c_str());
    return false;
  }
  promqltest::RunnerOptions options;
  options.engine = promqltest::ScriptEngine();
  promqltest::ScriptResult result = promqltest::RunScript(*text, options);
  for (const auto& eval : result.evals) {
    if (eval.failure.empty()) continue;
    std::printf("%s:%d: %s\n    %s\n", path.c_str(), eval.line, eval.expr.c_str(), eval.failure.c_str());
  }
  if (!result.error.empty()) std::printf("%s: %s\n", path.c_str(), result.error.c_str());
  std::printf("%s: %zu of %zu evals passed\n", path.c_str(), result.Passed(), result.evals.size());
  return result.Ok();
}

}  // namespace

int RunPromqlTests(const std::vector<std::string>& paths) {
  bool passed = true;
  for (const std::string& path : paths) passed = RunFile(path) && passed;
  return passed ? 0 : 1;
}

}  // namespace tidewright::cmd
