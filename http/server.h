// HTTP(S) server on Boost.Beast: every port that the program opens.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "http/message.h"

namespace tidewright::http {

// Who is at the other end, as far as the transport could verify it.
struct Peer {
  std::string address;                // "127.0.0.1:53412"
  bool certificate_verified = false;  // A client certificate chained to ServerTls::client_ca_pem.
  std::string common_name;            // Of the verified certificate, else "".
  std::vector<std::string> organizations;
  std::string issuer_ca_sha256;  // Fingerprint (lower-case hex) of the root that the certificate chained to.
};

struct ServerRequest {
  std::string method;
  std::string path;    // Decoded and validated: starts with '/', no NUL, no "." or ".." segment.
  std::string target;  // As sent.
  QueryParams query;
  Headers headers;
  std::string body;
  Peer peer;
  std::string local_address;  // "127.10.0.3:8080": which listener took it.
  // Becomes true when the client closes the connection before it is answered, so that long work can end. Never null in
  // requests of a server.
  std::shared_ptr<const std::atomic<bool>> client_gone;
};

// The body of a reply that is written piece by piece (a watch). Thread-safe.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;  // Ends the stream.
  // Queues a piece. Returns false once the client is gone, or when more than the limit of unsent bytes is queued: the
  // stream is then closed, so a slow watcher cannot hold memory.
  virtual bool Write(std::string_view piece) = 0;
  virtual void End() = 0;
  virtual bool closed() const = 0;
};

// Answers one request, once: either Reply or StartStream. Thread-safe; may be kept and used after the handler returned.
// Destroying it unanswered sends 500.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void Reply(Response response) = 0;
  virtual std::shared_ptr<ResponseStream> StartStream(int status, Headers headers) = 0;
};

// Runs on a thread of the server and may block. At most one for each worker and each I/O thread runs at a time.
using Handler = std::function<void(const ServerRequest& request, std::shared_ptr<Responder> responder)>;

struct ServerTls {
  std::string certificate_pem;  // Chain and key that the server shows.
  std::string private_key_pem;
  std::string client_ca_pem;  // Certificates accepted as roots of client certificates; "" asks for none.
  // true: clients without a certificate that chains to client_ca_pem do not get past the handshake. false: they do, as
  // peers whose certificate is not verified, and the handler decides.
  bool require_client_certificate = false;
};

struct ServerOptions {
  std::string name = "http";  // For thread names, logs and metrics.
  int io_threads = 1;
  int worker_threads = 4;  // 1: a handler always runs alone.
  bool tls = false;  // Then SetTls() must be called before Listen().
  size_t max_header_bytes = 16u << 10;
  size_t max_body_bytes = 4u << 20;
  size_t max_connections = 4096;
  size_t max_stream_queue_bytes = 4u << 20;
  int64_t idle_timeout_ms = 120'000;    // Between requests of one connection.
  int64_t request_timeout_ms = 10'000;  // For the handshake, and from a request's first byte to its last.
  int64_t write_timeout_ms = 30'000;
};

// Accepts connections on any number of addresses and answers them with one handler. Answers HEAD without a body,
// Expect: 100-continue, several requests in turn on one connection; refuses what RFC 9112 calls malformed. Compresses
// replies of 16 KiB and more when the client accepts gzip. Thread-safe.
class Server {
 public:
  static base::Result<std::unique_ptr<Server>> Create(const ServerOptions& options, Handler handler);
  virtual ~Server() = default;  // Stop().

  // Starts to accept on an IP address; port 0 picks a free one. Returns the port.
  virtual base::Result<uint16_t> Listen(const std::string& address, uint16_t port) = 0;
  // Stops to accept there and closes that listener's connections.
  virtual void CloseListener(const std::string& address, uint16_t port) = 0;
  // Replaces certificates for connections accepted from now on.
  virtual base::Status SetTls(const ServerTls& tls) = 0;
  // Closes everything and waits for running handlers. Idempotent.
  virtual void Stop() = 0;
};

}  // namespace tidewright::http
