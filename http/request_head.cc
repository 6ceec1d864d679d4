#include "http/request_head.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"

namespace tidewright::http {
namespace {

Refusal BadRequest(std::string reason) { return {400, std::move(reason)}; }

bool IsHostFieldChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~:[]%!$&'()*+;=").find(c) != std::string_view::npos;
}

Refusal CheckHost(const Headers& headers, int minor_version) {
  std::vector<std::string> hosts = headers.GetAll("Host");
  if (hosts.size() > 1) return BadRequest("more than one Host header");
  if (hosts.empty()) return minor_version == 0 ? Refusal{} : BadRequest("missing Host header");
  if (!std::all_of(hosts[0].begin(), hosts[0].end(), IsHostFieldChar)) return BadRequest("malformed Host header");
  return {};
}

Refusal CheckFraming(const Headers& headers, int minor_version) {
  std::vector<std::string> encodings = headers.GetAll("Transfer-Encoding");
  std::vector<std::string> lengths = headers.GetAll("Content-Length");
  if (lengths.size() > 1) return BadRequest("more than one Content-Length header");
  if (!lengths.empty() && (lengths[0].empty() || !std::all_of(lengths[0].begin(), lengths[0].end(),
                                                              [](char c) { return c >= '0' && c <= '9'; }))) {
    return BadRequest("malformed Content-Length header");
  }
  if (encodings.empty()) return {};
  if (!lengths.empty()) return BadRequest("both Transfer-Encoding and Content-Length");
  if (encodings.size() > 1 || !base::EqualsIgnoreCase(encodings[0], "chunked") || minor_version == 0) {
    return BadRequest("unsupported Transfer-Encoding");
  }
  return {};
}

bool HasDotSegment(std::string_view path) {
  for (const std::string& segment : base::Split(path, '/')) {
    if (segment == "." || segment == "..") return true;
  }
  return false;
}

// "http://host/path?query" to "/path?query"; origin-form stays as it is.
std::string_view OriginForm(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!base::EqualsIgnoreCase(target.substr(0, scheme.size()), scheme)) continue;
    size_t end = target.find_first_of("/?", scheme.size());
    return end == std::string_view::npos ? "/" : target.substr(end);
  }
  return target;
}

// "gzip;q=0" forbids what "gzip" allows.
bool HasZeroQuality(std::string_view parameters) {
  size_t q = parameters.find("q=");
  if (q == std::string_view::npos) return false;
  double quality = 1;
  return base::ParseDouble(base::TrimSpace(parameters.substr(q + 2)), &quality) && quality == 0;
}

}  // namespace

Refusal CheckHead(const Headers& headers, int minor_version) {
  if (Refusal refusal = CheckHost(headers, minor_version); refusal.status != 0) return refusal;
  if (Refusal refusal = CheckFraming(headers, minor_version); refusal.status != 0) return refusal;
  std::string expect = headers.Get("Expect");
  if (!expect.empty() && !base::EqualsIgnoreCase(expect, "100-continue")) return {417, "unknown expectation"};
  return {};
}

Refusal ParseTarget(std::string_view target, ServerRequest* request) {
  request->target = std::string(target);
  std::string_view origin = OriginForm(target);
  if (origin.find('#') != std::string_view::npos) return BadRequest("the request target has a fragment");
  size_t question = origin.find('?');
  auto path = PercentDecode(origin.substr(0, question));
  if (!path.ok()) return BadRequest("the path has an invalid percent escape");
  if (path->empty() && origin != target) path->assign(1, '/');  // "http://host?query"
  if (path->empty() || path->front() != '/') return BadRequest("the request target is not a path");
  if (path->find('\0') != std::string::npos) return BadRequest("the path contains NUL");
  if (!base::IsValidUtf8(*path)) return BadRequest("the path is not UTF-8");
  if (HasDotSegment(*path)) return BadRequest("the path contains a \".\" or \"..\" segment");
  request->path = *std::move(path);
  if (question == std::string_view::npos) return {};
  auto query = ParseQuery(origin.substr(question + 1));
  if (!query.ok()) return BadRequest("the query has an invalid percent escape");
  request->query = *std::move(query);
  return {};
}

bool AcceptsGzip(const Headers& headers) {
  for (const std::string& value : headers.GetAll("Accept-Encoding")) {
    for (const std::string& item : base::Split(value, ',')) {
      size_t semicolon = item.find(';');
      if (!base::EqualsIgnoreCase(base::TrimSpace(std::string_view(item).substr(0, semicolon)), "gzip")) continue;
      return semicolon == std::string::npos || !HasZeroQuality(std::string_view(item).substr(semicolon + 1));
    }
  }
  return false;
}

}  // namespace tidewright::http
