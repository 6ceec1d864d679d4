// Anything a peer may put into a URL, a query or a request target: no crash, and what was parsed survives a round trip.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/message.h"
#include "http/request_head.h"

namespace http = tidewright::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto url = http::Url::Parse(text); url.ok()) {
    auto again = http::Url::Parse(url->ToString());
    if (!again.ok() || again->ToString() != url->ToString()) abort();
  }
  if (auto params = http::ParseQuery(text); params.ok()) {
    std::string encoded;
    for (const auto& [name, value] : *params) {
      encoded += http::PercentEncode(name) + "=" + http::PercentEncode(value) + "&";
    }
    auto again = http::ParseQuery(encoded);
    if (!again.ok() || *again != *params) abort();
  }
  if (auto decoded = http::PercentDecode(http::PercentEncode(text)); !decoded.ok() || *decoded != text) abort();
  http::ServerRequest request;
  if (http::ParseTarget(text, &request).status == 0 && (request.path.empty() || request.path[0] != '/')) abort();
  http::Headers headers{{"Host", std::string(text)}, {"Accept-Encoding", std::string(text)}};
  http::CheckHead(headers, 1);
  http::AcceptsGzip(headers);
  return 0;
}
