// The API server over HTTP: watches, statuses, discovery.
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "sandbox/api_server.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

class WatchTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server_.Start().ok());
    auto client = http::NewCurlClient({});
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
  }
  static ApiServerOptions Options() {
    ApiServerOptions options;
    options.store.history_changes = 8;
    return options;
  }
  http::Response Send(const std::string& method, const std::string& path, const std::string& body = "",
                      const std::string& type = "application/json", const std::string& accept = "application/json") {
    http::ClientRequest request;
    request.method = method;
    request.url = server_.Url() + path;
    request.body = body;
    request.headers = {{"Content-Type", type}, {"Accept", accept}};
    auto reply = client_->Send(request);
    EXPECT_TRUE(reply.ok()) << reply.status().ToString();
    return reply.ok() ? *reply : http::Response();
  }
  Json SendJson(const std::string& method, const std::string& path, const std::string& body = "",
                const std::string& type = "application/json") {
    auto parsed = base::ParseJson(Send(method, path, body, type).body);
    return parsed.ok() ? *parsed : Json();
  }
  void CreateConfigMap(const std::string& name, const std::string& label = "x") {
    Send("POST", "/api/v1/namespaces/default/configmaps",
         R"({"metadata":{"name":")" + name + R"(","labels":{"tier":")" + label + R"("}}})");
  }
  // The events of a watch, as "TYPE name", until it ends or `enough` have come.
  std::vector<std::string> Watch(const std::string& query, size_t enough, const std::function<void()>& meanwhile = {},
                                 const std::string& accept = "application/json") {
    std::string text;
    std::vector<std::string> events;
    http::CancelToken cancel;
    http::ClientRequest request;
    request.url = server_.Url() + "/api/v1/namespaces/default/configmaps?watch=true&" + query;
    request.headers = {{"Accept", accept}};
    request.total_timeout_ms = 20'000;
    std::thread writer;
    http::StreamHandler handler;
    handler.on_headers = [&](int, const http::Headers&) {
      if (meanwhile) writer = std::thread(meanwhile);
      return base::Status::Ok();
    };
    handler.on_data = [&](std::string_view data) {
      text += data;
      for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
        auto event = base::ParseJson(text.substr(0, end));
        EXPECT_TRUE(event.ok());
        last_ = *event;
        events.push_back(base::FindString(*event, {"type"}) + " " +
                         base::FindString(*event, {"object", "metadata", "name"}));
      }
      return events.size() < enough ? base::Status::Ok() : base::CancelledError("enough");
    };
    (void)client_->Stream(request, handler, &cancel);
    if (writer.joinable()) writer.join();
    return events;
  }
  std::string Version() { return std::to_string(server_.store().resource_version()); }

  ApiServer server_{Options(), base::SystemClock::Get()};
  std::unique_ptr<http::Client> client_;
  Json last_;
};

TEST_F(WatchTest, StreamsChangesAfterAVersion) {
  CreateConfigMap("old");
  auto events = Watch("resourceVersion=" + Version(), 3, [&] {
    CreateConfigMap("new");
    Send("PATCH", "/api/v1/namespaces/default/configmaps/old", R"({"data":{"a":"b"}})", "application/merge-patch+json");
    Send("DELETE", "/api/v1/namespaces/default/configmaps/new");
  });
  EXPECT_EQ(events, (std::vector<std::string>{"ADDED new", "MODIFIED old", "DELETED new"}));
}

