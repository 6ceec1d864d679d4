// One connection to a Redis server, through hiredis, plain or by TLS. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/byte_stream.h"
#include "http/client.h"

struct redisContext;
struct redisReader;

namespace tidewright::scaler::trigger {

struct RedisAddress {
  std::string host;
  uint16_t port = 6379;
  std::string username;
  std::string password;
  int64_t database = 0;
  int64_t timeout_ms = 3000;           // To connect, and for each wait for bytes.
  std::optional<http::ClientTls> tls;  // None: plain.
};

// A reply: a status or string as text, an integer, or a list, of which texts are kept. None of them: nil.
struct RedisReply {
  bool is_integer = false;
  int64_t integer = 0;
  std::string text;
  std::vector<std::string> items;  // Of a list; "" for what is no text.
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

  // While set, every command is preceded by ASKING: the key is just being moved to this server of a cluster.
  void set_asking(bool asking) { asking_ = asking; }
  bool asking() const { return asking_; }

  // False once the server has hung up (or sent something unasked) while the connection was idle.
  bool Idle() const;

 private:
  RedisConnection(int64_t timeout_ms, redisContext* context) : timeout_ms_(timeout_ms), context_(context) {}
  RedisConnection(int64_t timeout_ms, std::unique_ptr<http::ByteStream> tls);
  static base::Result<std::unique_ptr<RedisConnection>> Connect(const RedisAddress& address);
  base::Status Failure() const;
  base::Status Send(const char* bytes, size_t size);
  base::Status Receive();
  base::Result<RedisReply> Exchange(const std::vector<std::string>& words);

  redisReader* reader() const;

  const int64_t timeout_ms_;
  redisContext* context_ = nullptr;  // Owned; null with TLS. Its reader reads what it receives.
  std::unique_ptr<http::ByteStream> tls_;
  redisReader* tls_reader_ = nullptr;  // Owned.
  bool asking_ = false;
};

}  // namespace tidewright::scaler::trigger
