// Two replicas of the control plane against one API server: what scaling does when the leader is cut off or ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "base/json.h"
#include "cmd/control_plane.h"
#include "http/client.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "sandbox/sandbox.h"
#include "tests/eventually.h"
#include "tests/integration/intercepted_client.h"

namespace tidewright::cmd {
namespace {

using base::Json;
using kube::resources::kDeployments;
using kube::resources::kLeases;

// One replica of the control plane with a network of its own.
struct Replica {
  Replica(kube::Client& api, const std::string& identity, base::Clock& clock) : client(api) {
    client.before = [this](const testing::Call&) {
      return cut ? base::UnavailableError("the network is cut") : base::Status::Ok();
    };
    client.after = [this](const testing::Call& call, const base::Status& status) {
      if (call.subresource == "scale" && call.verb == "patch" && status.ok()) ++scale_writes;
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
    plane = std::make_unique<ControlPlane>(options, &client, clock, clock, metrics);
  }

  std::atomic<bool> cut{false};  // Nothing gets through any more, in either direction.
  std::atomic<int> scale_writes{0};
  testing::InterceptedClient client;
  base::MetricRegistry metrics;
  std::unique_ptr<ControlPlane> plane;
};

class TakeoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sandbox_.Start().ok());
    base::Status applied = sandbox_.ApplyPath(TIDEWRIGHT_SOURCE_DIR "/charts/tidewright/crds");
    ASSERT_TRUE(applied.ok()) << applied.ToString();
    kube::ClientConfig config;
    config.server = sandbox_.Url();
    api_ = *kube::NewClient(config);
    history_ = std::make_unique<kube::Informer>(*api_, clock_, kDeployments);
    history_->AddHandler([this](kube::EventType, const std::shared_ptr<const Json>& object) {
      base::MutexLock lock(mu_);
      auto replicas = base::FindInt(*object, {"spec", "replicas"});
      if (replicas_.empty() || replicas_.back() != replicas) replicas_.push_back(replicas);
    });
    history_->Start();
    Apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default}\n"
        "spec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, "
        "spec: {containers: [{name: main, image: web}]}}}\n");
  }

  void TearDown() override {
    for (auto* replica : {&a_, &b_}) replica->reset();
    if (history_ != nullptr) history_->Stop();
    sandbox_.Stop();
  }

  void Apply(const std::string& manifest) {
    base::Status applied = sandbox_.ApplyManifests(manifest, "test");
    ASSERT_TRUE(applied.ok()) << applied.ToString();
  }

  void StartBoth() {
    a_ = std::make_unique<Replica>(*api_, "a", clock_);
    b_ = std::make_unique<Replica>(*api_, "b", clock_);
    for (Replica* replica : {a_.get(), b_.get()}) {
      base::Status started = replica->plane->Start();
      ASSERT_TRUE(started.ok()) << started.ToString();
      ASSERT_TRUE(Eventually([&] { return Holder() == "a"; }));
    }
    ASSERT_TRUE(Eventually([&] { return b_->plane->leadership().leader == "a"; }));
    EXPECT_TRUE(a_->plane->leadership().leads);
    EXPECT_FALSE(b_->plane->leadership().leads);
    EXPECT_EQ(Web(*b_, "/-/ready"), "Tidewright is Ready.\n") << "whoever leads";
    Json leader = *base::ParseJson(Web(*b_, "/api/v1/status/leader"));
    EXPECT_EQ(leader["data"], Json({{"elected", true}, {"leads", false}, {"leader", "a"}, {"identity", "b"}}));
    EXPECT_EQ((*base::ParseJson(Web(*a_, "/api/v1/autoscaling/workloads")))["leader"]["leads"], true);
  }

  std::string Web(const Replica& replica, const std::string& path) {
    http::ClientRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(replica.plane->web_port()) + path;
    auto reply = http_->Send(request);
    return reply.ok() ? reply->body : reply.status().ToString();
  }

  // Up to 16 replicas in steps of two each other second, whoever is asked.
  void ApplySlowScaleUp() {
    Apply(
        "apiVersion: tidewright.dev/v1alpha1\nkind: ScaledObject\nmetadata: {name: web, namespace: default}\n"
        "spec:\n  scaleTargetRef: {name: web}\n  pollingInterval: 1\n  minReplicaCount: 1\n  maxReplicaCount: 16\n"
        "  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleUp: {policies: "
        "[{type: Pods, value: 2, periodSeconds: 2}]}}}}\n"
        "  triggers: [{type: prometheus, metadata: {query: vector(40), threshold: '1'}}]\n");
  }

  std::vector<int64_t> Replicas() {
    base::MutexLock lock(mu_);
    return replicas_;
  }
  int64_t Current() {
    std::vector<int64_t> all = Replicas();
    return all.empty() ? 0 : all.back();
  }
  std::string Holder() {
    auto lease = api_->Get(kLeases, "default", "tidewright");
    return lease.ok() ? base::FindString(*lease, {"spec", "holderIdentity"}) : "";
  }

  base::Clock& clock_ = base::SystemClock::Get();
  sandbox::Sandbox sandbox_{{}, clock_};
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  std::unique_ptr<kube::Client> api_;
  base::Mutex mu_;
  std::vector<int64_t> replicas_ GUARDED_BY(mu_);  // Every value that spec.replicas had.
  std::unique_ptr<kube::Informer> history_;
  std::unique_ptr<Replica> a_, b_;
};

TEST_F(TakeoverTest, ALeaderThatIsCutOffIsReplacedAndNothingGoesBackwards) {
  StartBoth();
  ApplySlowScaleUp();
  ASSERT_TRUE(Eventually([&] { return Current() >= 5; }));
  a_->cut = true;
  EXPECT_TRUE(Eventually([&] { return Current() == 16; }));
  EXPECT_EQ(Holder(), "b");
  EXPECT_GT(b_->scale_writes, 0);
  EXPECT_TRUE(Eventually([&] { return a_->plane->board().Snapshot().empty(); })) << "a decides nothing any more";
  EXPECT_FALSE(a_->plane->leadership().leads);

  // Back in touch it follows, and may lead once more.
  a_->cut = false;
  EXPECT_TRUE(Eventually([&] { return a_->plane->leadership().leader == "b"; }));
  int before = a_->scale_writes;
  EXPECT_EQ(b_->plane->board().Snapshot().size(), 1U);
  b_.reset();
  EXPECT_TRUE(Eventually([&] { return a_->plane->board().Snapshot().size() == 1; }));
  EXPECT_TRUE(a_->plane->leadership().leads);
  EXPECT_EQ(a_->scale_writes, before) << "what a knew of the workload is old, and the API server says so";
  EXPECT_THAT(Replicas(), ::testing::ElementsAre(1, 3, 5, 7, 9, 11, 13, 15, 16));
}

TEST_F(TakeoverTest, ALeaderThatEndsInOrderGivesTheLeaseAway) {
  StartBoth();
  ApplySlowScaleUp();
  ASSERT_TRUE(Eventually([&] { return Current() >= 5; }));
  a_.reset();
  EXPECT_NE(Holder(), "a");
  EXPECT_TRUE(Eventually([&] { return Current() == 16; }));
  std::vector<int64_t> sorted = Replicas();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(Replicas(), sorted);
  EXPECT_TRUE(b_->plane->leadership().leads);
}

}  // namespace
}  // namespace tidewright::cmd
