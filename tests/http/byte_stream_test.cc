#include "http/byte_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "http/server.h"
#include "http/tls.h"

namespace tidewright::http {
namespace {

using base::Code;

constexpr int64_t kPatienceMs = 60'000;

// Our own HTTP server at 127.0.0.1, as something to talk to.
class ByteStreamTest : public testing::Test {
 protected:
  void Serve(bool tls) {
    ServerOptions options;
    options.tls = tls;
    auto server = Server::Create(options, [](const ServerRequest&, std::shared_ptr<Responder> out) {
      out->Reply({200, {}, "hello"});
    });
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    if (tls) {
      const int64_t now_ms = base::SystemClock::Get().NowMs();
      auto ca = GenerateCa("test", now_ms);
      CertificateRequest request;
      request.common_name = "server";
      request.ip_addresses = {"127.0.0.1"};
      auto pair = IssueCertificate(*ca, request, now_ms);
      ASSERT_TRUE(pair.ok()) << pair.status().ToString();
      ASSERT_TRUE(server_->SetTls({pair->certificate_pem, pair->private_key_pem, "", false}).ok());
      ca_pem_ = ca->certificate_pem;
    }
    auto port = server_->Listen("127.0.0.1", 0);
    ASSERT_TRUE(port.ok()) << port.status().ToString();
    port_ = *port;
  }
  void TearDown() override {
    if (server_ != nullptr) server_->Stop();
  }

  // All that comes until the server hangs up, and how that is reported.
  static std::string Exchange(ByteStream& stream, base::Status* end) {
    EXPECT_TRUE(stream.Write("GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n", kPatienceMs).ok());
    std::string text;
    char buffer[7];
    while (true) {
      auto size = stream.Read(buffer, sizeof(buffer), kPatienceMs);
      if (!size.ok()) *end = size.status();
      if (!size.ok()) return text;
      text.append(buffer, *size);
    }
  }

  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
  std::string ca_pem_;
};

TEST_F(ByteStreamTest, SpeaksPlainAndByTls) {
  for (const bool tls : {false, true}) {
    Serve(tls);
    std::optional<ClientTls> settings;
    if (tls) settings.emplace().ca_pem = ca_pem_;
    auto stream = ByteStream::Open("127.0.0.1", port_, settings, kPatienceMs);
    ASSERT_TRUE(stream.ok()) << stream.status().ToString();
    base::Status end;
    const std::string reply = Exchange(**stream, &end);
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 200") && reply.ends_with("hello")) << reply;
    EXPECT_EQ(end.code(), Code::kUnavailable) << end.ToString();
    server_->Stop();
  }
}

TEST_F(ByteStreamTest, WaitsNoLongerThanItIsTold) {
  Serve(/*tls=*/false);
  auto stream = ByteStream::Open("127.0.0.1", port_, std::nullopt, kPatienceMs);
  ASSERT_TRUE(stream.ok()) << stream.status().ToString();
  EXPECT_TRUE((*stream)->Idle());
  char byte = 0;
  EXPECT_EQ((*stream)->Read(&byte, 1, 20).status().code(), Code::kDeadlineExceeded);
}

TEST_F(ByteStreamTest, TrustsNobodyElse) {
  Serve(/*tls=*/true);
  ClientTls right, half, careless;
  right.ca_pem = ca_pem_;
  half.certificate_pem = ca_pem_;
  careless.insecure_skip_verify = true;
  struct {
    const char* name;
    const char* host;
    ClientTls tls;
    Code code;
  } rows[] = {
      {"right", "127.0.0.1", right, Code::kOk},
      {"careless", "127.0.0.1", careless, Code::kOk},
      {"another authority", "127.0.0.1", ClientTls(), Code::kUnauthenticated},
      {"another name", "localhost", right, Code::kUnauthenticated},
      {"half a certificate", "127.0.0.1", half, Code::kInvalidArgument},
      {"a user in the host", "user@127.0.0.1", right, Code::kInvalidArgument},
      {"a path in the host", "127.0.0.1/x", right, Code::kInvalidArgument},
      {"a line end in the host", "127.0.0.1\r\n", right, Code::kInvalidArgument},
      {"no host", "", right, Code::kInvalidArgument},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ByteStream::Open(row.host, port_, row.tls, kPatienceMs).status().code(), row.code) << row.name;
  }
  server_->Stop();
  EXPECT_EQ(ByteStream::Open("127.0.0.1", port_, right, kPatienceMs).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace tidewright::http
