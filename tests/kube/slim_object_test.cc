#include "kube/slim_object.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::kube {
namespace {

TEST(SlimObject, PodsKeepWhatTargetsAndScalersNeed) {
  base::Json pod = {{"metadata", {{"name", "web"}, {"annotations", {{"a", "b"}}}}},
                    {"spec",
                     {{"nodeName", "n"},
                      {"volumes", base::Json::array({{{"name", "v"}}})},
                      {"containers", base::Json::array({{{"name", "c"},
                                                         {"image", "i"},
                                                         {"ports", base::Json::array({{{"containerPort", 80}}})},
                                                         {"resources", {{"requests", {{"cpu", "1"}}}}},
                                                         {"env", base::Json::array({{{"name", "E"}}})},
                                                         {"livenessProbe", {{"periodSeconds", 1}}}}})},
                      {"initContainers", base::Json::array({{{"name", "init"}, {"args", {"x"}}}})}}},
                    {"status", {{"podIP", "10.0.0.1"}}}};
  base::Json slim = {{"metadata", pod["metadata"]},
                     {"spec",
                      {{"nodeName", "n"},
                       {"containers", base::Json::array({{{"name", "c"},
                                                          {"image", "i"},
                                                          {"ports", base::Json::array({{{"containerPort", 80}}})},
                                                          {"resources", {{"requests", {{"cpu", "1"}}}}}}})},
                       {"initContainers", base::Json::array({{{"name", "init"}}})}}},
                     {"status", pod["status"]}};
  SlimmingOf(resources::kPods)(pod);
  EXPECT_EQ(pod, slim);
}

TEST(SlimObject, OddObjectsAreLeftAlone) {
  for (const char* text : {"{}", "[]", "null", R"({"spec": 1})", R"({"spec": {"containers": {"a": 1}}})",
                           R"({"spec": {"containers": [1, null]}})", R"({"status": []})"}) {
    const base::Json before = *base::ParseJson(text);
    base::Json object = before;
    SlimmingOf(resources::kPods)(object);
    SlimmingOf(resources::kNodes)(object);
    EXPECT_EQ(object, before) << text;
  }
}

TEST(SlimObject, NodesLoseTheirImages) {
  base::Json node = {{"status", {{"images", base::Json::array({1, 2})}, {"capacity", {{"cpu", "4"}}}}}};
  SlimmingOf(resources::kNodes)(node);
  EXPECT_EQ(node, (base::Json{{"status", {{"capacity", {{"cpu", "4"}}}}}}));
}

TEST(SlimObject, OthersStayWhole) {
  EXPECT_FALSE(SlimmingOf(resources::kDeployments));
  EXPECT_FALSE(SlimmingOf({"example.com", "v1", "pods", "Pod", true}));
}

}  // namespace
}  // namespace tidewright::kube
