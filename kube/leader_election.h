// LeaderElector: one of several replicas acts, by way of a Lease (coordination.k8s.io/v1), as client-go does it; and
// the fence that keeps one that has been deposed from writing on.
//
// The lease. Whoever holds it renews it every retry period. The others look at it as often, and take it when it has not
// changed for its duration by *their own* clock: times in the record are for people to read, so it does not matter what
// the clocks of the replicas say. All clocks only have to run at about the same speed.
//
// The fence. From the moment a renewal was sent, nobody else can take the lease for a lease duration: the others start
// to count when they see the renewal, which is later. The fence therefore lets a write out only until then, less a
// margin for clocks that drift, and limits the write's own timeout to what is left. It is asked on the way out, after
// any wait for credentials or the rate limit, with a clock that counts suspended time, so that a process that was
// stopped for a minute and continues finds its writes refused without anyone having told it.
//
// What remains possible. Between asking and the kernel's taking the bytes there are some instructions in which a
// process can be stopped, and bytes that the kernel or a proxy has taken may arrive late. No client can close that gap;
// the server can. So writes to a scale subresource carry the resourceVersion that the decision was based on (SetScale),
// and a late one fails with a conflict as soon as the new leader, or anyone, has written. Do likewise with every write
// whose repetition would do harm.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::kube {

struct LeaderElectionOptions {
  std::string ns;                      // Of the Lease.
  std::string name;                    // Of the Lease.
  std::string identity;                // Unique among the replicas: the pod's name and a random part.
  int64_t lease_duration_ms = 15'000;  // Whole seconds.
  int64_t renew_deadline_ms = 10'000;  // A leader that could not renew for this long steps down.
  int64_t retry_period_ms = 2'000;     // Between attempts; jittered by up to a fifth.
  int64_t fence_margin_ms = 1'000;     // How long before its lease could be taken a leader's writes end.
  bool release_on_stop = true;         // Stop() gives the lease away, so that another takes over at once.
  // Whether a lease that is free may be taken; empty: always. Who says no watches it all the same, and so need not wait
  // for a whole duration when it comes to yes. Called on the elector's thread. A holder keeps its lease regardless.
  std::function<bool()> may_take;
};

// The text of the API's MicroTime, which has exactly six digits after the point.
std::string MicroTime(int64_t unix_ms);

// Called one at a time, in order, on a thread of their own, so that a slow one does not delay a renewal.
struct LeaderCallbacks {
  std::function<void()> on_started_leading;
  // After the fence has closed. Should return when everything that on_started_leading started has ended.
  std::function<void()> on_stopped_leading;
  std::function<void(const std::string& identity)> on_new_leader;  // Also this process itself.
};

// Takes part in the election until stopped; may lead several times. Thread-safe. Borrows everything it is given.
class LeaderElector {
 public:
  // `clock` measures: a base::BootClock outside of tests. `calendar` writes the record's times. kInvalidArgument unless
  // duration > renew deadline > 1.2 * retry period, margin < duration - deadline, and names and identity are given.
  static base::Result<std::unique_ptr<LeaderElector>> Create(Client& client, base::Clock& clock, base::Clock& calendar,
                                                             LeaderElectionOptions options, LeaderCallbacks callbacks,
                                                             base::MetricRegistry* metrics = nullptr);
  virtual ~LeaderElector() = default;  // Stop().

  virtual void Start() = 0;
  // Closes the fence, waits for on_stopped_leading, then gives the lease away. Idempotent.
  virtual void Stop() = 0;

  // Whether writes are let out right now.
  virtual bool IsLeader() const = 0;
  // Who holds the lease as far as is known; "" nobody.
  virtual std::string Leader() const = 0;

  // Give it to Client::Guarded: the client of everything that only a leader may write. Refuses with
  // kFailedPrecondition, "not the leader: ..."; lets reads pass.
  virtual RequestGuard& fence() = 0;
};

}  // namespace tidewright::kube
