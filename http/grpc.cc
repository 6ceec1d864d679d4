#include "http/grpc.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "base/strings.h"
#include "http/http2_client.h"

namespace tidewright::http {
namespace {

constexpr size_t kPrefixBytes = 5;  // Whether it is compressed, and the length.
constexpr int64_t kConnectTimeoutMs = 3'000;
constexpr size_t kMaxTextBytes = 300;

// By gRPC's numbers.
struct KnownCode {
  base::Code code;
  const char* name;
};
constexpr KnownCode kCodes[] = {{base::Code::kOk, "OK"},
                                {base::Code::kCancelled, "CANCELLED"},
                                {base::Code::kUnavailable, "UNKNOWN"},
                                {base::Code::kInvalidArgument, "INVALID_ARGUMENT"},
                                {base::Code::kDeadlineExceeded, "DEADLINE_EXCEEDED"},
                                {base::Code::kNotFound, "NOT_FOUND"},
                                {base::Code::kAlreadyExists, "ALREADY_EXISTS"},
                                {base::Code::kPermissionDenied, "PERMISSION_DENIED"},
                                {base::Code::kResourceExhausted, "RESOURCE_EXHAUSTED"},
                                {base::Code::kFailedPrecondition, "FAILED_PRECONDITION"},
                                {base::Code::kAborted, "ABORTED"},
                                {base::Code::kOutOfRange, "OUT_OF_RANGE"},
                                {base::Code::kUnimplemented, "UNIMPLEMENTED"},
                                {base::Code::kInternal, "INTERNAL"},
                                {base::Code::kUnavailable, "UNAVAILABLE"},
                                {base::Code::kDataLoss, "DATA_LOSS"},
                                {base::Code::kUnauthenticated, "UNAUTHENTICATED"}};

// The server's text, which is percent-encoded, as one line.
std::string TextOf(const std::string& encoded) {
  auto decoded = PercentDecode(encoded);
  std::string text = (decoded.ok() ? *decoded : encoded).substr(0, kMaxTextBytes);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string Framed(const std::string& message) {
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) framed += static_cast<char>(message.size() >> shift);
  return framed + message;
}

ClientRequest RequestFor(const std::string& server, const std::string& method, const std::string& message) {
  ClientRequest request;
  request.method = "POST";
  request.url = server + method;
  request.headers = {{"Content-Type", "application/grpc"}, {"TE", "trailers"}, {"grpc-accept-encoding", "identity"}};
  request.body = Framed(message);
  request.connect_timeout_ms = kConnectTimeoutMs;
  request.total_timeout_ms = 0;
  request.accept_gzip = false;
  request.max_body_bytes = std::numeric_limits<size_t>::max();  // GrpcFrames bounds what is kept of it.
  return request;
}

// How an exchange ended, the cut of its body included.
base::Status OutcomeOf(const base::Result<Response>& ended, const GrpcFrames& frames) {
  if (!ended.ok()) return ended.status();
  TW_RETURN_IF_ERROR(GrpcOutcome(*ended));
  return frames.AtBorder() ? base::Status::Ok() : base::UnavailableError("the reply ends within a message");
}

// A call that somebody waits for. Shared with the exchange, which may end after the waiting.
struct PendingCall {
  base::Mutex mu;
  base::CondVar ended;
  GrpcFrames frames GUARDED_BY(mu);
  std::optional<std::string> reply GUARDED_BY(mu);
  std::optional<base::Status> outcome GUARDED_BY(mu);
};

// A stream's state, shared with its exchange. `mu` is held while a callback runs, so that closing waits for it.
struct OpenStream {
  base::Mutex mu;
  bool closed GUARDED_BY(mu) = false;
  GrpcFrames frames GUARDED_BY(mu);
  GrpcClient::StreamEvents events GUARDED_BY(mu);
};

class StreamHandle : public GrpcStream {
 public:
  StreamHandle(std::shared_ptr<Http2Client> client, std::shared_ptr<OpenStream> stream, uint64_t id)
      : client_(std::move(client)), stream_(std::move(stream)), id_(id) {}
  ~StreamHandle() override {
    {
      base::MutexLock lock(stream_->mu);
      stream_->closed = true;
    }
    client_->Cancel(id_);
  }

 private:
  const std::shared_ptr<Http2Client> client_;
  const std::shared_ptr<OpenStream> stream_;
  const uint64_t id_;
};

class GrpcOverHttp2 : public GrpcClient {
 public:
  explicit GrpcOverHttp2(std::shared_ptr<Http2Client> client) : client_(std::move(client)) {}

