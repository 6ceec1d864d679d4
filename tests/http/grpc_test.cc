// Frames and outcomes of gRPC, and servers that do not speak it. Calls to a real server are in tests/integration.
#include "http/grpc.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "http/server.h"

namespace tidewright::http {
namespace {

using Texts = std::vector<std::string>;

std::string Frame(const std::string& message, char flag = 0) {
  std::string length(4, '\0');
  for (int i = 0; i < 4; ++i) length[i] = static_cast<char>(message.size() >> (24 - 8 * i));
  return flag + length + message;
}

TEST(GrpcFrames, MessagesComeWholeHoweverTheBytesAreCut) {
  const std::string bytes = Frame("one") + Frame("") + Frame(std::string(70'000, 'x'));
  for (size_t piece : {size_t{1}, size_t{4}, size_t{5}, size_t{7}, size_t{4096}, bytes.size()}) {
    GrpcFrames frames;
    Texts messages;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      ASSERT_TRUE(frames
                      .Add(std::string_view(bytes).substr(at, piece),
                           [&](std::string_view message) { messages.emplace_back(message); })
                      .ok());
    }
    EXPECT_EQ(messages, (Texts{"one", "", std::string(70'000, 'x')})) << piece;
    EXPECT_TRUE(frames.AtBorder()) << piece;
  }
}

TEST(GrpcFrames, WhatIsNotTakenIsSaidBeforeItIsKept) {
  const struct {
    const char* name;
    std::string bytes;
    base::Code code;
  } rows[] = {
      {"compressed", Frame("x", 1), base::Code::kUnimplemented},
      {"too long", std::string("\0\x7f\xff\xff\xff", 5), base::Code::kResourceExhausted},
      {"one byte too long", std::string("\0\0\x40\0\x01", 5), base::Code::kResourceExhausted},
      {"a part", Frame("abc").substr(0, 6), base::Code::kOk},
  };
  for (const auto& row : rows) {
    GrpcFrames frames;
    base::Status status = frames.Add(row.bytes, [](std::string_view) { FAIL() << "no message is whole"; });
    EXPECT_EQ(status.code(), row.code) << row.name;
    EXPECT_FALSE(frames.AtBorder()) << row.name;
  }
}

TEST(Grpc, OutcomesOfReplies) {
  const Headers grpc = {{"Content-Type", "application/grpc+proto"}};
  auto with = [&](const std::string& status, const std::string& message) {
    Headers headers = grpc;
    headers.Add("grpc-status", status);
    if (!message.empty()) headers.Add("grpc-message", message);
    return headers;
  };
  const struct {
    const char* name;
    Response response;
    base::Code code;
    const char* text;
  } rows[] = {
      {"fine", {200, with("0", ""), ""}, base::Code::kOk, ""},
      {"the server's text",
       {200, with("7", "no%20entry%0A"), ""},
       base::Code::kPermissionDenied,
       "the server answered PERMISSION_DENIED: no entry "},
      {"bad escapes stay",
       {200, with("14", "100%"), ""},
       base::Code::kUnavailable,
       "the server answered UNAVAILABLE: 100%"},
      {"a number that nobody knows",
       {200, with("99", ""), ""},
       base::Code::kUnavailable,
       "the server answered UNKNOWN"},
      {"no number",
       {200, with("fine", ""), ""},
       base::Code::kUnavailable,
       "the server ended the call without saying how it went"},
      {"no status", {200, grpc, ""}, base::Code::kUnavailable, "the server ended the call without saying how it went"},
      {"a web server",
       {404, {}, ""},
       base::Code::kUnavailable,
       "the server answered HTTP 404 Not Found; it does not speak gRPC at this path"},
      {"a page",
       {200, {{"Content-Type", "text/html"}}, ""},
       base::Code::kUnavailable,
       "the server does not speak gRPC"},
  };
  for (const auto& row : rows) {
    base::Status status = GrpcOutcome(row.response);
    EXPECT_EQ(status.code(), row.code) << row.name;
    EXPECT_EQ(status.message(), row.text) << row.name;
  }
}

TEST(Grpc, AServerOfHttp1IsAnErrorInTime) {
  auto server = Server::Create({}, [](const ServerRequest&, std::shared_ptr<Responder> out) {
    out->Reply({200, {}, std::string("hello")});
  });
  ASSERT_TRUE(server.ok());
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok());
  const std::string url = "http://127.0.0.1:" + std::to_string(*port);
  auto client = NewGrpcClient({});
  ASSERT_TRUE(client.ok());
  auto reply = (*client)->Call(url, "/a.B/C", "x", 5'000);
  EXPECT_FALSE(reply.ok());
  struct {
    base::Mutex mu;
    base::CondVar ended;
    base::Status why GUARDED_BY(mu);
    bool over GUARDED_BY(mu) = false;
  } seen;
  GrpcClient::StreamEvents events;
  events.on_message = [](std::string_view) {};
  events.on_end = [&](const base::Status& why) {
    base::MutexLock lock(seen.mu);
    seen.why = why;
    seen.over = true;
    seen.ended.NotifyAll();
  };
  auto stream = (*client)->Listen(url, "/a.B/C", "x", std::move(events));
  {
    base::MutexLock lock(seen.mu);
    while (!seen.over) seen.ended.Wait(seen.mu);
    EXPECT_FALSE(seen.why.ok());
  }
  stream.reset();
  (*server)->Stop();
}

TEST(Grpc, NobodyThereIsUnavailable) {
  auto client = NewGrpcClient({});
  ASSERT_TRUE(client.ok());
  EXPECT_EQ((*client)->Call("http://127.0.0.1:1", "/a.B/C", "", 5'000).status().code(), base::Code::kUnavailable);
}

}  // namespace
}  // namespace tidewright::http
