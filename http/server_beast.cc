#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <exception>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/gate.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "http/connection.h"
#include "http/server_tls.h"

namespace tidewright::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Out of descriptors, accepting at once again would spin.
constexpr auto kAcceptBackOff = std::chrono::milliseconds(50);
// How long Stop() lets replies and streams that have ended be written out.
constexpr int64_t kStopGraceMs = 2000;
constexpr std::string_view kFullReply =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

// One bound address. Its acceptor is used in what the first loop runs only.
struct Listener {
  Listener(asio::io_context& context, uint64_t listener_id) : id(listener_id), acceptor(context), back_off(context) {}
  const uint64_t id;
  tcp::acceptor acceptor;
  asio::steady_timer back_off;
  bool closed = false;
};

class BeastServer : public Server, private ConnectionOwner {
 public:
  BeastServer(const ServerOptions& options, Handler handler)
      : options_(options), handler_(std::move(handler)), workers_(options.name, options.worker_threads) {
    for (int i = 0; i < std::max(options.io_threads, 1); ++i) {
      loops_.push_back(std::make_shared<IoLoop>(options_.name.substr(0, 12) + "-io"));
    }
  }
  ~BeastServer() override { Stop(); }

  base::Result<uint16_t> Listen(const std::string& address, uint16_t port) override;
  void CloseListener(const std::string& address, uint16_t port) override;
  base::Status SetTls(const ServerTls& tls) override;
  void Stop() override;

 private:
  using ListenerKey = std::pair<std::string, uint16_t>;

  const ServerOptions& options() const override { return options_; }
  bool Dispatch(IoLoop& loop, std::shared_ptr<ServerRequest> request, std::shared_ptr<Responder> responder) override;
  void OnClosed() override;

  // Has every loop run `action` and waits.
  void OnEveryLoop(const std::function<void(IoLoop&)>& action);
  void OnEveryConnection(const std::function<void(Connection&)>& action);
  void StopAccepting(const std::shared_ptr<Listener>& listener);
  void WaitForConnections(int64_t grace_ms);
  void RunHandler(const ServerRequest& request, const std::shared_ptr<Responder>& responder);

  // Run by the first loop.
  void Accept(std::shared_ptr<Listener> listener);
  void OnAccepted(const std::shared_ptr<Listener>& listener, size_t loop_index, tcp::socket socket);
  void RetryAccept(std::shared_ptr<Listener> listener);

  const ServerOptions options_;
  const Handler handler_;
  base::ThreadPool workers_;
  std::vector<std::shared_ptr<IoLoop>> loops_;
  size_t next_loop_ = 0;  // Used by Accept().
  std::atomic<bool> stopping_{false};
  std::atomic<size_t> connections_{0};
  base::Gate gate_;  // Listen() and CloseListener(), which need running loops.

  base::Mutex stop_mu_;  // Held throughout Stop().
  bool stopped_ GUARDED_BY(stop_mu_) = false;

  base::Mutex mu_;
  base::CondVar closed_;  // A connection closed.
  std::map<ListenerKey, std::shared_ptr<Listener>> listeners_ GUARDED_BY(mu_);
  uint64_t next_listener_id_ GUARDED_BY(mu_) = 1;
  std::shared_ptr<asio::ssl::context> tls_ GUARDED_BY(mu_);
};

base::Result<tcp::endpoint> ParseEndpoint(const std::string& address, uint16_t port) {
  error_code error;
  auto ip = asio::ip::make_address(address, error);
  if (error) {
    return base::InvalidArgumentError("listen address \"" + address +
                                      "\" is not an IP address: write for instance 0.0.0.0 or ::");
  }
  return tcp::endpoint(ip, port);
}

base::Result<uint16_t> Bind(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  uint16_t port = error ? 0 : acceptor.local_endpoint(error).port();
  if (!error) return port;
  std::string text = "listen on " + endpoint.address().to_string() + " port " + std::to_string(endpoint.port()) + ": " +
                     error.message();
  if (error == asio::error::address_in_use) return base::AlreadyExistsError(text);
  if (error == asio::error::access_denied) return base::PermissionDeniedError(text);
  return base::UnavailableError(text);
}

