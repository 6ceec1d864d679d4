#include "cmd/shard_duties.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "scaler/shards.h"

namespace tidewright::cmd {

namespace {

kube::MembershipOptions MembersOf(const kube::LeaderElectionOptions& election) {
  kube::MembershipOptions options;
  options.ns = election.ns;
  options.group = election.name;
  options.identity = election.identity;
  options.lease_duration_ms = election.lease_duration_ms;
  options.renew_period_ms = election.retry_period_ms;
  return options;
}

}  // namespace

ShardDuties::ShardDuties(ShardOptions options, LeaderContext context, base::Clock& clock, base::Clock& calendar)
    : options_(std::move(options)),
      context_(std::move(context)),
      clock_(clock),
      calendar_(calendar),
      membership_(*context_.client, clock, calendar, MembersOf(options_.election)) {
  for (int i = 0; i < options_.shards; ++i) {
    shards_.push_back(std::make_unique<Shard>());
    shards_.back()->number = i;
  }
}

ShardDuties::~ShardDuties() { Stop(); }

void ShardDuties::Start() {
  if (thread_.joinable() || stop_.stopped()) return;
  membership_.Start();
  thread_ = std::thread([this] { Run(); });
}

void ShardDuties::Stop() {
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
  membership_.Stop();  // First: whoever comes next may take each Lease as soon as it is given away.
  for (auto& shard : shards_) Leave(*shard);
}

void ShardDuties::Run() {
  while (!stop_.stopped()) {
    const std::vector<Role> roles = Roles();
    for (size_t i = 0; i < roles.size() && !stop_.stopped(); ++i) Play(*shards_[i], roles[i]);
    clock_.SleepFor(options_.election.retry_period_ms / 2, stop_);
  }
}

// Empty before the members are known.
std::vector<ShardDuties::Role> ShardDuties::Roles() const {
  const std::vector<std::string> members = membership_.Alive();
  if (members.empty()) return {};
  const std::string& self = options_.election.identity;
  const std::vector<std::string> owners = scaler::AssignShards(members, options_.shards);
  std::vector<Role> roles;
  for (size_t i = 0; i < owners.size(); ++i) {
    Role role = owners[i] == self ? Role::kOwner : Role::kNone;
    std::vector<std::string> others = members;
    others.erase(std::remove(others.begin(), others.end(), owners[i]), others.end());
    if (role == Role::kNone && scaler::AssignShards(others, options_.shards)[i] == self) role = Role::kStandby;
    roles.push_back(role);
  }
  return roles;
}

void ShardDuties::Play(Shard& shard, Role role) {
  shard.wanted = role == Role::kOwner;
  const bool holds_anothers = shard.elector != nullptr && role != Role::kOwner && shard.elector->IsLeader();
  if (role == Role::kNone || holds_anothers) Leave(shard);
  if (role == Role::kNone || shard.elector != nullptr) return;
  base::Status watched = Watch(shard);
  if (watched.ok()) return;
  base::LogError("cmd", "a shard is not followed",
                 {{"shard", std::to_string(shard.number)}, {"error", watched.ToString()}});
}

base::Status ShardDuties::Watch(Shard& shard) {
  kube::LeaderElectionOptions election = options_.election;
  election.name += "-shard-" + std::to_string(shard.number);
  election.may_take = [&shard] { return shard.wanted.load(); };
  kube::LeaderCallbacks callbacks;
  callbacks.on_started_leading = [this, &shard] {
    base::Status led = Lead(shard);
    if (led.ok()) return;
    base::LogError("cmd", "holding a shard, but nothing of it is scaled",
                   {{"shard", std::to_string(shard.number)}, {"error", led.ToString()}});
  };
  callbacks.on_stopped_leading = [&shard] { shard.duties.reset(); };
  TW_ASSIGN_OR_RETURN(shard.elector, kube::LeaderElector::Create(*context_.client, clock_, calendar_, election,
                                                                 std::move(callbacks), context_.metrics));
  shard.guarded = context_.client->Guarded(shard.elector->fence());
  shard.elector->Start();
  return base::Status::Ok();
}

base::Status ShardDuties::Lead(Shard& shard) {
  LeaderContext context = context_;
  context.client = shard.guarded.get();
  context.follows = [number = shard.number, shards = options_.shards](const base::Json& object) {
    return scaler::ShardOf(object, shards) == number;
  };
  shard.duties = std::make_unique<LeaderDuties>(std::move(context));
  return shard.duties->Start();
}

// Closes the fence, waits for what is under way, and gives the Lease away if it was held.
void ShardDuties::Leave(Shard& shard) {
  if (shard.elector == nullptr) return;
  shard.elector->Stop();
  shard.guarded.reset();
  shard.elector.reset();
}

}  // namespace tidewright::cmd
