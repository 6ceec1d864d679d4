#include "apiservice/serving_certificate.h"

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

constexpr int64_t kRenewBeforeMs = 120LL * 24 * 3600 * 1000;
constexpr char kCaName[] = "tidewright-ca";

base::Result<http::KeyPair> PairOfSecret(const base::Json& secret, const std::string& name) {
  http::KeyPair pair;
  bool valid = base::Base64Decode(base::FindString(secret, {"data", "tls.crt"}), &pair.certificate_pem) &&
               base::Base64Decode(base::FindString(secret, {"data", "tls.key"}), &pair.private_key_pem);
  if (!valid || pair.certificate_pem.empty() || pair.private_key_pem.empty()) {
    return base::InvalidArgumentError("the Secret " + name +
                                      " holds no CA under tls.crt and tls.key; delete it to have a new one made");
  }
  return pair;
}

}  // namespace

ServingCertificate::ServingCertificate(const ServingCertificateOptions& options, base::Clock& clock)
    : options_(options), clock_(clock), ca_(options.ca) {}

base::Result<std::unique_ptr<ServingCertificate>> ServingCertificate::Create(const ServingCertificateOptions& options,
                                                                             base::Clock& clock) {
  if (options.certificate_file.empty() != options.private_key_file.empty()) {
    return base::InvalidArgumentError("the serving certificate needs both a certificate file and a private key file");
  }
  std::unique_ptr<ServingCertificate> certificate(new ServingCertificate(options, clock));
  TW_RETURN_IF_ERROR(certificate->Refresh().status());
  return certificate;
}

http::KeyPair ServingCertificate::current() const {
  base::MutexLock lock(mu_);
  return pair_;
}

std::string ServingCertificate::ca_bundle() const {
  base::MutexLock lock(mu_);
  return ca_bundle_;
}

base::Result<bool> ServingCertificate::Refresh() {
  std::string before = current().certificate_pem;
  if (!options_.certificate_file.empty()) {
    TW_RETURN_IF_ERROR(ReadFiles());
  } else {
    TW_RETURN_IF_ERROR(Issue());
  }
  return current().certificate_pem != before;
}

base::Status ServingCertificate::ReadFiles() {
  http::KeyPair pair;
  TW_ASSIGN_OR_RETURN(pair.certificate_pem, base::ReadFile(options_.certificate_file));
  TW_ASSIGN_OR_RETURN(pair.private_key_pem, base::ReadFile(options_.private_key_file));
  std::string bundle = pair.certificate_pem;
  if (!options_.ca_file.empty()) {
    TW_ASSIGN_OR_RETURN(bundle, base::ReadFile(options_.ca_file));
  }
  base::Result<int64_t> expires = http::CertificateExpiry(pair.certificate_pem);
  if (!expires.ok()) return expires.status().Annotate("serving certificate " + options_.certificate_file);
  base::MutexLock lock(mu_);
  pair_ = std::move(pair);
  ca_bundle_ = std::move(bundle);
  expires_ms_ = *expires;
  return base::Status::Ok();
}

base::Status ServingCertificate::Issue() {
  int64_t now = clock_.NowMs();
  base::MutexLock lock(mu_);
  if (expires_ms_ - now > kRenewBeforeMs) return base::Status::Ok();
  if (ca_.certificate_pem.empty()) {
    TW_ASSIGN_OR_RETURN(ca_, http::GenerateCa(kCaName, now));
  }
  std::string host = options_.service + "." + options_.ns + ".svc";
  http::CertificateRequest request;
  request.common_name = host;
  request.dns_names = {host, host + ".cluster.local", options_.service + "." + options_.ns, options_.service,
                       "localhost"};
  request.ip_addresses = {"127.0.0.1"};
  TW_ASSIGN_OR_RETURN(pair_, http::IssueCertificate(ca_, request, now));
  TW_ASSIGN_OR_RETURN(expires_ms_, http::CertificateExpiry(pair_.certificate_pem));
  ca_bundle_ = ca_.certificate_pem;
  return base::Status::Ok();
}

base::Result<http::KeyPair> LoadOrCreateCa(kube::Client& client, const std::string& ns, const std::string& name,
                                           int64_t now_ms) {
  base::Result<base::Json> secret = client.Get(kube::resources::kSecrets, ns, name);
  if (secret.ok()) return PairOfSecret(*secret, ns + "/" + name);
  if (secret.status().code() != base::Code::kNotFound) return secret.status();
  TW_ASSIGN_OR_RETURN(http::KeyPair ca, http::GenerateCa(kCaName, now_ms));
  base::Json object = {
      {"apiVersion", "v1"},
      {"kind", "Secret"},
      {"type", "kubernetes.io/tls"},
      {"metadata", {{"name", name}, {"namespace", ns}}},
      {"data",
       {{"tls.crt", base::Base64Encode(ca.certificate_pem)}, {"tls.key", base::Base64Encode(ca.private_key_pem)}}}};
  base::Result<base::Json> created = client.Create(kube::resources::kSecrets, ns, object);
  if (created.ok()) return ca;
  if (created.status().code() != base::Code::kAlreadyExists) return created.status();
  // Another replica was faster: its CA counts.
  TW_ASSIGN_OR_RETURN(base::Json other, client.Get(kube::resources::kSecrets, ns, name));
  return PairOfSecret(other, ns + "/" + name);
}

}  // namespace tidewright::apiservice
