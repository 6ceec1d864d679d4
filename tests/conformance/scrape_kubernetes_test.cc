// Kubernetes discovery, from objects that come and go to target groups, against Prometheus 3.14.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/meta.h"
#include "kube/shared_caches.h"
#include "scrape/discovery.h"
#include "tests/conformance/scrape_data.h"
#include "tests/kube/memory_cluster.h"

namespace tidewright::scrape {
namespace {

const kube::Resource& ResourceOf(const std::string& kind) {
  static const std::map<std::string, const kube::Resource*> resources = {
      {"Pod", &kube::resources::kPods},
      {"Node", &kube::resources::kNodes},
      {"Service", &kube::resources::kServices},
      {"Endpoints", &kube::resources::kEndpoints},
      {"EndpointSlice", &kube::resources::kEndpointSlices},
      {"Ingress", &kube::resources::kIngresses},
      {"Namespace", &kube::resources::kNamespaces},
      {"ReplicaSet", &kube::resources::kReplicaSets},
      {"Job", &kube::resources::kJobs},
  };
  auto found = resources.find(kind);
  if (found == resources.end()) ADD_FAILURE() << "what is a " << kind << "?";
  return *(found == resources.end() ? resources.at("Pod") : found->second);
}

KubernetesSdConfig ConfigOf(const base::Json& config) {
  base::Json document = {
      {"scrape_configs", base::Json::array({{{"job_name", "j"}, {"kubernetes_sd_configs", {config}}}})}};
  auto parsed = ParseConfig(document.dump(), "case");
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
  return parsed.ok() ? parsed->scrape_configs[0].kubernetes_sd[0] : KubernetesSdConfig();
}

// Merged labels of each target, as texts by source; groups without targets are left out.
using Groups = std::map<std::string, std::multiset<std::string>>;

void AddTarget(const std::string& source, const tsdb::Labels& group, const tsdb::Labels& target, Groups* out) {
  tsdb::LabelsBuilder merged(target);
  for (const auto& label : group) merged.Set(label.name, label.value);
  (*out)[source].insert(merged.Build().ToString());
}

tsdb::Labels FromObject(const base::Json& object) {
  std::vector<tsdb::Label> labels;
  for (const auto& [name, value] : object.items()) labels.push_back({name, value});
  return tsdb::Labels::FromPairs(std::move(labels));
}

Groups Expected(const base::Json& groups) {
  Groups out;
  for (const auto& group : groups) {
    base::Json labels = group.value("labels", base::Json::object());
    if (!group.contains("targets") || group["targets"].is_null()) continue;
    for (const auto& target : group["targets"]) {
      AddTarget(group["source"], labels.is_null() ? tsdb::Labels() : FromObject(labels), FromObject(target), &out);
    }
  }
  return out;
}

std::string Print(const Groups& groups) {
  std::string out;
  for (const auto& [source, targets] : groups) {
    for (const std::string& target : targets) out += "\n    " + source + " " + target;
  }
  return out;
}

// A discoverer that follows a cluster of the test's own.
class Followed {
 public:
  Followed(const base::Json& config, const std::string& own_namespace)
      : discoverer_(NewKubernetesDiscoverer(ConfigOf(config), caches_, clock_, scheduler_, own_namespace)) {}
  ~Followed() {
    discoverer_->Stop();
    scheduler_.Stop();
    caches_.Stop();
  }

