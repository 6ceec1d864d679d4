// The aggregation layer against a real TLS extension server, seen through kubectl.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "sandbox/api_server.h"
#include "tests/eventually.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

constexpr const char* kResources =
    R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[
      {"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]},
      {"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]})";
constexpr const char* kPods =
    R"({"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[{"metadata":{"name":"p",
      "namespace":"default"},"timestamp":"2026-11-21T09:00:00Z","window":"10s",
      "containers":[{"name":"c","usage":{"cpu":"250m","memory":"64Mi"}}]}]})";

// metrics.k8s.io with one pod; accepts only front proxies of the sandbox.
class Extension {
 public:
  base::Status Start(const std::string& front_proxy_ca) {
    const int64_t now_ms = base::SystemClock::Get().NowMs();
    TW_ASSIGN_OR_RETURN(http::KeyPair ca, http::GenerateCa("extension-ca", now_ms));
    http::CertificateRequest request;
    request.common_name = "extension";
    request.dns_names = {"metrics.default.svc"};
    TW_ASSIGN_OR_RETURN(http::KeyPair pair, http::IssueCertificate(ca, request, now_ms));
    ca_pem = ca.certificate_pem;
    http::ServerOptions options;
    options.tls = true;
    auto handler = [this](const http::ServerRequest& r, std::shared_ptr<http::Responder> responder) {
      responder->Reply(Answer(r));
    };
    TW_ASSIGN_OR_RETURN(server, http::Server::Create(options, handler));
    http::ServerTls tls{pair.certificate_pem, pair.private_key_pem, front_proxy_ca, true};
    TW_RETURN_IF_ERROR(server->SetTls(tls));
    TW_ASSIGN_OR_RETURN(port, server->Listen("127.0.0.1", 0));
    return base::Status::Ok();
  }
  http::Response Answer(const http::ServerRequest& request) {
    http::Response response;
    response.headers.Set("Content-Type", "application/json");
    const bool trusted = request.peer.certificate_verified && request.peer.common_name == "front-proxy-client";
    if (!trusted || request.headers.Get("X-Remote-User").empty()) {
      response.status = 403;
    } else if (request.path == "/apis/metrics.k8s.io/v1beta1") {
      response.body = kResources;
    } else if (request.path == "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods") {
      response.body = kPods;
      users += request.headers.Get("X-Remote-User") == "sandbox-admin" ? 1 : 0;
    } else {
      response.status = 404;
    }
    return response;
  }
  std::string ca_pem;
  uint16_t port = 0;
  std::unique_ptr<http::Server> server;
  std::atomic<int> users{0};
};

class AggregationTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(api_.Start().ok());
    ObjectPtr config = api_.store().Get("configmaps", "kube-system", "extension-apiserver-authentication");
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->json["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    auto started = extension_.Start(base::FindString(config->json, {"data", "requestheader-client-ca-file"}));
    ASSERT_TRUE(started.ok()) << started.ToString();
  }
  void Register(const std::string& ca_pem) {
    Create("", "services",
           {{"metadata", {{"name", "metrics"}, {"namespace", "default"}}},
            {"spec", {{"clusterIP", "127.0.0.1"}, {"ports", Json::array({{{"port", extension_.port}}})}}}});
    Create("apiregistration.k8s.io", "apiservices",
           {{"metadata", {{"name", "v1beta1.metrics.k8s.io"}}},
            {"spec",
             {{"group", "metrics.k8s.io"},
              {"version", "v1beta1"},
              {"groupPriorityMinimum", 100},
              {"versionPriority", 100},
              {"caBundle", base::Base64Encode(ca_pem)},
              {"service", {{"name", "metrics"}, {"namespace", "default"}, {"port", extension_.port}}}}}});
  }
  void Create(const char* group, const char* plural, const Json& object) {
    WriteContext context;
    auto created = api_.rest().Create(
        {api_.registry().Find(group, "v1", plural), base::FindString(object, {"metadata", "namespace"}),
         base::FindString(object, {"metadata", "name"})},
        object, context);
    ASSERT_TRUE(created.ok()) << created.status().ToString();
  }
  // "True Passed", from the condition Available.
  std::string Available() {
    ObjectPtr service = api_.store().Get("apiservices.apiregistration.k8s.io", "", "v1beta1.metrics.k8s.io");
    const Json* conditions = base::Find(service->json, {"status", "conditions"});
    if (conditions == nullptr) return "";
    return base::FindString((*conditions)[0], {"status"}) + " " + base::FindString((*conditions)[0], {"reason"});
  }
  int Get(const std::string& path) {
    http::ClientRequest request;
    request.url = api_.Url() + path;
    auto reply = (*http::NewCurlClient({}))->Send(request);
    return reply.ok() ? reply->status : 0;
  }

  ApiServer api_{ApiServerOptions(), base::SystemClock::Get()};
  Extension extension_;
};

TEST_F(AggregationTest, ForwardsAsTheFrontProxy) {
  Register(extension_.ca_pem);
  ASSERT_TRUE(Eventually([&] { return Available() == "True Passed"; })) << Available();
  ASSERT_TRUE(Eventually([&] { return Get("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods") == 200; }));
  EXPECT_EQ(extension_.users, 1);
  EXPECT_EQ(Get("/apis/metrics.k8s.io/v1beta1/none"), 404);
  EXPECT_EQ(Get("/apis/metrics.k8s.io"), 200);
}

TEST_F(AggregationTest, KubectlTopWorksThroughIt) {
  if (!base::HaveProgram("kubectl")) GTEST_SKIP() << "kubectl is not installed";
  Register(extension_.ca_pem);
  ASSERT_TRUE(Eventually([&] { return Get("/apis/metrics.k8s.io/v1beta1") == 200; }));
  auto folder = base::TempDir::Create("kubectl-top");
  ASSERT_TRUE(folder.ok());
  ASSERT_TRUE(api_.WriteKubeconfig(folder->path() + "/config").ok());
  auto child = base::Subprocess::Start({"kubectl", "--cache-dir=" + folder->path(), "top", "pods"},
                                       folder->path() + "/out", {{"KUBECONFIG", folder->path() + "/config"}});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->Wait(), 0);
  EXPECT_THAT(*base::ReadFile(folder->path() + "/out"), testing::HasSubstr("p      250m         64Mi"));
}

TEST_F(AggregationTest, RefusesAServerThatTheBundleDoesNotVouchFor) {
  auto other = http::GenerateCa("other", base::SystemClock::Get().NowMs());
  ASSERT_TRUE(other.ok());
  Register(other->certificate_pem);
  EXPECT_TRUE(Eventually([&] { return Available() == "False FailedDiscoveryCheck"; })) << Available();
  EXPECT_EQ(Get("/apis/metrics.k8s.io/v1beta1"), 503);
}

TEST_F(AggregationTest, NoticesThatTheServiceIsMissing) {
  Create("apiregistration.k8s.io", "apiservices",
         {{"metadata", {{"name", "v1beta1.metrics.k8s.io"}}},
          {"spec",
           {{"group", "metrics.k8s.io"},
            {"version", "v1beta1"},
            {"groupPriorityMinimum", 100},
            {"versionPriority", 100},
            {"service", {{"name", "metrics"}, {"namespace", "default"}}}}}});
  EXPECT_TRUE(Eventually([&] { return Available() == "False ServiceNotFound"; })) << Available();
  EXPECT_EQ(Get("/apis/metrics.k8s.io/v1beta1"), 503);
}

}  // namespace
}  // namespace tidewright::sandbox
