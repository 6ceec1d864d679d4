// Series lines of acceptance scripts: labels and points.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/labels.h"

namespace tidewright::promqltest {

// One point of a series line.
struct Item {
  enum class Kind { kNone, kFloat, kHistogram };
  Kind kind = Kind::kNone;
  double value = 0;
};

struct SeriesLine {
  tsdb::Labels labels;
  std::vector<Item> items;
  bool has_histogram = false;
};

// Parses `name{label="value"} 1 2+3x4 _ stale {{...}}`.
base::Result<SeriesLine> ParseSeriesLine(std::string_view line);

// Reads a number of a script: decimal float, Inf, NaN, with sign.
bool ParseScriptNumber(std::string_view text, double* value);

}  // namespace tidewright::promqltest