// Without Nagle's delay, and with probes that find watchers whose machine vanished without a word.
void SetSocketOptions(tcp::socket& socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  constexpr std::array<std::pair<int, int>, 3> kProbes = {{{TCP_KEEPIDLE, 60}, {TCP_KEEPINTVL, 15}, {TCP_KEEPCNT, 4}}};
  for (auto [option, value] : kProbes) setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof(value));
}

base::Result<uint16_t> BeastServer::Listen(const std::string& address, uint16_t port) {
  auto pass = gate_.TryEnter();
  if (!pass.has_value()) return base::FailedPreconditionError("listen on " + address + ": the server was stopped");
  TW_ASSIGN_OR_RETURN(tcp::endpoint endpoint, ParseEndpoint(address, port));
  base::MutexLock lock(mu_);
  if (options_.tls && tls_ == nullptr) {
    return base::FailedPreconditionError("listen on " + address + ": a TLS server needs SetTls() before Listen()");
  }
  auto listener = std::make_shared<Listener>(loops_[0]->context, next_listener_id_++);
  TW_ASSIGN_OR_RETURN(uint16_t bound, Bind(listener->acceptor, endpoint));
  listeners_[{address, bound}] = listener;
  asio::post(loops_[0]->context, [this, listener] { Accept(listener); });
  return bound;
}

void BeastServer::Accept(std::shared_ptr<Listener> listener) {
  if (listener->closed) return;
  size_t index = next_loop_++ % loops_.size();
  Listener& target = *listener;
  target.acceptor.async_accept(loops_[index]->context,
                               [this, listener = std::move(listener), index](error_code error, tcp::socket socket) {
                                 if (listener->closed) return;
                                 if (error && error != asio::error::connection_aborted) return RetryAccept(listener);
                                 if (!error) OnAccepted(listener, index, std::move(socket));
                                 Accept(listener);
                               });
}

void BeastServer::RetryAccept(std::shared_ptr<Listener> listener) {
  Listener& target = *listener;
  target.back_off.expires_after(kAcceptBackOff);
  target.back_off.async_wait([this, listener = std::move(listener)](error_code) { Accept(listener); });
}

void BeastServer::OnAccepted(const std::shared_ptr<Listener>& listener, size_t loop_index, tcp::socket socket) {
  if (connections_.fetch_add(1) >= options_.max_connections) {
    OnClosed();
    error_code ignored;
    socket.non_blocking(true, ignored);
    if (!options_.tls) socket.write_some(asio::buffer(kFullReply.data(), kFullReply.size()), ignored);
    return;
  }
  SetSocketOptions(socket);
  std::shared_ptr<asio::ssl::context> tls;
  if (options_.tls) {
    base::MutexLock lock(mu_);
    tls = tls_;
  }
  auto loop = loops_[loop_index];
  ConnectionOwner& owner = *this;
  asio::post(loop->context, [&owner, loop, tls, id = listener->id, socket = std::move(socket)]() mutable {
    auto transport = tls ? NewTlsTransport(std::move(socket), *tls) : NewPlainTransport(std::move(socket));
    std::make_shared<Connection>(owner, loop, std::move(transport), id)->Start();
  });
}

void BeastServer::OnClosed() {
  if (connections_.fetch_sub(1) != 1) return;
  base::MutexLock lock(mu_);
  closed_.NotifyAll();
}

bool BeastServer::Dispatch(IoLoop& loop, std::shared_ptr<ServerRequest> request, std::shared_ptr<Responder> responder) {
  std::function<void()> task = [this, request = std::move(request), responder = std::move(responder)] {
    RunHandler(*request, responder);
  };
  if (options_.worker_threads > 1 && loop.Offer(task)) return true;
  return workers_.Submit(std::move(task));
}

