#include "tests/bench/tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "http/openssl_ptr.h"

namespace tidewright::testing {
namespace {

using SslPtr = std::unique_ptr<SSL, http::OpensslDeleter<SSL_free>>;

http::SslContextPtr NewContext(const TlsIdentity& identity) {
  http::SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!http::TrustExactly(context.get(), identity.ca).ok() ||
      !http::UseCertificate(context.get(), identity.certificate, identity.key).ok()) {
    return nullptr;
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_read_ahead(context.get(), 1);  // A record with one call of the kernel.
  return context;
}

int OpenSocket(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

struct TlsClient::Connection {
  ~Connection() {
    if (fd >= 0) close(fd);
  }
  // The number of bytes read; 0 at the end and for failures.
  size_t Read(char* into, size_t most) {
    const int count = SSL_read(ssl.get(), into, static_cast<int>(most));
    return count > 0 ? static_cast<size_t>(count) : 0;
  }

  int fd = -1;
  http::SslContextPtr context;
  SslPtr ssl;
  std::vector<char> buffer = std::vector<char>(64 << 10);
};

TlsClient::TlsClient(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
TlsClient::~TlsClient() = default;

std::unique_ptr<TlsClient> TlsClient::Connect(uint16_t port, const TlsIdentity& identity) {
  auto connection = std::make_unique<Connection>();
  connection->context = NewContext(identity);
  connection->fd = OpenSocket(port);
  if (connection->context == nullptr || connection->fd < 0) return nullptr;
  connection->ssl.reset(SSL_new(connection->context.get()));
  SSL_set_fd(connection->ssl.get(), connection->fd);
  SSL_set1_host(connection->ssl.get(), identity.server_name.c_str());
  SSL_set_tlsext_host_name(connection->ssl.get(), identity.server_name.c_str());
  if (SSL_connect(connection->ssl.get()) != 1) return nullptr;
  return std::unique_ptr<TlsClient>(new TlsClient(std::move(connection)));
}

TlsClient::Answer TlsClient::Get(const std::string& path, const std::string& headers) {
  constexpr char kLength[] = "Content-Length: ";
  Answer answer;
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
  if (SSL_write(connection_->ssl.get(), request.data(), static_cast<int>(request.size())) <= 0) return answer;
  std::vector<char>& buffer = connection_->buffer;
  size_t end = std::string::npos;
  while (end == std::string::npos) {
    const size_t count = connection_->Read(buffer.data(), buffer.size());
    if (count == 0) return answer;
    answer.text.append(buffer.data(), count);
    end = answer.text.find("\r\n\r\n");
  }
  const size_t length = answer.text.find(kLength);
  if (length > end) return answer;
  answer.bytes = std::strtoul(answer.text.c_str() + length + sizeof(kLength) - 1, nullptr, 10);
  for (size_t got = answer.text.size() - end - 4; got < answer.bytes;) {
    const size_t count = connection_->Read(buffer.data(), buffer.size());
    if (count == 0) return answer;
    got += count;
  }
  answer.status = std::atoi(answer.text.c_str() + sizeof("HTTP/1.1"));
  return answer;
}

}  // namespace tidewright::testing
