// Owning pointers for OpenSSL objects, and what is done with them, for the .cc files of this folder and tests.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace tidewright::http {

template <auto kFree>
struct OpensslDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using BioPtr = std::unique_ptr<BIO, OpensslDeleter<BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslDeleter<X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslDeleter<X509_EXTENSION_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslDeleter<SSL_CTX_free>>;

// An error with the oldest reason on OpenSSL's error queue of this thread, which is emptied.
base::Status OpensslError(const std::string& doing);

// Every certificate in `pem`, in order; at least one.
base::Result<std::vector<CertificatePtr>> ReadCertificates(const std::string& pem);
base::Result<KeyPtr> ReadPrivateKey(const std::string& pem);

// SHA-256 of the DER form, lower-case hex.
std::string Fingerprint(const X509* certificate);

// Makes `context` show this chain and prove it with this key.
base::Status UseCertificate(SSL_CTX* context, const std::string& certificate_pem, const std::string& private_key_pem);

// Makes `context` accept exactly the certificates in `pem` as roots.
base::Status TrustExactly(SSL_CTX* context, const std::string& pem);

}  // namespace tidewright::http
