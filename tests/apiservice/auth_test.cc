#include <gtest/gtest.h>

#include "apiservice/authn.h"
#include "apiservice/authz.h"
#include "apiservice/registration.h"
#include "apiservice/serving_certificate.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/tls.h"
#include "tests/apiservice/fake_kube_client.h"

namespace tidewright::apiservice {
namespace {

using base::Json;
using testing::FakeKubeClient;

constexpr int64_t kNow = 1'795'251'600'000;

class AuthTest : public ::testing::Test {
 protected:
  AuthTest() {
    front_ca_ = *http::GenerateCa("front-proxy-ca", kNow);
    client_ca_ = *http::GenerateCa("kubernetes", kNow);
    config_map_ = {{"metadata", {{"name", "extension-apiserver-authentication"}, {"namespace", "kube-system"}}},
                   {"data",
                    {{"client-ca-file", client_ca_.certificate_pem},
                     {"requestheader-client-ca-file", front_ca_.certificate_pem},
                     {"requestheader-allowed-names", "[\"front-proxy-client\"]"},
                     {"requestheader-username-headers", "[\"X-Remote-User\"]"},
                     {"requestheader-group-headers", "[\"X-Remote-Group\"]"},
                     {"requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"}}}};
    authenticator_.SetConfig(*AuthenticationConfig::FromConfigMap(config_map_));
  }
  http::Peer PeerOf(const http::KeyPair& ca, const std::string& name) {
    http::Peer peer;
    peer.certificate_verified = true;
    peer.common_name = name;
    peer.organizations = {"ops"};
    peer.issuer_ca_sha256 = (*http::CertificateFingerprints(ca.certificate_pem))[0];
    return peer;
  }
  static http::ServerRequest RequestWith(http::Peer peer, http::Headers headers) {
    http::ServerRequest request;
    request.peer = std::move(peer);
    request.headers = std::move(headers);
    return request;
  }

  http::KeyPair front_ca_, client_ca_;
  Json config_map_;
  base::FakeClock clock_{kNow};
  FakeKubeClient client_;
  DelegatedAuthenticator authenticator_{client_, clock_};
};

TEST_F(AuthTest, BelievesIdentityHeadersOnlyFromTheFrontProxy) {
  const http::Headers forged = {{"X-Remote-User", "system:kube-controller-manager"},
                                {"X-Remote-Group", "system:masters"}};
  struct Row {
    std::string name;
    http::Peer peer;
    std::string user;  // "": refused.
  };
  http::Peer unverified = PeerOf(front_ca_, "front-proxy-client");
  unverified.certificate_verified = false;
  const std::vector<Row> rows = {
      {"front proxy", PeerOf(front_ca_, "front-proxy-client"), "system:kube-controller-manager"},
      {"no certificate", http::Peer(), ""},
      {"certificate that was not verified", unverified, ""},
      {"wrong common name", PeerOf(front_ca_, "intruder"), ""},
      {"right name, but of the client CA", PeerOf(client_ca_, "front-proxy-client"), "front-proxy-client"},
      {"unknown CA", PeerOf(*http::GenerateCa("other", kNow), "front-proxy-client"), ""},
  };
  for (const Row& row : rows) {
    base::Result<UserInfo> user = authenticator_.Authenticate(RequestWith(row.peer, forged));
    EXPECT_EQ(user.ok() ? user->name : "", row.user) << row.name;
    if (!user.ok()) EXPECT_EQ(user.status().code(), base::Code::kUnauthenticated) << row.name;
  }
}

TEST_F(AuthTest, ReadsGroupsAndExtraOfTheFrontProxy) {
  base::Result<UserInfo> user = authenticator_.Authenticate(
      RequestWith(PeerOf(front_ca_, "front-proxy-client"), {{"X-Remote-User", "jane"},
                                                            {"x-remote-group", "a"},
                                                            {"X-Remote-Group", "b"},
                                                            {"X-Remote-Extra-Acme.com%2Fproject", "p"}}));
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->groups, (std::vector<std::string>{"a", "b", "system:authenticated"}));
  EXPECT_EQ(user->extra["acme.com/project"], std::vector<std::string>{"p"});
}

TEST_F(AuthTest, ClientCertificateGivesNameAndGroups) {
  base::Result<UserInfo> user = authenticator_.Authenticate(RequestWith(PeerOf(client_ca_, "admin"), {}));
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->name, "admin");
  EXPECT_EQ(user->groups, (std::vector<std::string>{"ops", "system:authenticated"}));
}

