// The redis triggers against a cluster, and against a master that sentinels replace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/integration/source_scenario.h"
#include "tests/scaler/redis_server.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

const Words kEleven = {"RPUSH", "orders", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
const Words kTenMore = {"RPUSH", "orders", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};

class RedisTopologiesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::Available()) GTEST_SKIP() << "redis-server is not installed";
  }
  static std::string Text(RedisServer& server, const Words& command) {
    auto reply = server.Ask(command);
    if (!reply.ok()) return reply.status().message();
    return reply->is_integer ? std::to_string(reply->integer) : reply->text;
  }
};

// Gives the list "orders" a length, wherever it may be written just now.
void HoldOrders(RedisServer& server, int64_t value) {
  Words push = {"RPUSH", "orders"};
  push.resize(2 + static_cast<size_t>(value), "x");
  EXPECT_TRUE(Eventually([&] { return server.Run({"DEL", "orders"}).ok() && (value == 0 || server.Run(push).ok()); }));
}

// Three masters, each with a third of the slots. They are started at once.
class RedisCluster : public SourceServer {
 public:
  RedisCluster() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i] = std::make_unique<RedisServer>(
          kPassword, Words{"--cluster-enabled", "yes", "--cluster-node-timeout", "30000", "--cluster-config-file",
                           folder_.path() + "/node" + std::to_string(i), "--cluster-port", bus_[i]});
      const std::string first = std::to_string(i * 16384 / 3 + (i == 0 ? 0 : 1));
      const std::string last = std::to_string((i + 1) * 16384 / 3 - (i == 2 ? 1 : 0));
      EXPECT_TRUE(nodes_[i]->Run({"CLUSTER", "ADDSLOTSRANGE", first, last}).ok());
      EXPECT_TRUE(nodes_[i]->Run({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)}).ok());
      if (i == 0) continue;
      EXPECT_TRUE(nodes_[0]->Run({"CLUSTER", "MEET", "127.0.0.1", std::to_string(nodes_[i]->port()), bus_[i]}).ok());
    }
  }

  // All of them; their configuration stays.
  void Kill() override {
    for (auto& node : nodes_) node->Kill();
  }
  void Start() override {
    for (auto& node : nodes_) node->Start();
    EXPECT_TRUE(Eventually([this] { return Whole(); }));
  }
  void Hold(int64_t value) override { HoldOrders(node(OwnerOf("orders")), value); }

  RedisServer& node(size_t i) { return *nodes_[i]; }
  std::string Id(size_t i) { return nodes_[i]->Ask({"CLUSTER", "MYID"})->text; }
  bool Whole() {
    for (auto& node : nodes_) {
      auto info = node->Ask({"CLUSTER", "INFO"});
      if (!info.ok() || info->text.find("cluster_state:ok") == std::string::npos) return false;
    }
    return true;
  }
  std::string addresses() const {
    std::string list = "127.0.0.1:1";  // Nobody is there.
    for (const auto& node : nodes_) list += ", " + node->address();
    return list;
  }
  // Which node has the slot of a key, as it was cut in the beginning.
  size_t OwnerOf(const std::string& key) {
    return static_cast<size_t>(nodes_[0]->Ask({"CLUSTER", "KEYSLOT", key})->integer * 3 / 16384);
  }

 private:
  const std::array<std::string, 3> bus_ = {std::to_string(*base::FreePort()), std::to_string(*base::FreePort()),
                                           std::to_string(*base::FreePort())};
  std::array<std::unique_ptr<RedisServer>, 3> nodes_;
};

