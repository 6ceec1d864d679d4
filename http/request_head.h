// What the server demands of a request's head beyond its grammar. Knows nothing of the library that parsed it.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"
#include "http/server.h"

namespace tidewright::http {

// A request that is refused: the status of the reply and the reason for its body. status 0 means none.
struct Refusal {
  int status = 0;
  std::string reason;
};

// Refuses heads on whose meaning two parties could disagree (RFC 9112, sections 3.2, 6.1 and 6.3): a Host that is
// missing or sent twice, a Transfer-Encoding that is not exactly "chunked", or one next to Content-Length.
// `minor_version` is the digit after "HTTP/1.".
Refusal CheckHead(const Headers& headers, int minor_version);

// Sets `path`, `target` and `query` of `request` from the request target: origin-form or absolute-form. Refuses what is
// no path: bad escapes, NUL, "." and ".." segments, bytes that are not UTF-8.
Refusal ParseTarget(std::string_view target, ServerRequest* request);

// Whether an Accept-Encoding header allows gzip.
bool AcceptsGzip(const Headers& headers);

}  // namespace tidewright::http