TEST_F(AuthTest, ReviewsTokensAndKeepsTheAnswerForTenSeconds) {
  int reviews = 0;
  client_.on_create["TokenReview"] = [&](const Json& review) -> base::Result<Json> {
    ++reviews;
    std::string token = base::FindString(review, {"spec", "token"});
    if (token == "outage") return base::UnavailableError("down");
    Json reply = review;
    reply["status"] = {{"authenticated", token == "good"}, {"user", {{"username", "sa"}, {"groups", {"g", "h"}}}}};
    return reply;
  };
  auto ask = [&](const std::string& value) {
    return authenticator_.Authenticate(RequestWith({}, {{"Authorization", value}}));
  };
  EXPECT_EQ(ask("Bearer good")->name, "sa");
  EXPECT_EQ(ask("bearer good")->groups, (std::vector<std::string>{"g", "h", "system:authenticated"}));
  EXPECT_EQ(reviews, 1);
  EXPECT_EQ(ask("Bearer bad").status().code(), base::Code::kUnauthenticated);
  EXPECT_EQ(ask("Bearer bad").status().code(), base::Code::kUnauthenticated);
  EXPECT_EQ(reviews, 2);
  EXPECT_EQ(ask("Bearer outage").status().code(), base::Code::kUnavailable);
  EXPECT_EQ(ask("Bearer outage").status().code(), base::Code::kUnavailable);
  EXPECT_EQ(reviews, 4);
  EXPECT_EQ(ask("Basic good").status().code(), base::Code::kUnauthenticated);
  clock_.Advance(10'000);
  EXPECT_EQ(ask("Bearer good")->name, "sa");
  EXPECT_EQ(reviews, 5);
}

TEST_F(AuthTest, WatchesTheConfigMap) {
  client_.Put(kube::resources::kConfigMaps, config_map_);
  DelegatedAuthenticator fresh(client_, clock_);
  EXPECT_EQ(fresh.ClientCaPem(), "");
  int changes = 0;
  fresh.OnChange([&] { ++changes; });
  fresh.Start();
  ASSERT_TRUE(fresh.WaitForConfig(30'000).ok());
  fresh.Stop();
  EXPECT_EQ(changes, 1);
  EXPECT_NE(fresh.ClientCaPem().find(front_ca_.certificate_pem), std::string::npos);
  EXPECT_NE(fresh.ClientCaPem().find(client_ca_.certificate_pem), std::string::npos);
}

// Of connections that are open already, too: each request is judged by what the ConfigMap says then.
TEST_F(AuthTest, AChangedConfigMapHoldsForTheNextRequest) {
  const http::ServerRequest request = RequestWith(PeerOf(front_ca_, "front-proxy-client"), {{"X-Remote-User", "jane"}});
  EXPECT_TRUE(authenticator_.Authenticate(request).ok());
  Json other_name = config_map_, other_ca = config_map_;
  other_name["data"]["requestheader-allowed-names"] = "[\"aggregator\"]";
  other_ca["data"]["requestheader-client-ca-file"] = http::GenerateCa("new", kNow)->certificate_pem;
  for (const Json* changed : {&other_name, &other_ca}) {
    authenticator_.SetConfig(*AuthenticationConfig::FromConfigMap(*changed));
    EXPECT_EQ(authenticator_.Authenticate(request).status().code(), base::Code::kUnauthenticated);
    authenticator_.SetConfig(*AuthenticationConfig::FromConfigMap(config_map_));
    EXPECT_TRUE(authenticator_.Authenticate(request).ok());
  }
}

TEST_F(AuthTest, FaultyConfigMapNamesTheKey) {
  config_map_["data"]["requestheader-allowed-names"] = "front-proxy-client";
  EXPECT_NE(AuthenticationConfig::FromConfigMap(config_map_).status().message().find("requestheader-allowed-names"),
            std::string::npos);
  config_map_["data"]["client-ca-file"] = "garbage";
  EXPECT_NE(AuthenticationConfig::FromConfigMap(config_map_).status().message().find("client-ca-file"),
            std::string::npos);
}

TEST_F(AuthTest, AuthorizerAsksOnceInTenSecondsAndLetsMastersPass) {
  int reviews = 0;
  Json last;
  bool outage = false;
  client_.on_create["SubjectAccessReview"] = [&](const Json& review) -> base::Result<Json> {
    ++reviews;
    last = review;
    if (outage) return base::UnavailableError("down");
    Json reply = review;
    reply["status"] = {{"allowed", base::FindString(review, {"spec", "user"}) == "hpa"}, {"reason", "because"}};
    return reply;
  };
  DelegatedAuthorizer authorizer(client_, clock_);
  Attributes attributes{"get", "", true, "custom.metrics.k8s.io", "v1beta2", "pods", "http_requests", "*", "shop"};
  EXPECT_TRUE(authorizer.Authorize({"hpa", "", {"g"}, {}}, attributes).ok());
  EXPECT_TRUE(authorizer.Authorize({"hpa", "", {"g"}, {}}, attributes).ok());
  EXPECT_EQ(reviews, 1);
  EXPECT_EQ(base::FindString(last, {"spec", "resourceAttributes", "subresource"}), "http_requests");
  base::Status denied = authorizer.Authorize({"jane", "", {}, {}}, attributes);
  EXPECT_EQ(denied.code(), base::Code::kPermissionDenied);
  EXPECT_NE(denied.message().find("because"), std::string::npos);
  EXPECT_EQ(authorizer.Authorize({"jane", "", {}, {}}, attributes).code(), base::Code::kPermissionDenied);
  EXPECT_EQ(reviews, 2);
  EXPECT_TRUE(authorizer.Authorize({"root", "", {"system:masters"}, {}}, attributes).ok());
  EXPECT_EQ(reviews, 2);
  clock_.Advance(10'000);
  outage = true;
  EXPECT_EQ(authorizer.Authorize({"hpa", "", {"g"}, {}}, attributes).code(), base::Code::kUnavailable);
}

TEST_F(AuthTest, WhatTheFrontProxyMayIsKeptForFiveMinutes) {
  int reviews = 0;
  bool allowed = true;
  client_.on_create["SubjectAccessReview"] = [&](const Json&) -> base::Result<Json> {
    ++reviews;
    return Json{{"status", {{"allowed", allowed}}}};
  };
  DelegatedAuthorizer authorizer(client_, clock_);
  Attributes attributes{"get", "", true, "custom.metrics.k8s.io", "v1beta2", "pods", "http_requests", "*", "shop"};
  const UserInfo direct{"hpa", "", {"g"}, {}}, proxied{"hpa", "", {"g"}, {}, true};
  EXPECT_TRUE(authorizer.Authorize(proxied, attributes).ok());
  EXPECT_TRUE(authorizer.Authorize(direct, attributes).ok());
  EXPECT_EQ(reviews, 2) << "who comes directly is asked about for itself";
  clock_.Advance(299'999);
  EXPECT_TRUE(authorizer.Authorize(proxied, attributes).ok());
  EXPECT_EQ(reviews, 2);
  allowed = false;
  EXPECT_FALSE(authorizer.Authorize(direct, attributes).ok());
  clock_.Advance(1);
  EXPECT_FALSE(authorizer.Authorize(proxied, attributes).ok());
  EXPECT_EQ(reviews, 4);
  clock_.Advance(10'000);
  allowed = true;
  EXPECT_TRUE(authorizer.Authorize(proxied, attributes).ok()) << "a denial is kept for ten seconds, as ever";
}

TEST(Registration, CreatesUpdatesAndRemovesOnlyItsOwn) {
  FakeKubeClient client;
  auto get = [&](const char* name) { return *client.Get(kube::resources::kApiServices, "", name); };
  client.Put(
      kube::resources::kApiServices,
      {{"metadata", {{"name", "v1beta1.metrics.k8s.io"}}},
       {"spec",
        {{"service", {{"name", "metrics-server"}, {"namespace", "kube-system"}}}, {"insecureSkipTLSVerify", true}}}});
  RegistrationOptions options{"tidewright", "autoscaling", 443, "PEM", false};
  const std::vector<ServedGroup> groups = {{"custom.metrics.k8s.io", {"v1beta2", "v1beta1"}},
                                           {"external.metrics.k8s.io", {"v1beta1"}},
                                           {"metrics.k8s.io", {"v1beta1", "v1"}}};
  base::Status status = RegisterApiServices(client, options, groups);
  EXPECT_EQ(status.code(), base::Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("kube-system/metrics-server"), std::string::npos) << status.message();
  EXPECT_EQ(get("v1beta1.metrics.k8s.io")["spec"]["service"]["name"], "metrics-server");
  EXPECT_GT(get("v1beta2.custom.metrics.k8s.io")["spec"]["versionPriority"],
            get("v1beta1.custom.metrics.k8s.io")["spec"]["versionPriority"]);
  EXPECT_EQ(get("v1beta1.external.metrics.k8s.io")["spec"]["caBundle"], "UEVN");

  options.take_over = true;
  EXPECT_TRUE(RegisterApiServices(client, options, groups).ok());
  Json taken = get("v1beta1.metrics.k8s.io")["spec"];
  EXPECT_EQ(taken["service"]["name"], "tidewright");
  EXPECT_FALSE(taken.contains("insecureSkipTLSVerify"));
  int writes = client.writes();
  EXPECT_TRUE(RegisterApiServices(client, options, groups).ok());
  EXPECT_EQ(client.writes(), writes) << "an unchanged registration writes nothing";

  client.Put(kube::resources::kApiServices, {{"metadata", {{"name", "v1.metrics.k8s.io"}}},
                                             {"spec", {{"service", {{"name", "other"}, {"namespace", "x"}}}}}});
  EXPECT_TRUE(RegisterApiServices(client, options, {groups[0]}).ok());
  EXPECT_FALSE(client.Has(kube::resources::kApiServices, "", "v1beta1.external.metrics.k8s.io"));
  EXPECT_FALSE(get("v1.metrics.k8s.io")["spec"].contains("caBundle"));

  // The chart's, for our service: it stays and can be reached, though its API is not served.
  client.Put(kube::resources::kApiServices,
             {{"metadata", {{"name", "v1beta1.external.metrics.k8s.io"}}},
              {"spec", {{"service", {{"name", "tidewright"}, {"namespace", "autoscaling"}}}, {"versionPriority", 7}}}});
  EXPECT_TRUE(RegisterApiServices(client, options, {groups[0]}).ok());
  EXPECT_EQ(get("v1beta1.external.metrics.k8s.io")["spec"]["caBundle"], "UEVN");
  EXPECT_EQ(get("v1beta1.external.metrics.k8s.io")["spec"]["versionPriority"], 7);
}

// What a standby asks before it shows a certificate of a new CA.
TEST(Registration, TellsWhichBundleIsPublishedOnceAllAgree) {
  FakeKubeClient client;
  RegistrationOptions options{"tidewright", "autoscaling", 443, "OLD", false};
  const std::vector<ServedGroup> groups = {{"custom.metrics.k8s.io", {"v1beta2", "v1beta1"}}};
  EXPECT_EQ(PublishedCaBundle(client, options, groups).status().code(), base::Code::kNotFound);
  ASSERT_TRUE(RegisterApiServices(client, options, groups).ok());
  EXPECT_EQ(*PublishedCaBundle(client, options, groups), "OLD");
  Json changed = *client.Get(kube::resources::kApiServices, "", "v1beta1.custom.metrics.k8s.io");
  changed["spec"]["caBundle"] = base::Base64Encode("OLD NEW");
  client.Put(kube::resources::kApiServices, changed);
  EXPECT_EQ(PublishedCaBundle(client, options, groups).status().code(), base::Code::kFailedPrecondition);
}

TEST(ServingCertificateTest, IsMadeRenewedAndSharesTheCaThroughASecret) {
  base::FakeClock clock(kNow);
  FakeKubeClient client;
  base::Result<http::KeyPair> ca = LoadOrCreateCa(client, "autoscaling", "tidewright-ca", kNow);
  ASSERT_TRUE(ca.ok()) << ca.status().ToString();
  EXPECT_EQ(LoadOrCreateCa(client, "autoscaling", "tidewright-ca", kNow)->private_key_pem, ca->private_key_pem);
  ServingCertificateOptions options;
  options.ca = *ca;
  auto certificate = ServingCertificate::Create(options, clock);
  ASSERT_TRUE(certificate.ok()) << certificate.status().ToString();
  EXPECT_EQ((*certificate)->ca_bundle(), ca->certificate_pem);
  std::string first = (*certificate)->current().certificate_pem;
  EXPECT_FALSE((*(*certificate)->Next()).has_value());
  clock.Advance(300LL * 24 * 3600 * 1000);
  std::optional<http::KeyPair> renewed = *(*certificate)->Next();
  ASSERT_TRUE(renewed.has_value());
  EXPECT_NE(renewed->certificate_pem, first);
  (*certificate)->Use(*renewed);
  EXPECT_EQ((*certificate)->current().certificate_pem, renewed->certificate_pem);
  EXPECT_FALSE((*(*certificate)->Next()).has_value());
}

// Files of a mounted Secret, as cert-manager writes them.
class CertificateFilesTest : public ::testing::Test {
 protected:
  struct Issued {
    http::KeyPair ca, pair;
  };
  static Issued Issue(const http::KeyPair& ca) {
    http::CertificateRequest request;
    request.common_name = "tidewright.autoscaling.svc";
    request.dns_names = {request.common_name};
    return {ca, *http::IssueCertificate(ca, request, kNow)};
  }
  void Write(const Issued& issued) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/tls.crt", issued.pair.certificate_pem).ok());
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/tls.key", issued.pair.private_key_pem).ok());
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/ca.crt", issued.ca.certificate_pem).ok());
  }
  std::unique_ptr<ServingCertificate> Make() {
    ServingCertificateOptions options;
    options.certificate_file = folder_.path() + "/tls.crt";
    options.private_key_file = folder_.path() + "/tls.key";
    options.ca_file = folder_.path() + "/ca.crt";
    options.wait_for_publication = true;
    return *ServingCertificate::Create(options, clock_);
  }
  static bool Trusts(const std::string& bundle, const http::KeyPair& ca) {
    return bundle.find(std::string(base::TrimSpace(ca.certificate_pem))) != std::string::npos;
  }

  base::TempDir folder_ = *base::TempDir::Create("certificate");
  base::FakeClock clock_{kNow};
  Issued old_ = Issue(*http::GenerateCa("old", kNow));
};

TEST_F(CertificateFilesTest, ACertificateOfTheSameCaIsShownAtOnce) {
  Write(old_);
  auto certificate = Make();
  EXPECT_EQ(certificate->ca_bundle(), old_.ca.certificate_pem);
  Issued renewed = Issue(old_.ca);
  Write(renewed);
  std::optional<http::KeyPair> next = *certificate->Next();
  ASSERT_TRUE(next.has_value());
  certificate->Use(*next);
  EXPECT_EQ(certificate->current().certificate_pem, renewed.pair.certificate_pem);
  EXPECT_EQ(certificate->ca_bundle(), old_.ca.certificate_pem);
}

TEST_F(CertificateFilesTest, ANewCaIsPublishedBesideTheOldOneBeforeItsCertificateIsShown) {
  Write(old_);
  auto certificate = Make();
  Issued rotated = Issue(*http::GenerateCa("new", kNow));
  Write(rotated);
  EXPECT_FALSE((*certificate->Next()).has_value());
  EXPECT_TRUE(certificate->waiting());
  EXPECT_EQ(certificate->current().certificate_pem, old_.pair.certificate_pem);
  std::string both = certificate->ca_bundle();
  EXPECT_TRUE(Trusts(both, old_.ca) && Trusts(both, rotated.ca));
  certificate->Published(old_.ca.certificate_pem);
  EXPECT_FALSE((*certificate->Next()).has_value()) << "that bundle is still the old one";

  certificate->Published(both);
  std::optional<http::KeyPair> next = *certificate->Next();
  ASSERT_TRUE(next.has_value());
  certificate->Use(*next);
  EXPECT_FALSE(certificate->waiting());
  EXPECT_EQ(certificate->current().certificate_pem, rotated.pair.certificate_pem);
  EXPECT_TRUE(Trusts(certificate->ca_bundle(), old_.ca)) << "another replica may still show the old certificate";
  clock_.Advance(600'000);
  EXPECT_EQ(certificate->ca_bundle(), rotated.ca.certificate_pem);
}

TEST_F(CertificateFilesTest, ACertificateWaitsTwoMinutesAtMost) {
  Write(old_);
  auto certificate = Make();
  Write(Issue(*http::GenerateCa("new", kNow)));
  EXPECT_FALSE((*certificate->Next()).has_value());
  clock_.Advance(120'000);
  EXPECT_TRUE((*certificate->Next()).has_value());
}

TEST_F(CertificateFilesTest, FilesThatCannotBeReadLeaveTheCurrentCertificate) {
  Write(old_);
  auto certificate = Make();
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/ca.crt", "not PEM").ok());
  base::Status failed = certificate->Next().status();
  EXPECT_NE(failed.message().find(folder_.path() + "/ca.crt"), std::string::npos) << failed.message();
  EXPECT_EQ(certificate->current().certificate_pem, old_.pair.certificate_pem);
}

}  // namespace
}  // namespace tidewright::apiservice
