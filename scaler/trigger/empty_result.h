// What an empty result of a query stands for: no load, or a source that is not measured any more. Private to
// scaler/trigger.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/status.h"

namespace tidewright::scaler::trigger {

// What the source itself knows of a stretch of the past.
struct PastResults {
  std::optional<int64_t> last_ms;   // When the query had a result for the last time in it; none: never.
  std::optional<int64_t> since_ms;  // From when on the source knows; none: it cannot tell.
};

// Series end when their scrapes fail and when there is nothing left to count, and the result is empty both times. The
// rule: it stands for 0 only once the query has had no result for a whole window; until then the value is missing. Our
// own readings are remembered; for the time in which nobody read (the process was not there yet, another replica led)
// the source is asked. Not thread-safe.
class EmptyResult {
 public:
  // How long without a result makes a zero: as long as an instant query goes on showing a series whose scrapes stopped.
  static constexpr int64_t kDefaultWindowMs = 5 * 60 * 1000;
  // Readings that are further apart leave a gap, for which the source is asked.
  static constexpr int64_t kLongestGapMs = 60 * 1000;
  // How fine the past is asked for.
  static constexpr int64_t kStepMs = 15 * 1000;

  // `window_ms` 0: an empty result is 0 at once.
  explicit EmptyResult(int64_t window_ms) : window_ms_(window_ms) {}

  // A reading had a result.
  void SawResult(int64_t now_ms);

  // A reading at `now_ms` had none. OK: it counts as 0. kNotFound: the value is missing; the text says since when.
  // Other errors are those of `ask`, which is given the begin and end of the time in question (multiples of kStepMs).
  using Ask = std::function<base::Result<PastResults>(int64_t start_ms, int64_t end_ms)>;
  base::Status Judge(int64_t now_ms, const Ask& ask);

 private:
  bool Unwatched(int64_t now_ms) const { return !last_read_ms_ || now_ms - *last_read_ms_ > kLongestGapMs; }

  const int64_t window_ms_;
  std::optional<int64_t> last_read_ms_;
  std::optional<int64_t> last_result_ms_;
  int64_t known_since_ms_ = 0;  // From when on it is known what the results were; valid with last_read_ms_.
};

}  // namespace tidewright::scaler::trigger
