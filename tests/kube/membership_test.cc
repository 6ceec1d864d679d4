#include "kube/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "tests/kube/memory_cluster.h"

namespace tidewright::kube {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Takes what a member writes.
class LeaseCluster : public MemoryCluster {
 public:
  base::Result<base::Json> Create(const Resource& resource, std::string_view, const base::Json& object) override {
    Put(resource, object);
    return object;
  }
  base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name, PatchType,
                                 const base::Json& patch, std::string_view) override {
    TW_ASSIGN_OR_RETURN(base::Json object, Get(resource, ns, name, ""));
    object.merge_patch(patch);
    Put(resource, object);
    return object;
  }
  base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name, Propagation) override {
    Remove(resource, std::string(ns), std::string(name));
    return base::Status::Ok();
  }
};

// A member whose time passes by itself.
struct Replica {
  Replica(Client& client, const std::string& identity) : clock(50'000), calendar(1'700'000'000'000) {
    MembershipOptions options;
    options.ns = "kube-system";
    options.group = "tidewright";
    options.identity = identity;
    membership = std::make_unique<Membership>(client, clock, calendar, options);
  }
  void Advance(int64_t ms) {
    clock.Advance(ms);
    calendar.Advance(ms);
  }

  base::FakeClock clock, calendar;
  std::unique_ptr<Membership> membership;
};

// Lets the time of replicas pass until something is so.
bool Until(const std::vector<Replica*>& replicas, const std::function<bool()>& so) {
  const int64_t deadline = base::SystemClock::Get().NowMs() + 20'000;
  while (!so()) {
    if (base::SystemClock::Get().NowMs() >= deadline) return false;
    for (Replica* replica : replicas) replica->Advance(10);
    std::this_thread::yield();
  }
  return true;
}

TEST(MembershipTest, MembersSeeEachOtherComeAndGo) {
  LeaseCluster cluster;
  Replica a(cluster, "pod-a_1"), b(cluster, "pod-b_1");
  EXPECT_THAT(a.membership->Alive(), IsEmpty()) << "not listed yet";
  a.membership->Start();
  EXPECT_TRUE(Until({&a}, [&] { return !a.membership->Alive().empty(); }));
  EXPECT_THAT(a.membership->Alive(), ElementsAre("pod-a_1"));
  b.membership->Start();
  EXPECT_TRUE(Until({&a, &b}, [&] { return a.membership->Alive().size() == 2 && b.membership->Alive().size() == 2; }));
  EXPECT_THAT(a.membership->Alive(), ElementsAre("pod-a_1", "pod-b_1"));

  b.membership->Stop();
  EXPECT_TRUE(Until({&a}, [&] { return a.membership->Alive().size() == 1; })) << "it takes its Lease away";
}

TEST(MembershipTest, WhoFallsSilentIsGoneAfterTheDurationAndForgottenLater) {
  LeaseCluster cluster;
  cluster.Put(resources::kLeases, {{"metadata", {{"name", "tidewright-member-pod-z"}, {"namespace", "kube-system"}}},
                                   {"spec", {{"holderIdentity", "pod-z_1"}, {"renewTime", "2036-01-01T00:00:00Z"}}}});
  Replica a(cluster, "pod-a_1");
  a.membership->Start();
  ASSERT_TRUE(Until({}, [&] { return !a.membership->Alive().empty(); }));
  EXPECT_THAT(a.membership->Alive(), ElementsAre("pod-a_1", "pod-z_1")) << "whatever its clock says";
  a.Advance(14'000);
  EXPECT_THAT(a.membership->Alive(), ElementsAre("pod-a_1", "pod-z_1"));
  a.Advance(2'000);
  EXPECT_THAT(a.membership->Alive(), ElementsAre("pod-a_1"));
  EXPECT_TRUE(
      Until({&a}, [&] { return !cluster.Get(resources::kLeases, "kube-system", "tidewright-member-pod-z", "").ok(); }));
}

TEST(MembershipTest, ANewProcessOfTheSamePodTakesItsPlace) {
  LeaseCluster cluster;
  Replica a(cluster, "pod-a_1"), again(cluster, "Pod-A_2"), b(cluster, "pod-b_1");
  a.membership->Start();
  ASSERT_TRUE(Until({&a}, [&] { return !a.membership->Alive().empty(); }));
  again.membership->Start();
  b.membership->Start();
  EXPECT_TRUE(Until({&again, &b}, [&] {
    return b.membership->Alive() == std::vector<std::string>{"Pod-A_2", "pod-b_1"};
  }));
}

}  // namespace
}  // namespace tidewright::kube
