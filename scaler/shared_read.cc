#include "scaler/shared_read.h"

#include <utility>

namespace tidewright::scaler {

namespace {

void Count(base::Counter* counter) {
  if (counter != nullptr) counter->Add();
}

}  // namespace

base::Result<Reading> SharedRead::Read(const std::shared_ptr<Trigger>& trigger, int64_t max_age_ms) {
  const int64_t now_ms = clock_.NowMs();
  std::shared_ptr<Trigger> reader;
  {
    base::MutexLock lock(mu_);
    const bool joined = reading_;
    const uint64_t before = readings_;
    while (joined && readings_ == before) done_.Wait(mu_);
    if (joined || (last_ && last_->ok() && now_ms - last_ms_ < max_age_ms)) {
      Count(counters_.shared);
      return *last_;
    }
    reading_ = true;
    if (reader_ == nullptr) reader_ = trigger;
    reader = reader_;
  }
  base::Result<Reading> reading = Ask(*reader);
  base::MutexLock lock(mu_);
  reading_ = false;
  ++readings_;
  last_ = reading;
  last_ms_ = now_ms;
  // As with a trigger that reads for itself: after a failure another one is built. What was not asked did not fail.
  const base::Code code = reading.status().code();
  if (!reading.ok() && code != base::Code::kNotFound && code != base::Code::kCancelled) reader_.reset();
  done_.NotifyAll();
  return reading;
}

base::Result<Reading> SharedRead::Ask(Trigger& trigger) {
  base::Status admitted = source_->Admit(question_);
  Count(admitted.ok() ? counters_.made : counters_.not_asked);
  if (!admitted.ok()) return admitted;
  base::Result<Reading> reading = trigger.Read();
  base::Status outcome = source_->Report(question_, reading.status());
  if (!reading.ok()) return outcome;
  return reading;
}

}  // namespace tidewright::scaler
