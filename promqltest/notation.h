// The series notation of PromQL acceptance scripts: labels and points on one line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "promql/value.h"

namespace tidewright::promqltest {

// One point of a series line.
struct Item {
  enum class Kind { kNone, kFloat, kHistogram };
  Kind kind = Kind::kNone;
  double value = 0;
  promql::HistogramPtr histogram;  // With kHistogram.
  bool hint_written = false;       // The literal says what its counter reset hint is.
};

struct SeriesLine {
  tsdb::Labels labels;
  std::vector<Item> items;
};

// Start timestamps for the points of a line, relative to the points' times in ms.
struct StartLine {
  tsdb::Labels labels;
  struct Offset {
    bool known = false;
    int64_t ms = 0;
  };
  std::vector<Offset> offsets;
};

// Parses `name{label="value"} 1 2+3x4 _ stale {{schema:1 buckets:[1 2]}}`.
base::Result<SeriesLine> ParseSeriesLine(std::string_view line);

// True for a line that gives start timestamps: its first word ends in "@st".
bool IsStartLine(std::string_view line);
// Parses `name{label="value"}@st _ -1m -30s+10sx3 _x2`.
base::Result<StartLine> ParseStartLine(std::string_view line);

// Reads a number of a script: decimal float, Inf, NaN, with sign.
bool ParseScriptNumber(std::string_view text, double* value);

// Parses `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}` from the start of `text` and takes it off.
base::Result<Item> TakeHistogram(std::string_view& text);

}  // namespace tidewright::promqltest
