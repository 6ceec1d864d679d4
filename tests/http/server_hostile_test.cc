// What an unauthenticated client may do to the server: every row must end in a refusal, and the server must go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "base/clock.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"

namespace tidewright::http {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class HostileTest : public testing::Test {
 protected:
  void Serve(ServerOptions options = {}) {
    server_ = *Server::Create(options, [this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
      ++calls_;
      responder->Reply({200, {}, request.path});
    });
    if (options.tls) {
      KeyPair ca = *GenerateCa("ca", base::SystemClock::Get().NowMs());
      CertificateRequest request;
      request.common_name = "server";
      request.ip_addresses = {"127.0.0.1"};
      KeyPair pair = *IssueCertificate(ca, request, base::SystemClock::Get().NowMs());
      ASSERT_TRUE(server_->SetTls({pair.certificate_pem, pair.private_key_pem, "", false}).ok());
      ca_pem_ = ca.certificate_pem;
    }
    port_ = *server_->Listen("127.0.0.1", 0);
  }
  static ServerOptions ShortTimeouts() {
    ServerOptions options;
    options.request_timeout_ms = 100;
    options.idle_timeout_ms = 100;
    options.write_timeout_ms = 100;
    return options;
  }
  void ExpectAlive() {
    ClientOptions options;
    options.tls.ca_pem = ca_pem_;
    ClientRequest request;
    request.url = (ca_pem_.empty() ? "http" : "https") + std::string("://127.0.0.1:") + std::to_string(port_) + "/ok";
    auto client = *NewCurlClient(options);
    base::Result<Response> response = base::InternalError("not asked yet");
    // With ShortTimeouts(), a client that did not get its turn on a busy machine is dropped like a silent one.
    EXPECT_TRUE(Eventually([&] {
      response = client->Send(request);
      return response.ok();
    }));
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->body, "/ok");
  }

  std::atomic<int> calls_ = 0;
  std::string ca_pem_;
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
};

struct MalformedCase {
  std::string name;
  std::string request;
  std::string want;  // The reply's beginning.
};
void PrintTo(const MalformedCase& c, std::ostream* os) { *os << c.name; }
class MalformedTest : public HostileTest, public testing::WithParamInterface<MalformedCase> {};

MalformedCase Post(const std::string& name, const std::string& headers, const std::string& body = "") {
  return {name, "POST / HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n" + body, "HTTP/1.1 400"};
}
MalformedCase Target(const std::string& name, const std::string& target) {
  return {name, "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400"};
}

