// `tidewright tsdb bench write`: how fast the store takes samples, starts and answers on this machine.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tidewright::cmd {

struct BenchFlags {
  std::string file;  // "": made-up series.
  std::string out = "benchout";
  uint32_t series = 10'000;
  uint32_t scrapes = 3'000;
};

// Appends the scrapes as fast as it goes, 15 s apart by a clock of its own; then starts anew, as after a kill, and
// reads everything. Prints what each took. The directory must not exist, or be one that this command made.
base::Status BenchWrite(const BenchFlags& flags);

}  // namespace tidewright::cmd
