#include "http/tls.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include <ctime>

#include "http/openssl_ptr.h"

namespace tidewright::http {
namespace {

constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kTenYearsMs = 10LL * 365 * 24 * kHourMs;

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

base::Result<std::string> BioText(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  if (size <= 0) return OpensslError("write PEM");
  return std::string(data, static_cast<size_t>(size));
}

base::Result<KeyPair> ToPem(X509* certificate, EVP_PKEY* key) {
  BioPtr certificate_bio(BIO_new(BIO_s_mem()));
  BioPtr key_bio(BIO_new(BIO_s_mem()));
  if (!certificate_bio || !key_bio || PEM_write_bio_X509(certificate_bio.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpensslError("write a certificate as PEM");
  }
  KeyPair pair;
  TW_ASSIGN_OR_RETURN(pair.certificate_pem, BioText(certificate_bio.get()));
  TW_ASSIGN_OR_RETURN(pair.private_key_pem, BioText(key_bio.get()));
  return pair;
}

base::Status AddNameEntry(X509_NAME* name, const char* field, const std::string& value) {
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                 static_cast<int>(value.size()), -1, 0) != 1) {
    return OpensslError(std::string("set subject field ") + field + " to \"" + value + "\"");
  }
  return base::Status::Ok();
}

// 127 random bits: positive, and unique without a register of issued certificates.
base::Status SetRandomSerial(X509* certificate) {
  BignumPtr number(BN_new());
  if (!number || BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpensslError("choose a serial number");
  }
  return base::Status::Ok();
}

base::Status SetValidity(X509* certificate, int64_t from_ms, int64_t to_ms) {
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), static_cast<time_t>(from_ms / 1000)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), static_cast<time_t>(to_ms / 1000)) == nullptr) {
    return OpensslError("set the validity");
  }
  return base::Status::Ok();
}

// `value` is one of our constants: names given by callers never pass through OpenSSL's extension mini-language.
base::Status AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(std::string("add the extension ") + OBJ_nid2sn(nid));
  }
  return base::Status::Ok();
}

using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslDeleter<GENERAL_NAMES_free>>;

base::Status PushName(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* name = value == nullptr ? nullptr : GENERAL_NAME_new();
  if (name == nullptr) {
    ASN1_STRING_free(value);
    return OpensslError("add a subject alternative name");
  }
  GENERAL_NAME_set0_value(name, type, value);
  if (sk_GENERAL_NAME_push(names, name) == 0) {
    GENERAL_NAME_free(name);
    return OpensslError("add a subject alternative name");
  }
  return base::Status::Ok();
}

base::Status AddAlternativeNames(X509* certificate, const CertificateRequest& request) {
  if (request.dns_names.empty() && request.ip_addresses.empty()) return base::Status::Ok();
  GeneralNamesPtr names(GENERAL_NAMES_new());
  if (!names) return OpensslError("add subject alternative names");
  for (const std::string& dns : request.dns_names) {
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    if (value != nullptr) ASN1_STRING_set(value, dns.data(), static_cast<int>(dns.size()));
    TW_RETURN_IF_ERROR(PushName(names.get(), GEN_DNS, value));
  }
  for (const std::string& ip : request.ip_addresses) {
    ASN1_OCTET_STRING* value = a2i_IPADDRESS(ip.c_str());
    if (value == nullptr) {
      ERR_clear_error();
      return base::InvalidArgumentError("certificate for " + request.common_name + ": \"" + ip +
                                        "\" is not an IP address; names belong into dns_names");
    }
    TW_RETURN_IF_ERROR(PushName(names.get(), GEN_IPADD, value));
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1) {
    return OpensslError("add subject alternative names");
  }
  return base::Status::Ok();
}

// What a CA and the certificates it issues have in common: version, serial, validity, subject, key.
base::Result<CertificatePtr> NewCertificate(const CertificateRequest& subject, EVP_PKEY* key, int64_t from_ms,
                                            int64_t to_ms) {
  CertificatePtr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1)
    return OpensslError("make a certificate");
  TW_RETURN_IF_ERROR(SetRandomSerial(certificate.get()));
  TW_RETURN_IF_ERROR(SetValidity(certificate.get(), from_ms, to_ms));
  X509_NAME* name = X509_get_subject_name(certificate.get());
  for (const std::string& organization : subject.organizations) {
    TW_RETURN_IF_ERROR(AddNameEntry(name, "O", organization));
  }
  TW_RETURN_IF_ERROR(AddNameEntry(name, "CN", subject.common_name));
  if (X509_set_pubkey(certificate.get(), key) != 1) return OpensslError("set the public key");
  return certificate;
}

base::Status Sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) return OpensslError("sign a certificate");
  return base::Status::Ok();
}

base::Result<KeyPtr> NewKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return OpensslError("generate a P-256 key");
  return key;
}

}  // namespace

base::Status OpensslError(const std::string& doing) {
  unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return base::InvalidArgumentError(doing + ": " + (reason == nullptr ? "OpenSSL gave no reason" : reason));
}

