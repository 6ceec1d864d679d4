// Where an AMQP 0-9-1 server is and who logs in there. Private to scaler/trigger.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace tidewright::scaler::trigger {

// Connections with equal addresses can stand in for each other.
struct AmqpAddress {
  std::string host;
  uint16_t port = 0;
  std::string vhost = "/";
  std::string username, password;
  int heartbeat_s = 60;  // The server gives up a connection that was silent for about twice as long; 0: never.
  bool tls = false;
  std::string ca_pem;           // Trust exactly these certificates instead of the system's.
  std::string certificate_pem;  // Of the client, and its key: both or neither.
  std::string private_key_pem;
  std::string key_password;
  bool insecure_skip_verify = false;

  auto operator<=>(const AmqpAddress&) const = default;
};

// Reads "amqps://user:password@host:port/vhost?heartbeat=30" (rabbitmq.com/docs/uri-spec, and its query parameters)
// into everything but the certificates. What is not written keeps its value, the port becomes 5672 or 5671, and an
// empty path is the virtual host "/". Errors show nothing of the text, which may hold a password.
base::Status ParseAmqpAddress(const std::string& text, AmqpAddress* address);

}  // namespace tidewright::scaler::trigger
