// ShardDuties: several replicas that scale side by side, each its share of the ScaledObjects and ScaledJobs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "cmd/leader_duties.h"
#include "kube/client.h"
#include "kube/leader_election.h"
#include "kube/membership.h"

namespace tidewright::cmd {

struct ShardOptions {
  int shards = 2;
  kube::LeaderElectionOptions election;  // Of the leader: the shards' Leases are <name>-shard-<number>, timed alike.
};

// Objects are in shards (scaler/shards.h), and each shard has a Lease. Who should hold it follows from the members that
// are alive; who may write for it is decided by the Lease alone, through the same election and fence as the leader's.
// Besides the one who should hold a shard, the one who would be next watches its Lease, so that a takeover is as quick
// as a leader's. What a term begins with, and what it forgets, is LeaderDuties' matter.
//
// Thread-safe. Borrows what `context` names; its client is the one without any fence.
class ShardDuties {
 public:
  ShardDuties(ShardOptions options, LeaderContext context, base::Clock& clock, base::Clock& calendar);
  ~ShardDuties();  // Stop().

  void Start();
  // Waits for evaluations under way, and gives the Leases away. Idempotent.
  void Stop();

 private:
  enum class Role { kNone, kStandby, kOwner };
  struct Shard {
    int number = 0;
    std::atomic<bool> wanted{false};  // This replica should hold it.
    std::unique_ptr<kube::LeaderElector> elector;
    std::unique_ptr<kube::Client> guarded;
    std::unique_ptr<LeaderDuties> duties;  // Of the elector's callbacks.
  };
  void Run();
  std::vector<Role> Roles() const;
  void Play(Shard& shard, Role role);
  base::Status Watch(Shard& shard);
  base::Status Lead(Shard& shard);
  void Leave(Shard& shard);

  const ShardOptions options_;
  const LeaderContext context_;
  base::Clock& clock_;
  base::Clock& calendar_;
  kube::Membership membership_;
  std::vector<std::unique_ptr<Shard>> shards_;  // Of the thread, and of Stop() once it has been joined.
  base::StopSignal stop_;
  std::thread thread_;  // Written by Start() and Stop() only.
};

}  // namespace tidewright::cmd
