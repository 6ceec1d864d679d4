// The client for many servers: what it does by itself, and what it leaves to libcurl.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/client.h"
#include "http/reply.h"
#include "tests/http/raw_socket.h"

namespace tidewright::http {
namespace {

using base::Code;
using testing::HasSubstr;
using testing::Not;

class PollingClientTest : public testing::Test {
 protected:
  // Sends without waiting.
  std::future<base::Result<Response>> Begin(ClientRequest request) {
    request.connect_timeout_ms = request.total_timeout_ms;
    auto reply = std::make_shared<std::promise<base::Result<Response>>>();
    auto future = reply->get_future();
    client_->SendAsync(std::move(request), [reply](base::Result<Response> got) { reply->set_value(std::move(got)); });
    return future;
  }
  base::Result<Response> Get(const RawServer& server, const std::string& path = "/") {
    ClientRequest request;
    request.url = UrlOf(server, path);
    request.max_redirects = 3;
    return Begin(std::move(request)).get();
  }
  static std::string UrlOf(const RawServer& server, const std::string& path) {
    return "http://127.0.0.1:" + std::to_string(server.port()) + path;
  }

  std::unique_ptr<Client> client_ = *NewPollingClient({});
};

// Answers every request on a connection, until the client closes it.
void AnswerAll(RawSocket& socket, const std::string& reply) {
  while (!socket.ReadUntil("\r\n\r\n").empty() && socket.Send(reply)) {
  }
}

TEST_F(PollingClientTest, AsksOnTheSameConnectionAgain) {
  RawServer server([](RawSocket& socket) { AnswerAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); });
  for (int i = 0; i < 5; ++i) {
    auto response = Get(server);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->body, "ok");
    client_->Recycle(std::move(response->body));
  }
  EXPECT_EQ(server.accepted(), 1);
  client_ = nullptr;
}

// Its body goes to where the last one was, which may be shorter or longer.
TEST_F(PollingClientTest, ReadsLongBodiesOfKnownLengthOneAfterTheOther) {
  const std::vector<size_t> sizes = {300'000, 299'000, 301'000, 5'000, 4'000, 700'000, 0, 2'500'000, 300'000};
  auto body_of = [](size_t size) {
    std::string body;
    for (size_t line = 0; body.size() < size; ++line) body += std::to_string(line * size) + "\n";
    body.resize(size);
    return body;
  };
  RawServer server([&](RawSocket& socket) {
    for (size_t size : sizes) {
      if (socket.ReadUntil("\r\n\r\n").empty()) return;
      const std::string body = body_of(size);
      socket.Send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" + body.substr(0, size / 3));
      socket.Send(body.substr(size / 3));
    }
  });
  for (size_t size : sizes) {
    auto response = Get(server);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_TRUE(response->body == body_of(size)) << size << " bytes";
    client_->Recycle(std::move(response->body));
  }
  EXPECT_EQ(server.accepted(), 1);
  client_ = nullptr;
}

// The second reply comes only once its time would have been over, had the first one not held the client's thread.
TEST_F(PollingClientTest, CallbackThatTakesLongLetsNoOtherExchangeFail) {
  constexpr int64_t kTimeoutMs = 2'000;
  std::promise<void> held;
  RawServer slow([left = held.get_future().share()](RawSocket& socket) {
    left.wait();
    AnswerAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
  });
  RawServer quick([](RawSocket& socket) { AnswerAll(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); });
  ClientRequest second;
  second.url = UrlOf(slow, "/");
  second.total_timeout_ms = kTimeoutMs;
  auto late = Begin(std::move(second));
  ClientRequest first;
  first.url = UrlOf(quick, "/");
  first.connect_timeout_ms = first.total_timeout_ms = kTimeoutMs;
  client_->SendAsync(std::move(first), [&held](const base::Result<Response>&) {
    std::promise<void> never;
    never.get_future().wait_for(std::chrono::milliseconds(kTimeoutMs + 200));
    held.set_value();
  });
  auto response = late.get();
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->body, "late");
  client_ = nullptr;
}

