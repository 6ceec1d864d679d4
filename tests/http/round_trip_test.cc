// Both clients against the real server, over plain TCP and TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <map>
#include <thread>

#include "base/clock.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"

namespace tidewright::http {
namespace {

using base::Code;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

int64_t Now() { return base::SystemClock::Get().NowMs(); }

// One set of certificates for all tests: generating keys is the slow part.
struct Pki {
  KeyPair ca, other_ca, server, rotated, client, other_client;
};

KeyPair Issue(const KeyPair& ca, const std::string& name, bool client) {
  CertificateRequest request;
  request.common_name = name;
  request.client = client;
  if (client) {
    request.organizations = {"system:masters", "ops"};
  } else {
    request.dns_names = {"localhost", "api.example"};
    request.ip_addresses = {"127.0.0.1"};
  }
  return *IssueCertificate(ca, request, Now());
}

const Pki& GetPki() {
  static const Pki& pki = *[] {
    auto* made = new Pki;
    made->ca = *GenerateCa("test ca", Now());
    made->other_ca = *GenerateCa("other ca", Now());
    made->server = Issue(made->ca, "server", false);
    made->rotated = Issue(made->other_ca, "rotated", false);
    made->client = Issue(made->ca, "front-proxy", true);
    made->other_client = Issue(made->other_ca, "stranger", true);
    return made;
  }();
  return pki;
}

// What handlers saw and kept. Outlives the server, as handlers may.
class Seen {
 public:
  void Keep(std::shared_ptr<Responder> responder) {
    base::MutexLock lock(mu_);
    kept_.push_back(std::move(responder));
    ++calls_;
  }
  // Starts a stream with a first piece.
  void Start(Responder& responder, const std::string& piece) {
    auto stream = responder.StartStream(200, {{"Content-Type", "application/json"}});
    if (!piece.empty()) stream->Write(piece);
    base::MutexLock lock(mu_);
    stream_ = std::move(stream);
    ++calls_;
  }
  void Note(const ServerRequest& request) {
    base::MutexLock lock(mu_);
    last_ = request;
    ++peers_[request.peer.address];
    ++calls_;
  }
  int calls() const {
    base::MutexLock lock(mu_);
    return calls_;
  }
  size_t connections() const {
    base::MutexLock lock(mu_);
    return peers_.size();
  }
  ServerRequest last() const {
    base::MutexLock lock(mu_);
    return last_;
  }
  // Waits for the handler to have started it.
  std::shared_ptr<ResponseStream> stream() const {
    std::shared_ptr<ResponseStream> stream;
    Eventually([&] {
      base::MutexLock lock(mu_);
      stream = stream_;
      return stream != nullptr;
    });
    return stream;
  }

 private:
  mutable base::Mutex mu_;
  std::vector<std::shared_ptr<Responder>> kept_ GUARDED_BY(mu_);
  std::shared_ptr<ResponseStream> stream_ GUARDED_BY(mu_);
  std::map<std::string, int> peers_ GUARDED_BY(mu_);
  ServerRequest last_ GUARDED_BY(mu_);
  int calls_ GUARDED_BY(mu_) = 0;
};

enum class Kind { kCurl, kCpprest };

class RoundTripTest : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Client> NewClient(const ClientOptions& options = {}) {
    auto client = GetParam() == Kind::kCurl ? NewCurlClient(options) : NewCpprestClient(options);
    EXPECT_TRUE(client.ok()) << client.status().ToString();
    return *std::move(client);
  }

  // Starts the server with `handler`; "port_" is where it listens.
  void Serve(Handler handler, ServerOptions options = {}) {
    server_ = *Server::Create(options, std::move(handler));
    port_ = *server_->Listen("127.0.0.1", 0);
  }
  void ServeTls(const ServerTls& tls, Handler handler) {
    ServerOptions options;
    options.tls = true;
    server_ = *Server::Create(options, std::move(handler));
    ASSERT_TRUE(server_->SetTls(tls).ok());
    port_ = *server_->Listen("127.0.0.1", 0);
  }

  ClientRequest Get(const std::string& path = "/") {
    ClientRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(port_) + path;
    return request;
  }
  ClientRequest GetTls(const std::string& host = "127.0.0.1") {
    ClientRequest request;
    request.url = "https://" + host + ":" + std::to_string(port_) + "/";
    return request;
  }

