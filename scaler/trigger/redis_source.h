// What the redis triggers have in common: where the server is, and a connection that is kept. Private to
// scaler/trigger.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "scaler/trigger.h"
#include "scaler/trigger/metadata.h"
#include "scaler/trigger/redis_connection.h"

namespace tidewright::scaler::trigger {

// The settings of a connection as written.
struct RedisEndpoint {
  std::string address;
  std::string host;
  int64_t port = 0;
  RedisAddress connection;
};

// Reads the fields of RedisEndpoint. With `context` the address is complete afterwards, or an error is reported.
RedisEndpoint ReadRedisEndpoint(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);

// Not thread-safe.
class RedisSource {
 public:
  explicit RedisSource(RedisAddress address) : address_(std::move(address)) {}

  // Runs `read` on the connection, opened on first use and after a failure. A kept connection may have died unnoticed
  // since the last reading: then one fresh attempt tells. Errors name the server and never the password.
  base::Result<Reading> Run(const std::function<base::Result<Reading>(RedisConnection&)>& read);

 private:
  base::Result<Reading> Attempt(const std::function<base::Result<Reading>(RedisConnection&)>& read);

  const RedisAddress address_;
  std::unique_ptr<RedisConnection> connection_;
  bool reused_ = false;
};

}  // namespace tidewright::scaler::trigger
