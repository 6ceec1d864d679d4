// Servers that no package of Debian has: Maven fetches them once into the build folder.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "base/file.h"

namespace tidewright {

// Makes `folder` of the dependencies of a project (a folder with a pom.xml), unless it is there. Why it could not, or
// "".
inline std::string FetchByMaven(const std::string& project, const std::string& folder) {
  if (std::filesystem::exists(folder)) return "";
  if (!base::HaveProgram("mvn")) return "maven is not installed";
  // Another process may be about to do the same: what is there is whole.
  const std::string part = folder + "." + std::to_string(getpid());
  auto maven = base::Subprocess::Start(
      {"mvn", "-q", "-B", "-f", project, "dependency:copy-dependencies", "-DoutputDirectory=" + part});
  if (!maven.ok() || maven->Wait() != 0) return "maven cannot fetch the dependencies of " + project;
  std::error_code lost;
  std::filesystem::rename(part, folder, lost);
  if (lost) std::filesystem::remove_all(part);
  return std::filesystem::exists(folder) ? "" : "cannot make " + folder;
}

}  // namespace tidewright