  Handler KeepUnanswered() {
    return [this](const ServerRequest&, std::shared_ptr<Responder> responder) { seen_.Keep(std::move(responder)); };
  }
  Handler StartStream(const std::string& piece) {
    return
        [this, piece](const ServerRequest&, std::shared_ptr<Responder> responder) { seen_.Start(*responder, piece); };
  }
  Handler NoteAndAnswer() {
    return [this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
      seen_.Note(request);
      responder->Reply({200, {}, request.body});
    };
  }

  Seen seen_;
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Clients, RoundTripTest, testing::Values(Kind::kCurl, Kind::kCpprest),
                         [](const auto& row) { return row.param == Kind::kCurl ? "Curl" : "Cpprest"; });

Handler Echo() {
  return [](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    Response response;
    response.headers = {{"X-Method", request.method},
                        {"X-Path", request.path},
                        {"X-Query", QueryValue(request.query, "q")},
                        {"X-Header", request.headers.Get("X-Sent")},
                        {"X-Auth", request.headers.Get("Authorization")},
                        {"X-Type", request.headers.Get("Content-Type")},
                        {"X-Agent", request.headers.Get("User-Agent")},
                        {"X-Local", request.local_address}};
    response.body = request.body;
    responder->Reply(std::move(response));
  };
}

TEST_P(RoundTripTest, CarriesMethodPathQueryHeadersAndBody) {
  Serve(Echo());
  auto client = NewClient();
  for (const char* method : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    ClientRequest request = Get("/a%20b/c?q=1%202%2B3");
    request.method = method;
    request.headers = {{"X-Sent", "value"}, {"Content-Type", "application/json"}};
    bool has_body = std::string(method) != "GET";
    if (has_body) request.body = "{\"x\":1}";
    auto response = client->Send(request);
    ASSERT_TRUE(response.ok()) << method << response.status().ToString();
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->headers.Get("X-Method"), method);
    EXPECT_EQ(response->headers.Get("X-Path"), "/a b/c");
    EXPECT_EQ(response->headers.Get("X-Query"), "1 2+3");
    EXPECT_EQ(response->headers.Get("X-Header"), "value");
    EXPECT_EQ(response->headers.Get("X-Type"), "application/json");
    EXPECT_EQ(response->headers.Get("X-Agent"), "tidewright");
    EXPECT_EQ(response->headers.Get("X-Local"), "127.0.0.1:" + std::to_string(port_));
    EXPECT_EQ(response->body, request.body);
  }
}

TEST_P(RoundTripTest, HeadHasTheLengthButNoBody) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) { responder->Reply({200, {}, "12345"}); });
  auto client = NewClient();
  ClientRequest request = Get();
  request.method = "HEAD";
  for (int i = 0; i < 2; ++i) {  // A body would be taken for the second reply.
    auto response = client->Send(request);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->headers.Get("Content-Length"), "5");
    EXPECT_EQ(response->body, "");
  }
}

TEST_P(RoundTripTest, UserInfoBecomesBasicAuthorization) {
  Serve(Echo());
  auto client = NewClient();
  ClientRequest request = Get();
  request.url = "http://user:p%40ss@127.0.0.1:" + std::to_string(port_) + "/";
  auto response = client->Send(request);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->headers.Get("X-Auth"), "Basic " + base::Base64Encode("user:p@ss"));
}

TEST_P(RoundTripTest, ErrorStatusesAreReplies) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) { responder->Reply({503, {}, "later"}); });
  auto response = NewClient()->Send(Get());
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 503);
  EXPECT_EQ(response->body, "later");
}

TEST_P(RoundTripTest, ConnectionsAreKept) {
  Serve(NoteAndAnswer());
  auto client = NewClient();
  // cpprestsdk keeps a connection shortly after it delivered the reply: the next request may come too early for it.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_TRUE(client->Send(Get()).ok());
    return static_cast<size_t>(seen_.calls()) > seen_.connections();
  }));
}

