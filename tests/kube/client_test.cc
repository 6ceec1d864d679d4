// The client against a small HTTP server of the test's own: what goes over the wire, and what errors become. How it
// works with a whole API server is tested in tests/sandbox and tests/integration.
#include "kube/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/json.h"
#include "base/mutex.h"
#include "http/server.h"
#include "kube/meta.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;

// Answers every request from a queue of replies and remembers what was asked.
class ScriptedApi {
 public:
  ScriptedApi() {
    server_ = *http::Server::Create({}, [this](const http::ServerRequest& request, auto responder) {
      http::Response reply;
      {
        base::MutexLock lock(mu_);
        requests_.push_back(request);
        if (!replies_.empty()) {
          reply = replies_.front();
          replies_.erase(replies_.begin());
        }
      }
      responder->Reply(reply);
    });
    ClientConfig config;
    config.server = "http://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0)) + "/";
    config.bearer_token = "t0ken";
    client_ = *NewClient(config);
  }
  ~ScriptedApi() { server_->Stop(); }

  void Answer(int status, const std::string& body) {
    base::MutexLock lock(mu_);
    replies_.push_back({status, {{"Content-Type", "application/json"}}, body});
  }
  std::vector<http::ServerRequest> requests() {
    base::MutexLock lock(mu_);
    return requests_;
  }
  Client& client() { return *client_; }

 private:
  base::Mutex mu_;
  std::vector<http::Response> replies_ GUARDED_BY(mu_);
  std::vector<http::ServerRequest> requests_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Client> client_;
};

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
