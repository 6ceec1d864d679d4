// How requests reach the API server: signed, limited, repeated where the server asks for it, counted. Knows no verbs
// and no objects. Private to kube.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"
#include "kube/client.h"
#include "kube/credentials.h"
#include "kube/rate_limiter.h"

namespace tidewright::kube {

// A request before it is signed.
struct ApiRequest {
  std::string method;
  std::string path;  // With its query.
  std::string body;
  std::string content_type;
  // Whether to send it twice does no harm even if the first one took effect: all but POST and JSON patches.
  bool idempotent = true;

  bool IsWrite() const { return method != "GET"; }
};

// Thread-safe.
class Transport {
 public:
  static base::Result<std::shared_ptr<Transport>> Create(const ClientConfig& config, const ClientOptions& options);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // The reply, whatever its status. Repeats a request that got 401 once, if other credentials are to be had; and at
  // most ten times what got 429 with Retry-After, or 503 with it if the request is idempotent, as long as the wait ends
  // within the time of the call. A wait that is too long for one call binds the next calls of the same method and path,
  // too: they wait for the rest of it, or are kResourceExhausted without a request. `guard` may be null.
  base::Result<http::Response> Send(const ApiRequest& request, RequestGuard* guard);

  // What receives a streamed reply: first the status, then the body as it arrives.
  struct Receiver {
    std::function<void(int status)> on_status;
    std::function<base::Status(std::string_view data)> on_data;
  };
  // A GET whose reply is handed over as it arrives, without a limit of the total time.
  base::Status Stream(const ApiRequest& request, int64_t idle_timeout_ms, RequestGuard* guard, const Receiver& receiver,
                      http::CancelToken* cancel);

  // See Client::BeginStop.
  void BeginStop();

 private:
  Transport(const ClientConfig& config, const ClientOptions& options);

  // A request that is ready to go, and by what.
  struct Signed {
    Credentials credentials;
    std::shared_ptr<http::Client> connection;
    http::ClientRequest request;
  };
  base::Result<Signed> Sign(const ApiRequest& request);
  base::Result<std::shared_ptr<http::Client>> ConnectionFor(const http::ClientTls& tls);
  base::Result<std::unique_ptr<http::Client>> Connect(const http::ClientTls& tls) const;
  base::Status StreamOnce(const ApiRequest& request, int64_t idle_timeout_ms, RequestGuard* guard,
                          const Receiver& receiver, http::CancelToken* cancel, Credentials* used);
  base::Status AwaitTurn(const ApiRequest& request, int64_t deadline_ms);
  base::Status AwaitServer(const ApiRequest& request, RequestGuard* guard, int64_t deadline_ms);
  // Whether a wait of that length ends before the call, and the time that the guard gives, do.
  bool MayWait(const ApiRequest& request, RequestGuard* guard, int64_t delay_ms, int64_t deadline_ms);
  void Remember(const ApiRequest& request, int64_t until_ms);
  base::Result<http::Response> Attempt(const ApiRequest& request, Signed& prepared, RequestGuard* guard,
                                       int64_t deadline_ms);
  void Observe(const std::string& name, const std::string& help, std::string_view method, int64_t nanos) const;
  void Count(std::string_view method, const std::string& code) const;

  const ClientConfig config_;
  const ClientOptions options_;
  const std::string host_;  // For metrics.
  base::Clock& clock_;
  RateLimiter limiter_;
  const std::unique_ptr<CredentialSource> credentials_;

  base::StopSignal stop_;     // Ends the waiting.
  http::CancelToken cancel_;  // Ends the calls, once the grace period is over.
  base::StopSignal gone_;     // Nobody is left to have a grace period.

  base::Mutex mu_;
  http::ClientTls connected_with_ GUARDED_BY(mu_);
  http::ClientTls failed_with_ GUARDED_BY(mu_);
  std::shared_ptr<http::Client> connection_ GUARDED_BY(mu_);  // Shared with the requests under way.
  std::thread grace_ GUARDED_BY(mu_);                         // Waits for the end of the grace period.
  // Until when the server does not want to be asked, by method and path.
  std::map<std::string, int64_t> not_before_ GUARDED_BY(mu_);
};

// In how many ms a reply asks to come again, or -1: not at all.
int64_t RetryDelayMs(const ApiRequest& request, const http::Response& reply);

}  // namespace tidewright::kube
