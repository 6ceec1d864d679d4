#include "http/outgoing.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/strings.h"

namespace tidewright::http {
namespace {

bool IsTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

base::Status CheckHeaders(const Headers& headers) {
  for (const auto& [name, value] : headers) {
    if (!IsToken(name)) {
      return base::InvalidArgumentError("header name \"" + name.substr(0, 64) + "\" is not a valid field name");
    }
    if (!IsFieldValue(value)) {
      // The value is not shown: it may be a credential.
      return base::InvalidArgumentError("the value of header " + name +
                                        " contains a line break or another control character: remove it");
    }
  }
  return base::Status::Ok();
}

}  // namespace

bool IsToken(std::string_view name) { return !name.empty() && std::all_of(name.begin(), name.end(), IsTokenChar); }

bool IsFieldValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

bool IsIpLiteral(const std::string& host) {
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1;
}

bool SameOrigin(const Url& a, const Url& b) { return a.scheme == b.scheme && a.host == b.host && a.port == b.port; }

base::Status CheckClientTls(const ClientTls& tls) {
  if (tls.certificate_pem.empty() != tls.private_key_pem.empty()) {
    return base::InvalidArgumentError(
        "a client certificate and its private key come together, but only one was given: set both or neither");
  }
  return base::Status::Ok();
}

base::Result<Outgoing> PrepareRequest(const ClientRequest& request) {
  if (!IsToken(request.method)) {
    return base::InvalidArgumentError("HTTP method \"" + request.method.substr(0, 32) + "\" is not a valid token");
  }
  Outgoing outgoing;
  TW_ASSIGN_OR_RETURN(outgoing.url, Url::Parse(request.url));
  const Url& url = outgoing.url;
  outgoing.label = request.method + " " + url.scheme + "://" + url.Authority() + url.path;
  TW_RETURN_IF_ERROR(CheckHeaders(request.headers).Annotate(outgoing.label));
  outgoing.headers = request.headers;
  if (!url.user_info.empty() && !request.headers.Has("Authorization")) {
    auto user_info = PercentDecode(url.user_info);
    if (!user_info.ok()) return base::InvalidArgumentError(outgoing.label + ": the URL's user info is badly escaped");
    outgoing.headers.Add("Authorization", "Basic " + base::Base64Encode(*user_info));
  }
  return outgoing;
}

}  // namespace tidewright::http
