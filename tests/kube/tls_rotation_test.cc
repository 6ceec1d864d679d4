// Certificates that are replaced on disk while the client runs, and the way through a proxy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "http/tls.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

class TlsRotationTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ca_ = *http::GenerateCa("server-ca", NowMs());
    client_ca_ = *http::GenerateCa("client-ca", NowMs());
    http::ServerOptions options;
    options.tls = true;
    server_ = *http::Server::Create(options, [this](const http::ServerRequest& request, auto responder) {
      base::MutexLock lock(mu_);
      names_.push_back(request.peer.common_name);
      responder->Reply({200, {}, "{}"});
    });
    Serve(server_ca_);
    config_.server = "https://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0));
    config_.ca_file = folder_.path() + "/ca.pem";
    config_.certificate_file = folder_.path() + "/cert.pem";
    config_.private_key_file = folder_.path() + "/key.pem";
    Write("ca.pem", server_ca_.certificate_pem);
    WriteIdentity("one");
  }
  void TearDown() override { server_->Stop(); }

  static int64_t NowMs() { return base::SystemClock::Get().NowMs(); }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + name, text).ok());
  }
  void WriteIdentity(const std::string& common_name) {
    auto pair = *http::IssueCertificate(client_ca_, {.common_name = common_name, .client = true}, NowMs());
    Write("cert.pem", pair.certificate_pem);
    Write("key.pem", pair.private_key_pem);
  }
  void Serve(const http::KeyPair& ca) {
    auto pair = *http::IssueCertificate(ca, {.common_name = "api", .ip_addresses = {"127.0.0.1"}}, NowMs());
    ASSERT_TRUE(server_->SetTls({pair.certificate_pem, pair.private_key_pem, client_ca_.certificate_pem, true}).ok());
  }
  std::unique_ptr<Client> NewRotatingClient() {
    ClientOptions options;
    options.clock = &clock_;
    auto client = NewClient(config_, options);
    EXPECT_TRUE(client.ok()) << client.status().ToString();
    return *std::move(client);
  }
  // The common names that the server saw.
  std::vector<std::string> Names() {
    base::MutexLock lock(mu_);
    return names_;
  }
  static base::Status Get(Client& client) { return client.Get(resources::kPods, "a", "b").status(); }

  base::FakeClock clock_{1'000'000};
  base::TempDir folder_ = *base::TempDir::Create("tidewright-tls");
  http::KeyPair server_ca_;
  http::KeyPair client_ca_;
  ClientConfig config_;
  base::Mutex mu_;
  std::vector<std::string> names_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> server_;
};

TEST_F(TlsRotationTest, AClientCertificateIsUsedWithinAMinute) {
  auto client = NewRotatingClient();
  ASSERT_TRUE(Get(*client).ok());
  WriteIdentity("two");
  ASSERT_TRUE(Get(*client).ok());
  clock_.Advance(60'000);
  ASSERT_TRUE(Get(*client).ok());
  EXPECT_THAT(Names(), testing::ElementsAre("one", "one", "two"));
}

TEST_F(TlsRotationTest, NonsenseOnDiskLeavesThePreviousOneInUse) {
  auto client = NewRotatingClient();
  ASSERT_TRUE(Get(*client).ok());
  Write("cert.pem", "half a certifi");
  clock_.Advance(60'000);
  EXPECT_TRUE(Get(*client).ok());
  WriteIdentity("three");
  clock_.Advance(60'000);
  EXPECT_TRUE(Get(*client).ok());
  EXPECT_THAT(Names(), testing::ElementsAre("one", "one", "three"));
}

TEST_F(TlsRotationTest, ANewCaIsTrustedWithinAMinute) {
  auto client = NewRotatingClient();
  ASSERT_TRUE(Get(*client).ok());
  auto next_ca = *http::GenerateCa("next-ca", NowMs());
  Write("ca.pem", server_ca_.certificate_pem + next_ca.certificate_pem);
  clock_.Advance(60'000);
  ASSERT_TRUE(Get(*client).ok());
  Serve(next_ca);
  client = NewRotatingClient();  // A connection of its own.
  EXPECT_TRUE(Get(*client).ok());
}

TEST_F(TlsRotationTest, WrongCertificatesAreFoundAtTheStart) {
  Write("ca.pem", "no certificate");
  auto client = NewClient(config_);
  ASSERT_FALSE(client.ok());
  EXPECT_THAT(client.status().message(), testing::HasSubstr("CA certificate"));
}

TEST(ProxyTest, RequestsGoThroughIt) {
  // As an HTTP proxy sees a plain request: the whole URL of somewhere that only the proxy can reach.
  ScriptedApi proxy;
  proxy.AnswerAlways([](const http::ServerRequest&, auto responder) { responder->Reply({200, {}, R"({"a":1})"}); });
  ClientConfig config;
  config.server = "http://cluster.invalid:6443";
  config.proxy_url = proxy.url();
  auto client = NewClient(config);
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  auto reply = (*client)->Get(resources::kPods, "a", "b");
  ASSERT_TRUE(reply.ok()) << reply.status().ToString();
  EXPECT_EQ((*reply)["a"], 1);
  EXPECT_THAT(proxy.requests().at(0).target, testing::StartsWith("http://cluster.invalid:6443/api/v1/"));
}

}  // namespace
}  // namespace tidewright::kube
