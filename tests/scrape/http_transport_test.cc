#include "scrape/http_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/strings.h"
#include "http/server.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A real server that answers by a function and remembers what it was asked.
class Peer {
 public:
  using Answer = std::function<http::Response(const http::ServerRequest&)>;
  explicit Peer(Answer answer) : answer_(std::move(answer)) {
    auto server = http::Server::Create({}, [this](const http::ServerRequest& request, auto responder) {
      {
        base::MutexLock lock(mu_);
        seen_.push_back(request);
      }
      responder->Reply(answer_(request));
    });
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    auto port = server_->Listen("127.0.0.1", 0);
    EXPECT_TRUE(port.ok()) << port.status().ToString();
    address_ = "127.0.0.1:" + std::to_string(*port);
  }

  const std::string& address() const { return address_; }
  std::vector<http::ServerRequest> seen() {
    base::MutexLock lock(mu_);
    return seen_;
  }

 private:
  const Answer answer_;
  std::string address_;
  base::Mutex mu_;
  std::vector<http::ServerRequest> seen_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> server_;
};

http::Response Json(int status, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.Add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

base::Result<http::Headers> Authorized(HttpTransport& transport, int64_t now_ms) {
  std::promise<base::Result<http::Headers>> promise;
  transport.Authorize(now_ms, [&](base::Result<http::Headers> headers) { promise.set_value(std::move(headers)); });
  return promise.get_future().get();
}

HttpClientConfig Oauth2(const std::string& token_address) {
  HttpClientConfig config;
  config.oauth2.emplace();
  config.oauth2->client_id = "me";
  config.oauth2->client_secret.text = "s3cret/";
  config.oauth2->token_url = "http://" + token_address + "/token";
  config.oauth2->scopes = {"a", "b"};
  config.oauth2->endpoint_params = {{"audience", "x y"}};
  return config;
}

TEST(HttpTransport, KeepsTheTokenUntilItExpires) {
  int tokens = 0;
  Peer endpoint([&](const http::ServerRequest&) {
    return Json(200,
                R"({"access_token":"t)" + std::to_string(++tokens) + R"(","token_type":"bearer","expires_in":60})");
  });
  HttpTransport transport(Oauth2(endpoint.address()), http::NewCurlClient);
  for (auto [now_ms, token] : {std::pair{1'000, "t1"}, {50'000, "t1"}, {51'000, "t2"}, {52'000, "t2"}}) {
    auto headers = Authorized(transport, now_ms);
    ASSERT_TRUE(headers.ok()) << headers.status().ToString();
    EXPECT_EQ(headers->Get("Authorization"), std::string("Bearer ") + token) << now_ms;
  }
  ASSERT_EQ(endpoint.seen().size(), 2u);
  EXPECT_EQ(endpoint.seen()[0].body, "grant_type=client_credentials&scope=a%20b&audience=x%20y");
  EXPECT_EQ(endpoint.seen()[0].headers.Get("Authorization"), "Basic " + base::Base64Encode("me:s3cret%2F"));
}

TEST(HttpTransport, TriesTheOtherPlaceForTheClientsCredentials) {
  Peer endpoint([](const http::ServerRequest& request) {
    const bool in_body = request.body.find("client_secret=s3cret%2F") != std::string::npos;
    return in_body ? Json(200, R"({"access_token":"t"})") : Json(401, "{}");
  });
  HttpTransport transport(Oauth2(endpoint.address()), http::NewCurlClient);
  EXPECT_EQ(Authorized(transport, 0).status().code(), base::Code::kAborted);
  auto headers = Authorized(transport, 0);
  ASSERT_TRUE(headers.ok()) << headers.status().ToString();
  EXPECT_EQ(headers->Get("Authorization"), "Bearer t");
  EXPECT_TRUE(Authorized(transport, INT64_MAX / 2).ok()) << "without expires_in the token is kept";
  EXPECT_EQ(endpoint.seen().size(), 2u);
}

TEST(HttpTransport, TokenErrorsSayNothingSecret) {
  for (auto [status, body] : {std::pair{500, R"({"access_token":"t0ken"})"}, {200, "t0ken"}, {200, "{}"}}) {
    Peer endpoint([status = status, body = body](const http::ServerRequest&) { return Json(status, body); });
    HttpTransport transport(Oauth2(endpoint.address()), http::NewCurlClient);
    auto headers = Authorized(transport, 0);
    EXPECT_EQ(headers.status().code(), base::Code::kUnauthenticated) << body;
    EXPECT_THAT(headers.status().message(), Not(HasSubstr("t0ken")));
    EXPECT_THAT(headers.status().message(), Not(HasSubstr("s3cret")));
  }
}

TEST(HttpTransport, GoesThroughTheProxyButForExceptions) {
  Peer proxy([](const http::ServerRequest&) { return Json(200, "proxy"); });
  Peer target([](const http::ServerRequest&) { return Json(200, "target"); });
  auto ask = [&](const std::string& no_proxy, const std::string& url) {
    HttpClientConfig config;
    config.proxy.url = "http://" + proxy.address();
    config.proxy.no_proxy = no_proxy;
    HttpTransport transport(config, http::NewCurlClient);
    auto client = transport.Client(0, url);
    EXPECT_TRUE(client.ok()) << client.status().ToString();
    http::ClientRequest request;
    request.url = url;
    auto reply = (*client)->Send(request);
    return reply.ok() ? reply->body : reply.status().ToString();
  };
  EXPECT_EQ(ask("", "http://" + target.address() + "/metrics"), "proxy") << "even loopback addresses";
  EXPECT_EQ(ask("elsewhere", "http://nowhere.invalid/metrics"), "proxy");
  EXPECT_EQ(ask("elsewhere", "http://" + target.address() + "/metrics"), "target");
}

TEST(HttpTransport, BypassesProxy) {
  struct Case {
    const char* no_proxy;
    const char* host;
    uint16_t port;
    bool bypasses;
  };
  const Case cases[] = {
      {"x", "localhost", 80, true},
      {"x", "127.0.0.9", 80, true},
      {"x", "::1", 80, true},
      {"*", "a.example", 80, true},
      {"example.com", "example.com", 80, true},
      {"example.com", "a.EXAMPLE.com", 80, true},
      {"example.com", "badexample.com", 80, false},
      {".example.com", "example.com", 80, false},
      {".example.com", "a.example.com", 80, true},
      {"*.example.com", "a.example.com", 80, true},
      {"b, example.com:8080", "example.com", 8080, true},
      {"example.com:8080", "example.com", 80, false},
      {"10.0.0.1", "10.0.0.1", 80, true},
      {"10.0.0.1:81", "10.0.0.1", 80, false},
      {"10.0.0.0/8", "10.200.1.1", 80, true},
      {"10.0.0.0/8", "11.0.0.1", 80, false},
      {"10.0.0.0/x", "10.0.0.1", 80, false},
      {"2001:db8::/32", "2001:db8:1::1", 80, true},
      {"[2001:db8::1]:443", "2001:db8::1", 443, true},
      {"", "a", 80, false},
      {",,", "a", 80, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(BypassesProxy(c.no_proxy, c.host, c.port), c.bypasses) << c.no_proxy << " and " << c.host;
  }
}

}  // namespace
}  // namespace tidewright::scrape
