// Files, temporary folders and child processes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::base {

// The whole file; kNotFound, kPermissionDenied or kUnavailable name the path.
Result<std::string> ReadFile(const std::string& path);

// Writes `path` by way of a temporary file, fsync and rename, so that readers see the old or the new content.
Status WriteFileAtomic(const std::string& path, std::string_view content, int mode = 0644);

// mkdir -p.
Status MakeDirectories(const std::string& path);

// A fresh folder under $TMPDIR (default /tmp), removed with its content on destruction. Move-only.
class TempDir {
 public:
  static Result<TempDir> Create(const std::string& prefix);
  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A child process, ended when this object goes. Not thread-safe, except pid(). Move-only.
class Subprocess {
 public:
  // Starts argv[0] (looked up in $PATH) with standard output and error appended to `log_path` ("" discards them).
  // The child dies with this process (PR_SET_PDEATHSIG). `env` adds to or replaces variables of the environment.
  static Result<Subprocess> Start(const std::vector<std::string>& argv, const std::string& log_path = "",
                                  const std::map<std::string, std::string>& env = {});
  Subprocess(Subprocess&& other) noexcept;
  Subprocess& operator=(Subprocess&& other) noexcept;
  ~Subprocess();  // Stop().

  int pid() const { return pid_; }
  // Whether the child still runs; reaps it when it does not.
  bool Running();
  // Sends `signal` if the child runs.
  void Signal(int signal);
  // Waits until it ended by itself; its exit code, or 128 + signal.
  int Wait();
  // SIGTERM, then SIGKILL after `grace_ms`; waits. Idempotent.
  void Stop(int grace_ms = 3000);

 private:
  explicit Subprocess(int pid) : pid_(pid) {}
  int pid_ = -1;
  int exit_code_ = -1;
};

// A TCP port of 127.0.0.1 that was free a moment ago.
Result<uint16_t> FreePort();

// Whether `program` is found in $PATH.
bool HaveProgram(const std::string& program);

}  // namespace tidewright::base
