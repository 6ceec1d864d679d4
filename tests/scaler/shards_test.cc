#include "scaler/shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/json.h"

namespace tidewright::scaler {
namespace {

base::Json ScaledObjectOf(const std::string& name, base::Json target) {
  return {{"kind", "ScaledObject"},
          {"metadata", {{"name", name}, {"namespace", "shop"}}},
          {"spec", {{"scaleTargetRef", std::move(target)}}}};
}

TEST(ShardOfTest, ObjectsOfOneTargetAreTogether) {
  const int shard = ShardOf(ScaledObjectOf("a", {{"name", "web"}}), 64);
  EXPECT_EQ(ShardOf(ScaledObjectOf("b", {{"name", "web"}}), 64), shard);
  EXPECT_EQ(ShardOf(ScaledObjectOf("c", {{"name", "web"}, {"kind", "Deployment"}}), 64), shard) << "the default kind";
}

TEST(ShardOfTest, SpreadsObjectsEvenly) {
  constexpr int kShards = 8, kObjects = 8000;
  std::map<int, int> count;
  for (int i = 0; i < kObjects; ++i) ++count[ShardOf(ScaledObjectOf("x", {{"name", "app-" + std::to_string(i)}}), 8)];
  ASSERT_EQ(count.size(), size_t{kShards});
  for (const auto& [shard, objects] : count) EXPECT_NEAR(objects, kObjects / kShards, 120) << "shard " << shard;
}

TEST(ShardOfTest, AnythingHasAShard) {
  for (const char* text : {"{}", "[]", "null", R"({"spec":{"scaleTargetRef":7}})", R"({"kind":"ScaledJob"})"}) {
    const int shard = ShardOf(base::Json::parse(text), 3);
    EXPECT_TRUE(shard >= 0 && shard < 3) << text;
  }
}

TEST(AssignShardsTest, EverybodyGetsItsPart) {
  for (int members = 1; members <= 7; ++members) {
    std::vector<std::string> names;
    for (int i = 0; i < members; ++i) names.push_back("pod-" + std::to_string(i));
    for (int shards : {1, 2, 8, 13}) {
      std::map<std::string, int> load;
      for (const std::string& owner : AssignShards(names, shards)) ++load[owner];
      for (const std::string& name : names) {
        EXPECT_LE(load[name], (shards + members - 1) / members) << members << " members, " << shards << " shards";
        EXPECT_GE(load[name], shards / members) << members << " members, " << shards << " shards";
      }
      EXPECT_LE(load.size(), names.size()) << "nobody else";
    }
  }
}

TEST(AssignShardsTest, DependsOnWhoIsThereAndNotOnTheOrder) {
  EXPECT_EQ(AssignShards({"a", "b", "c"}, 8), AssignShards({"c", "a", "b"}, 8));
}

TEST(AssignShardsTest, HardlyAnyShardsMoveButThoseOfTheOneThatIsGone) {
  constexpr int kShards = 60;
  const auto before = AssignShards({"a", "b", "c", "d"}, kShards);
  const auto after = AssignShards({"a", "b", "d"}, kShards);
  int moved = 0;
  for (int i = 0; i < kShards; ++i) moved += before[i] != "c" && before[i] != after[i] ? 1 : 0;
  EXPECT_LE(moved, kShards / 5);
}

TEST(AssignShardsTest, NobodyIsThere) { EXPECT_THAT(AssignShards({}, 2), testing::ElementsAre("", "")); }

}  // namespace
}  // namespace tidewright::scaler