TEST_P(RoundTripTest, LargeBodiesBothWaysAndGzip) {
  Serve(NoteAndAnswer());
  auto client = NewClient();
  ClientRequest request = Get();
  request.method = "POST";
  for (int i = 0; i < 200'000; ++i) request.body += "line " + std::to_string(i) + "\n";
  for (bool gzip : {false, true}) {
    request.accept_gzip = gzip;
    auto response = client->Send(request);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_TRUE(response->body == request.body) << "gzip " << gzip;
    EXPECT_EQ(seen_.last().headers.Get("Accept-Encoding").find("gzip") != std::string::npos, gzip);
  }
}

TEST_P(RoundTripTest, BodyLimitHolds) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) {
    responder->Reply({200, {}, std::string(100'000, 'x')});
  });
  auto client = NewClient();
  for (bool gzip : {false, true}) {
    ClientRequest request = Get();
    request.accept_gzip = gzip;
    request.max_body_bytes = 99'999;
    auto response = client->Send(request);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.status().code(), Code::kResourceExhausted) << response.status().ToString();
    request.max_body_bytes = 100'000;
    EXPECT_TRUE(client->Send(request).ok());
  }
}

TEST_P(RoundTripTest, ManyAtOnce) {
  Serve(Echo());
  auto client = NewClient();
  std::atomic<int> good = 0, ended = 0;
  constexpr int kRequests = 200;
  for (int i = 0; i < kRequests; ++i) {
    ClientRequest request = Get();
    request.method = "POST";
    request.body = std::to_string(i);
    client->SendAsync(request, [&, i](base::Result<Response> response) {
      if (response.ok() && response->body == std::to_string(i)) ++good;
      ++ended;
    });
  }
  EXPECT_TRUE(Eventually([&] { return ended == kRequests; }));
  EXPECT_EQ(good, kRequests);
}

TEST_P(RoundTripTest, StreamsPiecesAsTheyAreWritten) {
  Serve(StartStream(""));
  auto client = NewClient();
  int status = 0;
  std::string type;
  std::vector<std::string> pieces;
  StreamHandler handler;
  handler.on_headers = [&](int code, const Headers& headers) {
    status = code;
    type = headers.Get("Content-Type");
    seen_.stream()->Write("first\n");
    return base::Status::Ok();
  };
  // Each piece is written only after the one before arrived: nothing may be held back.
  handler.on_data = [&](std::string_view data) {
    pieces.emplace_back(data);
    if (pieces.size() == 3) {
      seen_.stream()->End();
    } else {
      seen_.stream()->Write(pieces.size() == 1 ? "second\n" : "third\n");
    }
    return base::Status::Ok();
  };
  base::Status ended = client->Stream(Get(), handler);
  EXPECT_TRUE(ended.ok()) << ended.ToString();
  EXPECT_EQ(status, 200);
  EXPECT_EQ(type, "application/json");
  EXPECT_THAT(pieces, ElementsAre("first\n", "second\n", "third\n"));
}

TEST_P(RoundTripTest, HandlerEndsTheStream) {
  Serve(StartStream("bad line"));
  StreamHandler handler;
  handler.on_data = [](std::string_view) { return base::DataLossError("not JSON"); };
  base::Status status = NewClient()->Stream(Get(), handler);
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("not JSON"));
  // The server notices although it has nothing to send.
  EXPECT_TRUE(Eventually([&] { return seen_.stream()->closed(); }));
}

TEST_P(RoundTripTest, StreamLongerThanAnyBuffer) {
  constexpr int kPieces = 3000;
  const std::string piece(10'000, 'p');
  Serve(
      [&](const ServerRequest&, std::shared_ptr<Responder> responder) {
        auto stream = responder->StartStream(200, {});
        for (int i = 0; i < kPieces; ++i) stream->Write(piece);
      },
      [] {
        ServerOptions options;
        options.max_stream_queue_bytes = 64u << 20;
        return options;
      }());
  size_t received = 0;
  StreamHandler handler;
  handler.on_data = [&](std::string_view data) {
    received += data.size();
    return base::Status::Ok();
  };
  base::Status status = NewClient()->Stream(Get(), handler);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(received, kPieces * piece.size());
}

TEST_P(RoundTripTest, CancelFromAnotherThread) {
  Serve(KeepUnanswered());
  auto client = NewClient();
  CancelToken cancel;
  std::thread canceller([&] {
    Eventually([&] { return seen_.calls() > 0; });
    cancel.Cancel();
  });
  ClientRequest request = Get();
  request.total_timeout_ms = 0;
  auto response = client->Send(request, &cancel);
  canceller.join();
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.status().code(), Code::kCancelled) << response.status().ToString();
  EXPECT_EQ(client->Send(request, &cancel).status().code(), Code::kCancelled) << "a cancelled token stays cancelled";
}

