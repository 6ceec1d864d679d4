// RedisServer: a real redis-server on a free port, for the tests that read from one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "scaler/trigger/redis_connection.h"

namespace tidewright::scaler {

class RedisServer {
 public:
  static bool Available() { return base::HaveProgram("redis-server"); }

  explicit RedisServer(std::string password = "") : password_(std::move(password)), port_(*base::FreePort()) {
    Start();
  }

  void Start() {
    std::vector<std::string> argv = {"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                     "--save",       "",       "--appendonly",        "no"};
    if (!password_.empty()) argv.insert(argv.end(), {"--requirepass", password_});
    process_ = std::make_unique<base::Subprocess>(*base::Subprocess::Start(argv));
    base::StopSignal never;
    for (int i = 0; i < 200 && !Connect().ok(); ++i) base::SystemClock::Get().SleepFor(50, never);
  }
  void Kill() {
    process_->Signal(9);
    process_->Wait();
  }

  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  base::Status Run(const std::vector<std::string>& command) {
    auto connection = Connect();
    if (!connection.ok()) return connection.status();
    return (*connection)->Command(command).status();
  }

 private:
  base::Result<std::unique_ptr<trigger::RedisConnection>> Connect() {
    auto connection = trigger::RedisConnection::Open({"127.0.0.1", port_, "", password_, 0, 2000});
    if (!connection.ok()) return connection.status();
    auto pong = (*connection)->Command({"PING"});
    if (!pong.ok()) return pong.status();
    return connection;
  }

  const std::string password_;
  const uint16_t port_;
  std::unique_ptr<base::Subprocess> process_;
};

}  // namespace tidewright::scaler
