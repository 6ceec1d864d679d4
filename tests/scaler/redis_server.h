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

  // `options` go to the server as they are; `first` before all others: a configuration file.
  explicit RedisServer(std::string password = "", std::vector<std::string> options = {},
                       std::vector<std::string> first = {})
      : password_(std::move(password)),
        options_(std::move(options)),
        first_(std::move(first)),
        port_(*base::FreePort()) {
    Start();
  }

  void Start() {
    std::vector<std::string> argv = {"redis-server"};
    argv.insert(argv.end(), first_.begin(), first_.end());
    argv.insert(argv.end(), {"--port", std::to_string(port_), "--bind", "127.0.0.1", "--dir", folder_.path()});
    if (first_.empty()) argv.insert(argv.end(), {"--save", "", "--appendonly", "no"});
    if (!password_.empty()) argv.insert(argv.end(), {"--requirepass", password_});
    argv.insert(argv.end(), options_.begin(), options_.end());
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

  base::Status Run(const std::vector<std::string>& command) { return Ask(command).status(); }
  base::Result<trigger::RedisReply> Ask(const std::vector<std::string>& command) {
    auto connection = Connect();
    if (!connection.ok()) return connection.status();
    return (*connection)->Command(command);
  }

 private:
  base::Result<std::unique_ptr<trigger::RedisConnection>> Connect() {
    auto connection = trigger::RedisConnection::Open({"127.0.0.1", port_, "", password_, 0, 2000});
    if (!connection.ok()) return connection.status();
    auto pong = (*connection)->Command({"PING"});
    if (!pong.ok()) return pong.status();
    return connection;
  }

  const base::TempDir folder_ = *base::TempDir::Create("redis");  // Replicas write what they are sent.
  const std::string password_;
  const std::vector<std::string> options_, first_;
  const uint16_t port_;
  std::unique_ptr<base::Subprocess> process_;
};

}  // namespace tidewright::scaler