  void Start() {
    discoverer_->Start([this](std::vector<TargetGroup> groups) {
      base::MutexLock lock(mu_);
      for (TargetGroup& group : groups) groups_[group.source] = std::move(group);
      ++updates_;
      changed_.NotifyAll();
    });
  }
  // Makes the cluster's objects those of the list.
  void Become(const base::Json& objects) {
    auto gone = std::exchange(present_, {});
    for (const auto& object : objects) {
      const std::string id = object["kind"].get<std::string>() + "/" + kube::KeyOf(object);
      if (gone.erase(id) == 0 || known_[id] != object) cluster_.Put(ResourceOf(object["kind"]), object);
      known_[id] = object;
      present_.insert(id);
    }
    for (const std::string& id : gone) {
      const base::Json& object = known_[id];
      cluster_.Remove(ResourceOf(object["kind"]), kube::NamespaceOf(object), kube::NameOf(object));
    }
  }
  // Lets time pass until what was found is as expected, and stays so; the deadline only ends a test that fails anyway.
  bool Reaches(const Groups& expected) {
    const int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
    while (base::MonotonicNanos() < deadline) {
      Settle();
      if (Now() == expected) return true;
    }
    return false;
  }
  // Lets time pass until something has been found, unless there is nothing to find.
  void Begin() {
    const int64_t deadline = base::MonotonicNanos() + 1'000'000'000;
    while (Now().empty() && base::MonotonicNanos() < deadline) Settle();
  }
  // Lets time pass until nothing has been found for some milliseconds.
  void Settle() {
    constexpr std::chrono::milliseconds kQuiet(10);
    base::MutexLock lock(mu_);
    for (int before = -1; before != updates_;) {
      before = updates_;
      clock_.Advance(100);
      changed_.WaitFor(mu_, kQuiet);
    }
  }
  Groups Now() {
    Groups out;
    base::MutexLock lock(mu_);
    for (const auto& [source, group] : groups_) {
      for (const auto& target : group.targets) AddTarget(source, group.labels, target, &out);
    }
    return out;
  }

 private:
  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 1};
  base::Scheduler scheduler_{clock_, pool_};
  kube::MemoryCluster cluster_;
  kube::SharedCaches caches_{cluster_, clock_};
  std::map<std::string, base::Json> known_;
  std::set<std::string> present_;
  base::Mutex mu_;
  base::CondVar changed_;
  int updates_ GUARDED_BY(mu_) = 0;
  std::map<std::string, TargetGroup> groups_ GUARDED_BY(mu_);
  std::unique_ptr<Discoverer> discoverer_;
};

const std::map<std::string, std::string> kDecidedAgainst = {
    {"PodDiscoveryWithNodeSelector", "its selector of nodes is not part of the data"},
    {"pod: ipv6 without ports",
     "Prometheus leaves the brackets around an IPv6 address out, so that neither a port can be added to it by "
     "relabelling nor the target be asked"},
};

// Recorded before the change of a node had arrived, which the reference follows as we do: what is there afterwards.
struct LateChange {
  std::string before, after;
};
const std::map<std::string, LateChange> kLateChanges = {
    {"EndpointsDiscoveryWithUpdatedNodeMetadata", {"us-east1", "eu-central1"}},
    {"EndpointsSlicesDiscoveryWithUpdatedNodeMetadata", {"us-east1", "us-central1"}},
};

base::Json GroupsOf(const base::Json& test) {
  auto late = kLateChanges.find(test["name"]);
  if (late == kLateChanges.end()) return test["groups"];
  std::string text = test["groups"].dump();
  const auto& [before, after] = late->second;
  for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + after.size())) {
    text.replace(at, before.size(), after);
  }
  return *base::ParseJson(text);
}

TEST(ScrapeConformance, KubernetesDiscovery) {
  base::Json document = LoadDocument("kubernetes-sd/discovery.json");
  if (!document.contains("cases")) GTEST_SKIP() << "conformance data is not here";
  Tally tally("kubernetes-sd");
  std::map<std::string, std::unique_ptr<Tally>> by_role;
  for (const auto& test : document["cases"]) {
    const std::string role = test["config"]["role"], name = test["name"];
    if (auto reason = kDecidedAgainst.find(name); reason != kDecidedAgainst.end()) {
      std::cerr << "[ LEFT OUT ] " << name << ": " << reason->second << "\n";
      continue;
    }
    Followed followed(test["config"], document["own_namespace"]);
    const bool changes = test.contains("objects_before");
    followed.Become(changes ? test["objects_before"] : test["objects"]);
    followed.Start();
    const Groups expected = Expected(GroupsOf(test));
    if (changes) {
      followed.Begin();
      followed.Become(test["objects"]);
    }
    const bool reached = followed.Reaches(expected);
    tally.Count(reached, role + " " + name, Print(followed.Now()) + "\n  not" + Print(expected));
    auto& own = by_role[role];
    if (own == nullptr) own = std::make_unique<Tally>("kubernetes-sd, role " + role);
    own->Count(reached, name, "see above");
  }
  EXPECT_EQ(tally.passed(), tally.total());
}

}  // namespace
}  // namespace tidewright::scrape
