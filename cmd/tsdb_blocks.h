// `tidewright tsdb analyze`, `list` and `create-blocks-from openmetrics`: commands about blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tsdb/block_reader.h"

namespace tidewright::cmd {

struct AnalyzeFlags {
  std::string directory = "data/";
  std::string block;  // "": the one that was made last.
  size_t limit = 20;
  bool extended = false;
  std::string match;  // A series selector, or "".
};
base::Status AnalyzeStore(const AnalyzeFlags& flags);

struct ListFlags {
  std::string directory = "data/";
  bool human_readable = false;
};
base::Status ListStore(const ListFlags& flags);

struct ImportFlags {
  std::string file;
  std::string directory = "data/";
  bool human_readable = false;
  bool quiet = false;
  std::vector<std::string> labels;  // "name=value".
};
// Reads the file once, front to back, in bounded memory. Samples may come in any order.
base::Status ImportOpenMetrics(const ImportFlags& flags);

}  // namespace tidewright::cmd