  base::Result<std::string> Call(const std::string& server, const std::string& method, const std::string& message,
                                 int64_t timeout_ms) override {
    ClientRequest request = RequestFor(server, method, message);
    request.total_timeout_ms = timeout_ms;
    request.headers.Add("grpc-timeout", std::to_string(timeout_ms) + "m");
    auto call = std::make_shared<PendingCall>();
    StreamHandler handler;
    handler.on_data = [call](std::string_view data) {
      base::MutexLock lock(call->mu);
      return call->frames.Add(data, [&](std::string_view whole) NO_THREAD_SAFETY_ANALYSIS { call->reply = whole; });
    };
    client_->Open(std::move(request), std::move(handler), [call](base::Result<Response> ended) {
      base::MutexLock lock(call->mu);
      call->outcome = OutcomeOf(ended, call->frames);
      call->ended.NotifyAll();
    });
    base::MutexLock lock(call->mu);
    while (!call->outcome) call->ended.Wait(call->mu);  // The exchange has a deadline.
    if (!call->outcome->ok()) return *call->outcome;
    if (!call->reply) return base::UnavailableError("the server answered without a message");
    return *std::move(call->reply);
  }

  std::unique_ptr<GrpcStream> Listen(const std::string& server, const std::string& method, const std::string& message,
                                     StreamEvents events) override {
    auto stream = std::make_shared<OpenStream>();
    {
      base::MutexLock lock(stream->mu);
      stream->events = std::move(events);
    }
    StreamHandler handler;
    handler.on_data = [stream](std::string_view data) {
      base::MutexLock lock(stream->mu);
      if (stream->closed) return base::CancelledError("closed");
      return stream->frames.Add(data, stream->events.on_message);
    };
    uint64_t id =
        client_->Open(RequestFor(server, method, message), std::move(handler), [stream](base::Result<Response> ended) {
          base::MutexLock lock(stream->mu);
          if (!stream->closed) stream->events.on_end(OutcomeOf(ended, stream->frames));
        });
    return std::make_unique<StreamHandle>(client_, std::move(stream), id);
  }

 private:
  const std::shared_ptr<Http2Client> client_;
};

}  // namespace

base::Status GrpcFrames::Add(std::string_view bytes, const std::function<void(std::string_view message)>& on_message) {
  while (!bytes.empty()) {
    const size_t prefix = std::min(bytes.size(), kPrefixBytes - std::min(pending_.size(), kPrefixBytes));
    pending_ += bytes.substr(0, prefix);
    bytes.remove_prefix(prefix);
    if (pending_.size() < kPrefixBytes) return base::Status::Ok();
    if (pending_[0] != 0) return base::UnimplementedError("the server sent a compressed message; we take none");
    size_t length = 0;
    for (size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | static_cast<unsigned char>(pending_[i]);
    if (length > kMaxGrpcMessageBytes) {
      return base::ResourceExhaustedError("the server sent a message of " + std::to_string(length) + " bytes; " +
                                          std::to_string(kMaxGrpcMessageBytes) + " are the most");
    }
    const size_t rest = std::min(bytes.size(), kPrefixBytes + length - pending_.size());
    pending_ += bytes.substr(0, rest);
    bytes.remove_prefix(rest);
    if (pending_.size() < kPrefixBytes + length) return base::Status::Ok();
    on_message(std::string_view(pending_).substr(kPrefixBytes));
    pending_.clear();
  }
  return base::Status::Ok();
}

base::Status GrpcOutcome(const Response& response) {
  const std::string text = response.headers.Get("grpc-status");
  if (text.empty() && response.status != 200) {
    return base::UnavailableError("the server answered HTTP " + std::to_string(response.status) + " " +
                                  std::string(ReasonPhrase(response.status)) + "; it does not speak gRPC at this path");
  }
  if (text.empty() && response.headers.Get("Content-Type").rfind("application/grpc", 0) != 0) {
    return base::UnavailableError("the server does not speak gRPC");
  }
  int64_t number = 0;
  if (!base::ParseInt64(text, &number)) {
    return base::UnavailableError("the server ended the call without saying how it went");
  }
  if (number == 0) return base::Status::Ok();
  const bool known = number > 0 && number < static_cast<int64_t>(std::size(kCodes));
  const KnownCode& code = kCodes[known ? number : 2];
  const std::string why = TextOf(response.headers.Get("grpc-message"));
  return base::Status(code.code, std::string("the server answered ") + code.name + (why.empty() ? "" : ": " + why));
}

base::Result<std::shared_ptr<GrpcClient>> NewGrpcClient(const ClientTls& tls) {
  ClientOptions options;
  options.tls = tls;
  TW_ASSIGN_OR_RETURN(std::shared_ptr<Http2Client> client, NewHttp2Client(options));
  return std::shared_ptr<GrpcClient>(std::make_shared<GrpcOverHttp2>(std::move(client)));
}

}  // namespace tidewright::http
