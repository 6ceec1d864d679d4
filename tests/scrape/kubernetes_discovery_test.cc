// How Kubernetes discovery follows a cluster. What it makes of the objects is shown in tests/conformance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "scrape/discovery.h"
#include "tests/kube/memory_cluster.h"

namespace tidewright::scrape {
namespace {

using ::testing::UnorderedElementsAre;

base::Json Pod(const std::string& ns, const std::string& name, const std::string& app, const std::string& node = "n") {
  return {{"metadata", {{"namespace", ns}, {"name", name}, {"labels", {{"app", app}}}}},
          {"spec", {{"nodeName", node}, {"containers", base::Json::array({{{"name", "c"}}})}}},
          {"status", {{"podIP", "10.0.0.1"}}}};
}

// What one discoverer has found.
class Found {
 public:
  Discoverer::Update Update() {
    return [this](std::vector<TargetGroup> groups) {
      base::MutexLock lock(mu_);
      for (TargetGroup& group : groups) {
        delivered_[group.source] += 1;
        group.targets.empty() ? sources_.erase(group.source) : sources_.insert(group.source).second;
      }
    };
  }
  std::set<std::string> sources() {
    base::MutexLock lock(mu_);
    return sources_;
  }
  // How often the group of `source` has been delivered.
  int delivered(const std::string& source) {
    base::MutexLock lock(mu_);
    return delivered_[source];
  }

 private:
  base::Mutex mu_;
  std::set<std::string> sources_ GUARDED_BY(mu_);
  std::map<std::string, int> delivered_ GUARDED_BY(mu_);
};

class KubernetesDiscoveryTest : public ::testing::Test {
 protected:
  ~KubernetesDiscoveryTest() override {
    for (auto& discoverer : discoverers_) discoverer->Stop();
    scheduler_.Stop();
    caches_.Stop();
  }
  // What it finds from now on, which lives as long as the discoverer.
  Found& Follow(const KubernetesSdConfig& config) {
    discoverers_.push_back(NewKubernetesDiscoverer(config, caches_, clock_, scheduler_));
    discoverers_.back()->Start(found_.emplace_back().Update());
    return found_.back();
  }
  template <typename Holds>
  bool Becomes(Holds holds) {
    const int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
    while (!holds()) {
      if (base::MonotonicNanos() > deadline) return false;
      clock_.Advance(50);
      std::this_thread::yield();
    }
    return true;
  }
  bool Finds(Found& found, const std::set<std::string>& sources) {
    return Becomes([&] { return found.sources() == sources; });
  }

  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  kube::MemoryCluster cluster_;
  kube::SharedCaches caches_{cluster_, clock_};
  std::deque<Found> found_;
  std::vector<std::unique_ptr<Discoverer>> discoverers_;
};

TEST_F(KubernetesDiscoveryTest, AnyNumberOfJobsShareOneWatchPerKind) {
  cluster_.Put(kube::resources::kPods, Pod("a", "1", "web"));
  cluster_.Put(kube::resources::kPods, Pod("a", "2", "db"));
  cluster_.Put(kube::resources::kPods, Pod("b", "3", "web"));
  KubernetesSdConfig all, of_namespace, selected, endpoints;
  all.role = of_namespace.role = selected.role = "pod";
  of_namespace.namespaces = {"a"};
  selected.selectors = {{"pod", "app=web", ""}};
  endpoints.role = "endpoints";
  Found& found_all = Follow(all);
  Found& found_of_namespace = Follow(of_namespace);
  Found& found_selected = Follow(selected);
  Found& found_endpoints = Follow(endpoints);
  EXPECT_TRUE(Finds(found_all, {"pod/a/1", "pod/a/2", "pod/b/3"}));
  EXPECT_TRUE(Finds(found_of_namespace, {"pod/a/1", "pod/a/2"}));
  EXPECT_TRUE(Finds(found_selected, {"pod/a/1", "pod/b/3"}));
  // Each kind is listed by a thread of its own, and nothing found says that one with no objects has been.
  EXPECT_TRUE(Becomes([&] { return cluster_.lists().size() >= 3; }));
  EXPECT_TRUE(Finds(found_endpoints, {}));
  EXPECT_THAT(cluster_.lists(), UnorderedElementsAre("/api/v1/pods", "/api/v1/endpoints", "/api/v1/services"));
  cluster_.Put(kube::resources::kPods, Pod("b", "3", "db"));
  cluster_.Put(kube::resources::kPods, Pod("a", "2", "web"));
  EXPECT_TRUE(Finds(found_selected, {"pod/a/1", "pod/a/2"}));
}

TEST_F(KubernetesDiscoveryTest, FollowsSingleNamespacesWhereAllAreForbidden) {
  cluster_.ForbidAllNamespaces();
  cluster_.Put(kube::resources::kPods, Pod("a", "1", "web"));
  cluster_.Put(kube::resources::kPods, Pod("b", "2", "web"));
  cluster_.Put(kube::resources::kPods, Pod("c", "3", "web"));
  KubernetesSdConfig config;
  config.role = "pod";
  config.namespaces = {"a", "b"};
  Found& found = Follow(config);
  EXPECT_TRUE(Finds(found, {"pod/a/1", "pod/b/2"}));
  cluster_.Remove(kube::resources::kPods, "a", "1");
  EXPECT_TRUE(Finds(found, {"pod/b/2"}));
}

TEST_F(KubernetesDiscoveryTest, AChangeTouchesOnlyWhatShowsIt) {
  KubernetesSdConfig config;
  config.role = "pod";
  config.attach_node = true;
  Found& found = Follow(config);
  for (const char* id : {"1", "2", "3"}) {
    cluster_.Put(kube::resources::kPods, Pod("a", id, "web", std::string("n") + id));
    cluster_.Put(kube::resources::kNodes, {{"metadata", {{"name", std::string("n") + id}}}});
  }
  ASSERT_TRUE(Finds(found, {"pod/a/1", "pod/a/2", "pod/a/3"}));
  // The cache runs ahead of what is told of it: all of the first two nodes is known to have been told with the third's
  // end.
  cluster_.Remove(kube::resources::kNodes, "", "n3");
  ASSERT_TRUE(Finds(found, {"pod/a/1", "pod/a/2"}));
  const int before = found.delivered("pod/a/1");
  cluster_.Remove(kube::resources::kNodes, "", "n2");
  EXPECT_TRUE(Finds(found, {"pod/a/1"}));
  cluster_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n2"}}}});
  EXPECT_TRUE(Finds(found, {"pod/a/1", "pod/a/2"}));
  EXPECT_EQ(found.delivered("pod/a/1"), before);
}

}  // namespace
}  // namespace tidewright::scrape
