// Many ScaledObjects that follow one real redis-server: what is asked once, and what is not asked while it is away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "scaler/source_pool.h"
#include "tests/integration/scaled_source.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;

constexpr char kPassword[] = "pa55";

// ScaledObjects of one controller, each with a Deployment of its own. Time stands still during a round of passes.
class Fleet {
 public:
  Fleet() : board_(metrics_), sources_(&metrics_) {
    context_.cluster = ClusterOf(kube_, reader_);
    context_.triggers.control = context_.triggers.calendar = &clock_;
    context_.triggers.sources = &sources_;
    context_.board = &board_;
    context_.targets = &targets_;
    const base::Json meta = {{"name", "source"}, {"namespace", "shop"}};
    kube_.Put(kube::resources::kSecrets, {{"metadata", meta}, {"data", {{"password", base::Base64Encode(kPassword)}}}});
    const base::Json reference = {{"parameter", "password"}, {"name", "source"}, {"key", "password"}};
    kube_.Put(kube::resources::kTriggerAuthentications,
              {{"metadata", meta}, {"spec", {{"secretTargetRef", {reference}}}}});
  }

  void Add(const std::string& address, const std::string& list, int length, bool fallback = false) {
    const std::string name = "web" + std::to_string(workloads_.size());
    kube_.Put(kube::resources::kDeployments, MakeDeployment(name, 1));
    base::Json spec = {
        {"scaleTargetRef", {{"name", name}}},
        {"pollingInterval", 1},
        {"triggers",
         {{{"type", "redis"},
           {"authenticationRef", {{"name", "source"}}},
           {"metadata", {{"address", address}, {"listName", list}, {"listLength", std::to_string(length)}}}}}}};
    if (fallback) spec["fallback"] = {{"failureThreshold", 3}, {"replicas", 3}};
    kube_.Put(kube::resources::kScaledObjects,
              {{"metadata", {{"name", name}, {"namespace", "shop"}, {"creationTimestamp", "2026-01-08T10:00:00Z"}}},
               {"spec", spec}});
    workloads_.push_back(std::make_unique<ScaledWorkload>(context_, kube::resources::kScaledObjects));
  }

  // One pass of each, a second after the round before.
  void Round() {
    clock_.Advance(1'000);
    for (size_t i = 0; i < workloads_.size(); ++i) workloads_[i]->Reconcile(std::make_shared<base::Json>(Object(i)));
  }
  std::vector<int64_t> Replicas() {
    std::vector<int64_t> replicas;
    for (size_t i = 0; i < workloads_.size(); ++i) replicas.push_back(kube_.Replicas("shop", Name(i)));
    return replicas;
  }
  std::string Readiness(size_t i) {
    for (const ConditionStatus& condition : ConditionsOf(Object(i))) {
      if (condition.type == "Ready") return condition.message;
    }
    return "";
  }
  size_t Ready() {
    size_t count = 0;
    for (size_t i = 0; i < workloads_.size(); ++i) count += Readiness(i).starts_with("The object is valid") ? 1 : 0;
    return count;
  }
  double Reads(const char* result) {
    return metrics_.GetCounter("tidewright_trigger_reads_total", "", {{"type", "redis"}, {"result", result}}).Value();
  }
  int StatusWrites() { return kube_.StatusWrites(); }

 private:
  static std::string Name(size_t i) { return "web" + std::to_string(i); }
  base::Json Object(size_t i) { return kube_.Read(kube::resources::kScaledObjects, "shop", Name(i)); }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::MetricRegistry metrics_;
  StatusBoard board_;
  TargetRegistry targets_;
  SourcePool sources_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  WorkloadContext context_;
  std::vector<std::unique_ptr<ScaledWorkload>> workloads_;
};

class SharedSourcesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
    redis_ = std::make_unique<RedisServer>(kPassword);
  }
  void Push(const std::string& list, int count) {
    std::vector<std::string> command = {"RPUSH", list};
    for (int i = 0; i < count; ++i) command.push_back("x");
    ASSERT_TRUE(redis_->Run(command).ok());
  }
  // How often the server ran a command: "cmdstat_llen:calls=12,usec=...".
  int Calls(const std::string& command) {
    auto stats = redis_->Ask({"INFO", "commandstats"});
    const std::string key = "cmdstat_" + command + ":calls=";
    const size_t at = stats.ok() ? stats->text.find(key) : std::string::npos;
    return at == std::string::npos ? 0 : std::stoi(stats->text.substr(at + key.size()));
  }
  int Connections() {
    auto stats = redis_->Ask({"INFO", "clients"});
    const size_t at = stats->text.find("connected_clients:");
    return std::stoi(stats->text.substr(at + 18)) - 1;  // Without the one that asks.
  }

  std::unique_ptr<RedisServer> redis_;
};

