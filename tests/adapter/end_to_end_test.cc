// The whole way of a metric: samples in a store, rules, the aggregation port with mutual TLS, and a client that does
// what kube-apiserver's front proxy does.
#include <gtest/gtest.h>

#include "base/duration.h"
#include "base/json.h"
#include "http/client.h"
#include "tests/adapter/metrics_stack.h"

namespace tidewright {
namespace {

using base::Json;

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: '{__name__=~"^http_.*",namespace!="",pod!=""}'
  resources: {template: <<.Resource>>}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: http_open
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_depth
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
)yaml";

class EndToEndTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int64_t t = now_ - 180'000; t <= now_ - 2'000; t += 15'000) Scrape(t);
    for (const char* pod : {"web-1", "web-2"}) stack_.PutPod("shop", pod, "web");
    stack_.cluster().on_create["TokenReview"] = [](const Json& review) -> base::Result<Json> {
      bool good = base::FindString(review, {"spec", "token"}) == "good";
      return Json{{"status", {{"authenticated", good}, {"user", {{"username", "system:serviceaccount:x:sa"}}}}}};
    };
    stack_.cluster().on_create["SubjectAccessReview"] = [](const Json& review) -> base::Result<Json> {
      std::string user = base::FindString(review, {"spec", "user"});
      return Json{{"status", {{"allowed", user == "hpa" || user == "system:serviceaccount:x:sa"}}}};
    };
    base::Status started = stack_.Start(kRules);
    ASSERT_TRUE(started.ok()) << started.ToString();
  }

  // web-1 gets 2 requests per second, web-2 gets 4.
  void Scrape(int64_t t, double queue = 17) {
    double elapsed = static_cast<double>(t - now_ + 180'000) / 1000;
    base::Status stored = stack_.Store({{Requests("web-1"), 2 * elapsed},
                                        {Requests("web-2"), 4 * elapsed},
                                        {Series("queue_depth", "queue", "jobs"), queue}},
                                       t);
    ASSERT_TRUE(stored.ok()) << stored.ToString();
  }
  static tsdb::Labels Series(const char* name, const char* label, const char* value) {
    return tsdb::Labels::Of({{"__name__", name}, {"namespace", "shop"}, {label, value}});
  }
  static tsdb::Labels Requests(const char* pod) { return Series("http_requests_total", "pod", pod); }

  // A client with a certificate of `ca` for `name`, or without one.
  std::unique_ptr<http::Client> ClientFor(const http::KeyPair* ca, const std::string& name) {
    http::ClientOptions options;
    options.tls = stack_.TlsFor(ca, name);
    return *http::NewCurlClient(options);
  }
  base::Result<http::Response> Get(http::Client& client, const std::string& path, http::Headers headers = {}) {
    http::ClientRequest request;
    request.url = stack_.url() + path;
    request.headers = std::move(headers);
    return client.Send(request);
  }

  testing::MetricsStack stack_;
  const int64_t now_ = stack_.start_ms();
  const http::KeyPair &front_ca_ = stack_.front_ca(), &client_ca_ = stack_.client_ca();
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

TEST_F(EndToEndTest, TheRequestAfterAScrapeSeesItsValueAndItsTime) {
  auto proxy = ClientFor(&front_ca_, "front-proxy-client");
  auto ask = [&](const std::string& path) {
    auto response = Get(*proxy, path, {{"X-Remote-User", "hpa"}});
    EXPECT_TRUE(response.ok() && response->status == 200) << (response.ok() ? response->body : "no reply");
    return response.ok() ? (*base::ParseJson(response->body))["items"][0] : Json();
  };
  for (int64_t i = 1; i <= 20; ++i) {
    int64_t t = now_ - 2'000 + i * 100;
    Scrape(t, 100.0 + static_cast<double>(i));
    Json queue = ask(kQueue);
    EXPECT_EQ(queue["value"], std::to_string(100 + i));
    EXPECT_EQ(queue["timestamp"], base::FormatTime(t));
    EXPECT_FALSE(queue.contains("window")) << "a value at one time has none";
    Json requests = ask(kPods);
    EXPECT_EQ(requests["timestamp"], base::FormatTime(t));
    EXPECT_EQ(requests["windowSeconds"], 120);
  }
  // A series that is new is as quick.
  ASSERT_TRUE(stack_.Store({{Series("http_open", "pod", "web-1"), 5}}, now_).ok());
  EXPECT_EQ(ask("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-1/http_open")["value"], "5");
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
