// How Kubernetes discovery follows a cluster. What it makes of the objects is shown in tests/conformance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
        delivered_ += 1;
        group.targets.empty() ? sources_.erase(group.source) : sources_.insert(group.source).second;
      }
    };
  }
  std::set<std::string> sources() {
    base::MutexLock lock(mu_);
    return sources_;
  }
  int delivered() {
    base::MutexLock lock(mu_);
    return delivered_;
  }

 private:
  base::Mutex mu_;
  std::set<std::string> sources_ GUARDED_BY(mu_);
  int delivered_ GUARDED_BY(mu_) = 0;
};

class KubernetesDiscoveryTest : public ::testing::Test {
 protected:
  ~KubernetesDiscoveryTest() override {
    for (auto& discoverer : discoverers_) discoverer->Stop();
    scheduler_.Stop();
    caches_.Stop();
  }
  void Follow(const KubernetesSdConfig& config, Found* found) {
    discoverers_.push_back(NewKubernetesDiscoverer(config, caches_, clock_, scheduler_));
    discoverers_.back()->Start(found->Update());
  }
  bool Finds(Found& found, const std::set<std::string>& sources) {
    const int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
    while (found.sources() != sources) {
      if (base::MonotonicNanos() > deadline) return false;
      clock_.Advance(50);
      std::this_thread::yield();
    }
    return true;
  }

  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  kube::MemoryCluster cluster_;
  kube::SharedCaches caches_{cluster_, clock_};
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
  Found found_all, found_of_namespace, found_selected, found_endpoints;
  Follow(all, &found_all);
  Follow(of_namespace, &found_of_namespace);
  Follow(selected, &found_selected);
  Follow(endpoints, &found_endpoints);
  EXPECT_TRUE(Finds(found_all, {"pod/a/1", "pod/a/2", "pod/b/3"}));
  EXPECT_TRUE(Finds(found_of_namespace, {"pod/a/1", "pod/a/2"}));
  EXPECT_TRUE(Finds(found_selected, {"pod/a/1", "pod/b/3"}));
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
  Found found;
  Follow(config, &found);
  EXPECT_TRUE(Finds(found, {"pod/a/1", "pod/b/2"}));
  cluster_.Remove(kube::resources::kPods, "a", "1");
  EXPECT_TRUE(Finds(found, {"pod/b/2"}));
}

TEST_F(KubernetesDiscoveryTest, AChangeTouchesOnlyWhatShowsIt) {
  KubernetesSdConfig config;
  config.role = "pod";
  config.attach_node = true;
  Found found;
  Follow(config, &found);
  cluster_.Put(kube::resources::kPods, Pod("a", "1", "web", "n1"));
  cluster_.Put(kube::resources::kPods, Pod("a", "2", "web", "n2"));
  cluster_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n1"}}}});
  cluster_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n2"}}}});
  ASSERT_TRUE(Finds(found, {"pod/a/1", "pod/a/2"}));
  const int before = found.delivered();
  cluster_.Remove(kube::resources::kNodes, "", "n2");
  EXPECT_TRUE(Finds(found, {"pod/a/1"}));
  EXPECT_EQ(found.delivered(), before + 1);
  cluster_.Put(kube::resources::kNodes, {{"metadata", {{"name", "n2"}}}});
  EXPECT_TRUE(Finds(found, {"pod/a/1", "pod/a/2"}));
}

}  // namespace
}  // namespace tidewright::scrape