TEST_P(RoundTripTest, CancelWhileStreaming) {
  Serve(StartStream("x"));
  auto client = NewClient();
  CancelToken cancel;
  std::atomic<bool> got_data = false;
  StreamHandler handler;
  handler.on_data = [&](std::string_view) {
    got_data = true;
    return base::Status::Ok();
  };
  std::thread canceller([&] {
    Eventually([&] { return got_data.load(); });
    cancel.Cancel();
  });
  ClientRequest request = Get();
  request.total_timeout_ms = 0;
  base::Status status = client->Stream(request, handler, &cancel);
  canceller.join();
  EXPECT_EQ(status.code(), Code::kCancelled) << status.ToString();
  EXPECT_TRUE(Eventually([&] { return seen_.stream()->closed(); }));
}

TEST_P(RoundTripTest, TotalTimeout) {
  Serve(KeepUnanswered());
  ClientRequest request = Get();
  request.total_timeout_ms = 50;
  auto response = NewClient()->Send(request);
  EXPECT_EQ(response.status().code(), Code::kDeadlineExceeded) << response.status().ToString();
}

TEST_P(RoundTripTest, IdleTimeoutEndsASilentStream) {
  Serve(StartStream("x"));
  ClientRequest request = Get();
  request.total_timeout_ms = 0;
  request.idle_timeout_ms = 100;
  base::Status status = NewClient()->Stream(request, {});
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded) << status.ToString();
}

TEST_P(RoundTripTest, BlackholedConnect) {
  Blackhole hole;
  port_ = hole.port();
  ClientRequest request = Get();
  request.connect_timeout_ms = 100;
  request.total_timeout_ms = 200;
  auto response = NewClient()->Send(request);
  EXPECT_EQ(response.status().code(), Code::kDeadlineExceeded) << response.status().ToString();
}

TEST_P(RoundTripTest, RefusedConnection) {
  Serve(Echo());
  server_->Stop();
  auto response = NewClient()->Send(Get("/path?token=secret"));
  EXPECT_EQ(response.status().code(), Code::kUnavailable) << response.status().ToString();
  EXPECT_THAT(response.status().message(), HasSubstr("/path"));
  EXPECT_THAT(response.status().message(), Not(HasSubstr("secret")));
}

TEST_P(RoundTripTest, InvalidRequestsAreNotSent) {
  Serve(NoteAndAnswer());
  auto client = NewClient();
  ClientRequest injected = Get();
  injected.headers = {{"X-A", "v\r\nX-Injected: yes"}};
  ClientRequest nul = Get();
  nul.headers = {{"Authorization", std::string("Bearer secret\0x", 15)}};
  ClientRequest name = Get();
  name.headers = {{"X A", "v"}};
  ClientRequest method = Get();
  method.method = "GET /x HTTP/1.1\r\n";
  ClientRequest url = Get();
  url.url = "ftp://127.0.0.1/";
  for (const ClientRequest& request : {injected, nul, name, method, url}) {
    base::Status status = client->Send(request).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.ToString();
    EXPECT_THAT(status.message(), Not(HasSubstr("secret")));
  }
  EXPECT_EQ(seen_.calls(), 0);
}

TEST_P(RoundTripTest, DestructionEndsEverythingOnce) {
  Serve(KeepUnanswered());
  std::atomic<int> cancelled = 0, other = 0;
  auto client = NewClient();
  constexpr int kRequests = 20;
  for (int i = 0; i < kRequests; ++i) {
    client->SendAsync(Get(), [&](base::Result<Response> response) {
      ++(response.status().code() == Code::kCancelled ? cancelled : other);
    });
  }
  client.reset();
  EXPECT_EQ(cancelled, kRequests);
  EXPECT_EQ(other, 0);
}

// A bare root may have no /etc/hosts.
bool ResolvesLocalhost() {
  addrinfo* found = nullptr;
  bool resolves = ::getaddrinfo("localhost", nullptr, nullptr, &found) == 0;
  if (resolves) ::freeaddrinfo(found);
  return resolves;
}

