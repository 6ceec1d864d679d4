// The program `tidewright sandbox` as a child process, and what can be asked of it from outside.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "http/client.h"

namespace tidewright::e2e {

// Not thread-safe. Its files live in a temporary folder; the child ends with this object.
class SandboxProcess {
 public:
  // Starts the sandbox with the examples, on free ports, for `duration` of the scripted load. Fails the test if it does
  // not come up.
  explicit SandboxProcess(const std::string& duration);

  // GET of a path of the web port; a null value if there is no answer.
  base::Json Get(const std::string& path);
  // The entry of a workload in /api/v1/autoscaling/workloads; null if there is none.
  base::Json Workload(const std::string& name);
  // Asks until `wanted` holds for the workload; false after `seconds`.
  bool WaitFor(const std::string& name, int seconds, const std::function<bool(const base::Json&)>& wanted);

  struct CommandResult {
    int exit_code = -1;
    std::string output;
  };
  // Runs kubectl against the sandbox.
  CommandResult Kubectl(std::vector<std::string> arguments);

  // Waits for the end; the exit code.
  int Wait() { return child_->Wait(); }
  std::string Output() const;
  // The text after `label` in the first lines of the output, up to the end of the line.
  std::string HeaderValue(const std::string& label) const;
  int RedisPid() const;
  const std::string& folder() const { return folder_.path(); }

 private:
  base::TempDir folder_;
  std::unique_ptr<base::Subprocess> child_;
  std::unique_ptr<http::Client> client_;
  std::string page_;
  int commands_ = 0;
};

// The value of a condition's member, "" if there is no such condition.
std::string Condition(const base::Json& workload, const std::string& type, const std::string& member);

}  // namespace tidewright::e2e
