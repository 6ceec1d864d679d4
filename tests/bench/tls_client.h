// TlsClient: asks over HTTPS and reads answers on the thread that calls, with as little beside as possible, so that the
// time until the last byte is the server's and the network's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tidewright::testing {

// All PEM.
struct TlsIdentity {
  std::string ca, certificate, key;
  std::string server_name;
};

// One connection to a port of this machine. Not thread-safe.
class TlsClient {
 public:
  // Null when there is no connection, or the server's certificate is not that of server_name.
  static std::unique_ptr<TlsClient> Connect(uint16_t port, const TlsIdentity& identity);
  ~TlsClient();

  struct Answer {
    int status = 0;  // 0: the connection failed, or the answer has no Content-Length.
    size_t bytes = 0;
    std::string text;  // The head, and the begin of the body.
  };
  // GETs a path. `headers` are lines that end with "\r\n".
  Answer Get(const std::string& path, const std::string& headers);

 private:
  struct Connection;
  explicit TlsClient(std::unique_ptr<Connection> connection);
  const std::unique_ptr<Connection> connection_;
};

}  // namespace tidewright::testing
