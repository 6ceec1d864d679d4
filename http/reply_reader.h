// Replies from bytes, for client_plain.cc. Knows nothing of the connection that brings them.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace tidewright::http {

// All headers of one exchange, interim replies and trailers included.
inline constexpr size_t kMaxReplyHeaderBytes = 256u << 10;

// Reads one HTTP/1 reply to a GET (RFC 9112): a body of known length, in chunks, or until the connection closes, as it
// is or compressed by gzip. Not thread-safe.
//
// Errors: kUnavailable (not HTTP, cut short, not gzip), kResourceExhausted (a body or headers beyond the limit), and
// kUnimplemented for replies that are rare and valid, or that two readers could understand differently: those are for
// a complete client to read.
class ReplyReader {
 public:
  struct Options {
    size_t max_body_bytes = 0;  // Of the decompressed body.
    bool inflate = true;        // Undo Content-Encoding: gzip; otherwise the body stays as it comes.
    // Gives memory to build the body in, once there is one; its content does not matter.
    std::function<std::string()> buffer = [] { return std::string(); };
  };
  explicit ReplyReader(Options options) : options_(std::move(options)) {}

  // Takes the next bytes. After an error, or once done(), nothing may be fed any more.
  base::Status Feed(std::string_view bytes);
  // Where the next bytes can be put without being fed: they are all of the body, and it is as long as it says. Empty
  // when the next bytes are to be fed. Valid until the next call.
  std::span<char> BodyRoom();
  // So many bytes were put there.
  base::Status TakeFromRoom(size_t bytes);
  // The peer sends nothing more.
  base::Status End();

  bool started() const { return started_; }
  bool done() const { return state_ == State::kDone; }
  // Once done(): whether another request may follow on the same connection.
  bool keep_alive() const { return keep_alive_; }
  size_t body_bytes() const { return used_; }
  Response TakeResponse();

 private:
  enum class State { kStatusLine, kHeaders, kLength, kUntilClose, kChunkLine, kChunk, kChunkEnd, kTrailers, kDone };
  struct InflateEnd {
    void operator()(z_stream* stream) const;
  };

  base::Status Step(std::string_view* bytes);
  base::Status TakeLine(std::string_view* bytes, size_t limit, bool* complete);
  base::Status ParseStatusLine();
  base::Status ParseHeader();
  base::Status EndHead();
  base::Status ChooseFraming();
  base::Status ChooseDecoding();
  base::Status ParseChunkLine();
  base::Status ParseLineEnd();
  base::Status TakeBody(std::string_view* bytes);
  base::Status Inflate(std::string_view bytes);
  base::Status TooLong() const;
  base::Status Finish();
  void Reserve(size_t more, bool all);

  const Options options_;
  State state_ = State::kStatusLine;
  bool started_ = false;
  bool keep_alive_ = false;
  Response response_;
  std::string line_;  // The line at hand, without its end.
  size_t header_bytes_ = 0;
  uint64_t left_ = 0;  // Of the body, or of the chunk.
  size_t used_ = 0;    // Of the body's memory.
  bool has_buffer_ = false;
  std::unique_ptr<z_stream, InflateEnd> gzip_;  // Null when the body is taken as it is.
  bool gzip_ended_ = false;
};

}  // namespace tidewright::http