TEST_F(WatchTest, SelectorsTurnChangesIntoAdditionsAndDeletions) {
  CreateConfigMap("a", "x");
  auto relabel = [&](const char* value) {
    Send("PATCH", "/api/v1/namespaces/default/configmaps/a",
         std::string(R"({"metadata":{"labels":{"tier":")") + value + R"("}}})", "application/merge-patch+json");
  };
  auto events = Watch("labelSelector=tier%3Dx&resourceVersion=" + Version(), 2, [&] {
    relabel("y");
    relabel("x");
  });
  EXPECT_EQ(events, (std::vector<std::string>{"DELETED a", "ADDED a"}));
}

TEST_F(WatchTest, InitialEventsEndWithABookmark) {
  CreateConfigMap("a");
  CreateConfigMap("b");
  auto events = Watch("sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", 3);
  EXPECT_EQ(events, (std::vector<std::string>{"ADDED a", "ADDED b", "BOOKMARK "}));
  EXPECT_EQ(last_["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
  EXPECT_EQ(last_["object"]["metadata"]["resourceVersion"], Version());
}

TEST_F(WatchTest, ForgottenVersionsAreGone) {
  const std::string version = Version();
  for (int i = 0; i < 10; ++i) CreateConfigMap("c" + std::to_string(i));
  EXPECT_EQ(Watch("resourceVersion=" + version, 5), std::vector<std::string>{"ERROR "});
  EXPECT_EQ(last_["object"]["code"], 410);
}

TEST_F(WatchTest, EndsAtItsTimeout) {
  EXPECT_TRUE(Watch("timeoutSeconds=1&resourceVersion=" + Version(), 1).empty());
  EXPECT_EQ(server_.active_watches(), 0u);
}

TEST_F(WatchTest, TablesCarryColumnsOnce) {
  CreateConfigMap("a");
  auto events = Watch(
      "", 2, [&] { CreateConfigMap("b"); }, "application/json;as=Table;v=v1;g=meta.k8s.io");
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(last_["object"]["kind"], "Table");
  EXPECT_EQ(last_["object"]["rows"][0]["cells"][0], "b");
  EXPECT_TRUE(last_["object"]["columnDefinitions"].is_null());
}

struct StatusCase {
  const char* name;
  const char* method;
  const char* path;
  const char* body;
  int code;
  const char* reason;
};

TEST_F(WatchTest, RepliesWithStatusObjects) {
  CreateConfigMap("taken");
  const StatusCase rows[] = {
      {"missing", "GET", "/api/v1/namespaces/default/pods/none", "", 404, "NotFound"},
      {"exists", "POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"taken"}})", 409,
       "AlreadyExists"},
      {"stale", "PUT", "/api/v1/namespaces/default/configmaps/taken",
       R"({"metadata":{"name":"taken","resourceVersion":"1"}})", 409, "Conflict"},
      {"no_namespace", "POST", "/api/v1/namespaces/none/configmaps", R"({"metadata":{"name":"a"}})", 404, "NotFound"},
      {"not_json", "POST", "/api/v1/namespaces/default/configmaps", "{", 400, "BadRequest"},
      {"not_an_object", "POST", "/api/v1/namespaces/default/configmaps", "[1]", 400, "BadRequest"},
      {"wrong_kind", "POST", "/api/v1/namespaces/default/configmaps", R"({"kind":"Pod","metadata":{"name":"a"}})", 400,
       "BadRequest"},
      {"odd_metadata", "POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":{}}})", 400,
       "BadRequest"},
      {"odd_labels", "POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a","labels":[]}})", 422,
       "Invalid"},
      {"unknown_type", "GET", "/apis/nope.example.com/v1/things", "", 404, "NotFound"},
      {"bad_selector", "GET", "/api/v1/pods?labelSelector=%3D%3D", "", 400, "BadRequest"},
      {"bad_method", "PUT", "/api/v1/namespaces/default/configmaps", "{}", 405, "MethodNotAllowed"},
      {"no_patch_type", "PATCH", "/api/v1/namespaces/default/configmaps/taken", "{}", 415, "UnsupportedMediaType"},
      {"unknown_subresource", "GET", "/api/v1/namespaces/default/configmaps/taken/log", "", 404, "NotFound"},
  };
  for (const StatusCase& row : rows) {
    http::Response reply = Send(row.method, row.path, row.body);
    EXPECT_EQ(reply.status, row.code) << row.name << ": " << reply.body;
    auto status = base::ParseJson(reply.body);
    ASSERT_TRUE(status.ok()) << row.name;
    EXPECT_EQ((*status)["reason"], row.reason) << row.name;
  }
}

TEST_F(WatchTest, ServesDiscoveryInBothForms) {
  Json legacy = SendJson("GET", "/apis");
  EXPECT_EQ(legacy["kind"], "APIGroupList");
  http::Response reply =
      Send("GET", "/apis", "", "", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_NE(reply.headers.Get("Content-Type").find("as=APIGroupDiscoveryList"), std::string::npos);
  EXPECT_EQ((*base::ParseJson(reply.body))["items"].size(), legacy["groups"].size());
  Json apps = SendJson("GET", "/apis/apps/v1");
  bool scale = false;
  for (const Json& resource : apps["resources"]) scale |= resource["name"] == "deployments/scale";
  EXPECT_TRUE(scale);
}

TEST_F(WatchTest, StopEndsWatchesAndIsIdempotent) {
  auto events = Watch("resourceVersion=" + Version(), 1, [&] {
    server_.Stop();
    server_.Stop();
  });
  EXPECT_TRUE(events.empty());
}

}  // namespace
}  // namespace tidewright::sandbox
