#include "scaler/source_health.h"

#include <algorithm>

#include "base/log.h"

namespace tidewright::scaler {

namespace {

// A source that failed and was not asked again for so long is a new one.
constexpr int64_t kForgetMs = 600'000;

// Says nothing that changes from one attempt to the next: each change would be a write to every object that asks.
constexpr char kLeftAlone[] =
    "; after 3 failures in a row one reading asks again every 1 to 25 s, and the others wait for it";
static_assert(SourceHealth::kFailures == 3 && SourceHealth::kShortestMs == 1'000 && SourceHealth::kLongestMs == 25'000);

bool IsFailure(const base::Status& status) {
  return status.code() == base::Code::kUnavailable || status.code() == base::Code::kDeadlineExceeded;
}

}  // namespace

base::Status SourceHealth::Admit(Question& question) {
  base::MutexLock lock(mu_);
  question.under_way = nullptr;
  if (!Open()) return base::Status::Ok();
  const int64_t now_ms = clock_.NowMs();
  const bool untried = question.outage != outage_;
  bool& under_way = untried ? trying_ : probing_;
  if (under_way || now_ms < (untried ? tried_ms_ + kShortestMs : until_ms_)) {
    return base::CancelledError(error_ + kLeftAlone);
  }
  if (untried) tried_ms_ = now_ms;
  under_way = true;
  question.under_way = &under_way;
  return base::Status::Ok();
}

base::Status SourceHealth::Report(Question& question, const base::Status& outcome) {
  base::MutexLock lock(mu_);
  if (question.under_way != nullptr) *question.under_way = false;
  if (!IsFailure(outcome)) {
    if (failures_ > 0) Recover();
    return outcome;
  }
  Fail(question, outcome);
  return Open() ? base::Status(outcome.code(), outcome.message() + kLeftAlone) : outcome;
}

void SourceHealth::Fail(Question& question, const base::Status& outcome) {
  question.outage = outage_;
  error_ = outcome.message();
  failed_ms_ = clock_.NowMs();
  failures_ = std::min(failures_ + 1, kFailures);
  if (!Open() || failed_ms_ < until_ms_) return;
  if (wait_ms_ == 0) {
    base::LogWarn("scaler", "a source fails, and is asked less often", {{"source", name_}, {"error", error_}});
    if (show_) show_(true);
  }
  wait_ms_ = std::clamp(wait_ms_ * 2, kShortestMs, kLongestMs);
  until_ms_ = failed_ms_ + wait_ms_;
}

void SourceHealth::Recover() {
  if (Open()) {
    base::LogInfo("scaler", "a source answers again", {{"source", name_}});
    if (show_) show_(false);
  }
  failures_ = 0;
  wait_ms_ = until_ms_ = tried_ms_ = 0;
  ++outage_;
}

bool SourceHealth::Idle() const {
  base::MutexLock lock(mu_);
  return failures_ == 0 || clock_.NowMs() - failed_ms_ > kForgetMs;
}

}  // namespace tidewright::scaler
