// The web port as a whole: cross-origin headers, what is switched off, TLS and users over a real connection.
#include "web/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/tls.h"

namespace tidewright::web {
namespace {

class WebServerTest : public testing::Test {
 protected:
  WebServer& Make(const std::string& config_file = "", const std::string& origins = ".*") {
    WebSources sources;
    sources.engine = engine_.get();
    sources.store = db_.get();
    sources.board = &board_;
    sources.metrics = &metrics_;
    sources.clock = &clock_;
    sources.cors_origin = origins;
    sources.config_file = config_file;
    if (quits_) sources.quit = [this] { ++quit_calls_; };
    server_ = std::make_unique<WebServer>(std::move(sources));
    return *server_;
  }
  http::Response Ask(const std::string& method, const std::string& path, const http::Headers& headers = {}) {
    http::ServerRequest request;
    request.method = method;
    request.path = path;
    request.headers = headers;
    return server_->Handle(request);
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  scaler::StatusBoard board_{metrics_};
  bool quits_ = false;
  int quit_calls_ = 0;
  std::unique_ptr<WebServer> server_;
};

TEST_F(WebServerTest, LetsPagesOfOtherOriginsRead) {
  Make("", "https://(a|b)\\.example");
  const http::Response allowed = Ask("OPTIONS", "/api/v1/query", {{"Origin", "https://a.example"}});
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.headers.Get("Access-Control-Allow-Origin"), "https://a.example");
  EXPECT_EQ(allowed.headers.Get("Vary"), "Origin");
  const http::Response refused = Ask("GET", "/api/v1/labels", {{"Origin", "https://a.example.org"}});
  EXPECT_EQ(refused.status, 200);
  EXPECT_FALSE(refused.headers.Has("Access-Control-Allow-Origin"));
}

TEST_F(WebServerTest, EndsOnlyWhenThatIsSwitchedOn) {
  Make();
  EXPECT_EQ(Ask("POST", "/-/quit").status, 403);
  quits_ = true;
  Make();
  EXPECT_EQ(Ask("GET", "/-/quit").status, 405);
  EXPECT_EQ(Ask("POST", "/-/quit").status, 200);
  EXPECT_EQ(Ask("PUT", "/-/quit").body, "Termination already in progress.");
  EXPECT_EQ(quit_calls_, 1);
}

TEST_F(WebServerTest, RefusesAConfigurationWithErrors) {
  EXPECT_FALSE(Make("/nowhere/web.yml").Start("127.0.0.1", 0).ok());
  EXPECT_FALSE(Make("", "(").Start("127.0.0.1", 0).ok());
}

// Client certificate, server certificate, and a user with a password, all from the file.
TEST_F(WebServerTest, SpeaksTlsAndAsksForUsers) {
  base::TempDir directory = *base::TempDir::Create("web-server");
  const int64_t now = clock_.NowMs();
  http::KeyPair ca = *http::GenerateCa("web test", now);
  http::CertificateRequest asked;
  asked.common_name = "127.0.0.1";
  asked.ip_addresses = {"127.0.0.1"};
  http::KeyPair pair = *http::IssueCertificate(ca, asked, now);
  http::CertificateRequest client_asked;
  client_asked.common_name = "grafana";
  client_asked.client = true;
  http::KeyPair client_pair = *http::IssueCertificate(ca, client_asked, now);
  const std::map<std::string, std::string> files = {
      {"tls.crt", pair.certificate_pem},
      {"tls.key", pair.private_key_pem},
      {"ca.crt", ca.certificate_pem},
      {"web.yml",
       "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  client_ca_file: ca.crt\n"
       "  client_auth_type: RequireAndVerifyClientCert\n"
       "http_server_config: {headers: {Strict-Transport-Security: max-age=60}}\n"
       "basic_auth_users: {me: $2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW}\n"}};
  for (const auto& [name, text] : files) ASSERT_TRUE(base::WriteFileAtomic(directory.path() + "/" + name, text).ok());
  WebServer& server = Make(directory.path() + "/web.yml");
  base::Status started = server.Start("127.0.0.1", 0);
  ASSERT_TRUE(started.ok()) << started.ToString();

  http::ClientRequest request;
  request.url = "https://127.0.0.1:" + std::to_string(server.port()) + "/-/healthy";
  http::ClientOptions options;
  options.tls.ca_pem = ca.certificate_pem;
  EXPECT_FALSE((*http::NewCurlClient(options))->Send(request).ok()) << "no client certificate";
  options.tls.certificate_pem = client_pair.certificate_pem;
  options.tls.private_key_pem = client_pair.private_key_pem;
  auto client = http::NewCurlClient(options);
  ASSERT_TRUE(client.ok());
  auto anonymous = (*client)->Send(request);
  ASSERT_TRUE(anonymous.ok()) << anonymous.status().ToString();
  EXPECT_EQ(anonymous->status, 401);
  EXPECT_EQ(anonymous->headers.Get("WWW-Authenticate"), "Basic");
  request.headers.Set("Authorization", "Basic " + base::Base64Encode("me:U*U"));
  auto known = (*client)->Send(request);
  ASSERT_TRUE(known.ok()) << known.status().ToString();
  EXPECT_EQ(known->status, 200);
  EXPECT_EQ(known->headers.Get("Strict-Transport-Security"), "max-age=60");
}

}  // namespace
}  // namespace tidewright::web