void BeastServer::RunHandler(const ServerRequest& request, const std::shared_ptr<Responder>& responder) {
  if (stopping_) return responder->Reply({503, {{"Connection", "close"}}, "the server is stopping\n"});
  try {
    handler_(request, responder);
  } catch (const std::exception& error) {
    base::LogError("http", "a handler threw an exception",
                   {{"server", options_.name}, {"path", request.path}, {"error", error.what()}});
    responder->Reply({500, {}, "internal error\n"});
  }
}

base::Status BeastServer::SetTls(const ServerTls& tls) {
  TW_ASSIGN_OR_RETURN(SslContextPtr context, NewServerContext(tls));
  auto shared = std::make_shared<asio::ssl::context>(context.release());
  base::MutexLock lock(mu_);
  tls_ = std::move(shared);
  return base::Status::Ok();
}

void BeastServer::OnEveryLoop(const std::function<void(IoLoop&)>& action) {
  base::Mutex mu;
  base::CondVar ran;
  size_t left = loops_.size();
  for (const auto& loop : loops_) {
    asio::post(loop->context, [&, loop = loop.get()] {
      action(*loop);
      base::MutexLock lock(mu);
      --left;
      ran.NotifyAll();
    });
  }
  base::MutexLock lock(mu);
  while (left > 0) ran.Wait(mu);
}

void BeastServer::OnEveryConnection(const std::function<void(Connection&)>& action) {
  OnEveryLoop([&action](IoLoop& loop) {
    auto connections = loop.connections;  // Closing removes from it.
    for (const auto& connection : connections) action(*connection);
  });
}

void BeastServer::StopAccepting(const std::shared_ptr<Listener>& listener) {
  // Once this ran, every accepted socket's connection has been posted to its loop ahead of what is posted there next.
  OnEveryLoop([this, &listener](IoLoop& loop) {
    if (&loop != loops_[0].get()) return;
    listener->closed = true;
    error_code ignored;
    listener->acceptor.close(ignored);
    listener->back_off.cancel();
  });
}

void BeastServer::CloseListener(const std::string& address, uint16_t port) {
  auto pass = gate_.TryEnter();
  if (!pass.has_value()) return;
  std::shared_ptr<Listener> listener;
  {
    base::MutexLock lock(mu_);
    auto node = listeners_.extract({address, port});
    if (node.empty()) return;
    listener = std::move(node.mapped());
  }
  StopAccepting(listener);
  OnEveryConnection([id = listener->id](Connection& connection) {
    if (connection.listener_id() == id) connection.Close();
  });
}

void BeastServer::WaitForConnections(int64_t grace_ms) {
  int64_t deadline = base::MonotonicNanos() + grace_ms * 1'000'000;
  base::MutexLock lock(mu_);
  while (connections_ > 0) {
    int64_t left_ms = (deadline - base::MonotonicNanos()) / 1'000'000;
    if (left_ms <= 0) return;
    closed_.WaitFor(mu_, std::chrono::milliseconds(left_ms));
  }
}

void BeastServer::Stop() {
  base::MutexLock stop_lock(stop_mu_);
  if (std::exchange(stopped_, true)) return;
  gate_.CloseAndWait();
  stopping_ = true;
  std::map<ListenerKey, std::shared_ptr<Listener>> listeners;
  {
    base::MutexLock lock(mu_);
    listeners.swap(listeners_);
  }
  for (const auto& [key, listener] : listeners) StopAccepting(listener);
  OnEveryConnection([](Connection& connection) { connection.CloseWhenIdle(); });
  workers_.Stop();
  for (const auto& loop : loops_) loop->WaitForTask();
  OnEveryConnection([](Connection& connection) { connection.CloseUnlessWriting(); });
  WaitForConnections(kStopGraceMs);
  OnEveryConnection([](Connection& connection) { connection.Close(); });
  listeners.clear();
  for (const auto& loop : loops_) loop->Stop();
}

}  // namespace

base::Result<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, Handler handler) {
  if (!handler) return base::InvalidArgumentError("server " + options.name + ": no handler was given");
  return std::unique_ptr<Server>(std::make_unique<BeastServer>(options, std::move(handler)));
}

}  // namespace tidewright::http
