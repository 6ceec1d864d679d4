#include "kube/write.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

struct DiffCase {
  const char* name;
  const char* from;
  const char* to;
  const char* want;
};

TEST(MergePatchTest, SaysWhatDiffers) {
  for (const DiffCase& row : {
           DiffCase{"equal", R"({"a":1})", R"({"a":1})", R"({})"},
           DiffCase{"changed", R"({"a":1,"b":2})", R"({"a":1,"b":3})", R"({"b":3})"},
           DiffCase{"removed", R"({"a":1,"b":2})", R"({"a":1})", R"({"b":null})"},
           DiffCase{"added", R"({})", R"({"a":{"b":1}})", R"({"a":{"b":1}})"},
           DiffCase{"nested", R"({"a":{"b":1,"c":2}})", R"({"a":{"b":1,"c":3}})", R"({"a":{"c":3}})"},
           DiffCase{"lists as a whole", R"({"a":[1,2]})", R"({"a":[1]})", R"({"a":[1]})"},
           DiffCase{"another type", R"({"a":{"b":1}})", R"({"a":5})", R"({"a":5})"},
       }) {
    base::Json from = base::Json::parse(row.from);
    base::Json patch = MergePatch(from, base::Json::parse(row.to));
    EXPECT_EQ(patch, base::Json::parse(row.want)) << row.name;
    from.merge_patch(patch);
    EXPECT_EQ(from, base::Json::parse(row.to)) << row.name;
  }
}

std::string Config(int version, int value) {
  return base::Json{{"metadata", {{"name", "c"}, {"resourceVersion", std::to_string(version)}}},
                    {"data", {{"n", std::to_string(value)}, {"other", "x"}}}}
      .dump();
}

base::Status Increment(base::Json& object) {
  object["data"]["n"] = std::to_string(std::stoi(object["data"]["n"].get<std::string>()) + 1);
  return base::Status::Ok();
}

constexpr const char* kConflict = R"({"kind":"Status","reason":"Conflict","code":409,"message":"changed"})";

TEST(PatchWithRetryTest, ReadsAgainAfterAConflict) {
  ScriptedApi api;
  api.Answer(200, Config(1, 5));
  api.Answer(409, kConflict);
  api.Answer(200, Config(2, 8));
  api.Answer(200, Config(3, 9));
  auto written = PatchWithRetry(api.client(), base::SystemClock::Get(), resources::kConfigMaps, "a", "c", Increment);
  ASSERT_TRUE(written.ok()) << written.status().ToString();
  EXPECT_EQ(base::FindString(*written, {"metadata", "resourceVersion"}), "3");
  auto requests = api.requests();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_EQ(http::QueryValue(requests[3].query, "fieldManager"), "tidewright");
  EXPECT_EQ(base::Json::parse(requests[3].body),
            base::Json::parse(R"({"metadata":{"resourceVersion":"2"},"data":{"n":"9"}})"));
}

TEST(PatchWithRetryTest, GivesUpAfterFiveAttempts) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest& request, auto responder) {
    const bool read = request.method == "GET";
    responder->Reply({read ? 200 : 409, {}, read ? Config(1, 5) : kConflict});
  });
  auto written = PatchWithRetry(api.client(), base::SystemClock::Get(), resources::kConfigMaps, "a", "c", Increment);
  EXPECT_EQ(written.status().code(), base::Code::kAborted);
  EXPECT_EQ(api.requests().size(), 10U);
}

TEST(UpdateWithRetryTest, WritesTheWholeObjectWithItsVersion) {
  ScriptedApi api;
  api.Answer(200, Config(1, 5));
  api.Answer(200, Config(2, 6));
  ASSERT_TRUE(
      UpdateWithRetry(api.client(), base::SystemClock::Get(), resources::kConfigMaps, "a", "c", Increment, "status")
          .ok());
  auto requests = api.requests();
  EXPECT_EQ(requests[0].path, "/api/v1/namespaces/a/configmaps/c") << "status is read with the whole object";
  EXPECT_EQ(requests[1].path, "/api/v1/namespaces/a/configmaps/c/status");
  EXPECT_EQ(requests[1].method, "PUT");
  EXPECT_EQ(base::Json::parse(requests[1].body), base::Json::parse(Config(1, 6)));
}

TEST(UpdateWithRetryTest, WritesNothingWhenNothingChangesOrTheChangeFails) {
  ScriptedApi api;
  api.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, Config(1, 5)}); });
  auto same = UpdateWithRetry(api.client(), base::SystemClock::Get(), resources::kConfigMaps, "a", "c",
                              [](base::Json&) { return base::Status::Ok(); });
  EXPECT_TRUE(same.ok());
  auto failed = UpdateWithRetry(api.client(), base::SystemClock::Get(), resources::kConfigMaps, "a", "c",
                                [](base::Json&) { return base::OutOfRangeError("no room"); });
  EXPECT_EQ(failed.status().code(), base::Code::kOutOfRange);
  EXPECT_EQ(api.requests().size(), 2U);
}

}  // namespace
}  // namespace tidewright::kube