base::Result<std::vector<CertificatePtr>> ReadCertificates(const std::string& pem) {
  ERR_clear_error();  // How the loop ended is read from the queue below.
  BioPtr bio = MemoryBio(pem);
  std::vector<CertificatePtr> certificates;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) return OpensslError("read certificate " + std::to_string(certificates.size() + 1) + " of a PEM text");
  ERR_clear_error();
  if (certificates.empty()) {
    return base::InvalidArgumentError("no certificate found: want PEM text with -----BEGIN CERTIFICATE-----");
  }
  return certificates;
}

base::Result<KeyPtr> ReadPrivateKey(const std::string& pem) {
  BioPtr bio = MemoryBio(pem);
  // Without a callback OpenSSL would ask for the passphrase of an encrypted key on the terminal.
  auto no_passphrase = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return OpensslError("read the private key (want an unencrypted PEM key)");
  return key;
}

std::string Fingerprint(const X509* certificate) {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return "";
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    out.push_back(kHex[digest[i] >> 4]);
    out.push_back(kHex[digest[i] & 15]);
  }
  return out;
}

base::Status UseCertificate(SSL_CTX* context, const std::string& certificate_pem, const std::string& private_key_pem) {
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> chain, ReadCertificates(certificate_pem));
  TW_ASSIGN_OR_RETURN(KeyPtr key, ReadPrivateKey(private_key_pem));
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) return OpensslError("use the certificate");
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) return OpensslError("use the certificate chain");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return OpensslError("use the private key (does it belong to the certificate?)");
  }
  return base::Status::Ok();
}

base::Status TrustExactly(SSL_CTX* context, const std::string& pem) {
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> roots, ReadCertificates(pem));
  X509_STORE* store = X509_STORE_new();
  if (store == nullptr) return OpensslError("make a certificate store");
  SSL_CTX_set_cert_store(context, store);  // Takes ownership and drops whatever was trusted before.
  for (const CertificatePtr& root : roots) {
    if (X509_STORE_add_cert(store, root.get()) != 1) return OpensslError("trust a CA certificate");
  }
  return base::Status::Ok();
}

base::Result<KeyPair> GenerateCa(const std::string& common_name, int64_t now_ms) {
  TW_ASSIGN_OR_RETURN(KeyPtr key, NewKey());
  CertificateRequest subject;
  subject.common_name = common_name;
  TW_ASSIGN_OR_RETURN(CertificatePtr certificate,
                      NewCertificate(subject, key.get(), now_ms - kHourMs, now_ms + kTenYearsMs));
  X509* raw = certificate.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(raw)) != 1) return OpensslError("set the issuer");
  TW_RETURN_IF_ERROR(AddExtension(raw, raw, NID_basic_constraints, "critical,CA:TRUE"));
  TW_RETURN_IF_ERROR(AddExtension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature"));
  TW_RETURN_IF_ERROR(AddExtension(raw, raw, NID_subject_key_identifier, "hash"));
  TW_RETURN_IF_ERROR(Sign(raw, key.get()));
  return ToPem(raw, key.get());
}

base::Result<KeyPair> IssueCertificate(const KeyPair& ca, const CertificateRequest& request, int64_t now_ms) {
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> issuers, ReadCertificates(ca.certificate_pem));
  TW_ASSIGN_OR_RETURN(KeyPtr ca_key, ReadPrivateKey(ca.private_key_pem));
  X509* issuer = issuers[0].get();
  if (X509_check_private_key(issuer, ca_key.get()) != 1) return OpensslError("use the CA's private key");
  TW_ASSIGN_OR_RETURN(KeyPtr key, NewKey());
  TW_ASSIGN_OR_RETURN(CertificatePtr certificate,
                      NewCertificate(request, key.get(), now_ms - kHourMs, now_ms + request.valid_ms));
  X509* raw = certificate.get();
  if (X509_set_issuer_name(raw, X509_get_subject_name(issuer)) != 1) return OpensslError("set the issuer");
  TW_RETURN_IF_ERROR(AddExtension(raw, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TW_RETURN_IF_ERROR(AddExtension(raw, issuer, NID_key_usage, "critical,digitalSignature"));
  TW_RETURN_IF_ERROR(AddExtension(raw, issuer, NID_ext_key_usage, request.client ? "clientAuth" : "serverAuth"));
  TW_RETURN_IF_ERROR(AddExtension(raw, issuer, NID_subject_key_identifier, "hash"));
  TW_RETURN_IF_ERROR(AddExtension(raw, issuer, NID_authority_key_identifier, "keyid:always"));
  TW_RETURN_IF_ERROR(AddAlternativeNames(raw, request));
  TW_RETURN_IF_ERROR(Sign(raw, ca_key.get()));
  return ToPem(raw, key.get());
}

base::Result<int64_t> CertificateExpiry(const std::string& pem) {
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> certificates, ReadCertificates(pem));
  std::tm time = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificates[0].get()), &time) != 1) {
    return OpensslError("read a certificate's end of validity");
  }
  return static_cast<int64_t>(timegm(&time)) * 1000;
}

base::Result<std::vector<std::string>> CertificateFingerprints(const std::string& pem) {
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> certificates, ReadCertificates(pem));
  std::vector<std::string> fingerprints;
  for (const CertificatePtr& certificate : certificates) fingerprints.push_back(Fingerprint(certificate.get()));
  return fingerprints;
}

}  // namespace tidewright::http
