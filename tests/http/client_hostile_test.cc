// What a hostile or broken server may do to the clients for peers that we do not trust: every row ends in a Status,
// soon and in bounded memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <optional>
#include <thread>
#include <tuple>

#include "base/clock.h"
#include "http/client.h"
#include "http/reply.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"

namespace tidewright::http {
namespace {

using base::Code;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

struct ReplyCase {
  std::string name;
  std::string reply;                        // Sent, then the connection is closed.
  std::string endless;                      // Repeated until the client goes away.
  std::optional<Code> want = std::nullopt;  // Nothing: a good reply with the body "ok".
};
void PrintTo(const ReplyCase& c, std::ostream* os) { *os << c.name; }
enum class Kind { kCurl, kPolling };
class HostileReplyTest : public testing::TestWithParam<std::tuple<Kind, ReplyCase>> {};

// As SendAsync() brings it, which differs between the two.
base::Result<Response> Fetch(Client& client, ClientRequest request) {
  request.connect_timeout_ms = request.total_timeout_ms;
  std::promise<base::Result<Response>> reply;
  client.SendAsync(std::move(request), [&](base::Result<Response> result) { reply.set_value(std::move(result)); });
  return reply.get_future().get();
}

std::unique_ptr<Client> NewClient(Kind kind) {
  return *(kind == Kind::kCurl ? NewCurlClient({}) : NewPollingClient({}));
}

std::string Chunked(const std::string& body) { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body; }

INSTANTIATE_TEST_SUITE_P(
    Table, HostileReplyTest,
    testing::Combine(
        testing::Values(Kind::kCurl, Kind::kPolling),
        testing::Values(
            ReplyCase{"Fine", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
            ReplyCase{"FineChunked", Chunked("2;ext=1\r\nok\r\n0\r\nTrailer: x\r\n\r\n"), ""},
            ReplyCase{"FineAfterInterimReplies",
                      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                      ""},
            ReplyCase{"FineUntilClose", "HTTP/1.0 200 OK\r\n\r\nok", ""},
            ReplyCase{"ChunkMinusOne", Chunked("-1\r\nxxxx"), "", Code::kUnavailable},
            ReplyCase{"ChunkMinusTwo", Chunked("-2\r\nxxxx"), "", Code::kUnavailable},
            ReplyCase{"ChunkHuge", Chunked("fffffffffffffffff\r\nxxxx"), "", Code::kUnavailable},
            ReplyCase{"ChunkOf2GB", Chunked("80000000\r\n"), "xxxxxxxxxxxxxxxx", Code::kResourceExhausted},
            ReplyCase{"EndlessChunkLine", Chunked(""), "1111111111111111", Code::kUnavailable},
            ReplyCase{"EndlessBody", "HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxx", Code::kResourceExhausted},
            ReplyCase{"EndlessHeaders", "HTTP/1.1 200 OK\r\n", "X-Name: some value\r\n", Code::kResourceExhausted},
            ReplyCase{"EndlessHeaderLine", "HTTP/1.1 200 OK\r\nX: ", "xxxxxxxxxxxxxxxx", Code::kResourceExhausted},
            ReplyCase{"EndlessInterimReplies", "", "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n", Code::kResourceExhausted},
            ReplyCase{"EndlessTrailers", Chunked("1\r\nx\r\n0\r\n"), "X-Name: some value\r\n",
                      Code::kResourceExhausted},
            ReplyCase{"Garbage", "\x01\x02\x03\x04 not http at all\r\n\r\n", "", Code::kUnavailable},
            ReplyCase{"BadStatus", "HTTP/1.1 abc OK\r\n\r\n", "", Code::kUnavailable},
            ReplyCase{"Empty", "", "", Code::kUnavailable},
            ReplyCase{"CutHead", "HTTP/1.1 200 OK\r\nContent-Le", "", Code::kUnavailable},
            ReplyCase{"CutBody", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "", Code::kUnavailable},
            ReplyCase{"CutChunk", Chunked("8\r\nok"), "", Code::kUnavailable},
            ReplyCase{"LengthNegative", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nok", "", Code::kUnavailable},
            ReplyCase{"BadGzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "",
                      Code::kUnavailable})),
    [](const auto& row) {
      return std::get<1>(row.param).name + (std::get<0>(row.param) == Kind::kCurl ? "Curl" : "Polling");
    });

TEST_P(HostileReplyTest, EndsInAStatus) {
  const Kind kind = std::get<0>(GetParam());
  const ReplyCase& test = std::get<1>(GetParam());
  std::string endless;
  while (!test.endless.empty() && endless.size() < 64 << 10) endless += test.endless;
  RawServer server([&](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send(test.reply);
    while (!endless.empty() && socket.Send(endless)) {
    }
  });
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  request.max_body_bytes = 1 << 20;
  auto response = Fetch(*NewClient(kind), request);
  if (test.want.has_value()) {
    EXPECT_EQ(response.status().code(), *test.want) << response.status().ToString();
  } else {
    ASSERT_TRUE(response.ok()) << response.status().ToString();
    EXPECT_EQ(response->body, "ok");
    EXPECT_FALSE(response->headers.Has("Link"));
    EXPECT_FALSE(response->headers.Has("Trailer"));
  }
}

TEST(HostileServerTest, GzipBombIsCutOff) {
  const std::string bomb = Gzip(std::string(100 << 20, '\0'));
  ASSERT_LT(bomb.size(), 1u << 20);
  RawServer server([&](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + std::to_string(bomb.size()) +
                "\r\n\r\n" + bomb);
  });
  auto client = *NewCurlClient({});
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  request.max_body_bytes = 2 << 20;
  EXPECT_EQ(client->Send(request).status().code(), Code::kResourceExhausted);
  size_t received = 0;
  StreamHandler handler;
  handler.on_data = [&](std::string_view data) {
    received += data.size();
    return base::Status::Ok();
  };
  EXPECT_EQ(client->Stream(request, handler).code(), Code::kResourceExhausted);
  EXPECT_LE(received, request.max_body_bytes);
}

TEST(HostileServerTest, DrippingReplyEndsAtTheTotalTimeout) {
  RawServer server([](RawSocket& socket) {
    socket.ReadUntil("\r\n\r\n");
    socket.Send("HTTP/1.1 200 OK\r\n\r\n");
    while (socket.Send("x")) std::this_thread::yield();
  });
  auto client = *NewCurlClient({});
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  request.total_timeout_ms = 100;
  request.idle_timeout_ms = 5'000;
  EXPECT_EQ(client->Send(request).status().code(), Code::kDeadlineExceeded);
}

// Redirects every request to `location`, and notes the heads it saw.
class Redirector {
 public:
  explicit Redirector(std::string location, int status = 302)
      : server_([this, location = std::move(location), status](RawSocket& socket) {
          std::string head = socket.ReadUntil("\r\n\r\n");
          bool end = location.empty() || head.find("/end") != std::string::npos;
          {
            base::MutexLock lock(mu_);
            heads_ += head;
          }
          socket.Send(end ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
                          : "HTTP/1.1 " + std::to_string(status) + " Moved\r\nLocation: " + location +
                                "\r\nContent-Length: 5\r\nConnection: close\r\n\r\nmoved");
        }) {}
  std::string url(const std::string& path = "/") const {
    return "http://127.0.0.1:" + std::to_string(server_.port()) + path;
  }
  std::string heads() const {
    base::MutexLock lock(mu_);
    return heads_;
  }

 private:
  mutable base::Mutex mu_;
  std::string heads_ GUARDED_BY(mu_);
  RawServer server_;
};

ClientRequest WithCredentials(const std::string& url) {
  ClientRequest request;
  request.url = url;
  request.headers = {{"Authorization", "Bearer secret"}, {"X-Api-Key", "secret"}, {"Accept", "text/plain"}};
  return request;
}

TEST(RedirectTest, NotFollowedUnlessAsked) {
  Redirector server("/end");
  auto response = (*NewCurlClient({}))->Send(WithCredentials(server.url()));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 302);
  EXPECT_EQ(response->body, "moved");
}

TEST(RedirectTest, SameOriginKeepsCredentials) {
  Redirector server("/end");
  ClientRequest request = WithCredentials(server.url());
  request.max_redirects = 3;
  auto response = (*NewCurlClient({}))->Send(request);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "ok");
  size_t first = server.heads().find("Bearer secret");
  EXPECT_NE(server.heads().find("Bearer secret", first + 1), std::string::npos);
}

TEST(RedirectTest, CredentialsDoNotLeaveTheOrigin) {
  Redirector target("");
  Redirector server(target.url("/other"));
  ClientRequest request = WithCredentials(server.url());
  request.max_redirects = 3;
  auto response = (*NewCurlClient({}))->Send(request);
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->body, "ok");
  EXPECT_THAT(server.heads(), HasSubstr("secret"));
  EXPECT_THAT(target.heads(), Not(HasSubstr("secret")));
  EXPECT_THAT(target.heads(), HasSubstr("Accept: text/plain"));
}

