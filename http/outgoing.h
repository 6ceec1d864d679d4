// What both clients do to a request before it leaves, whichever library carries it.
#pragma once

#include <string>
#include <string_view>

#include "http/client.h"

namespace tidewright::http {

// A ClientRequest after validation.
struct Outgoing {
  Url url;
  Headers headers;    // The caller's, plus Authorization: Basic from the URL's user info unless the caller set one.
  std::string label;  // "GET http://host/path", for error texts: without query and user info, which may hold secrets.
};

// kInvalidArgument: the URL, the method, or a header name or value (CR, LF and NUL would inject fields).
base::Result<Outgoing> PrepareRequest(const ClientRequest& request);

// Whether both URLs name the same scheme, host and port: credentials may travel from one to the other.
bool SameOrigin(const Url& a, const Url& b);

// Whether `name` may be sent as a field name (an RFC 9110 token), and `value` as its value.
bool IsToken(std::string_view name);
bool IsFieldValue(std::string_view value);

// Whether the host is written as an IPv4 or IPv6 address.
bool IsIpLiteral(const std::string& host);

// kInvalidArgument unless certificate and key come together.
base::Status CheckClientTls(const ClientTls& tls);

}  // namespace tidewright::http
