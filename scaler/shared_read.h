// SharedRead: one question to one source, however many triggers ask it. Private to scaler.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "scaler/source_health.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// Where readings are counted; all null: nowhere.
struct ReadCounters {
  base::Counter* made = nullptr;       // The source was asked.
  base::Counter* shared = nullptr;     // What another trigger had asked, or was asking, did.
  base::Counter* not_asked = nullptr;  // The source is left alone.
};

// Thread-safe. Borrows the clock and the counters.
class SharedRead {
 public:
  SharedRead(std::shared_ptr<SourceHealth> source, const base::Clock& clock, const ReadCounters& counters)
      : source_(std::move(source)), clock_(clock), counters_(counters) {}

  // The value: that of a reading under way, for which it waits; the last one, while it is younger than `max_age_ms`; or
  // a new one, by the trigger that has read before, so that the question has one connection, or by `trigger`. A failure
  // is that of everybody who waited for it, and is not kept. kCancelled: the source was not asked (SourceHealth).
  base::Result<Reading> Read(const std::shared_ptr<Trigger>& trigger, int64_t max_age_ms);

 private:
  base::Result<Reading> Ask(Trigger& trigger);

  const std::shared_ptr<SourceHealth> source_;
  const base::Clock& clock_;
  const ReadCounters counters_;
  SourceHealth::Question question_;  // Of the one reading that is under way.
  base::Mutex mu_;
  base::CondVar done_;
  bool reading_ GUARDED_BY(mu_) = false;
  uint64_t readings_ GUARDED_BY(mu_) = 0;                      // That have ended.
  std::shared_ptr<Trigger> reader_ GUARDED_BY(mu_);            // Who reads; null after a failure.
  std::optional<base::Result<Reading>> last_ GUARDED_BY(mu_);  // None before the first.
  int64_t last_ms_ GUARDED_BY(mu_) = 0;                        // When that began.
};

}  // namespace tidewright::scaler
