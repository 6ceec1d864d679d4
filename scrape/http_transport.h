// Requests as an HttpClientConfig wants them: clients with its TLS and proxy settings, and authorization, OAuth 2
// included.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"
#include "scrape/http_config.h"

namespace tidewright::scrape {

// Thread-safe. Must not be destroyed on a thread of one of its clients.
class HttpTransport {
 public:
  using Factory = std::function<base::Result<std::unique_ptr<http::Client>>(const http::ClientOptions&)>;
  HttpTransport(HttpClientConfig config, Factory factory);
  ~HttpTransport();

  const HttpClientConfig& config() const { return config_; }

  // The client for a request to `url`: made on first use, and made anew when a certificate file has changed (looked at
  // once a minute).
  base::Result<std::shared_ptr<http::Client>> Client(int64_t now_ms, const std::string& url);

  // Gives back the body of a reply that a client of this transport brought.
  void Recycle(std::string body);

  // Finds the authorization and custom header fields of one request and hands them to `done`, which runs once: at once,
  // or on a thread of a client after an OAuth 2 token has been fetched. A token is kept until ten seconds before it
  // expires, and is in no error text. kAborted: this token endpoint wants the request in another form; ask again.
  void Authorize(int64_t now_ms, std::function<void(base::Result<http::Headers>)> done);

 private:
  class TokenSource;

  struct Made {
    std::shared_ptr<http::Client> client;
    std::string fingerprint;  // Of the certificates that it was made with.
    int64_t checked_ms = 0;
  };

  base::Result<http::ClientTls> ReadTls() const;

  const HttpClientConfig config_;
  const Factory factory_;
  const std::unique_ptr<TokenSource> tokens_;  // Null without OAuth 2.
  base::Mutex mu_;
  Made direct_ GUARDED_BY(mu_);
  Made proxied_ GUARDED_BY(mu_);
};

}  // namespace tidewright::scrape
