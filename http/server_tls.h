// The server's TLS context, and what a finished handshake says about the client.
#pragma once

#include <openssl/ssl.h>

#include "http/openssl_ptr.h"
#include "http/server.h"

namespace tidewright::http {

base::Result<SslContextPtr> NewServerContext(const ServerTls& tls);

// Fills all of `peer` but its address from a finished handshake.
void ReadPeerCertificate(SSL* ssl, Peer* peer);

}  // namespace tidewright::http
