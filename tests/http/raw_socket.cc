#include "tests/http/raw_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <utility>

#include "base/clock.h"

namespace tidewright::http {
namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int ListenOn(int backlog, uint16_t* port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  listen(fd, backlog);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  *port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

RawSocket::RawSocket(int fd) : fd_(fd) {
  timeval limit = {10, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

RawSocket::RawSocket(RawSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RawSocket::~RawSocket() {
  if (fd_ >= 0) close(fd_);
}

RawSocket RawSocket::Connect(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    fd = -1;
  }
  return RawSocket(fd);
}

bool RawSocket::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string RawSocket::ReadToEnd() {
  std::string out;
  char buffer[16384];
  for (ssize_t size = 0; (size = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) out.append(buffer, size);
  return out;
}

std::string RawSocket::ReadUntil(std::string_view text) {
  std::string out;
  char byte = 0;
  while (out.find(text, out.size() < text.size() ? 0 : out.size() - text.size()) == std::string::npos &&
         recv(fd_, &byte, 1, 0) == 1) {
    out.push_back(byte);
  }
  return out;
}

bool RawSocket::WaitForClose() {
  char buffer[16384];
  while (true) {
    ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
    if (size == 0) return true;
    if (size < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
  }
}

void RawSocket::CloseWrite() { shutdown(fd_, SHUT_WR); }

RawServer::RawServer(std::function<void(RawSocket&)> script)
    : script_(std::move(script)), listener_(ListenOn(128, &port_)), thread_([this] { Run(); }) {}

RawServer::~RawServer() {
  std::vector<std::thread> scripts;
  {
    base::MutexLock lock(mu_);
    stopping_ = true;
    for (int fd : fds_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  {
    base::MutexLock lock(mu_);
    scripts.swap(scripts_);
  }
  for (std::thread& script : scripts) script.join();
  close(listener_);
}

int RawServer::accepted() const {
  base::MutexLock lock(mu_);
  return accepted_;
}

void RawServer::Run() {
  while (true) {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    base::MutexLock lock(mu_);
    if (stopping_) {
      close(fd);
      return;
    }
    ++accepted_;
    fds_.push_back(fd);
    scripts_.emplace_back([this, fd] {
      RawSocket socket(fd);
      script_(socket);
      base::MutexLock closing(mu_);
      std::erase(fds_, fd);
    });
  }
}

Blackhole::Blackhole() {
  fds_.push_back(ListenOn(0, &port_));
  sockaddr_in address = Loopback(port_);
  // The kernel completes backlog + 1 handshakes; later ones are left without an answer.
  for (int i = 0; i < 4; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)!connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    fds_.push_back(fd);
  }
  pollfd first = {fds_[1], POLLOUT, 0};
  poll(&first, 1, 1000);
}

Blackhole::~Blackhole() {
  for (int fd : fds_) close(fd);
}

size_t OpenDescriptors() {
  auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace tidewright::http
