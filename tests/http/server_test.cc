// The server towards well-behaved clients that speak raw bytes: framing, keep-alive, listeners, streams, stopping.
#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "http/reply.h"
#include "http/tls.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"

namespace tidewright::http {
namespace {

using base::Code;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ServerTest : public testing::Test {
 protected:
  void Serve(Handler handler, const ServerOptions& options = {}) {
    server_ = *Server::Create(options, std::move(handler));
    port_ = *server_->Listen("127.0.0.1", 0);
  }
  void ServeText(const ServerOptions& options = {}) {
    Serve(
        [](const ServerRequest& request, std::shared_ptr<Responder> responder) {
          responder->Reply({200, {}, request.path + ";" + request.body});
        },
        options);
  }
  // One request with "Connection: close" appended to its head, and everything that comes back.
  std::string Ask(const std::string& request_line, const std::string& headers = "", const std::string& body = "") {
    RawSocket socket = RawSocket::Connect(port_);
    socket.Send(request_line + "\r\nHost: h\r\nConnection: close\r\n" + headers + "\r\n" + body);
    return socket.ReadToEnd();
  }
  std::string Get(const std::string& url) {
    auto client = NewCurlClient({});
    ClientRequest request;
    request.url = url;
    auto response = (*client)->Send(request);
    return response.ok() ? response->body : response.status().ToString();
  }
  void KeepStream(std::shared_ptr<ResponseStream> stream) {
    base::MutexLock lock(mu_);
    stream_ = std::move(stream);
  }
  std::shared_ptr<ResponseStream> Stream() {
    std::shared_ptr<ResponseStream> stream;
    Eventually([&] {
      base::MutexLock lock(mu_);
      stream = stream_;
      return stream != nullptr;
    });
    return stream;
  }

  // Before server_: handlers use them until it stopped.
  base::Mutex mu_;
  std::shared_ptr<ResponseStream> stream_ GUARDED_BY(mu_);
  std::shared_ptr<Responder> responder_ GUARDED_BY(mu_);
  std::atomic<int> calls_ = 0;
  std::atomic<int> gone_ = 0;
  std::atomic<bool> release_ = false;
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
};

TEST_F(ServerTest, RepliesWithDateLengthAndClose) {
  ServeText();
  std::string reply = Ask("GET /x HTTP/1.1");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
  EXPECT_THAT(reply, HasSubstr("\r\nContent-Length: 3\r\nConnection: close\r\n\r\n/x;"));
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  std::string all;
  for (int i = 0; i < 5; ++i) {
    all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n" + std::to_string(i);
  }
  socket.Send(all);
  for (int i = 0; i < 5; ++i) {
    std::string want = "/" + std::to_string(i) + ";" + std::to_string(i);
    EXPECT_THAT(socket.ReadUntil(want), HasSubstr(want));
  }
}

// Workers write such replies themselves; the connection has to notice.
TEST_F(ServerTest, RequestsInTurnOnAKeptConnection) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  for (int i = 0; i < 200; ++i) {
    const std::string path = "/" + std::to_string(i);
    ASSERT_TRUE(socket.Send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n"));
    ASSERT_THAT(socket.ReadUntil(path + ";"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
}

TEST_F(ServerTest, RequestThatComesWhileOneIsHandledIsAnsweredAfterIt) {
  Serve([this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    ++calls_;
    if (request.path == "/slow") Eventually([this] { return release_.load(); });
    responder->Reply({200, {}, request.path + ";"});
  });
  RawSocket socket = RawSocket::Connect(port_);
  for (int i = 0; i < 3; ++i) {
    release_ = false;
    const int before = calls_;
    socket.Send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TRUE(Eventually([&] { return calls_ > before; }));
    socket.Send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    release_ = true;
    EXPECT_THAT(socket.ReadUntil("/next;"), HasSubstr("/slow;HTTP/1.1 200 OK"));
  }
}

TEST_F(ServerTest, IdleConnectionIsClosedAfterItsReply) {
  ServerOptions options;
  options.idle_timeout_ms = 100;
  ServeText(options);
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.ReadUntil("/x;");
  EXPECT_TRUE(socket.WaitForClose());
}

TEST_F(ServerTest, HandlerMayTakeLongerThanAConnectionMayBeIdle) {
  ServerOptions options;
  options.idle_timeout_ms = 20;
  Serve(
      [](const ServerRequest& request, std::shared_ptr<Responder> responder) {
        const int64_t end = base::MonotonicNanos() + 100'000'000;
        Eventually([&] { return base::MonotonicNanos() > end; });
        responder->Reply({200, {}, request.path + ";"});
      },
      options);
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(socket.ReadUntil("/x;"), HasSubstr("/x;"));
}

TEST_F(ServerTest, StopClosesConnectionsThatWereAnswered) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.ReadUntil("/x;");
  server_->Stop();
  EXPECT_TRUE(socket.WaitForClose());
}

// More than the socket takes at once.
TEST_F(ServerTest, LongReplyToSlowReader) {
  constexpr size_t kBody = 24 << 20;
  Serve([this](const ServerRequest&, std::shared_ptr<Responder> responder) {
    responder->Reply({200, {}, std::string(kBody, 'x')});
    ++calls_;
  });
  RawSocket socket = RawSocket::Connect(port_);
  std::string piece(1 << 16, '\0');
  for (const int round : {1, 2}) {
    socket.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TRUE(Eventually([&] { return calls_ == round; }));
    EXPECT_THAT(socket.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
    for (size_t got = 0; got < kBody;) {
      const ssize_t count = recv(socket.fd(), piece.data(), std::min(piece.size(), kBody - got), 0);
      ASSERT_GT(count, 0) << "after " << got << " bytes";
      ASSERT_EQ(std::count(piece.begin(), piece.begin() + count, 'x'), count) << "after " << got << " bytes";
      got += static_cast<size_t>(count);
    }
  }
}

TEST_F(ServerTest, RequestInPiecesOfOneByte) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  for (char c :
       std::string("POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n")) {
    ASSERT_TRUE(socket.Send({&c, 1}));
  }
  EXPECT_THAT(socket.ReadUntil("/p;abc"), HasSubstr("/p;abc"));
}

TEST_F(ServerTest, ExpectContinue) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(socket.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.Send("body");
  EXPECT_THAT(socket.ReadUntil("/p;body"), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, Http10) {
  ServeText();
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_THAT(socket.ReadToEnd(), testing::EndsWith("/old;"));
  RawSocket kept = RawSocket::Connect(port_);
  kept.Send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(kept.ReadUntil("/old;"), HasSubstr("Connection: keep-alive"));
  kept.Send("GET /again HTTP/1.0\r\n\r\n");
  EXPECT_THAT(kept.ReadToEnd(), testing::EndsWith("/again;"));
}

TEST_F(ServerTest, HeadersOfTheHandlerCannotBreakFraming) {
  Serve([](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    if (request.path == "/length") responder->Reply({200, {{"Content-Length", "999"}, {"X-A", "b"}}, "body"});
    if (request.path == "/split") responder->Reply({200, {{"X-A", "b\r\nX-Evil: c"}}, "body"});
    if (request.path == "/status") responder->Reply({42, {}, "body"});
    if (request.path == "/empty") responder->Reply({204, {}, "body"});
  });
  EXPECT_THAT(Ask("GET /length HTTP/1.1"), AllOf(HasSubstr("Content-Length: 4\r\n"), HasSubstr("X-A: b")));
  EXPECT_THAT(Ask("GET /split HTTP/1.1"), AllOf(StartsWith("HTTP/1.1 500"), Not(HasSubstr("X-Evil"))));
  EXPECT_THAT(Ask("GET /status HTTP/1.1"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(Ask("GET /empty HTTP/1.1"),
              AllOf(StartsWith("HTTP/1.1 204"), Not(HasSubstr("body")), Not(HasSubstr("Content-Length"))));
}

TEST_F(ServerTest, UnansweredRequestsAndExceptionsAre500) {
  Serve([](const ServerRequest& request, std::shared_ptr<Responder>) {
    if (request.path == "/throw") throw std::runtime_error("oops");
  });
  EXPECT_THAT(Ask("GET /forgotten HTTP/1.1"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(Ask("GET /throw HTTP/1.1"), StartsWith("HTTP/1.1 500"));
}

TEST_F(ServerTest, OnlyTheFirstAnswerCounts) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) {
    responder->Reply({200, {}, "first"});
    responder->Reply({200, {}, "second"});
    EXPECT_FALSE(responder->StartStream(200, {})->Write("third"));
  });
  EXPECT_THAT(Ask("GET / HTTP/1.1"), testing::EndsWith("\r\n\r\nfirst"));
}

TEST_F(ServerTest, AnswerAfterTheHandlerReturned) {
  Serve([this](const ServerRequest&, std::shared_ptr<Responder> responder) {
    base::MutexLock lock(mu_);
    responder_ = std::move(responder);
    ++calls_;
  });
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return calls_ == 1; }));
  base::MutexLock lock(mu_);
  responder_->Reply({200, {}, "late"});
  EXPECT_THAT(socket.ReadUntil("late"), HasSubstr("late"));
}

std::string Gunzip(const std::string& text) {
  z_stream stream = {};
  inflateInit2(&stream, 15 + 16);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = text.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

TEST_F(ServerTest, CompressesLongRepliesForThoseWhoAccept) {
  Serve([](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    size_t size = request.path == "/long" ? kCompressFromBytes : kCompressFromBytes - 1;
    Headers headers;
    if (QueryValue(request.query, "encoded") == "1") headers.Add("Content-Encoding", "br");
    if (QueryValue(request.query, "plain") == "1") headers.Add("Cache-Control", "no-cache, no-transform");
    responder->Reply({200, headers, std::string(size, 'z')});
  });
  struct Row {
    const char* target;
    const char* accept;
    bool compressed;
  };
  for (const Row& row :
       {Row{"/long", "gzip", true}, Row{"/long", "deflate, gzip;q=0.5", true}, Row{"/long", "gzip;q=0", false},
        Row{"/long", "br", false}, Row{"/long", "", false}, Row{"/short", "gzip", false},
        Row{"/long?encoded=1", "gzip", false}, Row{"/long?plain=1", "gzip", false}}) {
    std::string reply =
        Ask(std::string("GET ") + row.target + " HTTP/1.1", std::string("Accept-Encoding: ") + row.accept + "\r\n");
    bool compressed = reply.find("Content-Encoding: gzip") != std::string::npos;
    EXPECT_EQ(compressed, row.compressed) << row.target << " " << row.accept;
    std::string body = reply.substr(reply.find("\r\n\r\n") + 4);
    if (compressed) {
      EXPECT_EQ(Gunzip(body), std::string(kCompressFromBytes, 'z'));
    }
  }
}

TEST_F(ServerTest, StreamIsChunkedAndTheConnectionGoesOn) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) {
    auto stream = responder->StartStream(200, {{"Content-Type", "application/json"}});
    stream->Write("one");
    stream->Write("");
    stream->Write("twenty-six bytes are 0x1a.");
  });
  RawSocket socket = RawSocket::Connect(port_);
  for (int i = 0; i < 2; ++i) {
    socket.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    std::string reply = socket.ReadUntil("\r\n0\r\n\r\n");
    EXPECT_THAT(reply, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_THAT(reply, HasSubstr("\r\n\r\n3\r\none\r\n1a\r\ntwenty-six bytes are 0x1a.\r\n0\r\n\r\n"));
  }
  socket.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(socket.ReadToEnd(), testing::EndsWith("\r\n\r\nonetwenty-six bytes are 0x1a."));
}

TEST_F(ServerTest, StreamToHeadHasNoBody) {
  Serve([](const ServerRequest&, std::shared_ptr<Responder> responder) {
    responder->StartStream(200, {})->Write("body");
  });
  EXPECT_THAT(Ask("HEAD / HTTP/1.1"), AllOf(StartsWith("HTTP/1.1 200"), testing::EndsWith("\r\n\r\n")));
}

TEST_F(ServerTest, IdleWatcherThatLeavesIsNoticed) {
  Serve([this](const ServerRequest&, std::shared_ptr<Responder> responder) {
    KeepStream(responder->StartStream(200, {}));
  });
  {
    RawSocket socket = RawSocket::Connect(port_);
    socket.Send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
    socket.ReadUntil("\r\n\r\n");
    EXPECT_FALSE(Stream()->closed());
  }
  EXPECT_TRUE(Eventually([&] { return Stream()->closed(); }));
  EXPECT_FALSE(Stream()->Write("x"));
}

TEST_F(ServerTest, HandlersLearnThatTheClientLeft) {
  Serve([this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    ++calls_;
    Eventually([&] { return request.client_gone->load() || release_.load(); });
    if (request.client_gone->load()) ++gone_;
    responder->Reply({200, {}, "late"});
  });
  { RawSocket::Connect(port_).Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"); }
  EXPECT_TRUE(Eventually([&] { return gone_.load() == 1; }));

  // One that only ended its half of the connection counts as gone, too, but still gets its answer.
  RawSocket half = RawSocket::Connect(port_);
  half.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  half.CloseWrite();
  EXPECT_TRUE(half.ReadToEnd().ends_with("late"));
  EXPECT_EQ(gone_.load(), 2);

  // One that waits, or has sent its next request, is there.
  release_ = true;
  RawSocket patient = RawSocket::Connect(port_);
  patient.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(patient.ReadToEnd().ends_with("late"));
  EXPECT_EQ(calls_.load(), 4);
  EXPECT_EQ(gone_.load(), 2);
}

TEST_F(ServerTest, SlowWatcherIsDropped) {
  ServerOptions options;
  options.max_stream_queue_bytes = 100'000;
  Serve([this](const ServerRequest&,
               std::shared_ptr<Responder> responder) { KeepStream(responder->StartStream(200, {})); },
        options);
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  socket.ReadUntil("\r\n\r\n");
  // Never reads again: the kernel's buffers fill, then the queue.
  const std::string piece(50'000, 'x');
  auto stream = Stream();
  EXPECT_TRUE(Eventually([&] { return !stream->Write(piece); }));
  EXPECT_TRUE(stream->closed());
  EXPECT_TRUE(socket.WaitForClose());
}

TEST_F(ServerTest, ManyListenersOneServer) {
  Serve([](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    responder->Reply({200, {}, request.local_address});
  });
  std::vector<std::pair<std::string, uint16_t>> listeners;
  for (int i = 1; i <= 100; ++i) {
    std::string address = "127.9.0." + std::to_string(i);
    auto port = server_->Listen(address, 0);
    ASSERT_TRUE(port.ok()) << port.status().ToString();
    listeners.emplace_back(address, *port);
  }
  for (const auto& [address, port] : listeners) {
    std::string authority = address + ":" + std::to_string(port);
    EXPECT_EQ(Get("http://" + authority + "/"), authority);
  }
}

TEST_F(ServerTest, CloseListenerClosesItsConnectionsOnly) {
  ServeText();
  uint16_t other = *server_->Listen("127.0.0.1", 0);
  RawSocket closing = RawSocket::Connect(port_);
  RawSocket staying = RawSocket::Connect(other);
  for (RawSocket* socket : {&closing, &staying}) {
    socket->Send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    socket->ReadUntil("/a;");
  }
  server_->CloseListener("127.0.0.1", port_);
  EXPECT_TRUE(closing.WaitForClose());
  EXPECT_FALSE(RawSocket::Connect(port_).ok());
  staying.Send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(staying.ReadUntil("/b;"), HasSubstr("/b;"));
  server_->CloseListener("127.0.0.1", port_);  // Unknown by now: nothing happens.
  auto again = server_->Listen("127.0.0.1", port_);
  EXPECT_TRUE(again.ok()) << again.status().ToString();
}

TEST_F(ServerTest, ListenErrors) {
  ServeText();
  EXPECT_EQ(server_->Listen("127.0.0.1", port_).status().code(), Code::kAlreadyExists);
  EXPECT_EQ(server_->Listen("localhost", 0).status().code(), Code::kInvalidArgument);
  ServerOptions tls;
  tls.tls = true;
  auto unset = *Server::Create(tls, [](const ServerRequest&, std::shared_ptr<Responder>) {});
  EXPECT_EQ(unset->Listen("127.0.0.1", 0).status().code(), Code::kFailedPrecondition);
  server_->Stop();
  EXPECT_EQ(server_->Listen("127.0.0.1", 0).status().code(), Code::kFailedPrecondition);
}

TEST_F(ServerTest, Ipv6) {
  ServeText();
  auto port = server_->Listen("::1", 0);
  if (!port.ok()) GTEST_SKIP() << "no IPv6 here: " << port.status().ToString();
  EXPECT_EQ(Get("http://[::1]:" + std::to_string(*port) + "/six"), "/six;");
}

TEST_F(ServerTest, StopWaitsForHandlersAndSendsTheirReplies) {
  Serve([this](const ServerRequest&, std::shared_ptr<Responder> responder) {
    ++calls_;
    Eventually([this] { return release_.load(); });
    responder->Reply({200, {}, "finished"});
    ++calls_;
  });
  RawSocket busy = RawSocket::Connect(port_);
  busy.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return calls_ == 1; }));
  RawSocket idle = RawSocket::Connect(port_);
  std::thread stopper([&] { server_->Stop(); });
  EXPECT_TRUE(idle.WaitForClose());
  release_ = true;
  stopper.join();
  EXPECT_EQ(calls_, 2);
  EXPECT_THAT(busy.ReadToEnd(), HasSubstr("finished"));
  server_->Stop();
}

TEST_F(ServerTest, HandlersThatTakeLongHoldUpNoOtherConnection) {
  Serve([this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    if (request.path == "/long") {
      ++calls_;
      Eventually([this] { return release_.load(); });
    }
    responder->Reply({200, {}, request.path + ";"});
  });
  RawSocket other = RawSocket::Connect(port_);
  std::vector<RawSocket> busy;
  constexpr int kBusy = 3;  // Of four workers and the thread that waits for connections.
  for (int i = 1; i <= kBusy; ++i) {
    busy.push_back(RawSocket::Connect(port_));
    busy.back().Send("GET /long HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    ASSERT_TRUE(Eventually([&] { return calls_ == i; }));
    for (int k = 0; k < 20; ++k) {
      other.Send("GET /short HTTP/1.1\r\nHost: h\r\n\r\n");
      EXPECT_THAT(other.ReadUntil("/short;"), StartsWith("HTTP/1.1 200 "));
    }
    EXPECT_THAT(Ask("GET /new HTTP/1.1"), HasSubstr("/new;"));
  }
  release_ = true;
  for (RawSocket& socket : busy) EXPECT_THAT(socket.ReadToEnd(), HasSubstr("/long;"));
}

TEST_F(ServerTest, HandlersMayCloseListeners) {
  uint16_t second = 0;
  Serve([this, &second](const ServerRequest&, std::shared_ptr<Responder> responder) {
    server_->CloseListener("127.0.0.1", second);
    responder->Reply({200, {}, "closed"});
  });
  second = *server_->Listen("127.0.0.1", 0);
  RawSocket closed = RawSocket::Connect(second);
  EXPECT_THAT(Ask("GET / HTTP/1.1"), HasSubstr("closed"));
  EXPECT_TRUE(closed.WaitForClose());
}

TEST_F(ServerTest, StopEndsStreamsProperly) {
  Serve([this](const ServerRequest&, std::shared_ptr<Responder> responder) {
    KeepStream(responder->StartStream(200, {}));
  });
  RawSocket socket = RawSocket::Connect(port_);
  socket.Send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  auto stream = Stream();
  stream->Write("event");
  socket.ReadUntil("event\r\n");
  server_->Stop();
  EXPECT_EQ(socket.ReadToEnd(), "0\r\n\r\n");
  EXPECT_TRUE(stream->closed());
  EXPECT_FALSE(stream->Write("late"));
}

TEST_F(ServerTest, AnswersAfterTheServerIsGoneGoNowhere) {
  Serve([this](const ServerRequest& request, std::shared_ptr<Responder> responder) {
    if (request.path == "/watch") return KeepStream(responder->StartStream(200, {}));
    base::MutexLock lock(mu_);
    responder_ = std::move(responder);
    ++calls_;
  });
  RawSocket watcher = RawSocket::Connect(port_);
  watcher.Send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  RawSocket waiter = RawSocket::Connect(port_);
  waiter.Send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  auto stream = Stream();
  ASSERT_TRUE(Eventually([&] { return calls_ == 1; }));
  server_.reset();
  EXPECT_FALSE(stream->Write("x"));
  base::MutexLock lock(mu_);
  auto late = responder_->StartStream(200, {});
  EXPECT_FALSE(late->Write("x"));
  responder_.reset();
}

TEST_F(ServerTest, StopUnderLoad) {
  for (int round = 0; round < 3; ++round) {
    ServerOptions options;
    options.io_threads = 2;
    ServeText(options);
    auto client = *NewCurlClient({});
    std::atomic<int> ended = 0, bad = 0;
    constexpr int kRequests = 400;
    for (int i = 0; i < kRequests; ++i) {
      ClientRequest request;
      request.url = "http://127.0.0.1:" + std::to_string(port_) + "/load";
      client->SendAsync(request, [&](base::Result<Response> response) {
        if (response.ok() && response->status == 200 && response->body != "/load;") ++bad;
        ++ended;
      });
      if (i == kRequests / 2) server_->Stop();
    }
    EXPECT_TRUE(Eventually([&] { return ended == kRequests; }));
    EXPECT_EQ(bad, 0);
  }
}

}  // namespace
}  // namespace tidewright::http
