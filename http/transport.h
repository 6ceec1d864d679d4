// A connection's byte stream, plain or TLS, for server_beast.cc: one type, so that the code above it is compiled once.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>

namespace tidewright::http {

// Runs on the thread of the socket's io_context when an operation ended. At most one Read and one Write at a time.
using IoDone = std::function<void(boost::system::error_code error, size_t bytes)>;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void Handshake(IoDone done) = 0;  // Plain: succeeds.
  virtual void Read(boost::asio::mutable_buffer into, IoDone done) = 0;
  virtual void Write(const std::array<boost::asio::const_buffer, 2>& pieces, IoDone done) = 0;  // All of them.
  virtual void Shutdown(IoDone done) = 0;  // Says to the peer that nothing follows: close_notify, FIN.
  virtual boost::asio::ip::tcp::socket& socket() = 0;
  virtual SSL* ssl() = 0;  // Null for plain.
};

std::unique_ptr<Transport> NewPlainTransport(boost::asio::ip::tcp::socket socket);
std::unique_ptr<Transport> NewTlsTransport(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& context);

}  // namespace tidewright::http