INSTANTIATE_TEST_SUITE_P(
    Table, MalformedTest,
    testing::Values(
        Post("ChunkMinusOne", "Transfer-Encoding: chunked\r\n", "-1\r\nx"),
        Post("ChunkHuge", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nx"),
        Post("ChunkNotHex", "Transfer-Encoding: chunked\r\n", "zz\r\nx"),
        Post("ChunkLineEndless", "Transfer-Encoding: chunked\r\n", std::string(64 << 10, '1')),
        Post("ChunkWithoutLineEnd", "Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n"),
        Post("TransferEncodingAndLength", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
        Post("LengthAndTransferEncoding", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        Post("TransferEncodingUnknown", "Transfer-Encoding: xchunkedx\r\n"),
        Post("TransferEncodingList", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        Post("TransferEncodingTwice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        Post("TransferEncodingIdentity", "Transfer-Encoding: identity\r\nContent-Length: 1\r\n", "x"),
        MalformedCase{"TransferEncodingInHttp10",
                      "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400"},
        Post("LengthTwice", "Content-Length: 1\r\nContent-Length: 1\r\n", "x"),
        Post("LengthTwiceDifferent", "Content-Length: 1\r\nContent-Length: 2\r\n", "xx"),
        Post("LengthList", "Content-Length: 1, 1\r\n", "x"), Post("LengthNegative", "Content-Length: -1\r\n"),
        Post("LengthSigned", "Content-Length: +1\r\n", "x"), Post("LengthText", "Content-Length: 4zz\r\n"),
        Post("LengthOverflow", "Content-Length: 99999999999999999999\r\n"),
        Post("SpaceBeforeColon", "Content-Length : 4\r\n"), Post("ControlInName", "X\x01: 4\r\n"),
        Post("NulInValue", std::string("X: a\0b\r\n", 8)), Post("BareLineFeed", "X: a\nY: b\r\n"),
        MalformedCase{"MissingHost", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        MalformedCase{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400"},
        MalformedCase{"HostWithSpace", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "HTTP/1.1 400"},
        MalformedCase{"HostWithUser", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "HTTP/1.1 400"},
        MalformedCase{"Version9", "GET / HTTP/9.9\r\nHost: h\r\n\r\n", "HTTP/1.1 505"},
        MalformedCase{"Http09", "GET /\r\n", "HTTP/1.1 400"},
        MalformedCase{"NoMethod", " / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400"},
        MalformedCase{"TlsHello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), "HTTP/1.1 400"},
        MalformedCase{"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505"},
        MalformedCase{"UnknownExpectation", "GET / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", "HTTP/1.1 417"},
        MalformedCase{"EndlessRequestLine", "GET /" + std::string(64 << 10, 'a'), "HTTP/1.1 431"},
        MalformedCase{"EndlessHeaderLine", "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(64 << 10, 'a'),
                      "HTTP/1.1 431"},
        MalformedCase{"EndlessHeaders",
                      "GET / HTTP/1.1\r\nHost: h\r\n" +
                          [] {
                            std::string lines;
                            for (int i = 0; i < 4000; ++i) lines += "X-" + std::to_string(i) + ": value\r\n";
                            return lines;
                          }(),
                      "HTTP/1.1 431"},
        MalformedCase{"LengthBeyondLimit", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n",
                      "HTTP/1.1 413"},
        Target("BadEscape", "/%zz"), Target("CutEscape", "/%4"), Target("NulInPath", "/a%00b"),
        Target("NotUtf8", "/%ff"), Target("DotDot", "/a/../b"), Target("EncodedDotDot", "/a/%2e%2E/b"),
        Target("Dot", "/./a"), Target("Relative", "a/b"), Target("Star", "*"), Target("Fragment", "/a#b"),
        Target("BadQueryEscape", "/a?b=%q"), Target("AuthorityForm", "host:443")),
    [](const auto& row) { return row.param.name; });

TEST_P(MalformedTest, IsRefusedWithoutReachingTheHandler) {
  Serve();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send(GetParam().request);
  std::string reply = socket.ReadToEnd();
  EXPECT_THAT(reply, StartsWith(GetParam().want));
  EXPECT_THAT(reply, HasSubstr("Connection: close"));
  EXPECT_EQ(calls_, 0);
  ExpectAlive();
}

TEST_F(HostileTest, EndlessChunkedBodyIsRefusedEarly) {
  Serve();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "100000\r\n" + std::string(1 << 20, 'x') + "\r\n";
  int sent = 0;
  while (sent < 600 && socket.Send(chunk)) ++sent;
  EXPECT_LT(sent, 100) << "MiB were taken";
  ExpectAlive();
}

TEST_F(HostileTest, TooLongBodyIsToldSo) {
  Serve();
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(port_) + "/";
  request.method = "POST";
  request.body.assign(5'000'000, 'x');
  auto response = (*NewCurlClient({}))->Send(request);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->status, 413);
}

TEST_F(HostileTest, SmugglingThroughTabsAndOtherBytesFails) {
  Serve();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("POST /one HTTP/1.1\r\nHost: h\r\nX-A: a\tb\xc3\xa9\r\n");
  socket.Send("Content-Length: 35\r\n\r\nGET /two HTTP/1.1\r\nHost: smuggled\r\n");
  EXPECT_THAT(socket.ReadUntil("/one"), HasSubstr("/one"));
  socket.CloseWrite();
  EXPECT_EQ(socket.ReadToEnd(), "");
  EXPECT_EQ(calls_, 1);
}

TEST_F(HostileTest, SilentAndSlowClientsAreDropped) {
  Serve(ShortTimeouts());
  RawSocket silent = RawSocket::Connect(port_);
  RawSocket partial = RawSocket::Connect(port_);
  partial.Send("GET / HTTP/1.1\r\nHo");
  RawSocket body = RawSocket::Connect(port_);
  body.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  RawSocket idle = RawSocket::Connect(port_);
  idle.Send("GET /idle HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.ReadUntil("/idle");
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_THAT(partial.ReadToEnd(), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(body.ReadToEnd(), StartsWith("HTTP/1.1 408"));
  EXPECT_TRUE(idle.WaitForClose());
  ExpectAlive();
}

TEST_F(HostileTest, DrippingClientIsDroppedAlthoughItNeverFallsSilent) {
  Serve(ShortTimeouts());
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET / HTTP/1.1\r\nHost: h\r\n");
  EXPECT_TRUE(Eventually([&] { return !socket.Send("X: y\r\n"); }));
  ExpectAlive();
}

TEST_F(HostileTest, ClientThatDoesNotReadIsDropped) {
  ServerOptions options = ShortTimeouts();
  std::atomic<int> done = 0;
  server_ = *Server::Create(options, [&](const ServerRequest&, std::shared_ptr<Responder> responder) {
    responder->Reply({200, {}, std::string(64 << 20, 'x')});
    ++done;
  });
  port_ = *server_->Listen("127.0.0.1", 0);
  size_t before = OpenDescriptors();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return done == 1; }));
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() == before + 1; })) << "the server's end stays open";
  server_->Stop();
}

TEST_F(HostileTest, TlsProbesLeakNoDescriptors) {
  ServerOptions options;
  options.tls = true;
  Serve(options);
  ExpectAlive();
  size_t before = OpenDescriptors();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(RawSocket::Connect(port_).ok());
  for (int i = 0; i < 20; ++i) {
    RawSocket socket = RawSocket::Connect(port_);
    socket.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");  // Plain text to the TLS port.
    EXPECT_TRUE(socket.WaitForClose());
  }
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; })) << OpenDescriptors() << " > " << before;
  ExpectAlive();
}