TEST(RedirectTest, MethodsAfterRedirects) {
  for (int status : {301, 302, 303, 307, 308}) {
    Redirector server("/end", status);
    ClientRequest request;
    request.url = server.url();
    request.method = "POST";
    request.max_redirects = 1;
    ASSERT_TRUE((*NewCurlClient({}))->Send(request).ok());
    EXPECT_THAT(server.heads(), HasSubstr(status >= 307 ? "POST /end" : "GET /end")) << status;
  }
}

TEST(RedirectTest, LoopsEndAtTheLimit) {
  Redirector server("/loop");
  ClientRequest request;
  request.url = server.url();
  request.max_redirects = 5;
  auto response = (*NewCurlClient({}))->Send(request);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 302);
}

TEST(RedirectTest, OtherSchemesAreRefused) {
  Redirector server("file:///etc/passwd");
  ClientRequest request;
  request.url = server.url();
  request.max_redirects = 1;
  EXPECT_EQ((*NewCurlClient({}))->Send(request).status().code(), Code::kUnavailable);
}

TEST(CancelTokenTest, RunsEachCallbackOnce) {
  CancelToken token;
  int first = 0, removed = 0, late = 0;
  token.OnCancel([&] { ++first; });
  token.Remove(token.OnCancel([&] { ++removed; }));
  EXPECT_FALSE(token.cancelled());
  token.Cancel();
  token.Cancel();
  token.OnCancel([&] { ++late; });
  EXPECT_TRUE(token.cancelled());
  EXPECT_EQ(first, 1);
  EXPECT_EQ(removed, 0);
  EXPECT_EQ(late, 1);
}

TEST(CancelTokenTest, RemoveWaitsForARunningCallback) {
  CancelToken token;
  std::atomic<bool> running = false, release = false, removed = false;
  uint64_t id = token.OnCancel([&] {
    running = true;
    Eventually([&] { return release.load(); });
    EXPECT_FALSE(removed);
  });
  std::thread canceller([&] { token.Cancel(); });
  ASSERT_TRUE(Eventually([&] { return running.load(); }));
  std::thread remover([&] {
    token.Remove(id);
    removed = true;
  });
  release = true;
  canceller.join();
  remover.join();
  EXPECT_TRUE(removed);
}

TEST(CancelTokenTest, CallbackMayRemoveItself) {
  CancelToken token;
  uint64_t id = 0;
  bool ran = false;
  id = token.OnCancel([&] {
    token.Remove(id);
    ran = true;
  });
  token.Cancel();
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace tidewright::http
