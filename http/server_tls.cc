#include "http/server_tls.h"

#include <algorithm>
#include <string_view>

namespace tidewright::http {
namespace {

// Chooses http/1.1 for clients that would prefer HTTP/2; goes on without a choice for those that know only others.
int ChooseProtocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                   unsigned int in_size, void* /*arg*/) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, kHttp11, sizeof(kHttp11) - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// Lets the handshake go on with a certificate that does not chain to a known root: the handler answers such a client,
// which then learns why, and sees it as a peer that is not verified.
int VerifyAndGoOn(X509_STORE_CTX* verification, void* /*arg*/) {
  X509_verify_cert(verification);
  return 1;
}

base::Status AskForClientCertificate(SSL_CTX* context, const ServerTls& tls) {
  TW_RETURN_IF_ERROR(TrustExactly(context, tls.client_ca_pem).Annotate("client CA"));
  TW_ASSIGN_OR_RETURN(std::vector<CertificatePtr> roots, ReadCertificates(tls.client_ca_pem));
  for (const CertificatePtr& root : roots) {
    // Clients choose their certificate by these names.
    if (SSL_CTX_add_client_CA(context, root.get()) != 1) return OpensslError("announce a client CA");
  }
  int mode = SSL_VERIFY_PEER | (tls.require_client_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
  SSL_CTX_set_verify(context, mode, nullptr);
  if (!tls.require_client_certificate) SSL_CTX_set_cert_verify_callback(context, VerifyAndGoOn, nullptr);
  // A resumed session does not know the chain that was verified, from which Peer::issuer_ca_sha256 is read.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  return base::Status::Ok();
}

std::string EntryText(X509_NAME_ENTRY* entry) {
  unsigned char* text = nullptr;
  int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return "";
  std::string out(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return out;
}

std::vector<std::string> SubjectEntries(X509* certificate, int nid) {
  std::vector<std::string> values;
  X509_NAME* name = X509_get_subject_name(certificate);
  for (int i = X509_NAME_get_index_by_NID(name, nid, -1); i >= 0; i = X509_NAME_get_index_by_NID(name, nid, i)) {
    values.push_back(EntryText(X509_NAME_get_entry(name, i)));
  }
  return values;
}

}  // namespace

base::Result<SslContextPtr> NewServerContext(const ServerTls& tls) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return OpensslError("make a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);  // Idle connections give their 34 KiB back.
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseProtocol, nullptr);
  static constexpr unsigned char kSessionContext[] = "tidewright";
  SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof(kSessionContext) - 1);
  TW_RETURN_IF_ERROR(
      UseCertificate(context.get(), tls.certificate_pem, tls.private_key_pem).Annotate("server certificate"));
  if (!tls.client_ca_pem.empty()) {
    TW_RETURN_IF_ERROR(AskForClientCertificate(context.get(), tls));
  } else if (tls.require_client_certificate) {
    return base::InvalidArgumentError("client certificates are required, but no client CA to verify them was given");
  }
  return context;
}

void ReadPeerCertificate(SSL* ssl, Peer* peer) {
  CertificatePtr certificate(SSL_get1_peer_certificate(ssl));
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  if (!certificate || chain == nullptr || sk_X509_num(chain) < 1 || SSL_get_verify_result(ssl) != X509_V_OK) return;
  peer->certificate_verified = true;
  std::vector<std::string> names = SubjectEntries(certificate.get(), NID_commonName);
  // A name with a NUL in it reads differently in C: treat it as no name.
  auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (!names.empty() && !has_nul(names.back())) peer->common_name = names.back();
  peer->organizations = SubjectEntries(certificate.get(), NID_organizationName);
  peer->organizations.erase(std::remove_if(peer->organizations.begin(), peer->organizations.end(), has_nul),
                            peer->organizations.end());
  peer->issuer_ca_sha256 = Fingerprint(sk_X509_value(chain, sk_X509_num(chain) - 1));
}

}  // namespace tidewright::http