TEST_F(HostileTest, SilentTlsHandshakeIsDropped) {
  ServerOptions options = ShortTimeouts();
  options.tls = true;
  options.request_timeout_ms = 1000;
  Serve(options);
  RawSocket socket = RawSocket::Connect(port_);
  EXPECT_TRUE(socket.WaitForClose());
  ExpectAlive();
}

TEST_F(HostileTest, ConnectionLimit) {
  ServerOptions options;
  options.max_connections = 10;
  Serve(options);
  std::vector<RawSocket> sockets;
  for (int i = 0; i < 10; ++i) {
    sockets.push_back(RawSocket::Connect(port_));
    sockets.back().Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    sockets.back().ReadUntil("/x");
  }
  RawSocket excess = RawSocket::Connect(port_);
  EXPECT_THAT(excess.ReadToEnd(), StartsWith("HTTP/1.1 503"));
  sockets.clear();
  EXPECT_TRUE(Eventually([&] {
    RawSocket socket = RawSocket::Connect(port_);
    socket.Send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    return socket.ReadToEnd().find("200 OK") != std::string::npos;
  }));
}

TEST_F(HostileTest, OutOfDescriptorsDoesNotSpinAndRecovers) {
  Serve();
  rlimit original = {};
  getrlimit(RLIMIT_NOFILE, &original);
  std::vector<RawSocket> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(RawSocket(socket(AF_INET, SOCK_STREAM, 0)));
  rlimit tight = original;
  tight.rlim_cur = static_cast<rlim_t>(clients.back().fd()) + 1;
  setrlimit(RLIMIT_NOFILE, &tight);
  std::vector<RawSocket> fillers;  // Takes the free numbers below the limit.
  for (int fd = 0; (fd = dup(clients[0].fd())) >= 0;) fillers.push_back(RawSocket(fd));
  rusage start = {}, end = {};
  getrusage(RUSAGE_SELF, &start);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // A descriptor that something else closes meanwhile lets the server take one more client.
  std::vector<RawSocket*> waiting;
  for (RawSocket& client : clients) {
    ASSERT_EQ(connect(client.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    client.Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    timeval wait = {0, 400'000};
    if (waiting.empty()) setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (!waiting.empty() || client.ReadUntil("/x").empty()) waiting.push_back(&client);
  }
  EXPECT_FALSE(waiting.empty()) << "nobody could accept";
  getrusage(RUSAGE_SELF, &end);
  setrlimit(RLIMIT_NOFILE, &original);
  fillers.clear();
  int64_t cpu_us =
      (end.ru_utime.tv_sec - start.ru_utime.tv_sec + end.ru_stime.tv_sec - start.ru_stime.tv_sec) * 1'000'000 +
      (end.ru_utime.tv_usec - start.ru_utime.tv_usec + end.ru_stime.tv_usec - start.ru_stime.tv_usec);
  EXPECT_LT(cpu_us, 200'000) << "of 400,000 us";
  for (RawSocket* client : waiting) EXPECT_THAT(client->ReadUntil("/x"), HasSubstr("/x"));
}

}  // namespace
}  // namespace tidewright::http
