// ByteStream: a connection for protocols other than HTTP, plain or by TLS. It is here because TLS is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/client.h"

namespace tidewright::http {

// Bytes to and from one server. Not thread-safe. After an error it is unusable. Errors: kUnavailable (could not
// connect, connection lost), kDeadlineExceeded, kUnauthenticated (TLS verification).
class ByteStream {
 public:
  // Connects to a name or an address. `tls`, unless there is none, says how that is verified, but for server_name,
  // which does not count. kInvalidArgument: half of a client certificate, or a host that is neither.
  static base::Result<std::unique_ptr<ByteStream>> Open(const std::string& host, uint16_t port,
                                                        const std::optional<ClientTls>& tls, int64_t timeout_ms);
  virtual ~ByteStream() = default;

  // Sends all of it.
  virtual base::Status Write(std::string_view bytes, int64_t timeout_ms) = 0;
  // Waits for some bytes, at least one.
  virtual base::Result<size_t> Read(char* buffer, size_t size, int64_t timeout_ms) = 0;
  // Whether nothing has arrived and the server has not hung up.
  virtual bool Idle() const = 0;
};

}  // namespace tidewright::http