TEST_P(RoundTripTest, TlsWithThePrivateCaOnly) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem, "", false}, Echo());
  ClientOptions right;
  right.tls.ca_pem = pki.ca.certificate_pem;
  auto response = NewClient(right)->Send(GetTls());
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  if (ResolvesLocalhost()) {
    auto by_name = NewClient(right)->Send(GetTls("localhost"));
    ASSERT_TRUE(by_name.ok()) << by_name.status().ToString();
    EXPECT_EQ(by_name->status, 200);
  }

  ClientOptions wrong;
  wrong.tls.ca_pem = pki.other_ca.certificate_pem;
  EXPECT_EQ(NewClient(wrong)->Send(GetTls()).status().code(), Code::kUnauthenticated);
  EXPECT_EQ(NewClient()->Send(GetTls()).status().code(), Code::kUnauthenticated) << "the system's CAs";

  ClientOptions insecure;
  insecure.tls.insecure_skip_verify = true;
  EXPECT_TRUE(NewClient(insecure)->Send(GetTls()).ok());
}

TEST_P(RoundTripTest, ConnectionLostInTheHandshakeIsNoMatterOfTrust) {
  // Whether the greeting was read before decides whether the connection ends in order or is reset.
  for (bool reads : {false, true}) {
    RawServer server([reads](RawSocket& socket) {
      if (reads) socket.ReadUntil("\x03\x03");
    });
    ClientRequest request = GetTls();
    request.url = "https://127.0.0.1:" + std::to_string(server.port()) + "/";
    EXPECT_EQ(NewClient()->Send(request).status().code(), Code::kUnavailable) << "reads: " << reads;
  }
}

TEST_P(RoundTripTest, TlsServerName) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem, "", false}, Echo());
  ClientOptions options;
  options.tls.ca_pem = pki.ca.certificate_pem;
  options.tls.server_name = "api.example";
  auto response = NewClient(options)->Send(GetTls());
  EXPECT_TRUE(response.ok()) << response.status().ToString();
  options.tls.server_name = "wrong.example";
  EXPECT_EQ(NewClient(options)->Send(GetTls()).status().code(), Code::kUnauthenticated);
  // The right name does not help where the URL's host is not in the certificate and no name is set.
  options.tls.server_name = "";
  ClientRequest request = GetTls();
  request.url = "https://127.0.0.2:" + std::to_string(port_) + "/";
  ASSERT_TRUE(server_->Listen("127.0.0.2", port_).ok());
  EXPECT_EQ(NewClient(options)->Send(request).status().code(), Code::kUnauthenticated);
}

TEST_P(RoundTripTest, MutualTlsRequired) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem,
            pki.other_ca.certificate_pem + pki.ca.certificate_pem, true},
           NoteAndAnswer());
  ClientOptions options;
  options.tls = {pki.ca.certificate_pem, pki.client.certificate_pem, pki.client.private_key_pem, "", false};
  for (int i = 0; i < 2; ++i) {  // The second handshake must not lose the identity to a resumed session.
    auto response = NewClient(options)->Send(GetTls());
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_TRUE(seen_.last().peer.certificate_verified);
    EXPECT_EQ(seen_.last().peer.common_name, "front-proxy");
    EXPECT_THAT(seen_.last().peer.organizations, ElementsAre("system:masters", "ops"));
    EXPECT_THAT(*CertificateFingerprints(pki.ca.certificate_pem), ElementsAre(seen_.last().peer.issuer_ca_sha256));
  }
  options.tls.certificate_pem = pki.other_client.certificate_pem;
  options.tls.private_key_pem = pki.other_client.private_key_pem;
  ASSERT_TRUE(NewClient(options)->Send(GetTls()).ok());
  EXPECT_EQ(seen_.last().peer.common_name, "stranger");
  EXPECT_THAT(*CertificateFingerprints(pki.other_ca.certificate_pem), ElementsAre(seen_.last().peer.issuer_ca_sha256));

  options.tls.certificate_pem = options.tls.private_key_pem = "";
  EXPECT_FALSE(NewClient(options)->Send(GetTls()).ok()) << "no certificate";
  options.tls.certificate_pem = pki.server.certificate_pem;
  options.tls.private_key_pem = pki.server.private_key_pem;
  EXPECT_FALSE(NewClient(options)->Send(GetTls()).ok()) << "a server's certificate is no client's";
}

