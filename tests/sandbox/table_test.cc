#include "sandbox/table.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

constexpr int64_t kNow = 1'700'000'000'000;  // 2023-11-14T22:13:20Z

Json Cells(const ResourceType& type, const Json& object) {
  return RenderTable(type, {&object}, IncludeObject::kNone, kNow)["rows"][0]["cells"];
}

ResourceType Builtin(const char* group, const char* version, const char* plural) {
  return *ResourceRegistry().Find(group, version, plural);
}

TEST(TableTest, Deployment) {
  Json object = *base::ParseJson(
      R"({"metadata":{"name":"web","creationTimestamp":"2023-11-14T22:10:20Z"},"spec":{"replicas":3,
          "selector":{"matchLabels":{"app":"web"}},
          "template":{"spec":{"containers":[{"name":"c","image":"i:1"},{"name":"d","image":"j"}]}}},
          "status":{"readyReplicas":2,"updatedReplicas":3,"availableReplicas":2}})");
  EXPECT_EQ(Cells(Builtin("apps", "v1", "deployments"), object),
            Json::parse(R"(["web","2/3",3,2,"3m","c,d","i:1,j","app=web"])"));
}

TEST(TableTest, TerminatingPod) {
  Json object = *base::ParseJson(
      R"({"metadata":{"name":"p","creationTimestamp":"2023-11-14T22:13:00Z","deletionTimestamp":"2023-11-14T22:13:20Z"},
          "spec":{"nodeName":"n","containers":[{"name":"c"}]},
          "status":{"phase":"Running","podIP":"10.0.0.1","containerStatuses":[{"ready":true,"restartCount":2}]}})");
  EXPECT_EQ(Cells(Builtin("", "v1", "pods"), object),
            Json::parse(R"(["p","1/1","Terminating","2","20s","10.0.0.1","n","<none>","<none>"])"));
}

struct HpaCase {
  const char* name;
  const char* metrics;
  const char* current;
  const char* want;
};

class HpaTargetsTest : public testing::TestWithParam<HpaCase> {};

TEST_P(HpaTargetsTest, Row) {
  Json object = {{"metadata", {{"name", "h"}, {"creationTimestamp", "2023-11-14T22:13:20Z"}}},
                 {"spec",
                  {{"minReplicas", 1},
                   {"maxReplicas", 9},
                   {"scaleTargetRef", {{"kind", "Deployment"}, {"name", "web"}}},
                   {"metrics", Json::parse(GetParam().metrics)}}},
                 {"status", {{"currentReplicas", 4}, {"currentMetrics", Json::parse(GetParam().current)}}}};
  EXPECT_EQ(Cells(Builtin("autoscaling", "v2", "horizontalpodautoscalers"), object),
            Json::array({"h", "Deployment/web", GetParam().want, "1", 9, 4, "0s"}));
}

INSTANTIATE_TEST_SUITE_P(
    Table, HpaTargetsTest,
    testing::Values(
        HpaCase{"utilization", R"([{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":80}}}])",
                R"([{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":5}}}])", "cpu: 5%/80%"},
        HpaCase{"unknown", R"([{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":80}}}])",
                "[]", "cpu: <unknown>/80%"},
        HpaCase{"pods", R"([{"type":"Pods","pods":{"target":{"averageValue":"20"}}}])",
                R"([{"type":"Pods","pods":{"current":{"averageValue":"12"}}}])", "12/20"},
        HpaCase{"external_average", R"([{"type":"External","external":{"target":{"averageValue":"20"}}}])",
                R"([{"type":"External","external":{"current":{"averageValue":"850m"}}}])", "850m/20 (avg)"},
        HpaCase{"object_value", R"([{"type":"Object","object":{"target":{"value":"2k"}}}])",
                R"([{"type":"Object","object":{"current":{"value":"1500"}}}])", "1500/2k"},
        HpaCase{
            "three",
            R"([{"type":"Pods","pods":{"target":{"averageValue":"1"}}},{"type":"Pods","pods":{"target":{"averageValue":"2"}}},
                    {"type":"Pods","pods":{"target":{"averageValue":"3"}}}])",
            "[]", "<unknown>/1, <unknown>/2 + 1 more..."},
        HpaCase{"none", "[]", "[]", "<none>"}),
    [](const testing::TestParamInfo<HpaCase>& row) { return std::string(row.param.name); });

TEST(TableTest, CustomColumns) {
  ResourceType type;
  type.custom = true;
  type.plural = "widgets";
  type.columns = {{"Size", "integer", ".spec.size", "", 0},
                  {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "", 0},
                  {"Age", "date", ".metadata.creationTimestamp", "", 0}};
  Json object = *base::ParseJson(
      R"({"metadata":{"name":"w","creationTimestamp":"2023-11-14T20:13:20Z"},"spec":{"size":7},
          "status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(Cells(type, object), Json::parse(R"(["w",7,"True","120m"])"));
  object["status"] = Json::object();
  EXPECT_EQ(Cells(type, object)[2], nullptr);
}

TEST(TableTest, HumanDurations) {
  const std::pair<int64_t, const char*> rows[] = {
      {0, "0s"},        {119, "119s"},  {120, "2m"},      {200, "3m20s"},   {600, "10m"},
      {10799, "179m"},  {10800, "3h"},  {12000, "3h20m"}, {28800, "8h"},    {172800, "2d"},
      {176400, "2d1h"}, {700000, "8d"}, {63072000, "2y"}, {-5, "<invalid>"}};
  for (const auto& [seconds, want] : rows) EXPECT_EQ(HumanDuration(seconds * 1000), want) << seconds;
}

}  // namespace
}  // namespace tidewright::sandbox
