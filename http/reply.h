// Replies as bytes. Knows nothing of the library that sends them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.h"

namespace tidewright::http {

// What of a request decides how its reply is written.
struct ReplyContext {
  bool head = false;    // Send no body.
  bool http10 = false;  // No chunks.
  bool keep_alive = true;
  bool accepts_gzip = false;
};

struct ReplyBytes {
  std::string head;    // Status line and headers, and a short body.
  std::string body;    // A long body; "" if there is none or it is in `head`.
  bool close = false;  // The connection ends after it.
};

// Bodies from this size on are compressed if the client accepts that, unless their Cache-Control says no-transform.
inline constexpr size_t kCompressFromBytes = 16u << 10;

// Replaces replies that no handler may send (a status outside 200-599, line breaks in headers) by 500. Content-Length
// and Transfer-Encoding of the handler are ignored; they follow from the body.
ReplyBytes EncodeReply(Response response, const ReplyContext& context, int64_t now_ms);

// The head of a reply whose body is written piece by piece. `chunked` says how the pieces are framed: by EncodeChunk,
// or as they are, ended by closing the connection.
ReplyBytes EncodeStreamHead(int status, const Headers& headers, const ReplyContext& context, int64_t now_ms,
                            bool* chunked);
void AppendChunk(std::string_view piece, std::string* out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string HttpDate(int64_t now_ms);

// The gzip form of `text`, or "" if zlib fails.
std::string Gzip(std::string_view text);

}  // namespace tidewright::http
