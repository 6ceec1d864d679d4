// The certificate that the aggregation port shows, from files or made here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
  // Whether the caller calls Published(); otherwise changed files are shown at once.
  bool wait_for_publication = false;

  // Who a made certificate is for: kube-apiserver checks the name <service>.<namespace>.svc.
  std::string service = "tidewright";
  std::string ns = "default";
  // Signs made certificates; when empty a CA is made, which no other replica knows. See LoadOrCreateCa.
  http::KeyPair ca;
};

// A change of the authority needs both sides to move, clients first. So a certificate of a new authority is not shown
// before those who ask trust it: ca_bundle() names the old and the new authority at once, the caller publishes that and
// says so (Published), and only then Next() gives the certificate out; the old authority stays in the bundle for a
// while, because other replicas may read their files later. Thread-safe. Borrows `clock`.
class ServingCertificate {
 public:
  // kInvalidArgument, or the error of reading the files.
  static base::Result<std::unique_ptr<ServingCertificate>> Create(const ServingCertificateOptions& options,
                                                                  base::Clock& clock);

  // What is shown.
  http::KeyPair current() const;
  // What clients should trust: PEM, each certificate once.
  std::string ca_bundle() const;

  // Reads the files, or renews a made certificate when a third of its year is left; cheap enough for every other
  // second. Returns what to show next; nothing while nothing changed or the certificate still waits for Published(). On
  // an error the current one stays, and the next call tries again.
  base::Result<std::optional<http::KeyPair>> Next();
  // Says that `pair`, which Next() returned, is shown now.
  void Use(const http::KeyPair& pair);

  // Says which bundle clients trust by now.
  void Published(const std::string& bundle);
  // Whether a certificate waits for Published(). It waits two minutes at most.
  bool waiting() const;

 private:
  // A certificate and those who vouch for it.
  struct Identity {
    http::KeyPair pair;
    std::string ca_pem;
    int64_t expires_ms = 0;
  };
  ServingCertificate(const ServingCertificateOptions& options, base::Clock& clock);
  base::Result<Identity> Read() const;
  base::Result<Identity> ReadFiles() const;
  base::Result<Identity> Issue() const;

  const ServingCertificateOptions options_;
  base::Clock& clock_;
  http::KeyPair ca_;  // Of made certificates. Written by Create() only.
  mutable base::Mutex mu_;
  Identity current_ GUARDED_BY(mu_);
  std::optional<Identity> next_ GUARDED_BY(mu_);
  int64_t next_since_ms_ GUARDED_BY(mu_) = 0;
  std::string published_ GUARDED_BY(mu_);
  std::string previous_ca_pem_ GUARDED_BY(mu_);
  int64_t previous_until_ms_ GUARDED_BY(mu_) = 0;
};

// The CA kept in the Secret `name` (type kubernetes.io/tls), made and stored when there is none: several replicas then
// show certificates of one CA, and the caBundle stays right over restarts.
base::Result<http::KeyPair> LoadOrCreateCa(kube::Client& client, const std::string& ns, const std::string& name,
                                           int64_t now_ms);

}  // namespace tidewright::apiservice