TEST_F(SharedSourcesTest, TenObjectsReadOneListOnce) {
  Push("orders", 20);
  Push("returns", 4);
  Fleet fleet;
  for (int i = 0; i < 10; ++i) fleet.Add(redis_->address(), "orders", i < 5 ? 10 : 5);
  for (int round = 0; round < 12; ++round) fleet.Round();
  EXPECT_EQ(fleet.Replicas(), (std::vector<int64_t>{2, 2, 2, 2, 2, 4, 4, 4, 4, 4}));
  EXPECT_EQ(Calls("llen"), 12) << "one for each round of ten";
  EXPECT_EQ(Connections(), 1);
  EXPECT_EQ(fleet.Reads("made"), 12);
  EXPECT_EQ(fleet.Reads("shared"), 108);

  fleet.Add(redis_->address(), "returns", 4);
  fleet.Round();
  EXPECT_EQ(fleet.Replicas().back(), 1);
  EXPECT_EQ(Calls("llen"), 14) << "another list is another question";
  Push("orders", 5);
  fleet.Round();
  EXPECT_EQ(fleet.Replicas(), (std::vector<int64_t>{3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 1}));
}

TEST_F(SharedSourcesTest, AServerThatIsAwayIsLeftAloneUntilItIsBack) {
  constexpr size_t kObjects = 100;
  Fleet fleet;
  for (size_t i = 0; i < kObjects; ++i) {
    const std::string list = "list" + std::to_string(i);
    Push(list, 10);
    fleet.Add(redis_->address(), list, 5, i == 0);
  }
  for (int round = 0; round < 3; ++round) fleet.Round();
  ASSERT_EQ(fleet.Ready(), kObjects);
  ASSERT_EQ(fleet.Replicas(), std::vector<int64_t>(kObjects, 2));
  ASSERT_EQ(fleet.Reads("made"), 3 * kObjects);

  redis_->Kill();
  fleet.Round();
  EXPECT_EQ(fleet.Ready(), 0U);
  EXPECT_LE(fleet.Reads("made"), 3 * kObjects + 4) << "three failures, and one that had not failed itself";
  for (int round = 1; round < 200; ++round) {
    fleet.Round();
    const std::vector<int64_t> replicas = fleet.Replicas();
    ASSERT_EQ(replicas[1], 2) << "held";
    // As if each had asked for itself: failureThreshold is 3.
    ASSERT_EQ(replicas[0], round < 3 ? 2 : 3) << "after failure " << round + 1;
  }
  // Each tries once, one in a second, and one tries again after 1, 2, 4, 8, 16, 25, 25... s.
  EXPECT_LE(fleet.Reads("made"), 3 * kObjects + kObjects + 12);
  EXPECT_GE(fleet.Reads("not_asked"), 19'000);
  EXPECT_THAT(fleet.Readiness(50), HasSubstr("connection refused; after 3 failures in a row"));
  const int writes = fleet.StatusWrites();
  for (int round = 0; round < 50; ++round) fleet.Round();
  EXPECT_EQ(fleet.StatusWrites(), writes) << "attempts change nothing that is shown";

  redis_->Start();
  for (size_t i = 0; i < kObjects; ++i) Push("list" + std::to_string(i), 15);
  int rounds = 0;
  while (rounds < 60 && fleet.Ready() < kObjects) {
    fleet.Round();
    ++rounds;
  }
  EXPECT_LE(rounds, 26) << "the longest time between two attempts, and a round";
  EXPECT_EQ(fleet.Ready(), kObjects);
  EXPECT_EQ(fleet.Replicas(), std::vector<int64_t>(kObjects, 3));
}

}  // namespace
}  // namespace tidewright::scaler
