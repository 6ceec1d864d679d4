// The client against a small HTTP server of the test's own: what goes over the wire, and what errors become. How it
// works with a whole API server is tested in tests/sandbox and tests/integration.
#include "kube/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/json.h"
#include "kube/meta.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;

TEST(KubeClientTest, PatchesTheScaleSubresource) {
  ScriptedApi api;
  api.Answer(200, "{}");
  ASSERT_TRUE(SetScale(api.client(), resources::kDeployments, "shop", "web", 3, "77").ok());
  auto request = api.requests().at(0);
  EXPECT_EQ(request.method, "PATCH");
  EXPECT_EQ(request.path, "/apis/apps/v1/namespaces/shop/deployments/web/scale");
  EXPECT_EQ(http::QueryValue(request.query, "fieldManager"), "tidewright");
  EXPECT_EQ(request.headers.Get("Content-Type"), "application/merge-patch+json");
  EXPECT_EQ(request.headers.Get("Authorization"), "Bearer t0ken");
  EXPECT_EQ(base::Json::parse(request.body),
            base::Json::parse(R"({"spec":{"replicas":3},"metadata":{"resourceVersion":"77"}})"));
}

TEST(KubeClientTest, JoinsPagesAndNamesTheKindOfItems) {
  ScriptedApi api;
  api.Answer(200, R"({"metadata":{"continue":"next","resourceVersion":"5"},"items":[{"metadata":{"name":"a"}}]})");
  api.Answer(200, R"({"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"b"}}]})");
  auto list = api.client().List(resources::kPods, "shop", {.label_selector = "app=web"});
  ASSERT_TRUE(list.ok()) << list.status().ToString();
  ASSERT_EQ((*list)["items"].size(), 2U);
  EXPECT_EQ((*list)["items"][1]["kind"], "Pod");
  EXPECT_EQ(http::QueryValue(api.requests().at(0).query, "labelSelector"), "app=web");
  EXPECT_EQ(http::QueryValue(api.requests().at(1).query, "continue"), "next");
}

struct ErrorCase {
  int status;
  const char* reason;
  base::Code want;
};

TEST(KubeClientTest, RepliesBecomeTheFittingError) {
  for (const ErrorCase& row :
       {ErrorCase{404, "NotFound", base::Code::kNotFound}, ErrorCase{409, "Conflict", base::Code::kAborted},
        ErrorCase{409, "AlreadyExists", base::Code::kAlreadyExists},
        ErrorCase{403, "Forbidden", base::Code::kPermissionDenied},
        ErrorCase{422, "Invalid", base::Code::kInvalidArgument}, ErrorCase{410, "Expired", base::Code::kOutOfRange},
        ErrorCase{429, "TooManyRequests", base::Code::kResourceExhausted},
        ErrorCase{500, "InternalError", base::Code::kUnavailable}}) {
    ScriptedApi api;
    api.Answer(row.status, R"({"kind":"Status","message":"deployments \"web\" says no","reason":")" +
                               std::string(row.reason) + "\"}");
    auto reply = api.client().Get(resources::kDeployments, "shop", "web");
    EXPECT_EQ(reply.status().code(), row.want) << row.reason;
    EXPECT_THAT(reply.status().message(),
                testing::AllOf(HasSubstr("GET /apis/apps/v1/namespaces/shop/deployments/web"), HasSubstr("says no")));
  }
}

TEST(KubeClientTest, RepliesThatAreNoJsonAreErrors) {
  ScriptedApi api;
  api.Answer(200, "<html>");
  EXPECT_EQ(api.client().Get(resources::kPods, "a", "b").status().code(), base::Code::kUnavailable);
}

TEST(KubeClientTest, WatchHandsOverEventsInOrderAndReportsGone) {
  ScriptedApi api;
  api.Answer(200,
             "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n"
             "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n"
             "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"message\":\"too old\"}}\n");
  std::vector<std::string> seen;
  base::Status ended = api.client().Watch(
      resources::kPods, "", {.resource_version = "9"},
      [&](std::string_view type, const base::Json& object) {
        seen.push_back(std::string(type) + " " + NameOf(object));
        return base::Status::Ok();
      },
      nullptr);
  EXPECT_THAT(seen, testing::ElementsAre("ADDED a", "DELETED a"));
  EXPECT_EQ(ended.code(), base::Code::kOutOfRange);
  EXPECT_EQ(http::QueryValue(api.requests().at(0).query, "resourceVersion"), "9");
}

