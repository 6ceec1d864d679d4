// The AMQP 0-9-1 client library rabbitmq-c, loaded when the first trigger needs it, and connections by it. Private to
// scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "scaler/trigger/amqp_address.h"

struct amqp_connection_state_t_;
struct amqp_rpc_reply_t_;
struct amqp_socket_t_;

namespace tidewright::scaler::trigger {

// One connection with one channel. Not thread-safe.
class AmqpConnection {
 public:
  // Connects, logs in and opens the channel, all within the timeout (but the look-up of the host's name has that of the
  // system). kFailedPrecondition for what the server refuses, kUnavailable or kDeadlineExceeded when it cannot be
  // reached. Errors never contain the password. The library must have been loaded, as AmqpServer::Get() does.
  static base::Result<std::unique_ptr<AmqpConnection>> Open(const AmqpAddress& address, int64_t timeout_ms);
  // Says goodbye if there is somebody who listens, for a second at most.
  ~AmqpConnection();
  AmqpConnection(const AmqpConnection&) = delete;
  AmqpConnection& operator=(const AmqpConnection&) = delete;

  // How many messages of a queue are ready to be delivered, by declaring it passively. kFailedPrecondition when there
  // is no such queue, or the server refuses for another reason: the connection stays usable() after that.
  base::Result<int64_t> MessagesIn(const std::string& queue, int64_t timeout_ms);

  bool usable() const { return usable_; }

 private:
  explicit AmqpConnection(amqp_connection_state_t_* state) : state_(state) {}
  base::Status Connect(const AmqpAddress& address, int64_t deadline_ms);
  base::Status ConfigureTls(const AmqpAddress& address, amqp_socket_t_* socket);
  base::Status LogIn(const AmqpAddress& address, int64_t deadline_ms);
  base::Status OpenChannel(int64_t deadline_ms);
  base::Status Outcome(const std::string& what, const amqp_rpc_reply_t_& reply);

  amqp_connection_state_t_* state_;  // Owned.
  bool usable_ = false;
};

// A server as one user, with the connections to it that nobody uses at the moment: there are never more than readings
// at a time. Thread-safe.
class AmqpServer {
 public:
  // The server at this address: whoever asks for an equal one while it is used shares it. Connects to nothing yet.
  // kUnimplemented when the library is not installed.
  static base::Result<std::shared_ptr<AmqpServer>> Get(const AmqpAddress& address);

  // As AmqpConnection::MessagesIn(). A kept connection may have died unnoticed: then one fresh attempt tells.
  base::Result<int64_t> MessagesIn(const std::string& queue, int64_t timeout_ms);

 private:
  struct Idle {
    std::unique_ptr<AmqpConnection> connection;
    int64_t since_ms;  // SocketNowMs().
  };

  explicit AmqpServer(AmqpAddress address) : address_(std::move(address)) {}
  std::unique_ptr<AmqpConnection> Take();
  void Keep(std::unique_ptr<AmqpConnection> connection);

  const AmqpAddress address_;
  base::Mutex mu_;
  std::vector<Idle> idle_ GUARDED_BY(mu_);  // Used last: last.
};

}  // namespace tidewright::scaler::trigger
