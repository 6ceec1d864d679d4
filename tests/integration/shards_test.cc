// Three replicas of the control plane that divide the ScaledObjects among them, against one API server: each object has
// one writer, whoever is cut off or ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <set>

#include "base/json.h"
#include "cmd/control_plane.h"
#include "kube/meta.h"
#include "sandbox/sandbox.h"
#include "tests/integration/intercepted_client.h"

namespace tidewright::cmd {
namespace {

using base::Json;

constexpr int kShards = 4;
constexpr int kObjects = 12;
constexpr int64_t kPatienceMs = 120'000;

std::string NameOf(int i) { return "app-" + std::to_string(i); }

// One replica with a network of its own.
struct Replica {
  Replica(kube::Client& api, const std::string& identity, base::Clock& clock) : client(api) {
    client.before = [this](const testing::Call&) {
      return cut ? base::UnavailableError("the network is cut") : base::Status::Ok();
    };
    client.after = [this](const testing::Call& call, const base::Status& status) {
      if (call.subresource != "scale" || call.verb != "patch" || !status.ok()) return;
      base::MutexLock lock(mu);
      ++scaled[call.name];
    };
    ControlPlaneOptions options;
    options.web_address = options.api_address = "127.0.0.1";
    options.web_port = options.api_port = 0;
    options.service_ns = "default";
    options.register_api_services = false;
    options.leader_elect = true;
    options.leader_election.ns = "default";
    options.leader_election.name = "tidewright";
    options.leader_election.identity = identity;
    options.leader_election.lease_duration_ms = 4'000;
    options.leader_election.renew_deadline_ms = 2'500;
    options.leader_election.retry_period_ms = 500;
    options.scaler_shards = kShards;
    plane = std::make_unique<ControlPlane>(options, &client, clock, clock, metrics);
  }

  // What it follows.
  std::set<std::string> Objects() const {
    std::set<std::string> names;
    for (const auto& workload : plane->board().Snapshot()) names.insert(workload.name);
    return names;
  }
  std::map<std::string, int> Scaled() {
    base::MutexLock lock(mu);
    return scaled;
  }

  std::atomic<bool> cut{false};  // Nothing gets through any more, in either direction.
  base::Mutex mu;
  std::map<std::string, int> scaled GUARDED_BY(mu);  // How often it scaled which target.
  testing::InterceptedClient client;
  base::MetricRegistry metrics;
  std::unique_ptr<ControlPlane> plane;
};

class ShardsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sandbox_.Start().ok());
    base::Status applied = sandbox_.ApplyPath(TIDEWRIGHT_SOURCE_DIR "/charts/tidewright/crds");
    ASSERT_TRUE(applied.ok()) << applied.ToString();
    kube::ClientConfig config;
    config.server = sandbox_.Url();
    api_ = *kube::NewClient(config);
    for (int i = 0; i < kObjects; ++i) {
      Apply("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + NameOf(i) +
            ", namespace: default}\nspec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: "
            "{labels: {app: web}}, spec: {containers: [{name: main, image: web}]}}}\n");
      ApplyObject(i, 3);
    }
    for (const char* identity : {"a", "b", "c"}) {
      replicas_.push_back(std::make_unique<Replica>(*api_, identity, clock_));
      base::Status started = replicas_.back()->plane->Start();
      ASSERT_TRUE(started.ok()) << started.ToString();
    }
  }
  void TearDown() override {
    replicas_.clear();
    sandbox_.Stop();
  }

  void Apply(const std::string& manifest) {
    base::Status applied = sandbox_.ApplyManifests(manifest, "test");
    ASSERT_TRUE(applied.ok()) << applied.ToString();
  }
  void ApplyObject(int i, int replicas) {
    Apply("apiVersion: tidewright.dev/v1alpha1\nkind: ScaledObject\nmetadata: {name: " + NameOf(i) +
          ", namespace: default}\nspec:\n  scaleTargetRef: {name: " + NameOf(i) +
          "}\n  pollingInterval: 1\n  minReplicaCount: 1\n  maxReplicaCount: 20\n"
          "  triggers: [{type: prometheus, metadata: {query: vector(" +
          std::to_string(replicas) + "), threshold: '1'}}]\n");
  }

  // Every target has so many replicas, and every object is on the board of exactly one of `alive`.
  bool Settled(int replicas, const std::vector<Replica*>& alive) {
    std::multiset<std::string> followed;
    for (Replica* replica : alive) {
      const auto names = replica->Objects();
      followed.insert(names.begin(), names.end());
    }
    for (int i = 0; i < kObjects; ++i) {
      auto target = api_->Get(kube::resources::kDeployments, "default", NameOf(i));
      if (!target.ok() || base::FindInt(*target, {"spec", "replicas"}) != replicas) return false;
      if (followed.count(NameOf(i)) != 1) return false;
    }
    return true;
  }
  bool Eventually(const std::function<bool()>& wanted) {
    const int64_t deadline = clock_.NowMs() + kPatienceMs;
    base::StopSignal never;
    while (!wanted()) {
      if (clock_.NowMs() > deadline) return false;
      clock_.SleepFor(50, never);
    }
    return true;
  }
  bool BusyAreAll() {
    for (const auto& replica : replicas_) {
      if (replica->Objects().empty()) return false;
    }
    return true;
  }
  // Every target has been scaled so often, by all together; what is still to be counted is waited for.
  bool EachScaled(int times) {
    return Eventually([&] {
      const auto all = AllScaled();
      return all.size() == kObjects &&
             std::all_of(all.begin(), all.end(), [&](const auto& target) { return target.second == times; });
    });
  }
  std::map<std::string, int> AllScaled() {
    std::map<std::string, int> all;
    for (const auto& replica : replicas_) {
      for (const auto& [name, times] : replica->Scaled()) all[name] += times;
    }
    return all;
  }

  base::Clock& clock_ = base::SystemClock::Get();
  sandbox::Sandbox sandbox_{{}, clock_};
  std::unique_ptr<kube::Client> api_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

TEST_F(ShardsTest, EachObjectHasOneWriterWhoeverFalls) {
  Replica &a = *replicas_[0], &b = *replicas_[1], &c = *replicas_[2];
  ASSERT_TRUE(Eventually([&] { return BusyAreAll() && Settled(3, {&a, &b, &c}); })) << "four shards, three replicas";
  EXPECT_TRUE(EachScaled(1));

  // One that is cut off writes nothing any more; what it followed is followed by the others.
  const auto lost = a.Objects();
  const auto before = a.Scaled();
  a.cut = true;
  for (int i = 0; i < kObjects; ++i) ApplyObject(i, 5);
  EXPECT_TRUE(Eventually([&] { return Settled(5, {&b, &c}); })) << "those of a, too: " << lost.size();
  EXPECT_EQ(a.Scaled(), before);
  EXPECT_TRUE(Eventually([&] { return a.Objects().empty(); })) << "it decides nothing any more";
  EXPECT_TRUE(EachScaled(2));

  // Back in touch it gets its part again.
  a.cut = false;
  EXPECT_TRUE(Eventually([&] { return !a.Objects().empty() && Settled(5, {&a, &b, &c}); }));

  // One that ends in order hands over at once, and nothing is written because of that.
  const auto written = AllScaled();
  b.plane->Stop();
  EXPECT_TRUE(Eventually([&] { return Settled(5, {&a, &c}); }));
  EXPECT_EQ(AllScaled(), written) << "nothing changed, so nobody wrote";
}

}  // namespace
}  // namespace tidewright::cmd