TEST_P(RoundTripTest, MutualTlsOptional) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem, pki.ca.certificate_pem, false}, NoteAndAnswer());
  ClientOptions options;
  options.tls.ca_pem = pki.ca.certificate_pem;
  ASSERT_TRUE(NewClient(options)->Send(GetTls()).ok());
  EXPECT_FALSE(seen_.last().peer.certificate_verified);
  EXPECT_EQ(seen_.last().peer.common_name, "");
  EXPECT_EQ(seen_.last().peer.issuer_ca_sha256, "");
  options.tls.certificate_pem = pki.client.certificate_pem;
  options.tls.private_key_pem = pki.client.private_key_pem;
  ASSERT_TRUE(NewClient(options)->Send(GetTls()).ok());
  EXPECT_EQ(seen_.last().peer.common_name, "front-proxy");
  options.tls.certificate_pem = pki.other_client.certificate_pem;
  options.tls.private_key_pem = pki.other_client.private_key_pem;
  ASSERT_TRUE(NewClient(options)->Send(GetTls()).ok()) << "a certificate of another CA is as good as none";
  EXPECT_FALSE(seen_.last().peer.certificate_verified);
  EXPECT_EQ(seen_.last().peer.common_name, "");
  EXPECT_EQ(seen_.last().peer.issuer_ca_sha256, "");
}

TEST_P(RoundTripTest, CertificatesAreReplacedWhileServing) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem, "", false}, Echo());
  ClientOptions first, second;
  first.tls.ca_pem = pki.ca.certificate_pem;
  second.tls.ca_pem = pki.other_ca.certificate_pem;
  auto kept = NewClient(first);
  ASSERT_TRUE(kept->Send(GetTls()).ok());
  ASSERT_TRUE(server_->SetTls({pki.rotated.certificate_pem, pki.rotated.private_key_pem, "", false}).ok());
  if (GetParam() == Kind::kCurl) {
    EXPECT_TRUE(kept->Send(GetTls()).ok()) << "an open connection goes on";
  }
  EXPECT_TRUE(NewClient(second)->Send(GetTls()).ok());
  EXPECT_EQ(NewClient(first)->Send(GetTls()).status().code(), Code::kUnauthenticated);
  // A bad certificate changes nothing.
  EXPECT_FALSE(server_->SetTls({pki.rotated.certificate_pem, pki.server.private_key_pem, "", false}).ok());
  EXPECT_TRUE(NewClient(second)->Send(GetTls()).ok());
}

TEST_P(RoundTripTest, BadClientCertificatesAreRefusedEarly) {
  const Pki& pki = GetPki();
  auto make = [](const ClientOptions& options) {
    return (GetParam() == Kind::kCurl ? NewCurlClient(options) : NewCpprestClient(options)).status();
  };
  ClientOptions half;
  half.tls.certificate_pem = pki.client.certificate_pem;
  EXPECT_THAT(make(half).message(), HasSubstr("both or neither"));
  ClientOptions mismatch = half;
  mismatch.tls.private_key_pem = pki.server.private_key_pem;
  EXPECT_EQ(make(mismatch).code(), Code::kInvalidArgument);
  ClientOptions bad_ca;
  bad_ca.tls.ca_pem = "nonsense";
  EXPECT_THAT(make(bad_ca).message(), HasSubstr("CA certificate"));
}

TEST_P(RoundTripTest, TlsStreamsToo) {
  const Pki& pki = GetPki();
  ServeTls({pki.server.certificate_pem, pki.server.private_key_pem, "", false}, StartStream("one"));
  ClientOptions options;
  options.tls.ca_pem = pki.ca.certificate_pem;
  auto client = NewClient(options);
  std::string received;
  StreamHandler handler;
  handler.on_data = [&](std::string_view data) {
    if (received.empty()) {
      seen_.stream()->Write("two");
      seen_.stream()->End();
    }
    received += data;
    return base::Status::Ok();
  };
  base::Status status = client->Stream(GetTls(), handler);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(received, "onetwo");
}

}  // namespace
}  // namespace tidewright::http
