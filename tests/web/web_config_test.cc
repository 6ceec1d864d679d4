// The file of --web.config.file: what it may say, and who gets past it.
#include "web/web_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/strings.h"
#include "http/tls.h"

namespace tidewright::web {
namespace {

using testing::HasSubstr;

TEST(WebConfig, ChecksPasswordsLikeHtpasswd) {
  // A pair that bcrypt's authors publish.
  EXPECT_TRUE(CheckPassword("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  EXPECT_FALSE(CheckPassword("U*V", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  EXPECT_FALSE(CheckPassword("U*U", "$1$CCCCCCCC$E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  EXPECT_FALSE(CheckPassword("", ""));
}

struct Row {
  const char* name;
  std::string text;
  const char* error;  // Part of it.
};

TEST(WebConfig, SaysWhatItCannotDo) {
  for (const Row& row : {
           Row{"unknown key", "basic_auth_user: {}", "basic_auth_user"},
           Row{"plain password", "basic_auth_users: {me: secret}", "bcrypt"},
           Row{"no key", "tls_server_config: {cert: x}", "key_file"},
           Row{"missing file", "tls_server_config: {cert_file: nosuch.pem, key: x}", "nosuch.pem"},
           Row{"suites", "tls_server_config: {cert: x, key: y, cipher_suites: [A]}", "cipher_suites"},
           Row{"TLS 1.3 only", "tls_server_config: {cert: x, key: y, min_version: TLS13}", "TLS12"},
           Row{"policy without CA",
               "tls_server_config: {cert: x, key: y, client_auth_type: RequireAndVerifyClientCert}", "client_ca_file"},
           Row{"policy without verification",
               "tls_server_config: {cert: x, key: y, client_auth_type: RequireAnyClientCert}", "not supported"},
           Row{"other header", "http_server_config: {headers: {X-Mine: a}}", "X-Mine"},
       }) {
    auto config = ParseWebConfig(row.text, "web.yml", "/etc/nowhere");
    ASSERT_FALSE(config.ok()) << row.name;
    EXPECT_THAT(config.status().message(), HasSubstr(row.error)) << row.name;
  }
  auto empty = ParseWebConfig("", "web.yml", "");
  ASSERT_TRUE(empty.ok()) << empty.status().ToString();
  EXPECT_FALSE(empty->tls.has_value());
}

class WebGuardTest : public testing::Test {
 protected:
  void Write(const std::string& text) { ASSERT_TRUE(base::WriteFileAtomic(path_, text).ok()); }
  // The status of a refusal; 200 when there is none.
  int Ask(WebGuard& guard, const std::string& credentials) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = "/metrics";
    if (!credentials.empty()) request.headers.Set("Authorization", "Basic " + base::Base64Encode(credentials));
    auto refusal = guard.Refuse(request);
    return refusal ? refusal->status : 200;
  }
  base::TempDir directory_ = *base::TempDir::Create("web-config");
  const std::string path_ = directory_.path() + "/web.yml";
  const std::string users_ =
      "basic_auth_users:\n  me: " + std::string("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n");
};

TEST_F(WebGuardTest, WithoutAFileEverybodyGetsIn) {
  WebGuard guard("");
  ASSERT_TRUE(guard.Load().ok());
  EXPECT_FALSE(guard.has_tls());
  EXPECT_EQ(Ask(guard, ""), 200);
}

TEST_F(WebGuardTest, AsksForAPassword) {
  Write(users_);
  WebGuard guard(path_);
  ASSERT_TRUE(guard.Load().ok());
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(Ask(guard, "me:U*U"), 200);
    EXPECT_EQ(Ask(guard, "me:wrong"), 401);
    EXPECT_EQ(Ask(guard, "you:U*U"), 401);
    EXPECT_EQ(Ask(guard, "me"), 401);
    EXPECT_EQ(Ask(guard, ""), 401);
  }
}

TEST_F(WebGuardTest, FollowsTheFile) {
  Write("http_server_config: {headers: {X-Frame-Options: deny}}");
  WebGuard guard(path_);
  ASSERT_TRUE(guard.Load().ok());
  EXPECT_EQ(Ask(guard, ""), 200);
  http::Response response;
  guard.AddHeaders(&response);
  EXPECT_EQ(response.headers.Get("X-Frame-Options"), "deny");
  Write(users_);
  EXPECT_EQ(Ask(guard, ""), 401);
  Write("basic_auth_users: {me: plain}");
  EXPECT_EQ(Ask(guard, "me:U*U"), 500) << "a broken file closes the port";
  Write(users_);
  EXPECT_EQ(Ask(guard, "me:U*U"), 200);
}

TEST_F(WebGuardTest, ReadsCertificatesAgain) {
  const int64_t now = base::SystemClock::Get().NowMs();
  for (const char* name : {"first", "second"}) {
    http::KeyPair ca = *http::GenerateCa(name, now);
    http::KeyPair pair = *http::IssueCertificate(ca, {.common_name = name}, now);
    ASSERT_TRUE(base::WriteFileAtomic(directory_.path() + "/" + name + ".crt", pair.certificate_pem).ok());
    ASSERT_TRUE(base::WriteFileAtomic(directory_.path() + "/" + name + ".key", pair.private_key_pem).ok());
  }
  auto use = [&](const std::string& name) {
    for (const char* kind : {"crt", "key"}) {
      auto text = base::ReadFile(directory_.path() + "/" + name + "." + kind);
      ASSERT_TRUE(base::WriteFileAtomic(directory_.path() + "/tls." + kind, *text).ok());
    }
  };
  use("first");
  Write("tls_server_config: {cert_file: tls.crt, key_file: tls.key}");
  WebGuard guard(path_);
  ASSERT_TRUE(guard.Load().ok()) << guard.Load().ToString();
  bool changed = false;
  auto before = guard.Tls(&changed);
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(guard.Tls(&changed).ok());
  EXPECT_FALSE(changed);
  use("second");
  auto after = guard.Tls(&changed);
  ASSERT_TRUE(after.ok());
  EXPECT_TRUE(changed);
  EXPECT_NE(before->certificate_pem, after->certificate_pem);
}

}  // namespace
}  // namespace tidewright::web
