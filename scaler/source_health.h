// SourceHealth: when a source that keeps failing is asked again (a circuit breaker). Private to scaler.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::scaler {

// One source: a server, or the servers of a cluster, and who logs in there. After kFailures failed readings in a row,
// whoever made them, it is left alone: for kShortestMs, then for twice as long each time, at most kLongestMs; after
// that one reading at a time tries. A question that has not failed itself since the source last answered need not wait,
// but for others of its kind: one at a time, and one in kShortestMs. So what a source cannot answer keeps nobody from
// asking something else. Thread-safe. Borrows the clock.
class SourceHealth {
 public:
  static constexpr int kFailures = 3;
  static constexpr int64_t kShortestMs = 1'000;
  // Less than the default pollingInterval, so that its readings are made whenever they are due.
  static constexpr int64_t kLongestMs = 25'000;

  // What is remembered of one question. Of its reader alone: one reading of a question at a time.
  struct Question {
    uint64_t outage = 0;        // The last one in which it failed.
    bool* under_way = nullptr;  // What to clear when it has been answered.
  };

  // `name` is shown: "redis 10.0.0.7:6379". `show` is told, under a lock, when the source begins to be left alone, and
  // when it answers again; may be empty.
  SourceHealth(std::string name, const base::Clock& clock, std::function<void(bool left_alone)> show)
      : name_(std::move(name)), clock_(clock), show_(std::move(show)) {}

  // OK: ask, and tell Report() how it went. kCancelled: do not ask; the text has the last failure.
  base::Status Admit(Question& question);
  // Returns what to say about it: `outcome`, and that the source is left alone where it is. Only kUnavailable and
  // kDeadlineExceeded are failures of a source; with everything else it has answered.
  base::Status Report(Question& question, const base::Status& outcome);

  // Whether nothing is worth remembering: it answers, or has not been asked for a long time.
  bool Idle() const;

 private:
  bool Open() const REQUIRES_LOCK(mu_) { return failures_ >= kFailures; }
  void Fail(Question& question, const base::Status& outcome) REQUIRES_LOCK(mu_);
  void Recover() REQUIRES_LOCK(mu_);

  const std::string name_;
  const base::Clock& clock_;
  const std::function<void(bool)> show_;
  mutable base::Mutex mu_;
  int failures_ GUARDED_BY(mu_) = 0;      // In a row.
  uint64_t outage_ GUARDED_BY(mu_) = 1;   // Goes up when the source answers after a failure.
  bool probing_ GUARDED_BY(mu_) = false;  // A question that has failed is asked although the source is left alone.
  bool trying_ GUARDED_BY(mu_) = false;   // The same for one that has not.
  int64_t wait_ms_ GUARDED_BY(mu_) = 0;
  int64_t until_ms_ GUARDED_BY(mu_) = 0;  // Left alone until then.
  int64_t tried_ms_ GUARDED_BY(mu_) = 0;  // When such a one was asked last.
  int64_t failed_ms_ GUARDED_BY(mu_) = 0;
  std::string error_ GUARDED_BY(mu_);  // The last one.
};

}  // namespace tidewright::scaler
