#include "http/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <memory>

#include "base/clock.h"
#include "http/openssl_ptr.h"

namespace tidewright::http {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr int64_t kDayMs = 24 * 3600 * 1000;

int64_t Now() { return base::SystemClock::Get().NowMs(); }

KeyPair MustCa(const std::string& name = "test ca") {
  auto ca = GenerateCa(name, Now());
  EXPECT_TRUE(ca.ok()) << ca.status().ToString();
  return *ca;
}

// The chain's verdict in OpenSSL's own words; "ok" if it verifies for `purpose`.
std::string Verify(const KeyPair& ca, const KeyPair& leaf, int purpose) {
  auto roots = ReadCertificates(ca.certificate_pem);
  auto leaves = ReadCertificates(leaf.certificate_pem);
  if (!roots.ok() || !leaves.ok()) return "unreadable";
  std::unique_ptr<X509_STORE, OpensslDeleter<X509_STORE_free>> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), (*roots)[0].get());
  std::unique_ptr<X509_STORE_CTX, OpensslDeleter<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), (*leaves)[0].get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  if (X509_verify_cert(context.get()) == 1) return "ok";
  return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

TEST(TlsTest, IssuedCertificatesVerifyForTheirPurposeOnly) {
  KeyPair ca = MustCa();
  CertificateRequest request;
  request.common_name = "server";
  request.dns_names = {"localhost"};
  auto server = IssueCertificate(ca, request, Now());
  request.client = true;
  auto client = IssueCertificate(ca, request, Now());
  ASSERT_TRUE(server.ok() && client.ok());
  EXPECT_EQ(Verify(ca, *server, X509_PURPOSE_SSL_SERVER), "ok");
  EXPECT_NE(Verify(ca, *server, X509_PURPOSE_SSL_CLIENT), "ok");
  EXPECT_EQ(Verify(ca, *client, X509_PURPOSE_SSL_CLIENT), "ok");
  EXPECT_NE(Verify(ca, *client, X509_PURPOSE_SSL_SERVER), "ok");
  EXPECT_NE(Verify(MustCa("another"), *server, X509_PURPOSE_SSL_SERVER), "ok");
}

TEST(TlsTest, NamesAndAddressesAreInTheCertificate) {
  CertificateRequest request;
  request.common_name = "leaf";
  request.organizations = {"system:masters", "dev"};
  request.dns_names = {"a.example", "*.b.example"};
  request.ip_addresses = {"127.0.0.1", "::1"};
  auto leaf = IssueCertificate(MustCa(), request, Now());
  ASSERT_TRUE(leaf.ok()) << leaf.status().ToString();
  auto read = ReadCertificates(leaf->certificate_pem);
  ASSERT_TRUE(read.ok());
  X509* certificate = (*read)[0].get();
  EXPECT_EQ(X509_check_host(certificate, "a.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate, "x.b.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate, "c.example", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(certificate, "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate, "::1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate, "127.0.0.2", 0), 0);
}

TEST(TlsTest, ExpiryIsWhatWasAskedFor) {
  int64_t now = 1'700'000'000'000;
  auto ca = GenerateCa("ca", now);
  ASSERT_TRUE(ca.ok());
  EXPECT_EQ(*CertificateExpiry(ca->certificate_pem), now + 3650 * kDayMs);
  CertificateRequest request;
  request.common_name = "short";
  request.valid_ms = 3 * kDayMs;
  auto leaf = IssueCertificate(*ca, request, now);
  ASSERT_TRUE(leaf.ok());
  EXPECT_EQ(*CertificateExpiry(leaf->certificate_pem), now + 3 * kDayMs);
}

TEST(TlsTest, FingerprintsOfEveryCertificate) {
  KeyPair a = MustCa("a");
  KeyPair b = MustCa("b");
  auto both = CertificateFingerprints(a.certificate_pem + b.certificate_pem);
  ASSERT_TRUE(both.ok());
  ASSERT_THAT(*both, SizeIs(2));
  EXPECT_EQ((*both)[0], (*CertificateFingerprints(a.certificate_pem))[0]);
  EXPECT_NE((*both)[0], (*both)[1]);
  EXPECT_THAT((*both)[0], SizeIs(64));
}

TEST(TlsTest, SayWhatIsWrong) {
  KeyPair ca = MustCa();
  CertificateRequest request;
  request.common_name = "leaf";
  request.ip_addresses = {"localhost"};
  auto bad_ip = IssueCertificate(ca, request, Now());
  ASSERT_FALSE(bad_ip.ok());
  EXPECT_THAT(bad_ip.status().message(), HasSubstr("\"localhost\" is not an IP address"));

  request.ip_addresses.clear();
  KeyPair mixed{ca.certificate_pem, MustCa().private_key_pem};
  EXPECT_FALSE(IssueCertificate(mixed, request, Now()).ok());

  EXPECT_THAT(CertificateExpiry("not PEM").status().message(), HasSubstr("no certificate"));
  std::string cut = ca.certificate_pem.substr(0, ca.certificate_pem.size() / 2);
  EXPECT_FALSE(CertificateExpiry(cut).ok());
  EXPECT_FALSE(CertificateFingerprints(ca.certificate_pem + cut).ok());
  EXPECT_FALSE(CertificateExpiry("").ok());
}

}  // namespace
}  // namespace tidewright::http
