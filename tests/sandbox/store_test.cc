#include "sandbox/store.h"

#include <gtest/gtest.h>

namespace tidewright::sandbox {
namespace {

using base::Json;

Json Object(const std::string& name, int value = 0) {
  return {{"metadata", {{"name", name}, {"namespace", "shop"}}}, {"spec", {{"value", value}}}};
}

class StoreTest : public testing::Test {
 protected:
  Store::Mutation SetValue(int value) {
    return [value](Json& object) {
      object["spec"]["value"] = value;
      return base::Status::Ok();
    };
  }
  base::FakeClock clock_{1'700'000'000'000};
  Store store_{clock_, StoreLimits{4, 1 << 20, 10}};
};

TEST_F(StoreTest, CreateFillsInMetadata) {
  auto created = store_.Create("things", Object("a"));
  ASSERT_TRUE(created.ok());
  const Json& metadata = (*created)->json["metadata"];
  EXPECT_EQ(metadata["creationTimestamp"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(metadata["generation"], 1);
  EXPECT_EQ(metadata["uid"].get<std::string>().size(), 36u);
  EXPECT_EQ(metadata["resourceVersion"], std::to_string(store_.resource_version()));
  EXPECT_EQ(store_.Create("things", Object("a")).status().code(), base::Code::kAlreadyExists);
}

TEST_F(StoreTest, UpdateBumpsGenerationOnlyForSpec) {
  ASSERT_TRUE(store_.Create("things", Object("a")).ok());
  auto spec = store_.Update("things", "shop", "a", SetValue(1));
  EXPECT_EQ((*spec)->json["metadata"]["generation"], 2);
  auto status = store_.Update("things", "shop", "a", [](Json& object) {
    object["status"]["x"] = 1;
    object["metadata"]["uid"] = "forged";
    return base::Status::Ok();
  });
  EXPECT_EQ((*status)->json["metadata"]["generation"], 2);
  EXPECT_EQ((*status)->json["metadata"]["uid"], (*spec)->json["metadata"]["uid"]);
  const uint64_t before = store_.resource_version();
  ASSERT_TRUE(store_.Update("things", "shop", "a", SetValue(1)).ok());
  EXPECT_EQ(store_.resource_version(), before) << "a change of nothing is not a write";
}

TEST_F(StoreTest, StaleVersionConflicts) {
  auto created = store_.Create("things", Object("a"));
  ASSERT_TRUE(store_.Update("things", "shop", "a", SetValue(1)).ok());
  auto stale = store_.Update("things", "shop", "a", [&](Json& object) {
    object = (*created)->json;
    object["spec"]["value"] = 2;
    return base::Status::Ok();
  });
  EXPECT_EQ(stale.status().code(), base::Code::kAborted);
  EXPECT_EQ(store_.Get("things", "shop", "a")->json["spec"]["value"], 1);
}

TEST_F(StoreTest, FinalizersKeepADeletedObject) {
  Json object = Object("a");
  object["metadata"]["finalizers"] = Json::array({"keep"});
  ASSERT_TRUE(store_.Create("things", object).ok());
  ASSERT_TRUE(store_
                  .Update("things", "shop", "a",
                          [](Json& o) {
                            o["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
                            return base::Status::Ok();
                          })
                  .ok());
  ASSERT_NE(store_.Get("things", "shop", "a"), nullptr);
  ASSERT_TRUE(store_
                  .Update("things", "shop", "a",
                          [](Json& o) {
                            o["metadata"]["finalizers"] = Json::array();
                            return base::Status::Ok();
                          })
                  .ok());
  EXPECT_EQ(store_.Get("things", "shop", "a"), nullptr);
}

TEST_F(StoreTest, SubscribersSeeHistoryThenLiveChangesInOrder) {
  ASSERT_TRUE(store_.Create("things", Object("a")).ok());
  const uint64_t since = store_.resource_version();
  ASSERT_TRUE(store_.Update("things", "shop", "a", SetValue(1)).ok());
  ASSERT_TRUE(store_.Create("others", Object("x")).ok());
  std::vector<std::string> seen;
  auto id = store_.Subscribe("things", since, [&](const Change& change) {
    seen.push_back(std::to_string(static_cast<int>(change.type)) + change.object->json["spec"]["value"].dump());
  });
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(store_.Update("things", "shop", "a", SetValue(2)).ok());
  ASSERT_TRUE(store_.Remove("things", "shop", "a").ok());
  store_.Unsubscribe(*id);
  ASSERT_TRUE(store_.Create("things", Object("b")).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"11", "12", "22"}));
}

TEST_F(StoreTest, ForgottenHistoryIsOutOfRange) {
  ASSERT_TRUE(store_.Create("things", Object("a")).ok());
  const uint64_t since = store_.resource_version();
  for (int i = 1; i <= 6; ++i) ASSERT_TRUE(store_.Update("things", "shop", "a", SetValue(i)).ok());
  auto ignore = [](const Change&) {};
  EXPECT_EQ(store_.Subscribe("things", since, ignore).status().code(), base::Code::kOutOfRange);
  EXPECT_EQ(store_.Subscribe("things", store_.resource_version() + 1, ignore).status().code(), base::Code::kOutOfRange);
  EXPECT_TRUE(store_.Subscribe("things", store_.resource_version(), ignore).ok());
}

TEST_F(StoreTest, BoundsObjects) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(store_.Create("things", Object("a" + std::to_string(i))).ok());
  EXPECT_EQ(store_.Create("things", Object("b")).status().code(), base::Code::kResourceExhausted);
  ASSERT_TRUE(store_.Remove("things", "shop", "a0").ok());
  EXPECT_TRUE(store_.Create("things", Object("b")).ok());
}

}  // namespace
}  // namespace tidewright::sandbox
