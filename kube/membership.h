// Membership: which of several replicas are alive, by a Lease (coordination.k8s.io/v1) of each.
//
// A replica counts as alive while its Lease has changed within the lease duration by the clock of whoever looks, as in
// an election (kube/leader_election.h). Two replicas may see different members for a while, so this decides who should
// do something, never who may: that takes a Lease that only one can hold.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::kube {

struct MembershipOptions {
  std::string ns;                      // Of the Leases.
  std::string group;                   // They are named <group>-member-<pod> and labelled tidewright.dev/members.
  std::string identity;                // Unique among the replicas: "<pod>_<random>".
  int64_t lease_duration_ms = 15'000;  // Whole seconds.
  int64_t renew_period_ms = 2'000;
};

// Thread-safe. Borrows its arguments. Nobody needs to be told of failures: the others then see this replica go, and it
// sees the others go.
class Membership {
 public:
  // `clock` measures: a base::BootClock outside of tests. `calendar` writes the record's times.
  Membership(Client& client, base::Clock& clock, base::Clock& calendar, MembershipOptions options);
  ~Membership();  // Stop().

  void Start();
  // Takes the own Lease away, so that the others need not wait. Idempotent.
  void Stop();

  // The identities of those alive, this one included, sorted. None before the Leases have been listed once.
  std::vector<std::string> Alive() const;

 private:
  struct Member {
    std::string identity;
    std::string renewed;  // As its Lease says.
    int64_t seen_ms = 0;  // When that was seen first.
  };
  void Run();
  base::Status Renew();
  base::Status Look();

  Client& client_;
  base::Clock& clock_;
  base::Clock& calendar_;
  const MembershipOptions options_;
  const std::string lease_;  // The name of the own Lease.
  base::StopSignal stop_;
  std::thread thread_;      // Written by Start() and Stop() only.
  std::string last_error_;  // Of the thread.

  mutable base::Mutex mu_;
  bool listed_ GUARDED_BY(mu_) = false;
  std::map<std::string, Member> members_ GUARDED_BY(mu_);  // By the name of the Lease.
};

}  // namespace tidewright::kube
