#include "apiservice/serving_certificate.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

constexpr int64_t kRenewBeforeMs = 120LL * 24 * 3600 * 1000;
constexpr char kCaName[] = "tidewright-ca";
// Longer than the kubelets of two replicas may differ in bringing the same Secret's new content.
constexpr int64_t kMaxWaitMs = 120'000;
constexpr int64_t kKeepPreviousMs = 600'000;
constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kEnd = "-----END CERTIFICATE-----";

// The certificates of a PEM text, each with its frame.
std::vector<std::string> SplitPem(std::string_view pem) {
  std::vector<std::string> certificates;
  for (size_t begin = pem.find(kBegin); begin != std::string_view::npos; begin = pem.find(kBegin, begin)) {
    size_t end = pem.find(kEnd, begin);
    if (end == std::string_view::npos) break;
    end += kEnd.size();
    certificates.emplace_back(pem.substr(begin, end - begin));
    begin = end;
  }
  return certificates;
}

bool Includes(std::string_view bundle, std::string_view pem) {
  std::vector<std::string> certificates = SplitPem(pem);
  return std::all_of(certificates.begin(), certificates.end(), [&](const std::string& certificate) {
    return bundle.find(certificate) != std::string_view::npos;
  });
}

void AddCertificates(std::string_view pem, std::string* bundle) {
  for (const std::string& certificate : SplitPem(pem)) {
    if (bundle->find(certificate) == std::string::npos) *bundle += certificate + "\n";
  }
}

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
  if (options.certificate_file.empty() && options.ca.certificate_pem.empty()) {
    TW_ASSIGN_OR_RETURN(certificate->ca_, http::GenerateCa(kCaName, clock.NowMs()));
  }
  TW_ASSIGN_OR_RETURN(Identity first, certificate->Read());
  base::MutexLock lock(certificate->mu_);
  certificate->current_ = std::move(first);
  return certificate;
}

http::KeyPair ServingCertificate::current() const {
  base::MutexLock lock(mu_);
  return current_.pair;
}

std::string ServingCertificate::ca_bundle() const {
  base::MutexLock lock(mu_);
  std::string bundle;
  AddCertificates(current_.ca_pem, &bundle);
  if (next_) AddCertificates(next_->ca_pem, &bundle);
  if (clock_.NowMs() < previous_until_ms_) AddCertificates(previous_ca_pem_, &bundle);
  return bundle;
}

base::Result<std::optional<http::KeyPair>> ServingCertificate::Next() {
  TW_ASSIGN_OR_RETURN(Identity found, Read());
  int64_t now = clock_.NowMs();
  base::MutexLock lock(mu_);
  if (found.pair.certificate_pem == current_.pair.certificate_pem) {
    next_.reset();
    current_.ca_pem = std::move(found.ca_pem);
    return std::optional<http::KeyPair>();
  }
  if (!next_ || next_->pair.certificate_pem != found.pair.certificate_pem) next_since_ms_ = now;
  next_ = std::move(found);
  bool trusted = !options_.wait_for_publication || Includes(current_.ca_pem, next_->ca_pem) ||
                 Includes(published_, next_->ca_pem) || now - next_since_ms_ >= kMaxWaitMs;
  if (!trusted) return std::optional<http::KeyPair>();
  return std::optional<http::KeyPair>(next_->pair);
}

void ServingCertificate::Use(const http::KeyPair& pair) {
  base::MutexLock lock(mu_);
  if (!next_ || next_->pair.certificate_pem != pair.certificate_pem) return;
  if (!Includes(next_->ca_pem, current_.ca_pem)) {
    previous_ca_pem_ = current_.ca_pem;
    previous_until_ms_ = clock_.NowMs() + kKeepPreviousMs;
  }
  current_ = *std::move(next_);
  next_.reset();
}

void ServingCertificate::Published(const std::string& bundle) {
  base::MutexLock lock(mu_);
  published_ = bundle;
}

bool ServingCertificate::waiting() const {
  base::MutexLock lock(mu_);
  return next_.has_value();
}

base::Result<ServingCertificate::Identity> ServingCertificate::Read() const {
  if (!options_.certificate_file.empty()) return ReadFiles();
  {
    base::MutexLock lock(mu_);
    if (current_.expires_ms - clock_.NowMs() > kRenewBeforeMs) return current_;
    if (next_) return *next_;
  }
  return Issue();
}

base::Result<ServingCertificate::Identity> ServingCertificate::ReadFiles() const {
  Identity found;
  TW_ASSIGN_OR_RETURN(found.pair.certificate_pem, base::ReadFile(options_.certificate_file));
  TW_ASSIGN_OR_RETURN(found.pair.private_key_pem, base::ReadFile(options_.private_key_file));
  found.ca_pem = found.pair.certificate_pem;
  if (!options_.ca_file.empty()) {
    TW_ASSIGN_OR_RETURN(found.ca_pem, base::ReadFile(options_.ca_file));
    base::Status valid = http::CertificateFingerprints(found.ca_pem).status();
    if (!valid.ok()) return valid.Annotate("CA of the serving certificate " + options_.ca_file);
  }
  base::Result<int64_t> expires = http::CertificateExpiry(found.pair.certificate_pem);
  if (!expires.ok()) return expires.status().Annotate("serving certificate " + options_.certificate_file);
  found.expires_ms = *expires;
  return found;
}

base::Result<ServingCertificate::Identity> ServingCertificate::Issue() const {
  std::string host = options_.service + "." + options_.ns + ".svc";
  http::CertificateRequest request;
  request.common_name = host;
  request.dns_names = {host, host + ".cluster.local", options_.service + "." + options_.ns, options_.service,
                       "localhost"};
  request.ip_addresses = {"127.0.0.1"};
  Identity made;
  made.ca_pem = ca_.certificate_pem;
  TW_ASSIGN_OR_RETURN(made.pair, http::IssueCertificate(ca_, request, clock_.NowMs()));
  TW_ASSIGN_OR_RETURN(made.expires_ms, http::CertificateExpiry(made.pair.certificate_pem));
  return made;
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
