#include "scaler/trigger/empty_result.h"

#include <algorithm>

#include "base/duration.h"

namespace tidewright::scaler::trigger {

void EmptyResult::SawResult(int64_t now_ms) {
  if (Unwatched(now_ms)) known_since_ms_ = now_ms;
  last_read_ms_ = last_result_ms_ = now_ms;
}

base::Status EmptyResult::Judge(int64_t now_ms, const Ask& ask) {
  if (window_ms_ == 0) return base::Status::Ok();
  if (Unwatched(now_ms)) {
    const int64_t start_ms = (now_ms - window_ms_) / kStepMs * kStepMs;
    auto past = ask(start_ms, now_ms / kStepMs * kStepMs);
    if (!past.ok()) return past.status().Annotate("what the query gave before");
    if (past->last_ms) last_result_ms_ = std::max(last_result_ms_.value_or(0), *past->last_ms);
    known_since_ms_ = past->since_ms.value_or(now_ms);
  }
  last_read_ms_ = now_ms;
  const std::string rule = "; that counts as 0 once it has lasted for " +
                           base::FormatDuration(base::Duration{window_ms_}) + " (nullValueWindow)";
  if (last_result_ms_ && now_ms - *last_result_ms_ < window_ms_) {
    return base::NotFoundError("the query has had no result since " + base::FormatTime(*last_result_ms_) + rule);
  }
  if (now_ms - known_since_ms_ < window_ms_) {
    return base::NotFoundError("the query has no result, and what it gave before " + base::FormatTime(known_since_ms_) +
                               " is not known" + rule);
  }
  return base::Status::Ok();
}

}  // namespace tidewright::scaler::trigger
