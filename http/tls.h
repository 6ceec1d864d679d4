// X.509 certificates made and read: the self-signed set-up of the sandbox, of tests, and of an API service that was
// given no certificate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::http {

// A certificate (or chain) and its private key, both PEM. ECDSA P-256.
struct KeyPair {
  std::string certificate_pem;
  std::string private_key_pem;
};

// A self-signed certification authority valid from an hour before `now_ms` for ten years.
base::Result<KeyPair> GenerateCa(const std::string& common_name, int64_t now_ms);

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  int64_t valid_ms = 365LL * 24 * 3600 * 1000;
  bool client = false;  // Extended key usage: clientAuth, else serverAuth.
};
base::Result<KeyPair> IssueCertificate(const KeyPair& ca, const CertificateRequest& request, int64_t now_ms);

// When the first certificate in `pem` stops to be valid, ms since the epoch.
base::Result<int64_t> CertificateExpiry(const std::string& pem);
// SHA-256 fingerprints (lower-case hex) of every certificate in `pem`, as Peer::issuer_ca_sha256 spells them.
base::Result<std::vector<std::string>> CertificateFingerprints(const std::string& pem);

}  // namespace tidewright::http