TEST_F(RedisTopologiesTest, ClusterKeysAreFollowedWhereTheyGo) {
  RedisCluster cluster;
  ASSERT_TRUE(Eventually([&] { return cluster.Whole(); }));
  const std::string slot = Text(cluster.node(0), {"CLUSTER", "KEYSLOT", "orders"});
  const size_t from = cluster.OwnerOf("orders");
  const size_t to = (from + 1) % 3;
  RedisServer& old_owner = cluster.node(from);
  RedisServer& new_owner = cluster.node(to);
  ASSERT_EQ(Text(old_owner, kEleven), "11");
  ScaledSource source;
  source.Follow("redis-cluster", {{"addresses", cluster.addresses()}, {"listName", "orders"}},
                {{"password", kPassword}});
  EXPECT_EQ(source.NextReplicas(), 3) << source.Readiness();

  // While its slot moves: ASK. After that: MOVED, on the connection that is kept.
  ASSERT_TRUE(new_owner.Run({"CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.Id(from)}).ok());
  ASSERT_TRUE(old_owner.Run({"CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.Id(to)}).ok());
  ASSERT_EQ(Text(old_owner,
                 {"MIGRATE", "127.0.0.1", std::to_string(new_owner.port()), "orders", "0", "5000", "AUTH", kPassword}),
            "OK");
  EXPECT_EQ(source.NextReplicas(), 3);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
  ASSERT_TRUE(new_owner.Run({"CLUSTER", "SETSLOT", slot, "NODE", cluster.Id(to)}).ok());
  ASSERT_TRUE(old_owner.Run({"CLUSTER", "SETSLOT", slot, "NODE", cluster.Id(to)}).ok());
  ASSERT_EQ(Text(new_owner, kTenMore), "21");
  EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  new_owner.Kill();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_FALSE(source.Ready());
  new_owner.Start();
  ASSERT_TRUE(Eventually([&] { return cluster.Whole(); }));
  ASSERT_EQ(Text(new_owner, kEleven), "11") << "it lost its data";
  ASSERT_EQ(Text(new_owner, kEleven), "22");
  ASSERT_EQ(Text(new_owner, kTenMore), "32");
  EXPECT_EQ(source.NextReplicas(), 7);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
}

TEST_F(RedisTopologiesTest, ClusterIsFollowed) {
  RedisCluster cluster;
  ASSERT_TRUE(Eventually([&] { return cluster.Whole(); }));
  SourceScenario({.type = "redis-cluster",
                  .metadata = {{"addresses", cluster.addresses()}, {"listName", "orders"}},
                  .secrets = {{"password", kPassword}},
                  .refusal = "AUTH: WRONGPASS"})
      .ExpectFollowed(cluster);
}

TEST_F(RedisTopologiesTest, ClusterStreams) {
  RedisCluster cluster;
  ASSERT_TRUE(Eventually([&] { return cluster.Whole(); }));
  RedisServer& owner = cluster.node(cluster.OwnerOf("events"));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(owner.Run({"XADD", "events", "*", "order", "1"}).ok());
  ASSERT_TRUE(owner.Run({"XGROUP", "CREATE", "events", "work", "0"}).ok());
  ScaledSource source;
  source.Follow(
      "redis-cluster-streams",
      {{"addresses", cluster.addresses()}, {"stream", "events"}, {"consumerGroup", "work"}, {"lagCount", "4"}},
      {{"password", kPassword}});
  EXPECT_EQ(source.NextReplicas(), 3) << source.Readiness();
}

// A master, its replica, and a sentinel that looks after them. They are started at once.
class RedisSentinels : public SourceServer {
 public:
  // The sentinel has another master elected once this one was silent for `silence_ms`.
  explicit RedisSentinels(int silence_ms)
      : master_(kPassword, {"--masterauth", kPassword}),
        replica_(kPassword, {"--masterauth", kPassword, "--replicaof", "127.0.0.1 " + std::to_string(master_.port()),
                             "--repl-diskless-sync-delay", "0"}) {
    const std::string config = folder_.path() + "/sentinel.conf";
    EXPECT_TRUE(base::WriteFileAtomic(config, "sentinel monitor shop 127.0.0.1 " + std::to_string(master_.port()) +
                                                  " 1\nsentinel auth-pass shop " + kPassword +
                                                  "\nsentinel down-after-milliseconds shop " +
                                                  std::to_string(silence_ms) +
                                                  "\nsentinel failover-timeout shop 3000\n")
                    .ok());
    sentinel_ = std::make_unique<RedisServer>("gu4rd", Words{}, Words{config, "--sentinel"});
  }

  // Master and replica; the sentinel stays.
  void Kill() override {
    master_.Kill();
    replica_.Kill();
  }
  void Start() override {
    master_.Start();
    replica_.Start();
  }
  void Hold(int64_t value) override { HoldOrders(master_, value); }

  RedisServer& master() { return master_; }
  RedisServer& replica() { return replica_; }
  RedisServer& sentinel() { return *sentinel_; }

 private:
  RedisServer master_, replica_;
  std::unique_ptr<RedisServer> sentinel_;
};

TEST_F(RedisTopologiesTest, SentinelsMasterIsFollowed) {
  // Nobody else is to be elected while both are away.
  RedisSentinels servers(/*silence_ms=*/600'000);
  SourceScenario({.type = "redis-sentinel",
                  .metadata = {{"addresses", "127.0.0.1:1," + servers.sentinel().address()},
                               {"sentinelMaster", "shop"},
                               {"listName", "orders"}},
                  .secrets = {{"password", kPassword}, {"sentinelPassword", "gu4rd"}},
                  .refusal = "AUTH: WRONGPASS"})
      .ExpectFollowed(servers);
}

TEST_F(RedisTopologiesTest, SentinelsNameTheNextMaster) {
  RedisSentinels servers(/*silence_ms=*/3000);
  RedisServer& first = servers.master();
  RedisServer& second = servers.replica();
  RedisServer& sentinel = servers.sentinel();
  ASSERT_EQ(Text(first, kEleven), "11");
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(first.Run({"XADD", "events", "*", "order", "1"}).ok());
  ASSERT_TRUE(Eventually([&] { return Text(second, {"XLEN", "events"}) == "12"; }));
  ASSERT_TRUE(Eventually([&] {
    auto replicas = sentinel.Ask({"SENTINEL", "replicas", "shop"});
    return replicas.ok() && replicas->items.size() == 1;
  }));

  ScaledSource::Metadata metadata = {
      {"addresses", "127.0.0.1:1," + sentinel.address()}, {"sentinelMaster", "shop"}, {"listName", "orders"}};
  ScaledSource source;
  source.Follow("redis-sentinel", metadata, {{"password", kPassword}, {"sentinelPassword", "gu4rd"}});
  EXPECT_EQ(source.NextReplicas(), 3) << source.Readiness();
  first.Kill();
  EXPECT_EQ(source.NextReplicas(), 3);
  const std::string port = std::to_string(second.port());
  ASSERT_TRUE(Eventually([&] {
    auto master = sentinel.Ask({"SENTINEL", "get-master-addr-by-name", "shop"});
    return master.ok() && master->items.size() == 2 && master->items[1] == port;
  }));
  ASSERT_TRUE(Eventually([&] { return Text(second, kTenMore) == "21"; })) << Text(second, kTenMore);
  EXPECT_EQ(source.NextReplicas(), 5) << source.Readiness();
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  ScaledSource refused;
  refused.Follow("redis-sentinel", metadata, {{"password", kPassword}, {"sentinelPassword", "s3cret"}});
  EXPECT_EQ(refused.NextReplicas(), 0);
  EXPECT_THAT(refused.Readiness(), HasSubstr("sentinel: AUTH: WRONGPASS"));
  EXPECT_THAT(refused.Readiness(), Not(HasSubstr("s3cret")));
  metadata["sentinelMaster"] = "warehouse";
  source.Follow("redis-sentinel", metadata, {{"password", kPassword}, {"sentinelPassword", "gu4rd"}});
  source.NextReplicas();
  EXPECT_THAT(source.Readiness(), HasSubstr("sentinel: knows no master \"warehouse\""));
  source.Follow("redis-sentinel-streams",
                {{"hosts", "127.0.0.1"},
                 {"ports", std::to_string(sentinel.port())},
                 {"sentinelMaster", "shop"},
                 {"stream", "events"},
                 {"streamLength", "2"}},
                {{"password", kPassword}, {"sentinelPassword", "gu4rd"}});
  EXPECT_EQ(source.NextReplicas(), 6) << source.Readiness();
}

}  // namespace
}  // namespace tidewright::scaler
