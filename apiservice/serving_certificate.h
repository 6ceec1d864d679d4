// The certificate that the aggregation port shows, from files or made here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/tls.h"
#include "kube/client.h"

namespace tidewright::apiservice {

struct ServingCertificateOptions {
  // PEM files; both, or neither to have a certificate made.
  std::string certificate_file;
  std::string private_key_file;
  // PEM file with the CA of the certificate file, for the APIService's caBundle; "": the chain's own certificates.
  std::string ca_file;

  // Who a made certificate is for: kube-apiserver checks the name <service>.<namespace>.svc.
  std::string service = "tidewright";
  std::string ns = "default";
  // Signs made certificates; when empty a CA is made, which no other replica knows. See LoadOrCreateCa.
  http::KeyPair ca;
};

// Thread-safe. Borrows `clock`.
class ServingCertificate {
 public:
  // kInvalidArgument, or the error of reading the files.
  static base::Result<std::unique_ptr<ServingCertificate>> Create(const ServingCertificateOptions& options,
                                                                  base::Clock& clock);

  http::KeyPair current() const;
  // What clients should trust: PEM.
  std::string ca_bundle() const;

  // Reads changed files, or renews a made certificate when a third of its year is left. Returns whether the certificate
  // changed. On an error the current one stays.
  base::Result<bool> Refresh();

 private:
  ServingCertificate(const ServingCertificateOptions& options, base::Clock& clock);
  base::Status ReadFiles();
  base::Status Issue();

  const ServingCertificateOptions options_;
  base::Clock& clock_;
  mutable base::Mutex mu_;
  http::KeyPair ca_ GUARDED_BY(mu_);
  http::KeyPair pair_ GUARDED_BY(mu_);
  std::string ca_bundle_ GUARDED_BY(mu_);
  int64_t expires_ms_ GUARDED_BY(mu_) = 0;
};

// The CA kept in the Secret `name` (type kubernetes.io/tls), made and stored when there is none: several replicas then
// show certificates of one CA, and the caBundle stays right over restarts.
base::Result<http::KeyPair> LoadOrCreateCa(kube::Client& client, const std::string& ns, const std::string& name,
                                           int64_t now_ms);

}  // namespace tidewright::apiservice
