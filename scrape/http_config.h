// HTTP client settings as Prometheus configuration files write them, inline in a scrape_config and elsewhere.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"
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

struct HttpClientConfig {
  InlineOrFile username, password;  // basic_auth.
  std::string authorization_type;   // "Bearer" unless given; "" without authorization.
  InlineOrFile credentials;         // authorization or bearer_token.
  InlineOrFile ca, cert, key;       // tls_config.
  std::string server_name;
  bool insecure_skip_verify = false;
  bool follow_redirects = true;
  std::map<std::string, HttpHeaderConfig> headers;
  bool customized = false;  // Anything at all was written; not part of equality.
  friend bool operator==(const HttpClientConfig& a, const HttpClientConfig& b);
};

// Reads the inline fields of `reader` (basic_auth, authorization, oauth2, bearer_token, tls_config, follow_redirects,
// enable_http2, proxy settings, http_headers).
HttpClientConfig DecodeHttpClient(base::ObjectReader& reader, DecodeContext& context);
// Reads only a tls_config mapping into `config`.
void DecodeTls(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config);

// Authorization and custom header fields for one request; files are read anew, because tokens rotate.
base::Result<http::Headers> RequestHeaders(const HttpClientConfig& config);

// An http::Client for a configuration, made on first use and made anew when a certificate file has changed (looked at
// once a minute). Thread-safe.
class HttpTransport {
 public:
  using Factory = std::function<base::Result<std::unique_ptr<http::Client>>(const http::ClientOptions&)>;
  HttpTransport(HttpClientConfig config, Factory factory) : config_(std::move(config)), factory_(std::move(factory)) {}

  const HttpClientConfig& config() const { return config_; }
  base::Result<std::shared_ptr<http::Client>> Client(int64_t now_ms);

 private:
  base::Result<http::ClientTls> ReadTls() const;

  const HttpClientConfig config_;
  const Factory factory_;
  base::Mutex mu_;
  std::shared_ptr<http::Client> client_ GUARDED_BY(mu_);
  std::string fingerprint_ GUARDED_BY(mu_);  // Of the certificates that client_ was made with.
  int64_t checked_ms_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::scrape
