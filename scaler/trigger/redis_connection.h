// One connection to a Redis server, through hiredis. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

struct redisContext;

namespace tidewright::scaler::trigger {

struct RedisAddress {
  std::string host;
  uint16_t port = 6379;
  std::string username;
  std::string password;
  int64_t database = 0;
  int64_t timeout_ms = 3000;  // To connect, and for each wait for bytes.
};

// A reply: a status or string as text, or an integer.
struct RedisReply {
  bool is_integer = false;
  int64_t integer = 0;
  std::string text;
};

// Not thread-safe. After an error the connection is unusable.
class RedisConnection {
 public:
  // Connects, authenticates and selects the database. Errors never contain the password.
  static base::Result<std::unique_ptr<RedisConnection>> Open(const RedisAddress& address);
  ~RedisConnection();

  // Sends one command and waits for its reply. An error reply of the server is kFailedPrecondition with its text. A
  // reply of more than 64 KiB, or in more than 16 pieces, is kResourceExhausted: what is asked for here fits into a few
  // bytes.
  base::Result<RedisReply> Command(const std::vector<std::string>& words);

  // False once the server has hung up (or sent something unasked) while the connection was idle.
  bool Idle() const;

 private:
  explicit RedisConnection(redisContext* context) : context_(context) {}
  base::Status Failure() const;
  base::Status Flush();

  redisContext* context_;  // Owned.
};

}  // namespace tidewright::scaler::trigger
