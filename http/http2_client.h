// HTTP/2 exchanges, which grpc.cc makes its calls from. Private to http.
//
// libcurl carries them (client_curl.cc). Without TLS the server must speak HTTP/2 from the first byte on; with TLS it
// is negotiated (ALPN).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/status.h"
#include "http/client.h"

namespace tidewright::http {

// Thread-safe. With TLS, exchanges with one server share its connections; without, each has its own.
class Http2Client {
 public:
  virtual ~Http2Client() = default;

  // Sends without waiting. `handler` gets the reply as it arrives, and `done`, exactly once, its status with headers
  // and trailers together. Both run on a thread of the client and must not block; `done` may run before Open() returns.
  virtual uint64_t Open(ClientRequest request, StreamHandler handler,
                        std::function<void(base::Result<Response>)> done) = 0;
  // Ends an exchange: `done` runs with kCancelled unless it has run. Does not wait for it.
  virtual void Cancel(uint64_t id) = 0;
};

base::Result<std::unique_ptr<Http2Client>> NewHttp2Client(const ClientOptions& options);

}  // namespace tidewright::http