TEST_F(PollingClientTest, SendsOtherHeadersToTheSameUrl) {
  std::promise<std::string> heads[3];
  RawServer server([&heads](RawSocket& socket) {
    for (auto& head : heads) {
      head.set_value(socket.ReadUntil("\r\n\r\n"));
      socket.Send("HTTP/1.1 204 No Content\r\n\r\n");
    }
  });
  for (const char* token : {"Bearer a", "Bearer b", "Bearer b"}) {
    ClientRequest request;
    request.url = UrlOf(server, "/");
    request.headers = {{"Authorization", token}};
    ASSERT_TRUE(Begin(std::move(request)).get().ok());
  }
  EXPECT_THAT(heads[0].get_future().get(), HasSubstr("Authorization: Bearer a\r\n"));
  const std::string second = heads[1].get_future().get();
  EXPECT_THAT(second, HasSubstr("Authorization: Bearer b\r\n"));
  EXPECT_EQ(heads[2].get_future().get(), second);
  client_ = nullptr;
}

TEST_F(PollingClientTest, SendsWhatItWasGiven) {
  std::promise<std::string> head;
  RawServer server([&head](RawSocket& socket) {
    head.set_value(socket.ReadUntil("\r\n\r\n"));
    socket.Send("HTTP/1.1 204 No Content\r\n\r\n");
  });
  ClientRequest request;
  request.url = UrlOf(server, "/metrics?a=b");
  request.headers = {{"Accept", "text/plain"}, {"X-Name", "value"}};
  auto response = Begin(std::move(request)).get();
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->status, 204);
  EXPECT_EQ(head.get_future().get(), "GET /metrics?a=b HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
                                         "\r\nUser-Agent: tidewright\r\nAccept-Encoding: gzip\r\nAccept: text/plain\r\n"
                                         "X-Name: value\r\n\r\n");
}

// Whether the client has heard of the end by then or not.
TEST_F(PollingClientTest, AsksAgainWhenAKeptConnectionHasEnded) {
  RawServer server([](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  for (int i = 0; i < 20; ++i) {
    auto response = Get(server);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->body, "ok");
  }
  EXPECT_EQ(server.accepted(), 20);
}

TEST_F(PollingClientTest, InflatesWhatComesInPieces) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i) + "\n";
  const std::string gzip = Gzip(text);
  RawServer server([&gzip](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < gzip.size(); at += 1000) {
      std::string chunk;
      AppendChunk(std::string_view(gzip).substr(at, 1000), &chunk);
      socket.Send(chunk);
    }
    socket.Send(kLastChunk);
  });
  auto response = Get(server);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->body, text);
}

TEST_F(PollingClientTest, FollowsRedirects) {
  RawServer server([](RawSocket& socket) {
    const bool end = socket.ReadUntil("\r\n\r\n").find("/end") != std::string::npos;
    socket.Send(end ? "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend"
                    : "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  for (int i = 0; i < 2; ++i) {
    auto response = Get(server);
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->body, "end");
  }
  EXPECT_EQ(server.accepted(), 5) << "the first redirect is met twice, as libcurl asks again";
}

TEST_F(PollingClientTest, LeavesRareRepliesToLibcurl) {
  RawServer server([](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  });
  auto response = Get(server);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(server.accepted(), 2);
}

TEST_F(PollingClientTest, ADrippingReplyEndsAtTheTotalTimeout) {
  RawServer server([](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\n\r\n");
    while (socket.Send("x")) std::this_thread::yield();
  });
  ClientRequest request;
  request.url = UrlOf(server, "/path?secret=1");
  request.total_timeout_ms = 100;
  const base::Status status = Begin(std::move(request)).get().status();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("/path: timed out after 100 ms"));
  EXPECT_THAT(status.message(), Not(HasSubstr("secret")));
}

TEST_F(PollingClientTest, APeerThatDoesNotAcceptEndsAtTheTotalTimeout) {
  Blackhole server;
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  request.total_timeout_ms = 100;
  EXPECT_EQ(Begin(std::move(request)).get().status().code(), Code::kDeadlineExceeded);
}

TEST_F(PollingClientTest, ARefusedConnectionSaysSo) {
  uint16_t port = 0;
  {
    RawServer server([](RawSocket&) {});
    port = server.port();
  }
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(port) + "/";
  const base::Status status = Begin(std::move(request)).get().status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("Connection refused"));
}

TEST_F(PollingClientTest, EndsWhatIsUnderWayWhenItCloses) {
  RawServer server([](RawSocket& socket) { socket.WaitForClose(); });
  ClientRequest request;
  request.url = UrlOf(server, "/");
  auto reply = Begin(std::move(request));
  client_ = nullptr;
  EXPECT_EQ(reply.get().status().code(), Code::kCancelled);
}

}  // namespace
}  // namespace tidewright::http
