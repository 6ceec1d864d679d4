#include "kube/leader_election.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/metrics.h"
#include "tests/kube/lease_api.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;

LeaderElectionOptions Options(const std::string& identity) {
  LeaderElectionOptions options;
  options.ns = "kube-system";
  options.name = "tidewright";
  options.identity = identity;
  return options;
}

// A clock that knows when the one who uses it has nothing to do.
class ObservedClock : public base::FakeClock {
 public:
  using FakeClock::FakeClock;
  bool SleepUntil(int64_t deadline_ms, base::StopSignal& stop) override {
    asleep_until_ms_ = deadline_ms;
    bool reached = FakeClock::SleepUntil(deadline_ms, stop);
    asleep_until_ms_ = INT64_MIN;
    return reached;
  }
  bool Idle() const { return asleep_until_ms_ > NowMs(); }

 private:
  std::atomic<int64_t> asleep_until_ms_ = INT64_MIN;
};

// A replica: an elector with clocks of its own, and how often it started and stopped to lead.
class Replica {
 public:
  Replica(Client& client, const std::string& identity, int64_t calendar_ms = 0, base::MetricRegistry* metrics = nullptr,
          std::function<bool()> may_take = {})
      : calendar_(calendar_ms), client_(client) {
    LeaderCallbacks callbacks;
    callbacks.on_started_leading = [this] { ++started_; };
    callbacks.on_stopped_leading = [this] {
      writable_when_stopped_ = elector_->IsLeader();
      ++stopped_;
    };
    callbacks.on_new_leader = [this](const std::string& leader) {
      base::MutexLock lock(mu_);
      leaders_.push_back(leader);
    };
    LeaderElectionOptions options = Options(identity);
    options.may_take = std::move(may_take);
    elector_ = *LeaderElector::Create(client, clock_, calendar_, std::move(options), std::move(callbacks), metrics);
    guarded_ = client.Guarded(elector_->fence());
    elector_->Start();
  }

  // Lets this replica's time pass; a replica that is stopped is one whose time does not pass.
  void Advance(int64_t ms) {
    clock_.Advance(ms);
    calendar_.Advance(ms);
  }
  base::Status Write() { return SetScale(*guarded_, resources::kDeployments, "shop", "web", 3, "1"); }

  ObservedClock clock_{50'000};
  base::FakeClock calendar_;
  Client& client_;
  std::atomic<int> started_ = 0;
  std::atomic<int> stopped_ = 0;
  std::atomic<bool> writable_when_stopped_ = false;
  base::Mutex mu_;
  std::vector<std::string> leaders_ GUARDED_BY(mu_);
  std::unique_ptr<LeaderElector> elector_;
  std::unique_ptr<Client> guarded_;
};

// Lets the time of the replicas pass together until something is so. No step is taken before every elector has done
// what the one before made it do, so that a busy machine makes nobody miss a deadline.
bool Until(const std::vector<Replica*>& replicas, const std::function<bool()>& so) {
  const int64_t deadline = base::SystemClock::Get().NowMs() + 20'000;
  while (true) {
    for (Replica* replica : replicas) {
      while (!replica->clock_.Idle()) {
        if (base::SystemClock::Get().NowMs() >= deadline) return false;
        std::this_thread::yield();
      }
    }
    if (so()) return true;
    if (base::SystemClock::Get().NowMs() >= deadline) return false;
    for (Replica* replica : replicas) replica->Advance(100);
  }
}

bool For(const std::vector<Replica*>& replicas, int64_t ms) {
  int64_t end_ms = replicas[0]->clock_.NowMs() + ms;
  return Until(replicas, [&] { return replicas[0]->clock_.NowMs() >= end_ms; });
}

TEST(LeaderElectionTest, CreatesTheLeaseAsClientGoDoes) {
  LeaseApi api;
  Replica a(api, "a", 1'700'000'000'123);
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 1; }));
  EXPECT_TRUE(a.elector_->IsLeader());
  EXPECT_EQ(a.elector_->Leader(), "a");
  base::Json spec = api.Lease()["spec"];
  EXPECT_EQ(spec["holderIdentity"], "a");
  EXPECT_EQ(spec["leaseDurationSeconds"], 15);
  EXPECT_EQ(spec["leaseTransitions"], 0);
  EXPECT_THAT(spec["acquireTime"].get<std::string>(), testing::MatchesRegex(R"(2023-11-14T22:13:2.\..*000Z)"));
  EXPECT_EQ(spec["renewTime"].get<std::string>().size(), std::string("2023-11-14T22:13:20.123000Z").size());
  EXPECT_TRUE(a.Write().ok());
}