TEST(KubeClientTest, ListsThatExpireUnderWayAreReadAgainInOnePiece) {
  ScriptedApi api;
  api.Answer(200, R"({"metadata":{"continue":"next","resourceVersion":"5"},"items":[{"metadata":{"name":"old"}}]})");
  api.Answer(410, R"({"kind":"Status","reason":"Expired","code":410,"message":"too old"})");
  api.Answer(200, R"({"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}}, 5]})");
  auto list = api.client().List(resources::kPods, "", {.label_selector = "app=web"});
  ASSERT_TRUE(list.ok()) << list.status().ToString();
  ASSERT_EQ((*list)["items"].size(), 1U) << "what is no object is left out";
  EXPECT_EQ((*list)["items"][0]["metadata"]["name"], "a");
  EXPECT_EQ(ResourceVersionOf(*list), "9");
  auto requests = api.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(http::QueryValue(requests[0].query, "limit"), "500");
  EXPECT_FALSE(http::HasQuery(requests[2].query, "limit"));
  EXPECT_FALSE(http::HasQuery(requests[2].query, "continue"));
}

TEST(KubeClientTest, ListsThatAreGoneFromTheStartAreErrors) {
  ScriptedApi api;
  api.Answer(410, R"({"kind":"Status","reason":"Expired","code":410,"message":"too old"})");
  EXPECT_EQ(api.client().List(resources::kPods, "").status().code(), base::Code::kOutOfRange);
  EXPECT_EQ(api.requests().size(), 1U);
}

struct WatchEndCase {
  const char* name;
  const char* body;
  size_t events;
  base::Code want;
};

TEST(KubeClientTest, WatchesThatEndBadly) {
  for (const WatchEndCase& row : {
           WatchEndCase{"half a line", "{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"ADD", 1, base::Code::kOk},
           WatchEndCase{"no json", "<html>\n", 0, base::Code::kDataLoss},
           WatchEndCase{"no object", "{\"type\":\"ADDED\"}\n", 0, base::Code::kDataLoss},
           WatchEndCase{"server trouble", "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd\"}}\n", 0,
                        base::Code::kDataLoss},
           WatchEndCase{"blank lines", "\n\r\n{\"type\":\"BOOKMARK\",\"object\":{}}\n", 1, base::Code::kOk},
       }) {
    ScriptedApi api;
    api.Answer(200, row.body);
    size_t events = 0;
    base::Status ended = api.client().Watch(
        resources::kPods, "", {},
        [&](std::string_view, const base::Json&) {
          ++events;
          return base::Status::Ok();
        },
        nullptr);
    EXPECT_EQ(ended.code(), row.want) << row.name << ": " << ended.ToString();
    EXPECT_EQ(events, row.events) << row.name;
  }
}

TEST(KubeClientTest, SilentWatchesEnd) {
  ScriptedApi api;
  api.StallWatch("{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":");
  size_t events = 0;
  bool opened = false;
  base::Status ended = api.client().Watch(
      resources::kPods, "", {.timeout_seconds = 600, .idle_timeout_ms = 300, .on_open = [&] { opened = true; }},
      [&](std::string_view, const base::Json&) {
        ++events;
        return base::Status::Ok();
      },
      nullptr);
  EXPECT_EQ(ended.code(), base::Code::kDeadlineExceeded) << ended.ToString();
  EXPECT_EQ(events, 1U);
  EXPECT_TRUE(opened);
  EXPECT_EQ(http::QueryValue(api.requests().at(0).query, "timeoutSeconds"), "600");
  EXPECT_EQ(http::QueryValue(api.requests().at(0).query, "allowWatchBookmarks"), "true");
}

TEST(ResolveResourceTest, AsksDiscoveryForUnknownKindsOnly) {
  ScriptedApi api;
  EXPECT_EQ(ResolveResource(api.client(), "apps/v1", "StatefulSet")->plural, "statefulsets");
  EXPECT_TRUE(api.requests().empty());
  api.Answer(
      200, R"({"resources":[{"name":"mice/scale","kind":"Scale"},{"name":"mice","kind":"Mouse","namespaced":true}]})");
  EXPECT_EQ(ResolveResource(api.client(), "zoo.io/v1", "Mouse")->Path("a", "b"), "/apis/zoo.io/v1/namespaces/a/mice/b");
  api.Answer(200, R"({"resources":[]})");
  EXPECT_THAT(ResolveResource(api.client(), "zoo.io/v1", "Cat").status().message(), HasSubstr("zoo.io/v1 Cat"));
}

}  // namespace
}  // namespace tidewright::kube
