#include "http/transport.h"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace tidewright::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  void Handshake(IoDone done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done(error_code(), 0); });
  }
  void Read(asio::mutable_buffer into, IoDone done) override { socket_.async_read_some(into, std::move(done)); }
  void Write(const std::array<asio::const_buffer, 2>& pieces, IoDone done) override {
    asio::async_write(socket_, pieces, std::move(done));
  }
  void Shutdown(IoDone done) override {
    error_code error;
    socket_.shutdown(tcp::socket::shutdown_send, error);
    asio::post(socket_.get_executor(), [done = std::move(done), error] { done(error, 0); });
  }
  tcp::socket& socket() override { return socket_; }
  SSL* ssl() override { return nullptr; }

 private:
  tcp::socket socket_;
};

class TlsTransport : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  void Handshake(IoDone done) override {
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [done = std::move(done)](error_code error) { done(error, 0); });
  }
  void Read(asio::mutable_buffer into, IoDone done) override { stream_.async_read_some(into, std::move(done)); }
  void Write(const std::array<asio::const_buffer, 2>& pieces, IoDone done) override {
    asio::async_write(stream_, pieces, std::move(done));
  }
  void Shutdown(IoDone done) override {
    stream_.async_shutdown([this, done = std::move(done)](error_code) {
      error_code error;
      socket().shutdown(tcp::socket::shutdown_send, error);
      done(error, 0);
    });
  }
  tcp::socket& socket() override { return stream_.next_layer(); }
  SSL* ssl() override { return stream_.native_handle(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<Transport> NewPlainTransport(tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

std::unique_ptr<Transport> NewTlsTransport(tcp::socket socket, asio::ssl::context& context) {
  return std::make_unique<TlsTransport>(std::move(socket), context);
}

}  // namespace tidewright::http
