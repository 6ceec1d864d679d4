// `tidewright tsdb dump` and `dump-openmetrics`: what is stored, as text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::cmd {

struct DumpFlags {
  std::string directory = "data/";
  std::string scratch;  // "": the system's folder for temporary files.
  int64_t mint = INT64_MIN;
  int64_t maxt = INT64_MAX;
  std::vector<std::string> match;  // Selectors; a series of any of them is printed.
  bool openmetrics = false;        // Which has no place for native histograms: they are left out.
};

// Prints the samples, series after series. Also those of a head that no clean stop has written to blocks, ours or that
// of a Prometheus; changes nothing in the directory.
base::Status DumpStore(const DumpFlags& flags);

}  // namespace tidewright::cmd
