// HTTP(S) client. One interface: libcurl for every peer that we do not trust (query engines, whatever a user
// configures), with a small client of our own in front of it for scrape targets, and cpprestsdk for the Kubernetes API
// server. docs/architecture.md says why.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "http/message.h"

namespace tidewright::http {

// TLS of one client. Empty members mean: the system's CA certificates, no client certificate, the URL's host name.
struct ClientTls {
  std::string ca_pem;           // Trust exactly these certificates instead of the system's.
  std::string certificate_pem;  // Client certificate chain and its key; both or neither.
  std::string private_key_pem;
  std::string server_name;  // Name to verify and to send as SNI instead of the URL's host.
  bool insecure_skip_verify = false;
};

struct ClientOptions {
  ClientTls tls;
  std::string user_agent = "tidewright";
  int max_connections_per_host = 0;  // 0: no limit. libcurl only.
  // libcurl only. "http://proxy:3128"; user info in it authenticates to the proxy.
  std::string proxy_url;
  bool proxy_from_environment = false;  // Otherwise http_proxy, https_proxy and no_proxy are ignored.
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::string body;
  int64_t connect_timeout_ms = 5'000;
  int64_t total_timeout_ms = 30'000;  // 0: none (watches). Covers name resolution to the last byte.
  int64_t idle_timeout_ms = 0;        // No byte for this long ends the exchange; 0: none.
  size_t max_body_bytes = 64u << 20;  // A longer (decompressed) body is kResourceExhausted.
  // libcurl only. To another scheme, host or port neither the headers (but Accept and Content-Type) nor the client
  // certificate follow; https never becomes http. Beyond the limit the 3xx reply itself is the result.
  int max_redirects = 0;
  bool accept_gzip = true;  // Sends Accept-Encoding: gzip and inflates the reply.
};

// Cancels one or more exchanges from any thread. Thread-safe. Must outlive the calls it was given to.
class CancelToken {
 public:
  CancelToken();
  ~CancelToken();
  void Cancel();
  bool cancelled() const;
  // Called once, at Cancel() or at once if cancelled already; returns an id for Remove. For implementations.
  uint64_t OnCancel(std::function<void()> callback);
  // After Remove returns the callback does not run any more (it waits for one that is running).
  void Remove(uint64_t id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Receives a streamed reply. Called from one thread at a time, never after Stream() returned; must not block for long.
struct StreamHandler {
  std::function<base::Status(int status, const Headers& headers)> on_headers;  // A non-OK status ends the exchange.
  std::function<base::Status(std::string_view data)> on_data;
};

// Thread-safe. Errors: kUnavailable (could not connect, connection lost), kDeadlineExceeded, kCancelled,
// kUnauthenticated (TLS verification), kResourceExhausted (body too long), kInvalidArgument (URL or header not valid).
// A reply of any HTTP status is a success here. Error texts never contain credentials.
class Client {
 public:
  virtual ~Client() = default;

  // Sends and waits for the whole reply. `cancel` may be null.
  virtual base::Result<Response> Send(const ClientRequest& request, CancelToken* cancel = nullptr) = 0;

  // Sends and hands the body over as it arrives; returns when it ended.
  virtual base::Status Stream(const ClientRequest& request, const StreamHandler& handler,
                              CancelToken* cancel = nullptr) = 0;

  // Sends without waiting; `done` runs once, on a thread of the client, whose other exchanges wait until it returns.
  virtual void SendAsync(ClientRequest request, std::function<void(base::Result<Response>)> done) = 0;

  // Gives back the body of a reply that is not needed any more, so that its memory serves for another.
  virtual void Recycle(std::string /*body*/) {}
};

// libcurl: survives hostile peers, parallel name resolution. Keep-alive per client.
base::Result<std::unique_ptr<Client>> NewCurlClient(const ClientOptions& options);

// For whoever asks many servers the same again and again. SendAsync() carries GETs of http:// URLs whose host is an
// address by itself, at a fraction of libcurl's cost, as long as `options` have neither TLS settings nor a proxy, and
// the connect timeout is not shorter than the total one. All else, and servers whose replies are out of the ordinary or
// redirect, are libcurl's.
base::Result<std::unique_ptr<Client>> NewPollingClient(const ClientOptions& options);

// cpprestsdk: for the Kubernetes API server only. See InitializeCpprest.
base::Result<std::unique_ptr<Client>> NewCpprestClient(const ClientOptions& options);

// Sizes cpprestsdk's process-wide thread pool and keeps it from reading the system's CA bundle per connection. Call
// once at the top of main(), before any thread starts. Later calls do nothing.
void InitializeCpprest(int threads = 2);

// The environment variables that InitializeCpprest() changed, with the values they had before ("" if unset): for
// programs that are started, which need the system's certificates.
std::vector<std::pair<std::string, std::string>> EnvironmentBeforeCpprest();

}  // namespace tidewright::http
