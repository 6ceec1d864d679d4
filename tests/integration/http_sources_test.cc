// Triggers that ask by HTTP, from what the source says to replicas. Each source is a fake over our own http::Server,
// which says what it leaves out. No InfluxDB with Flux is in Debian; a real Elasticsearch is in elasticsearch_test.cc,
// and here are two addresses.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "base/json.h"
#include "http/server.h"
#include "tests/integration/nginx_front.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

// A server whose answers a test sets while it runs, and that can be away.
class FakeSource : public SourceServer {
 public:
  ~FakeSource() override { Kill(); }

  void Start() override {
    auto server =
        http::Server::Create({}, [this](const http::ServerRequest& request, std::shared_ptr<http::Responder> out) {
          out->Reply(Answer(request));
        });
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    auto port = server_->Listen("127.0.0.1", port_);
    ASSERT_TRUE(port.ok()) << port.status().ToString();
    port_ = *port;
  }
  void Kill() override {
    if (server_ != nullptr) server_->Stop();
    server_.reset();
  }
  void Hold(int64_t number) override { value = number; }
  std::string Url() const { return "http://127.0.0.1:" + Port(); }
  std::string Port() const { return std::to_string(port_); }

  std::atomic<int64_t> value = 0;

 protected:
  virtual http::Response Answer(const http::ServerRequest& request) = 0;

 private:
  std::unique_ptr<http::Server> server_;
  uint16_t port_ = 0;
};

// InfluxDB 2: checks token, organization and request, and answers with a table as documented. Does not run Flux: the
// query must be the one below, and the table's value is what the test says. No buckets, no streaming, no compression.
class FakeInfluxdb : public FakeSource {
 public:
  static constexpr char kQuery[] = "from(bucket: \"shop\") |> range(start: -1m) |> last()";

 private:
  http::Response Answer(const http::ServerRequest& request) override {
    if (request.headers.Get("Authorization") != std::string("Token ") + kPassword)
      return {401, {}, R"({"code":"unauthorized"})"};
    if (request.method != "POST" || request.target != "/api/v2/query?org=shop") return {404, {}, ""};
    auto body = base::ParseJson(request.body);
    if (!body.ok() || base::FindString(*body, {"query"}) != kQuery) return {400, {}, R"({"code":"invalid"})"};
    return {200,
            {{"Content-Type", "text/csv; charset=utf-8"}},
            "#datatype,string,long,dateTime:RFC3339,long,string,string\r\n#default,_result,,,,,\r\n"
            ",result,table,_time,_value,_field,_measurement\r\n,,0,2026-01-08T12:00:00Z," +
                std::to_string(value) + ",waiting,orders\r\n\r\n"};
  }
};

TEST(HttpSources, InfluxdbIsFollowed) {
  FakeInfluxdb server;
  server.Start();
  SourceCase source = {.type = "influxdb",
                       .metadata = {{"serverURL", server.Url()},
                                    {"organizationName", "shop"},
                                    {"query", FakeInfluxdb::kQuery},
                                    {"thresholdValue", "5"}},
                       .secrets = {{"authToken", kPassword}},
                       .refusal = "the server answered 401 Unauthorized; check the credentials"};
  SourceScenario(source).ExpectFollowed(server);
  if (!NginxFront::Available()) GTEST_SKIP() << "nginx is not installed, for TLS";
  NginxFront front(server.Port(), NginxFront::Asks::kNothing, NginxFront::Speaks::kHttps);
  source.metadata["serverURL"] = "https://" + front.address();
  source.secrets["ca"] = front.ca_pem();
  SourceScenario(source).ExpectRefused(5);
}

// Elasticsearch: checks the user and the request, and answers as documented. Does not search: the template must be the
// one below, and the number of hits is what the test says. No scripts, no shards, no TLS.
class FakeElasticsearch : public FakeSource {
 private:
  http::Response Answer(const http::ServerRequest& request) override {
    if (request.headers.Get("Authorization") != BasicLogin("elastic")) return {401, {}, "{}"};
    if (request.method != "POST" || request.target != "/orders/_search/template") return {404, {}, "{}"};
    if (request.body != R"({"id":"waiting","params":{"queue":"eu"}})") return {400, {}, "{}"};
    const base::Json reply = {{"took", 3},
                              {"timed_out", false},
                              {"_shards", {{"total", 1}, {"successful", 1}, {"skipped", 0}, {"failed", 0}}},
                              {"hits", {{"total", {{"value", value.load()}, {"relation", "eq"}}}}}};
    return {200, {{"Content-Type", "application/json"}}, base::DumpJson(reply)};
  }
};

TEST(HttpSources, ElasticsearchIsFollowedAtWhicheverAddressAnswers) {
  FakeElasticsearch first, second;
  first.Start();
  second.Start();
  const ScaledSource::Metadata metadata = {{"addresses", first.Url() + "," + second.Url()},
                                           {"username", "elastic"},
                                           {"index", "orders"},
                                           {"searchTemplateName", "waiting"},
                                           {"parameters", "queue:eu"},
                                           {"valueLocation", "hits.total.value"},
                                           {"targetValue", "5"}};
  ScaledSource source;
  source.Follow("elasticsearch", metadata, {{"password", kPassword}});
  EXPECT_EQ(source.NextReplicas(), 0);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
  first.value = 11;
  second.value = 19;
  EXPECT_EQ(source.NextReplicas(), 3);
  first.Kill();
  EXPECT_EQ(source.NextReplicas(), 4);
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  // With both away, too.
  SourceScenario({.type = "elasticsearch",
                  .metadata = metadata,
                  .secrets = {{"password", kPassword}},
                  .refusal = "the server answered 401 Unauthorized; check the credentials"})
      .ExpectFollowed(second);
}

}  // namespace
}  // namespace tidewright::scaler
