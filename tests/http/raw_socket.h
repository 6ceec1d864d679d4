// Peers that speak whatever bytes a test wants, for both sides of the http module.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace tidewright::http {

// One TCP connection. Reads give up after ten seconds, so that no test hangs.
class RawSocket {
 public:
  explicit RawSocket(int fd);
  RawSocket(RawSocket&& other) noexcept;
  ~RawSocket();
  static RawSocket Connect(uint16_t port);

  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  // False once the peer is gone.
  bool Send(std::string_view bytes);
  // Whatever came until the peer closed.
  std::string ReadToEnd();
  // Reads until `text` has come; what was read so far.
  std::string ReadUntil(std::string_view text);
  // Whether the peer closed (and did not merely say nothing for ten seconds).
  bool WaitForClose();
  void CloseWrite();

 private:
  int fd_;
};

// Accepts connections and runs `script` for each, on a thread of its own.
class RawServer {
 public:
  explicit RawServer(std::function<void(RawSocket&)> script);
  ~RawServer();
  uint16_t port() const { return port_; }
  int accepted() const;

 private:
  void Run();

  const std::function<void(RawSocket&)> script_;
  uint16_t port_ = 0;  // Before listener_, whose initialization sets it.
  int listener_ = -1;
  mutable base::Mutex mu_;
  std::vector<int> fds_ GUARDED_BY(mu_);
  std::vector<std::thread> scripts_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  int accepted_ GUARDED_BY(mu_) = 0;
  std::thread thread_;
};

// A port whose connections are neither accepted nor refused: its backlog is full.
class Blackhole {
 public:
  Blackhole();
  ~Blackhole();
  uint16_t port() const { return port_; }

 private:
  std::vector<int> fds_;
  uint16_t port_ = 0;
};

// Descriptors that this process has open.
size_t OpenDescriptors();

}  // namespace tidewright::http
