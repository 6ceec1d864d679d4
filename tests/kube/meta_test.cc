#include "kube/meta.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::kube {
namespace {

TEST(MetaTest, AccessorsTolerateAnything) {
  for (const char* text : {"null", "[]", "5", "{}", R"({"metadata":5})", R"({"metadata":{"name":5,"labels":[]}})"}) {
    base::Json object = base::Json::parse(text);
    EXPECT_EQ(NameOf(object), "") << text;
    EXPECT_TRUE(LabelsOf(object).empty()) << text;
    EXPECT_FALSE(IsPodReady(object)) << text;
    EXPECT_FALSE(IsBeingDeleted(object)) << text;
  }
}

TEST(MetaTest, KeysAndReadiness) {
  base::Json pod = base::Json::parse(
      R"({"metadata":{"name":"a","namespace":"n"},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(KeyOf(pod), "n/a");
  EXPECT_TRUE(IsPodReady(pod));
  pod["status"]["conditions"][0]["status"] = "False";
  EXPECT_FALSE(IsPodReady(pod));
}

TEST(SetConditionTest, TransitionTimeMovesWithTheStatusOnly) {
  base::Json object = base::Json::object();
  EXPECT_TRUE(SetCondition(object, "Ready", "True", "Fine", "all good", 1'000));
  EXPECT_FALSE(SetCondition(object, "Ready", "True", "Fine", "all good", 2'000));
  EXPECT_TRUE(SetCondition(object, "Ready", "True", "Fine", "still good", 3'000));
  base::Json& condition = object["status"]["conditions"][0];
  EXPECT_EQ(condition["lastTransitionTime"], "1970-01-01T00:00:01Z");
  EXPECT_TRUE(SetCondition(object, "Ready", "False", "Broken", "no", 4'000));
  EXPECT_EQ(condition["lastTransitionTime"], "1970-01-01T00:00:04Z");
  EXPECT_EQ(object["status"]["conditions"].size(), 1U);
}

}  // namespace
}  // namespace tidewright::kube
