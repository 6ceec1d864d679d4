// The whole way of a metric: samples in a store, rules, the aggregation port with mutual TLS, and a client that does
// what kube-apiserver's front proxy does.
#include <gtest/gtest.h>

#include "adapter/adapter.h"
#include "apiservice/registration.h"
#include "apiservice/server.h"
#include "base/json.h"
#include "http/client.h"
#include "http/tls.h"
#include "promql/engine.h"
#include "tests/apiservice/fake_kube_client.h"
#include "tsdb/db.h"

namespace tidewright {
namespace {

using base::Json;

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"^http_.*",namespace!="",pod!=""}'
  resources: {template: <<.Resource>>}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_depth
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
)yaml";

class EndToEndTest : public ::testing::Test {
 protected:
  // The certificates are checked against the machine's clock, so everything runs on it.
  EndToEndTest() : now_(clock_.NowMs()) {}

  void SetUp() override {
    db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
    engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
    StoreSamples();
    PrepareCluster();
    adapter_ = std::make_unique<adapter::Adapter>(*engine_, client_, objects_, clock_, scheduler_, metrics_);
    base::Status loaded = adapter_->LoadConfig(kRules, "adapter.yaml");
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    adapter_->registry().Relist();
    authenticator_ = std::make_unique<apiservice::DelegatedAuthenticator>(client_, clock_);
    authorizer_ = std::make_unique<apiservice::DelegatedAuthorizer>(client_, clock_);
    apiservice::ApiServiceOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    options.worker_threads = 2;
    options.certificate.service = "tidewright";
    options.certificate.ns = "autoscaling";
    service_ = std::make_unique<apiservice::ApiService>(
        options, [this] { return adapter_->providers(); }, *authenticator_, *authorizer_, clock_, metrics_);
    base::Status started = service_->Start();
    ASSERT_TRUE(started.ok()) << started.message();
    // After the port is open, so that the CAs arrive at a running server.
    authenticator_->Start();
    ASSERT_TRUE(authenticator_->WaitForConfig(30'000).ok());
    authenticator_->Stop();
  }

  void TearDown() override {
    service_->Stop();
    adapter_->Stop();
  }

  void StoreSamples() {
    for (int64_t t = now_ - 180'000; t <= now_; t += 15'000) {
      auto appender = db_->NewAppender();
      double elapsed = static_cast<double>(t - now_ + 180'000) / 1000;
      for (const char* pod : {"web-1", "web-2"}) {
        double rate = pod[4] == '1' ? 2 : 4;
        auto labels = tsdb::Labels::Of({{"__name__", "http_requests_total"}, {"namespace", "shop"}, {"pod", pod}});
        ASSERT_TRUE(appender->Append(0, labels, t, rate * elapsed).ok());
      }
      auto queue = tsdb::Labels::Of({{"__name__", "queue_depth"}, {"namespace", "shop"}, {"queue", "jobs"}});
      ASSERT_TRUE(appender->Append(0, queue, t, 17).ok());
      ASSERT_TRUE(appender->Commit().ok());
    }
  }

  void PrepareCluster() {
    front_ca_ = *http::GenerateCa("front-proxy-ca", now_);
    client_ca_ = *http::GenerateCa("kubernetes", now_);
    client_.Put(kube::resources::kConfigMaps,
                {{"metadata", {{"name", "extension-apiserver-authentication"}, {"namespace", "kube-system"}}},
                 {"data",
                  {{"client-ca-file", client_ca_.certificate_pem},
                   {"requestheader-client-ca-file", front_ca_.certificate_pem},
                   {"requestheader-allowed-names", "[\"front-proxy-client\"]"},
                   {"requestheader-username-headers", "[\"X-Remote-User\"]"},
                   {"requestheader-group-headers", "[\"X-Remote-Group\"]"}}}});
    for (const char* pod : {"web-1", "web-2"}) {
      client_.Put(kube::resources::kPods,
                  {{"metadata", {{"name", pod}, {"namespace", "shop"}, {"labels", {{"app", "web"}}}}}});
    }
    client_.on_create["TokenReview"] = [](const Json& review) -> base::Result<Json> {
      bool good = base::FindString(review, {"spec", "token"}) == "good";
      return Json{{"status", {{"authenticated", good}, {"user", {{"username", "system:serviceaccount:x:sa"}}}}}};
    };
    client_.on_create["SubjectAccessReview"] = [](const Json& review) -> base::Result<Json> {
      std::string user = base::FindString(review, {"spec", "user"});
      return Json{{"status", {{"allowed", user == "hpa" || user == "system:serviceaccount:x:sa"}}}};
    };
  }

  // A client with a certificate of `ca` for `name`, or without one.
  std::unique_ptr<http::Client> ClientFor(const http::KeyPair* ca, const std::string& name) {
    http::ClientOptions options;
    options.tls.ca_pem = service_->ca_bundle();
    options.tls.server_name = "tidewright.autoscaling.svc";
    if (ca != nullptr) {
      http::CertificateRequest request;
      request.common_name = name;
      request.client = true;
      http::KeyPair pair = *http::IssueCertificate(*ca, request, now_);
      options.tls.certificate_pem = pair.certificate_pem;
      options.tls.private_key_pem = pair.private_key_pem;
    }
    return *http::NewCurlClient(options);
  }
  base::Result<http::Response> Get(http::Client& client, const std::string& path, http::Headers headers = {}) {
    http::ClientRequest request;
    request.url = "https://127.0.0.1:" + std::to_string(service_->port()) + path;
    request.headers = std::move(headers);
    return client.Send(request);
  }

  base::SystemClock& clock_ = base::SystemClock::Get();
  const int64_t now_;
  base::MetricRegistry metrics_;
  base::ThreadPool pool_{"e2e", 2};
  base::Scheduler scheduler_{clock_, pool_};
  testing::FakeKubeClient client_;
  testing::FakeObjectReader objects_{client_};
  http::KeyPair front_ca_, client_ca_;
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<adapter::Adapter> adapter_;
  std::unique_ptr<apiservice::DelegatedAuthenticator> authenticator_;
  std::unique_ptr<apiservice::DelegatedAuthorizer> authorizer_;
  std::unique_ptr<apiservice::ApiService> service_;
};

constexpr char kPods[] =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/http_requests_per_second?labelSelector=app%3Dweb";
constexpr char kQueue[] =
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth?labelSelector=queue%3Djobs";

TEST_F(EndToEndTest, AnswersTheFrontProxyWithValuesFromTheStore) {
  auto proxy = ClientFor(&front_ca_, "front-proxy-client");
  const http::Headers as_hpa = {{"X-Remote-User", "hpa"}, {"X-Remote-Group", "system:authenticated"}};
  base::Result<http::Response> response = Get(*proxy, kPods, as_hpa);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  ASSERT_EQ(response->status, 200) << response->body;
  Json items = (*base::ParseJson(response->body))["items"];
  ASSERT_EQ(items.size(), 2u) << response->body;
  EXPECT_EQ(items[0]["describedObject"]["name"], "web-1");
  EXPECT_EQ(items[0]["value"], "2");
  EXPECT_EQ(items[1]["value"], "4");
  EXPECT_EQ(items[0]["windowSeconds"], 120);
  response = Get(*proxy, kQueue, as_hpa);
  ASSERT_TRUE(response.ok());
  ASSERT_EQ(response->status, 200) << response->body;
  EXPECT_EQ((*base::ParseJson(response->body))["items"][0]["value"], "17");
  response = Get(*proxy, "/apis/custom.metrics.k8s.io/v1beta1",
                 {{"X-Remote-User", "system:kube-aggregator"}, {"X-Remote-Group", "system:masters"}});
  ASSERT_TRUE(response.ok());
  EXPECT_NE(response->body.find("pods/http_requests_per_second"), std::string::npos);
  EXPECT_EQ(Get(*proxy, kPods, {{"X-Remote-User", "jane"}})->status, 403);
}

TEST_F(EndToEndTest, BelievesNobodyElsesIdentityHeaders) {
  const http::Headers forged = {{"X-Remote-User", "hpa"}, {"X-Remote-Group", "system:masters"}};
  auto stranger = ClientFor(nullptr, "");
  EXPECT_EQ(Get(*stranger, kPods, forged)->status, 401);
  EXPECT_EQ(Get(*stranger, "/healthz")->status, 200);
  auto wrong_name = ClientFor(&front_ca_, "intruder");
  EXPECT_EQ(Get(*wrong_name, kPods, forged)->status, 401);
  auto user = ClientFor(&client_ca_, "front-proxy-client");
  EXPECT_EQ(Get(*user, kPods, forged)->status, 403) << "a user's certificate counts for the user alone";
  http::KeyPair other_ca = *http::GenerateCa("front-proxy-ca", now_);
  auto other = ClientFor(&other_ca, "front-proxy-client");
  base::Result<http::Response> response = Get(*other, kPods, forged);
  EXPECT_TRUE(!response.ok() || response->status == 401);
}

TEST_F(EndToEndTest, AcceptsTokensThatTheApiServerConfirms) {
  auto stranger = ClientFor(nullptr, "");
  EXPECT_EQ(Get(*stranger, kQueue, {{"Authorization", "Bearer good"}})->status, 200);
  EXPECT_EQ(Get(*stranger, kQueue, {{"Authorization", "Bearer bad"}})->status, 401);
}

}  // namespace
}  // namespace tidewright
