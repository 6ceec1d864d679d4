// LogTail: reads what is committed to the head's log, from a remembered place on, for those who send it elsewhere.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tsdb/exemplar_ring.h"
#include "tsdb/histogram_store.h"
#include "tsdb/labels.h"
#include "tsdb/log_codec.h"

namespace tidewright::tsdb {

// Behind a record of the log. A place is good over restarts.
struct LogPosition {
  int segment = 0;
  uint64_t offset = 0;
  friend auto operator<=>(const LogPosition&, const LogPosition&) = default;
};

// What one commit wrote, or several. Series are the log's references, for LogTail::LabelsOf().
struct LogCommit {
  struct Float {
    SeriesRef ref = 0;
    int64_t t = 0;
    double v = 0;
  };
  struct OneHistogram {
    SeriesRef ref = 0;
    HistogramSample sample;
  };
  std::vector<Float> floats;
  std::vector<OneHistogram> histograms;
  std::vector<LoggedExemplar> exemplars;
  size_t samples() const { return floats.size() + histograms.size(); }
  void Clear();
};

// Names and values, ascending by name, in somebody else's memory.
using LabelViews = std::vector<std::pair<std::string_view, std::string_view>>;

// Follows the log of a store, open or not. A checkpoint of the store replaces segments; so that none goes before it was
// read, Keep() makes a directory that they are moved to, and Release() takes them away. Holds the labels of the series
// that the log knows, each text once, and forgets those that the store has forgotten. Any bytes are safe to read. Not
// thread-safe; several tails of one log are.
class LogTail {
 public:
  // `directory` is the store's.
  explicit LogTail(const std::string& directory);
  ~LogTail();

  // From now on segments are kept that are not released, or no longer.
  static base::Status Keep(const std::string& directory, bool keep);
  // Removes what no reader that is at `segment` or later needs; then the oldest segments, needed or not, until they
  // take at most `max_bytes` and none was last written before `oldest_ms` (the system's clock). Returns how many went
  // that were needed.
  static base::Result<int> Release(const std::string& directory, int segment, uint64_t max_bytes, int64_t oldest_ms);

  // Begins behind `position`, or behind what is committed now. Reads the series of all that is before. When the segment
  // of the position is gone, begins at the oldest that is there, and `lost` says so.
  base::Status Start(const std::optional<LogPosition>& position, bool* lost);
  // Adds the next commit to `commit`; false when there is none yet. kDataLoss: it cannot be decoded and was passed
  // over. A damaged segment ends where it is damaged, as it does for the store.
  base::Result<bool> Next(LogCommit* commit);
  const LogPosition& position() const { return position_; }
  // Sets `labels` to those of a series, good until the next Next(); false for a reference that the log does not
  // explain.
  bool LabelsOf(SeriesRef ref, LabelViews* labels) const;
  size_t series() const;  // How many are known.

 private:
  class Reader;
  class Definitions;

  struct Place {
    std::string directory;
    int number = 0;
  };
  // The newest checkpoint, or the newest before a segment; none: number -1.
  Place Checkpoint(int before) const;
  base::Status ReadDefinitions(const Place& checkpoint);
  base::Status PassOver(int segment, const std::optional<LogPosition>& until);
  void Forget();
  std::vector<int> Segments() const;
  base::Result<bool> OpenSegment(int segment);
  base::Result<bool> OpenNext();

  const std::string log_;
  std::unique_ptr<Definitions> definitions_;
  std::unique_ptr<Reader> reader_;  // Of the segment at hand; null before the first.
  bool complete_ = false;           // There is a later segment, so that nothing is added to this one.
  int forgotten_ = -1;              // The checkpoint that told last which series are left.
  LogDecoder decoder_;
  LogPosition position_;
};

}  // namespace tidewright::tsdb
