// gRPC client: calls with one request and one reply, or with a stream of replies.
//
// The protocol is HTTP/2 with five bytes in front of each message and the outcome in the trailers (source: "gRPC over
// HTTP2", doc/PROTOCOL-HTTP2.md of grpc/grpc). libcurl does the HTTP/2, so this is all there is to it; gRPC's own C++
// library would be more to load at start than the rest of this program. Messages are bytes here: base/wire_reader.h and
// base/wire_writer.h read and write them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/client.h"
#include "http/message.h"

namespace tidewright::http {

// A longer message is an error.
inline constexpr size_t kMaxGrpcMessageBytes = 4u << 20;

// Cuts the body of a reply into its messages. Not thread-safe.
class GrpcFrames {
 public:
  // Takes the next bytes, however they were cut, and calls `on_message` for each message that is whole now. A failure
  // is final: kResourceExhausted for a message beyond `kMaxGrpcMessageBytes`, kUnimplemented for a compressed one (we
  // say that we take none).
  base::Status Add(std::string_view bytes, const std::function<void(std::string_view message)>& on_message);
  // Whether the bytes so far end with a whole message.
  bool AtBorder() const { return pending_.empty(); }

 private:
  std::string pending_;
};

// How a call ended, by its reply's status, headers and trailers. Texts are the server's, cut to a line of bounded
// length.
base::Status GrpcOutcome(const Response& response);

// A stream of replies. Thread-safe. Its end is its destruction, after which none of its callbacks runs (it waits for
// one that is running, so a callback must not destroy its own stream).
class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
};

// Thread-safe. `server` is "http://host:port", or https for TLS; `method` is "/package.Service/Method".
class GrpcClient {
 public:
  virtual ~GrpcClient() = default;

  // Waits for the one reply. Errors are the server's (its code and text), kUnavailable when it cannot be reached or
  // does not speak gRPC, kDeadlineExceeded, kUnauthenticated (TLS verification), kResourceExhausted (a reply too long).
  virtual base::Result<std::string> Call(const std::string& server, const std::string& method,
                                         const std::string& message, int64_t timeout_ms) = 0;

  // What a stream tells. Callbacks run on a thread of the client, one at a time, and must not block.
  struct StreamEvents {
    std::function<void(std::string_view message)> on_message;
    std::function<void(const base::Status& why)> on_end;  // Once, whoever ended it; OK: the server did, and orderly.
  };
  // Does not wait: a server that cannot be reached is an end like another.
  virtual std::unique_ptr<GrpcStream> Listen(const std::string& server, const std::string& method,
                                             const std::string& message, StreamEvents events) = 0;
};

// Streams may outlive the client that they came from.
base::Result<std::shared_ptr<GrpcClient>> NewGrpcClient(const ClientTls& tls);

}  // namespace tidewright::http
