// Prometheus' own programs, where they are installed, and commands in general.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/file.h"

namespace tidewright::tsdb::testing {

// What $PROMETHEUS and $PROMTOOL name, else what $PATH has; "" when there is none.
inline std::string ProgramFrom(const char* variable, const std::string& name) {
  if (const char* path = std::getenv(variable); path != nullptr && *path != '\0') return path;
  return base::HaveProgram(name) ? name : "";
}
inline std::string PrometheusProgram() { return ProgramFrom("PROMETHEUS", "prometheus"); }
inline std::string PromtoolProgram() { return ProgramFrom("PROMTOOL", "promtool"); }

struct CommandResult {
  int exit_code = -1;
  std::string output;  // Standard output, then standard error where the command sends it there.
};

// Runs a command of the shell.
inline CommandResult RunCommand(const std::string& command) {
  CommandResult result;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  char part[4096];
  for (size_t size = 0; (size = fread(part, 1, sizeof part, pipe)) > 0;) result.output.append(part, size);
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace tidewright::tsdb::testing