TEST(LeaderElectionTest, RenewalsKeepWhenItWasAcquired) {
  LeaseApi api;
  base::MetricRegistry metrics;
  Replica a(api, "a", 0, &metrics);
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 1; }));
  const std::string acquired = api.Lease()["spec"]["acquireTime"];
  ASSERT_TRUE(For({&a}, 60'000));
  EXPECT_EQ(api.Lease()["spec"]["acquireTime"], acquired);
  EXPECT_NE(api.Lease()["spec"]["renewTime"], acquired);
  EXPECT_EQ(a.started_, 1);
  EXPECT_EQ(a.stopped_, 0);
  EXPECT_THAT(metrics.Render(), HasSubstr("leader_election_master_status{name=\"tidewright\"} 1"));
  a.elector_->Stop();
  EXPECT_THAT(metrics.Render(), HasSubstr("leader_election_master_status{name=\"tidewright\"} 0"));
}

TEST(LeaderElectionTest, OneOfManyLeadsAndAReleaseHandsOverAtOnce) {
  LeaseApi api;
  Replica a(api, "a");
  Replica b(api, "b");
  Replica c(api, "c");
  auto leading = [&] { return a.elector_->IsLeader() + b.elector_->IsLeader() + c.elector_->IsLeader(); };
  ASSERT_TRUE(Until({&a, &b, &c}, [&] { return leading() == 1; }));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(For({&a, &b, &c}, 1'000));
    ASSERT_EQ(leading(), 1);
  }
  EXPECT_TRUE(Until({&a, &b, &c}, [&] { return a.started_ + b.started_ + c.started_ == 1; }));
  Replica* leader = a.started_ ? &a : b.started_ ? &b : &c;
  std::vector<Replica*> others;
  for (Replica* replica : {&a, &b, &c}) {
    if (replica != leader) others.push_back(replica);
  }
  leader->elector_->Stop();
  EXPECT_EQ(leader->stopped_, 1);
  EXPECT_FALSE(leader->writable_when_stopped_);
  EXPECT_EQ(api.Holder(), "");
  EXPECT_EQ(api.Lease()["spec"]["leaseDurationSeconds"], 1);
  const int64_t released_ms = others[0]->clock_.NowMs();
  ASSERT_TRUE(Until(others, [&] { return leading() == 1; }));
  EXPECT_LE(others[0]->clock_.NowMs() - released_ms, 5'000) << "no lease had to expire";
  EXPECT_EQ(api.Transitions(), 1);
}

TEST(LeaderElectionTest, AKilledLeadersLeaseIsTakenOnceItHasNotChangedForItsDuration) {
  LeaseApi api;
  // A leader that is no more, whose clock was a day ahead, as another implementation writes it.
  api.SetSpec({{"holderIdentity", "dead"},
               {"leaseDurationSeconds", 15},
               {"acquireTime", "2036-01-01T00:00:00.000000Z"},
               {"renewTime", "2036-01-01T00:00:00.000000Z"},
               {"leaseTransitions", 6}});
  Replica b(api, "b", 0);
  const int64_t began_ms = b.clock_.NowMs();
  ASSERT_TRUE(Until({&b}, [&] { return b.elector_->Leader() == "dead"; }));
  base::Status refused = b.Write();
  EXPECT_EQ(refused.code(), base::Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("not the leader: lease kube-system/tidewright: it is held by \"dead\""));
  ASSERT_TRUE(Until({&b}, [&] { return b.elector_->IsLeader(); }));
  EXPECT_GE(b.clock_.NowMs() - began_ms, 15'000);
  EXPECT_LE(b.clock_.NowMs() - began_ms, 25'000);
  EXPECT_EQ(api.Transitions(), 7);
}

TEST(LeaderElectionTest, WhoMayNotTakeALeaseWatchesItAndNeedNotWaitOnceItMay) {
  LeaseApi api;
  std::atomic<bool> wanted = false;
  Replica b(api, "b", 0, nullptr, [&] { return wanted.load(); });
  ASSERT_TRUE(For({&b}, 10'000));
  EXPECT_TRUE(api.Lease().is_null()) << "nor does it make one";
  auto a = std::make_unique<Replica>(api, "a");
  ASSERT_TRUE(Until({a.get(), &b}, [&] { return b.elector_->Leader() == "a"; }));
  a->elector_->Stop();
  ASSERT_TRUE(For({&b}, 30'000));
  EXPECT_EQ(api.Holder(), "");
  wanted = true;
  const int64_t wanted_ms = b.clock_.NowMs();
  ASSERT_TRUE(Until({&b}, [&] { return b.elector_->IsLeader(); }));
  EXPECT_LE(b.clock_.NowMs() - wanted_ms, 3'000);
  wanted = false;
  ASSERT_TRUE(For({&b}, 30'000));
  EXPECT_TRUE(b.elector_->IsLeader()) << "who holds it keeps it";
}

TEST(LeaderElectionTest, ALiveLeaderKeepsItsLeaseHoweverWrongItsCalendarIs) {
  LeaseApi api;
  Replica a(api, "a", 0);  // 1970
  ASSERT_TRUE(Until({&a}, [&] { return a.elector_->IsLeader(); }));
  Replica b(api, "b", 1'700'000'000'000);  // 2023
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(For({&a, &b}, 1'000));
    ASSERT_TRUE(a.elector_->IsLeader());
    ASSERT_FALSE(b.elector_->IsLeader());
  }
}

TEST(LeaderElectionTest, TheRecordsOwnDurationCounts) {
  LeaseApi api;
  api.SetSpec({{"holderIdentity", "dead"}, {"leaseDurationSeconds", 60}, {"renewTime", "x"}, {"leaseTransitions", 0}});
  Replica b(api, "b");
  const int64_t began_ms = b.clock_.NowMs();
  ASSERT_TRUE(Until({&b}, [&] { return b.elector_->IsLeader(); }));
  EXPECT_GE(b.clock_.NowMs() - began_ms, 60'000);
}

TEST(FenceTest, AStoppedProcessFindsItsWritesRefusedWhenItContinues) {
  LeaseApi api;
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return a.elector_->IsLeader(); }));
  ASSERT_TRUE(a.Write().ok());
  // The server is away, so the elector's own thread cannot help; only the clock moves, at once.
  api.SetDown(true);
  a.clock_.Advance(60'000);
  base::Status refused = a.Write();
  EXPECT_EQ(refused.code(), base::Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("not renewed"));
}

TEST(FenceTest, ClosesBeforeAnyoneElseCanTakeTheLease) {
  LeaseApi api;
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return a.elector_->IsLeader(); }));
  Replica b(api, "b");
  ASSERT_TRUE(For({&a, &b}, 5'000));
  // `a` is stopped with SIGSTOP: its threads do nothing, though time passes for it as for everyone.
  auto frozen = a.elector_->fence().Admit(true);
  ASSERT_TRUE(frozen.ok());
  EXPECT_LE(*frozen, 14'000) << "writes end a margin before the lease could be taken";
  api.SetDown(true);  // Nothing that `a` sends arrives.
  int64_t fence_closed_ms = 0;
  ASSERT_TRUE(Until({&a}, [&] {
    if (!a.elector_->IsLeader()) fence_closed_ms = a.clock_.NowMs();
    return fence_closed_ms != 0;
  }));
  EXPECT_TRUE(Until({&a}, [&] { return a.stopped_ == 1; }));
  api.SetDown(false);
  ASSERT_TRUE(Until({&b}, [&] { return b.elector_->IsLeader(); }));
  EXPECT_EQ(api.Holder(), "b");
  EXPECT_FALSE(a.Write().ok());
  EXPECT_TRUE(b.Write().ok());
  // The deposed one comes back, finds out, and does not get in the way.
  ASSERT_TRUE(For({&a, &b}, 30'000));
  EXPECT_TRUE(b.elector_->IsLeader());
  EXPECT_FALSE(a.elector_->IsLeader());
  EXPECT_EQ(a.elector_->Leader(), "b");
  EXPECT_THAT(a.Write().message(), HasSubstr("\"b\""));
}

TEST(FenceTest, WhoeverSeesAnotherHolderStepsDownAtOnce) {
  LeaseApi api;
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 1; }));
  api.SetSpec({{"holderIdentity", "thief"}, {"leaseDurationSeconds", 15}, {"leaseTransitions", 4}});
  const int64_t stolen_ms = a.clock_.NowMs();
  ASSERT_TRUE(Until({&a}, [&] { return !a.elector_->IsLeader(); }));
  EXPECT_LT(a.clock_.NowMs() - stolen_ms, 5'000) << "before the renew deadline";
  ASSERT_TRUE(Until({&a}, [&] { return a.stopped_ == 1; }));
  EXPECT_EQ(a.Write().code(), base::Code::kFailedPrecondition);
  EXPECT_EQ(api.Holder(), "thief");
  a.elector_->Stop();
  EXPECT_EQ(api.Holder(), "thief") << "only one's own lease is given away";
}

TEST(FenceTest, LostRepliesDoNotOpenIt) {
  LeaseApi api;
  api.LoseReplies(true);
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return api.Holder() == "a"; }));
  // Each write arrives, but `a` cannot know since when it is safe.
  ASSERT_TRUE(For({&a}, 30'000));
  EXPECT_FALSE(a.elector_->IsLeader());
  EXPECT_EQ(a.started_, 0);
  api.LoseReplies(false);
  ASSERT_TRUE(Until({&a}, [&] { return a.elector_->IsLeader(); }));
  EXPECT_EQ(api.Transitions(), 0) << "it never was anyone else's";
}

TEST(FenceTest, AShortOutageCostsNothing) {
  LeaseApi api;
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 1; }));
  api.SetDown(true);
  ASSERT_TRUE(For({&a}, 6'000));
  EXPECT_TRUE(a.Write().ok());
  api.SetDown(false);
  ASSERT_TRUE(For({&a}, 20'000));
  EXPECT_EQ(a.stopped_, 0);
  EXPECT_TRUE(a.elector_->IsLeader());
}

TEST(FenceTest, ALongOutageEndsTheLeadershipAndItComesBack) {
  LeaseApi api;
  Replica a(api, "a");
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 1; }));
  api.SetDown(true);
  ASSERT_TRUE(Until({&a}, [&] { return a.stopped_ == 1; }));
  api.SetDown(false);
  ASSERT_TRUE(Until({&a}, [&] { return a.started_ == 2; }));
  EXPECT_TRUE(a.Write().ok());
}

TEST(LeaderElectionTest, ASlowCallbackDoesNotDelayRenewals) {
  LeaseApi api;
  base::FakeClock clock(50'000);
  base::FakeClock calendar;
  base::StopSignal finish;
  LeaderCallbacks callbacks;
  callbacks.on_started_leading = [&] { base::SystemClock::Get().SleepFor(60'000, finish); };
  auto elector = *LeaderElector::Create(api, clock, calendar, Options("a"), callbacks);
  elector->Start();
  std::string first;
  base::StopSignal never;
  for (int i = 0; i < 10'000 && (api.requests() < 12); ++i) {
    clock.Advance(100);
    base::SystemClock::Get().SleepFor(1, never);
  }
  EXPECT_GE(api.requests(), 12);
  EXPECT_TRUE(elector->IsLeader());
  finish.Stop();
  elector->Stop();
}

struct BadOptionsCase {
  const char* name;
  std::function<void(LeaderElectionOptions&)> spoil;
  const char* message;
};

TEST(LeaderElectionTest, RefusesTimesThatDoNotFit) {
  LeaseApi api;
  base::FakeClock clock;
  for (const BadOptionsCase& row : {
           BadOptionsCase{"no name", [](auto& o) { o.name.clear(); }, "name"},
           BadOptionsCase{"no identity", [](auto& o) { o.identity.clear(); }, "identity"},
           BadOptionsCase{"deadline", [](auto& o) { o.renew_deadline_ms = 15'000; }, "renew deadline"},
           BadOptionsCase{"milliseconds", [](auto& o) { o.lease_duration_ms = 15'500; }, "whole seconds"},
           BadOptionsCase{"retry", [](auto& o) { o.retry_period_ms = 9'000; }, "retry"},
           BadOptionsCase{"no retry", [](auto& o) { o.retry_period_ms = 0; }, "retry"},
           BadOptionsCase{"margin", [](auto& o) { o.fence_margin_ms = 5'000; }, "margin"},
       }) {
    LeaderElectionOptions options = Options("a");
    row.spoil(options);
    auto elector = LeaderElector::Create(api, clock, clock, options, {});
    ASSERT_FALSE(elector.ok()) << row.name;
    EXPECT_EQ(elector.status().code(), base::Code::kInvalidArgument) << row.name;
    EXPECT_THAT(elector.status().message(), HasSubstr(row.message)) << row.name;
  }
}

// Over real HTTP: a renewal that hangs is given up in time to try again before the deadline.
TEST(LeaderElectionWireTest, ARequestThatHangsDoesNotOutlastTheDeadline) {
  ScriptedApi api;
  api.Answer(404, R"({"kind":"Status","reason":"NotFound","code":404,"message":"no lease"})");
  api.Answer([](const http::ServerRequest& request, auto responder) {
    base::Json lease = base::Json::parse(request.body);
    lease["metadata"]["resourceVersion"] = "1";
    responder->Reply({201, {}, lease.dump()});
  });
  api.Hang();
  api.AnswerAlways([](const http::ServerRequest& request, auto responder) {
    if (request.method == "PUT") return responder->Reply({200, {}, request.body});
    responder->Reply({200, {}, R"({"metadata":{"resourceVersion":"1"},"spec":{"holderIdentity":"a"}})"});
  });
  LeaderElectionOptions options = Options("a");
  options.lease_duration_ms = 3'000;
  options.renew_deadline_ms = 2'000;
  options.retry_period_ms = 100;
  options.fence_margin_ms = 100;
  std::atomic<int> stopped = 0;
  LeaderCallbacks callbacks;
  callbacks.on_stopped_leading = [&] { ++stopped; };
  auto elector =
      *LeaderElector::Create(api.client(), base::SystemClock::Get(), base::SystemClock::Get(), options, callbacks);
  elector->Start();
  ASSERT_TRUE(api.WaitForRequests(8));
  EXPECT_TRUE(elector->IsLeader());
  EXPECT_EQ(stopped, 0);
  elector->Stop();
  EXPECT_EQ(stopped, 1);
  base::Json last = base::Json::parse(api.requests().back().body);
  EXPECT_EQ(last["spec"]["holderIdentity"], "");
}

}  // namespace
}  // namespace tidewright::kube
