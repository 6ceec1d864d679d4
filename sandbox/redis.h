// A real redis-server as the sandbox's queue.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::sandbox {

struct RedisOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 6379;
  int64_t restart_delay_ms = 15'000;  // From the child's death to its restart.
  int64_t command_timeout_ms = 200;
};

// Supervises the child and is a client of it. Its data are an append-only file in a temporary folder, so a queue
// survives the child's death. Thread-safe. Commands while it is down fail with kUnavailable, at once.
class Redis {
 public:
  Redis(RedisOptions options, base::Clock& clock);
  ~Redis();  // Stop().

  // kFailedPrecondition when redis-server is not installed.
  base::Status Start();
  void Stop();  // Idempotent.

  // Notices the child's death and restarts it when the delay is over. Call it regularly.
  void Tick();

  // Appends `count` items to the end of a list.
  base::Status Push(const std::string& queue, int64_t count);
  // Takes at most `count` items from the front; returns how many there were.
  base::Result<int64_t> Pop(const std::string& queue, int64_t count);
  base::Result<int64_t> Length(const std::string& queue);

  // "127.20.0.9:6379".
  std::string address() const;
  int pid() const;  // -1 while it is down.
  bool healthy() const;
  // Why it is down or what the last command met; "" when all is well.
  std::string last_error() const;

 private:
  struct Connection;

  base::Status Spawn() REQUIRES_LOCK(mu_);
  base::Result<int64_t> Command(const std::vector<std::string>& arguments) REQUIRES_LOCK(mu_);
  base::Status Connect() REQUIRES_LOCK(mu_);

  const RedisOptions options_;
  base::Clock& clock_;
  mutable base::Mutex mu_;
  std::optional<base::TempDir> data_ GUARDED_BY(mu_);
  std::optional<base::Subprocess> child_ GUARDED_BY(mu_);
  std::unique_ptr<Connection> connection_ GUARDED_BY(mu_);
  int64_t restart_at_ms_ GUARDED_BY(mu_) = 0;
  bool stopped_ GUARDED_BY(mu_) = false;
  std::string last_error_ GUARDED_BY(mu_);
};

}  // namespace tidewright::sandbox
