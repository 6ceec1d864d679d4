// HTTP client settings as Prometheus configuration files write them, inline in a scrape_config and elsewhere.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/status.h"
#include "http/message.h"
#include "scrape/relabel.h"

namespace tidewright::scrape {

// What decoding needs to know beside the document, and what it hands back beside the values.
struct DecodeContext {
  std::string directory;  // Relative paths resolve against it; "" leaves them alone.
  NameScheme scheme = NameScheme::kUtf8;
  std::vector<std::string> warnings;  // Accepted but not acted upon, one sentence each, with the field's path.

  std::string Resolve(const std::string& path) const;
  void Warn(const base::ObjectReader& reader, std::string_view key, std::string_view what);
};

// A secret or certificate written inline or in a file. At most one of the two is set.
struct InlineOrFile {
  std::string text;
  std::string file;
  bool empty() const { return text.empty() && file.empty(); }
  // The text, or the file's content now; errors name the file and never its content.
  base::Result<std::string> Read() const;
  friend bool operator==(const InlineOrFile&, const InlineOrFile&) = default;
};

struct HttpHeaderConfig {
  std::vector<std::string> values;
  std::vector<std::string> secrets;
  std::vector<std::string> files;
  friend bool operator==(const HttpHeaderConfig&, const HttpHeaderConfig&) = default;
};

// tls_config.
struct TlsConfig {
  InlineOrFile ca, cert, key;
  std::string server_name;
  bool insecure_skip_verify = false;
};

struct ProxyConfig {
  std::string url;       // "" for none.
  std::string no_proxy;  // Hosts that are reached directly; see BypassesProxy().
  bool from_environment = false;
  friend bool operator==(const ProxyConfig&, const ProxyConfig&) = default;
};

// The OAuth 2 grant "client credentials" (RFC 6749, section 4.4).
struct Oauth2Config : TlsConfig {
  std::string client_id;
  InlineOrFile client_secret;
  std::string token_url;
  std::vector<std::string> scopes;
  std::map<std::string, std::string> endpoint_params;  // Further fields of the token request.
  std::string grant_type = "client_credentials";       // Others are read and not supported.
  ProxyConfig proxy;
  friend bool operator==(const Oauth2Config& a, const Oauth2Config& b);
};

struct HttpClientConfig : TlsConfig {
  InlineOrFile username, password;  // basic_auth.
  std::string authorization_type;   // "Bearer" unless given; "" without authorization.
  InlineOrFile credentials;         // authorization or bearer_token.
  std::optional<Oauth2Config> oauth2;
  ProxyConfig proxy;
  bool follow_redirects = true;
  std::map<std::string, HttpHeaderConfig> headers;
  bool customized = false;  // Anything at all was written; not part of equality.
  friend bool operator==(const HttpClientConfig& a, const HttpClientConfig& b);
};

// Reads the inline fields of `reader` (basic_auth, authorization, oauth2, bearer_token, tls_config, follow_redirects,
// enable_http2, proxy settings, http_headers).
HttpClientConfig DecodeHttpClient(base::ObjectReader& reader, DecodeContext& context);
// Reads only a tls_config mapping into `config`.
void DecodeTls(base::ObjectReader& reader, DecodeContext& context, TlsConfig* config);

// Authorization, but for OAuth 2, and custom header fields for one request; files are read anew, because tokens rotate.
base::Result<http::Headers> RequestHeaders(const HttpClientConfig& config);

// Whether `host` is to be reached without a proxy: "localhost" and loopback addresses are, and what the comma-separated
// list names: host names with everything below them (".x" without x itself), IP addresses, networks (10.0.0.0/8), each
// with an optional port; "*" is everything.
bool BypassesProxy(std::string_view no_proxy, const std::string& host, uint16_t port);

}  // namespace tidewright::scrape
